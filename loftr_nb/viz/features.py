"""Pictures of feature maps: colours by content, heat over an image, encodings.

Letters: C channels, h and w rows and columns of cells, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor

from ..geometry import COARSE_STRIDE
from .pairs import Image
from .style import (
    CHOSEN,
    HEAT,
    INK,
    SERIES,
    Picture,
    as_array,
    as_image,
    draw_image,
    heading,
    legend,
)

SIGNED = "PuOr_r"  # for values with a sign; safe for colour-blind readers
DASHES = ("-", "--", "-.", ":")  # a second mark beside the colour


def pca_colours(maps: Sequence[Tensor] | Tensor, stride: int = 1) -> list[Tensor]:
    """Feature maps as pictures: the same colour is the same kind of feature.

    Features are taken to length 1; their three main directions over *all* maps
    together become red, green and blue, each spread over its range.

    Args:
        maps: (C, h, w) each, the same C; or a batch (N, C, h, w).
        stride: each cell is repeated so often, to give a picture in input pixels.

    Returns:
        (h * stride, w * stride, 3) each, in [0, 1].
    """
    rows = [m.detach().double().flatten(1).T for m in maps]
    flat = torch.nn.functional.normalize(torch.cat(rows), dim=1)
    flat = flat - flat.mean(0)
    _, _, directions = torch.linalg.svd(flat, full_matrices=False)
    directions = directions[:3]
    # A direction has no sign of its own: its largest part is made positive, so
    # that colours do not change from one machine to the next.
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    three = flat @ (directions * largest.sign()).T
    low, high = (three.quantile(q, dim=0) for q in (0.02, 0.98))
    shown = ((three - low) / (high - low).clamp(min=1e-9)).clamp(0, 1).float()
    parts = shown.split([len(r) for r in rows])
    return [
        part.reshape(*m.shape[1:], 3)
        .repeat_interleave(stride, 0)
        .repeat_interleave(stride, 1)
        for part, m in zip(parts, maps, strict=True)
    ]


def show_maps(
    panels: Mapping[str, tuple[Image, Image]],
    title: str | None = None,
    columns: int = 2,
    stride: int = COARSE_STRIDE,
    unit: str = "",
    shared: bool = True,
    marks: Mapping[str, Sequence[float]] | None = None,
    boxes: Mapping[str, Sequence[float]] | None = None,
    width: float = 8.6,
) -> Picture:
    """Maps of values that are never negative, as heat over images.

    Args:
        panels: name (what to see in it) to (image, map), the map with one value
            for every ``stride`` input pixels; None for a map shows the image alone.
        unit: what the values are, for the colour bar.
        shared: one scale for all maps; otherwise each from 0 to its own maximum.
        marks: name to (x, y) input pixels to ring in that panel.
        boxes: name to (x0, y0, x1, y1) input pixels, both ends inside.
    """
    rows = -(-len(panels) // columns)
    shapes = [as_image(image).shape[:2] for image, _ in panels.values()]
    ratio = max(h / w for h, w in shapes)
    picture = Picture(width, rows * (ratio * (width - 1.3) / columns + 0.42) + 0.5)
    picture.colours = 200  # heat over grey: 64 colours would break its steps
    known = [as_array(m) for _, m in panels.values() if m is not None]
    top = max((float(m.max()) for m in known), default=1.0) if shared else None
    for n, (name, (image, values)) in enumerate(panels.items()):
        ax = picture.add_subplot(rows, columns, n + 1)
        shown = draw_heat(ax, image, values, stride, top)
        if shown is not None and not shared:
            picture.colorbar(shown, ax=ax, shrink=0.8).ax.tick_params(labelsize=7)
        if marks and name in marks:
            ring(ax, marks[name])
        if boxes and name in boxes:
            x0, y0, x1, y1 = boxes[name]
            spot = Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0 + 1, y1 - y0 + 1)
            spot.set(fill=False, edgecolor=CHOSEN, linewidth=2)
            ax.add_patch(spot)
        last, first = n // columns == rows - 1, n % columns == 0
        x, y = "x (input pixels)", "y (input pixels)"
        heading(ax, name, x if last else "", y if first else "")
    if known and shared:
        bar = picture.colorbar(
            _scale(top), ax=picture.axes, shrink=0.75, aspect=28, pad=0.01
        )
        bar.set_label(unit, fontsize=9)
        bar.ax.tick_params(labelsize=8)
    return picture.titled(title)


def draw_heat(
    ax: Axes,
    image: Image,
    values: Image | None,
    stride: int = COARSE_STRIDE,
    top: float | None = None,
):
    """A faded image with a map over it; returns the map's artist, None without one.

    A cell's place is its corner, so its square lies around the corner.
    """
    draw_image(ax, image, fade=0.0 if values is None else 0.35)
    if values is None:
        return None
    values = as_array(values)
    h, w = values.shape
    view = ax.axis()
    half = stride / 2
    extent = (-half, w * stride - half, h * stride - half, -half)
    top = float(values.max()) if top is None else top
    # Half of the opacity is there from the start: a map of nothing is dark, not
    # an image that looks untouched.
    alpha = 0.45 + 0.5 * np.clip(values / max(top, 1e-12), 0, 1)
    shown = ax.imshow(values, HEAT, vmin=0, vmax=top, alpha=alpha, extent=extent)
    ax.axis(view)
    return shown


def _scale(top: float | None):
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    return ScalarMappable(Normalize(0, top), HEAT)


def ring(ax: Axes, at: Sequence[float], colour: str = CHOSEN) -> None:
    """A ring around an (x, y) pixel, with a white rim that any ground shows."""
    ax.scatter(*at, s=170, fc="none", ec="white", lw=3.2)
    ax.scatter(*at, s=170, fc="none", ec=colour, lw=1.7)


def show_encoding(
    encodings: Mapping[str, Image],
    title: str | None = None,
    x: str = "column of the cell",
) -> Picture:
    """Position encodings, channel below channel: (C, n) values from -1 to 1 each."""
    picture = Picture(9.0, 3.9)
    axes = picture.subplots(1, len(encodings), squeeze=False)[0]
    for n, (ax, (name, values)) in enumerate(zip(axes, encodings.items(), strict=True)):
        shown = ax.imshow(
            as_array(values), SIGNED, vmin=-1, vmax=1, aspect="auto",
            interpolation="nearest",
        )  # fmt: skip
        heading(ax, name, x, "channel" if n == 0 else "")
    bar = picture.colorbar(shown, ax=axes, shrink=0.85, pad=0.01)
    bar.set_label("value", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    return picture.titled(title)


def show_series(
    lines: Mapping[str, tuple[Image, Image]],
    title: str | None = None,
    x: str = "",
    y: str = "",
    log: str = "",
    marker: bool = False,
    ax: Axes | None = None,
    mark: tuple[float, str] | None = None,
) -> Picture:
    """Lines in one plot, told apart by colour and by dashes.

    Args:
        lines: name to (x values, y values).
        log: ``x``, ``y`` or ``xy``, the axes with a logarithmic scale.
        marker: dots on the values, for lines through few measurements.
        mark: a place on the x axis and its name, drawn as an upright line.
    """
    picture = Picture(7.2, 3.6) if ax is None else ax.figure
    ax = picture.subplots() if ax is None else ax
    for n, (name, (across, up)) in enumerate(lines.items()):
        ax.plot(
            as_array(across), as_array(up), color=SERIES[n % len(SERIES)],
            ls=DASHES[n % len(DASHES)], lw=1.7, label=name,
            marker="o" if marker else None, ms=4,
        )  # fmt: skip
    if mark:
        ax.axvline(mark[0], color=INK, lw=0.9, ls=":", label=mark[1])
    for name in log:
        getattr(ax, f"set_{name}scale")("log")
    if "x" in log and marker:  # the places that were measured, not powers of ten
        at = sorted({float(a) for across, _ in lines.values() for a in across})
        ax.set_xticks(at, [f"{a:,g}" for a in at])
        ax.minorticks_off()
    ax.grid(alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(colors=INK)
    heading(ax, title, x, y)
    legend(ax, loc="best")
    return picture
