"""Pictures of pairs: the images, their depth, their cells.

Pixels are those of the images handed in, (x, y), pixel centres on whole numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MultipleLocator
from torch import Tensor

from ..datasets.pair import Pair
from ..geometry import COARSE_STRIDE
from ..recordings import RawPair
from .style import (
    CHOSEN,
    HEAT,
    INK,
    RIGHT,
    UNKNOWN,
    WRONG,
    Picture,
    as_array,
    as_image,
    canvas,
    draw_image,
    heading,
    legend,
)

Image = np.ndarray | Tensor


def unpadded(image: Tensor, mask: Tensor) -> Tensor:
    """The image (1, H, W) without the padding that ``mask`` (H/8, W/8) marks."""
    rows = int(mask.any(1).sum()) * COARSE_STRIDE
    columns = int(mask.any(0).sum()) * COARSE_STRIDE
    return image[..., :rows, :columns]


def show_pair(
    image0: Pair | RawPair | Image,
    image1: Image | None = None,
    titles: tuple[str, str] | None = None,
    title: str | None = None,
    matches: tuple[np.ndarray, np.ndarray] | None = None,
) -> Picture:
    """Two images side by side, from a pair or as two images.

    A :class:`RawPair` has its depth maps below, on one scale in metres.

    matches: (N, 2) and (N, 2) pixels of the stored images of a raw pair that show
        the same places; they are drawn in the same colour on both.
    """
    if isinstance(image0, RawPair):
        return _show_raw(image0, titles, title, matches)
    if isinstance(image0, Pair):
        pair = image0
        image0 = unpadded(pair.view0.image, pair.view0.mask)
        image1 = unpadded(pair.view1.image, pair.view1.mask)
    names = titles or ("image 0", "image 1")
    return show_images({names[0]: image0, names[1]: image1}, title)


def _show_raw(
    pair: RawPair,
    titles: tuple[str, str] | None,
    title: str | None,
    matches: tuple[np.ndarray, np.ndarray] | None,
) -> Picture:
    images, depths = (pair.image0, pair.image1), (pair.depth0, pair.depth1)
    titles = titles or (Path(pair.name0).name, Path(pair.name1).name)
    ratio = max(i.shape[0] / i.shape[1] for i in images)
    picture = Picture(8.0, 2 * (3.45 * ratio + 0.45) + 0.4)
    axes = picture.subplots(2, 2)
    known = np.concatenate([d[::4, ::4][d[::4, ::4] > 0] for d in depths])
    low, high = np.percentile(known, [1, 99]) if known.size else (0.0, 1.0)
    for k, (image, depth) in enumerate(zip(images, depths, strict=True)):
        draw_image(axes[0, k], image)
        heading(axes[0, k], titles[k], "", "y (pixels)" if k == 0 else "")
        ax = axes[1, k]
        ax.set_facecolor("white")
        hatch(ax, *depth.shape)
        shown = ax.imshow(np.where(depth > 0, depth, np.nan), HEAT, vmin=low, vmax=high)
        unknown = f"depth, {(depth <= 0).mean():.0%} unknown (hatched)"
        heading(ax, unknown, "x (pixels)", "y (pixels)" if k == 0 else "")
    bar = picture.colorbar(shown, ax=axes[1], shrink=0.85, extend="both")
    bar.set_label("depth (metres)", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    if matches is not None:
        _draw_places(axes[0], matches)
    return picture.titled(title)


def _draw_places(axes: np.ndarray, matches: tuple[np.ndarray, np.ndarray]) -> None:
    """The same places on both images, in a colour by where they are in image 0."""
    rows = np.unique(np.linspace(0, len(matches[0]) - 1, 60).astype(int))
    rows = rows[rows < len(matches[0])] if len(matches[0]) else rows[:0]
    x = matches[0][rows, 0]
    for ax, points in zip(axes, matches, strict=True):
        at = points[rows]
        ax.scatter(*at.T, s=14, c=x, cmap="turbo", ec="white", lw=0.5)


def hatch(ax: Axes, h: int, w: int) -> None:
    """Hatching below a map of (h, w) values, seen where a value is unknown."""
    ax.add_patch(
        Rectangle(
            (-0.5, -0.5), w, h, hatch="////", fill=False, ec=UNKNOWN, lw=0, zorder=-1
        )
    )


def show_images(
    images: dict[str, Image],
    title: str | None = None,
    columns: int = 2,
    width: float = 8.0,
) -> Picture:
    """Several images in a grid, each under its name; NaN pixels are white.

    images: name (what to see in it) to image, drawn in this order.
    """
    rows = -(-len(images) // columns)
    shapes = [as_image(i).shape[:2] for i in images.values()]
    ratio = max(h / w for h, w in shapes)
    panel = (width - 0.9) / columns
    picture = Picture(width, rows * (ratio * panel + 0.45) + 0.6)
    if any(as_image(image).ndim == 3 for image in images.values()):
        picture.colours = 200
    for n, (name, image) in enumerate(images.items()):
        ax = picture.add_subplot(rows, columns, n + 1)
        draw_image(ax, image)
        heading(
            ax,
            name,
            "x (pixels)" if n // columns == rows - 1 else "",
            "y (pixels)" if n % columns == 0 else "",
        )
    return picture.titled(title)


def show_depth(
    depth: Image,
    title: str | None = None,
    ax: Axes | None = None,
    decimals: int = 1,
) -> Picture:
    """A depth map in metres. Unknown depth (0, NaN) is hatched, never a colour.

    A map of at most 12x12 values has its numbers written in.
    """
    values = as_image(depth).astype(np.float64)
    known = np.isfinite(values) & (values > 0)
    h, w = values.shape
    small = max(h, w) <= 12
    picture, ax = canvas(ax, 4.2 if small else 6.0, 3.6 if small else 6.0 * h / w)
    ax.set_facecolor("white")
    hatch(ax, h, w)
    shown = ax.imshow(np.where(known, values, np.nan), HEAT, interpolation="nearest")
    bar = picture.colorbar(shown, ax=ax, shrink=0.85)
    bar.set_label("depth (metres)", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    if small:
        _write_numbers(ax, values, known, shown, decimals)
    if not known.all():
        patch = Patch(hatch="////", facecolor="white", edgecolor=UNKNOWN)
        ax.legend(
            [patch],
            [f"unknown ({(~known).mean():.0%})"],
            loc="upper center",
            bbox_to_anchor=(0.5, -0.14 if small else -0.1),
            fontsize=8,
            frameon=False,
        )
    heading(ax, title, "x (pixels)", "y (pixels)")
    return picture


def _write_numbers(ax: Axes, values, known, shown, decimals: int) -> None:
    ax.set_xticks(range(values.shape[1]))
    ax.set_yticks(range(values.shape[0]))
    for (y, x), value in np.ndenumerate(values):
        dark = known[y, x] and shown.norm(value) < 0.55
        ax.text(
            x,
            y,
            f"{value:.{decimals}f}" if known[y, x] else "?",
            ha="center",
            va="center",
            fontsize=9,
            color="white" if dark else INK,
        )


def show_grid(
    image: Image,
    chosen: Sequence[int] = (),
    points: Image | None = None,
    window: tuple[int, int, int, int] | None = None,
    title: str | None = None,
    ax: Axes | None = None,
    stride: int = COARSE_STRIDE,
) -> Picture:
    """Coarse cells on an image: a dot on each cell's corner, where the cell sits.

    chosen: cells to fill, counted row by row. points: (N, 2) pixels to draw.
    window: (x0, y0, x1, y1) pixels to show, the whole image without it.
    """
    h, w = as_image(image).shape[:2]
    seen = (window[2] - window[0], window[3] - window[1]) if window else (w, h)
    picture, ax = canvas(ax, 6.5, 5.8 * seen[1] / seen[0] + 0.8)
    draw_image(ax, image, fade=0.25)
    columns, rows = w // stride, h // stride
    lines = [[(x * stride, 0), (x * stride, h)] for x in range(columns + 1)]
    lines += [[(0, y * stride), (w, y * stride)] for y in range(rows + 1)]
    ax.add_collection(LineCollection(lines, colors="white", linewidths=0.5, alpha=0.7))
    y, x = np.divmod(np.arange(rows * columns), columns)
    size = 30 if window else 1.5
    ax.scatter(x * stride, y * stride, s=size, c=RIGHT, lw=0, label="a cell's corner")
    for cell in chosen:
        corner = (cell % columns * stride, cell // columns * stride)
        ax.add_patch(Rectangle(corner, stride, stride, fc=CHOSEN, alpha=0.6))
    if points is not None:
        at = as_array(points).reshape(-1, 2)
        ax.scatter(*at.T, s=36, c=WRONG, marker="x", lw=1.6, label="a point")
    if window:
        ax.set_xlim(window[0], window[2])
        ax.set_ylim(window[3], window[1])
        ax.xaxis.set_major_locator(MultipleLocator(stride))
        ax.yaxis.set_major_locator(MultipleLocator(stride))
        legend(ax)
    heading(ax, title, "x (input pixels)", "y (input pixels)")
    return picture
