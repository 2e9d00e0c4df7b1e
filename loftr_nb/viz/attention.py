"""Pictures of attention: where a cell looks.

Letters: h and w rows and columns of cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..geometry import COARSE_STRIDE
from .features import draw_heat, ring
from .pairs import Image
from .style import CHOSEN, INK, RIGHT, Picture, as_array, as_image


def show_looks(
    query: tuple[Image, Sequence[float]],
    looks: Mapping[str, Mapping[str, tuple[Image, Image]]],
    title: str | None = None,
    truth: Mapping[str, Sequence[float]] | None = None,
    unit: str = "times the even share",
    stride: int = COARSE_STRIDE,
) -> Picture:
    """Where one cell looks, a row of panels for each network, a column a layer.

    Each panel has its own scale, from 0 to the number in its heading: weights of
    two layers may differ tenfold, and the question is where, not how much.

    Args:
        query: the image of the cell that looks and its (x, y) in input pixels.
        looks: row name to column name to (image, weights (h, w)).
        truth: column name to the (x, y) where the cell's true partner is.
        unit: what the weights are counted in.
    """
    columns = max(len(row) for row in looks.values()) + 1
    h, w = as_image(query[0]).shape[:2]
    panel = 10.6 / columns
    picture = Picture(10.8, len(looks) * (panel * h / w + 0.42) + 0.6)
    picture.colours = 200
    axes = picture.subplots(len(looks), columns, squeeze=False)
    for line, (name, row) in zip(axes, looks.items(), strict=True):
        draw_heat(line[0], query[0], None)
        ring(line[0], query[1])
        _name(line[0], f"{name}: this cell")
        for ax, (layer, (image, weights)) in zip(line[1:], row.items(), strict=True):
            draw_heat(ax, image, weights, stride)
            if truth and layer in truth:
                ring(ax, truth[layer], RIGHT)
            else:
                ring(ax, query[1])
            _name(ax, f"{layer}\nup to {float(as_array(weights).max()):.3g}")
    words = f"{unit}, dark 0, bright the most; pink ring: the cell that looks"
    words += "; blue ring: its true partner" if truth else ""
    picture.supxlabel(words, fontsize=9)
    return picture.titled(title)


def show_heads(
    image: Image,
    heads: Mapping[str, Image],
    at: Sequence[float],
    title: str | None = None,
    colour: str = CHOSEN,
    stride: int = COARSE_STRIDE,
) -> Picture:
    """The heads of one layer beside one another, each on its own scale."""
    h, w = as_image(image).shape[:2]
    panel = 10.6 / len(heads)
    picture = Picture(10.8, panel * h / w + 1.0)
    picture.colours = 200
    axes = picture.subplots(1, len(heads), squeeze=False)[0]
    for ax, (name, weights) in zip(axes, heads.items(), strict=True):
        draw_heat(ax, image, weights, stride)
        ring(ax, at, colour)
        _name(ax, f"{name}\nup to {float(as_array(weights).max()):.3g}")
    return picture.titled(title)


def _name(ax, words: str) -> None:
    ax.set_title(words, fontsize=9, color=INK)
    ax.set_xticks([])
    ax.set_yticks([])
