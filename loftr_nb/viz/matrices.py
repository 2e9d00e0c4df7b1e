"""Pictures of the cells-by-cells matrix: supervision (0/1) or confidence.

Row i is a coarse cell of image 0, column j one of image 1, both counted row by
row as one reads. L = h0 * w0 rows, S = h1 * w1 columns.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from ..datasets.pair import Batch
from ..geometry import COARSE_STRIDE
from ..supervision import CoarseSupervision
from .matches import show_matches
from .pairs import Image, unpadded
from .style import (
    CHOSEN,
    HEAT,
    INK,
    RIGHT,
    WRONG,
    Picture,
    as_array,
    as_image,
    draw_image,
    heading,
    legend,
    note,
)

Grid = tuple[int, int]


def show_matrix(
    matrix: Image,
    grid0: Grid,
    grid1: Grid,
    block: tuple[int, int] | None = None,
    title: str | None = None,
) -> Picture:
    """The matrix, cut into blocks that a person can read.

    One block is one row of cells of image 0 against one row of cells of image
    1: where in the matrix a block lies says how far the picture moved up or
    down, where in the block an entry lies how far it moved sideways.

    Args:
        matrix: (L, S), 0/1 or probabilities.
        grid0, grid1: (rows, columns) of cells.
        block: (row of image 0, row of image 1): this block is drawn enlarged
            beside the matrix.
    """
    values = as_array(matrix).reshape(grid0[0] * grid0[1], grid1[0] * grid1[1])
    picture = Picture(8.6 if block else 5.2, 4.6)
    axes = picture.subplots(1, 2 if block else 1, squeeze=False)[0]
    _draw_matrix(axes[0], values, grid0, grid1)
    heading(
        axes[0],
        f"all {values.shape[0]} x {values.shape[1]} entries" if block else None,
        "cell of image 1, by its row of cells",
        "cell of image 0, by its row of cells",
    )
    if block:
        _draw_block(axes[1], values, grid0, grid1, block)
        corner = (block[1] * grid1[1] - 0.5, block[0] * grid0[1] - 0.5)
        axes[0].add_patch(
            Rectangle(corner, grid1[1], grid0[1], fill=False, ec=CHOSEN, lw=2)
        )
    return picture.titled(title)


def _is_binary(values: np.ndarray) -> bool:
    return bool(np.isin(values, (0, 1)).all())


def _draw_matrix(ax: Axes, values: np.ndarray, grid0: Grid, grid1: Grid) -> None:
    rows, columns = values.shape
    if _is_binary(values):
        # As dots of a readable size: one entry in a million is no pixel wide.
        i, j = np.nonzero(values)
        size = float(np.clip(40000 / max(rows, columns) ** 1.35, 1.0, 60))
        ax.scatter(j, i, s=size, c=RIGHT, marker="s", lw=0)
        note(ax, f"{len(i)} ones, {values.size - len(i)} zeros")
        ax.set_aspect("equal")
    else:
        shown = ax.imshow(_pooled(values), HEAT, vmin=0, interpolation="nearest")
        shown.set_extent((-0.5, columns - 0.5, rows - 0.5, -0.5))
        ax.figure.colorbar(shown, ax=ax, shrink=0.8, label="probability")
    ax.set_xlim(-0.5, columns - 0.5)
    ax.set_ylim(rows - 0.5, -0.5)
    for axis, (h, w), line in (
        (ax.yaxis, grid0, ax.axhline),
        (ax.xaxis, grid1, ax.axvline),
    ):
        for row in range(1, h):
            line(row * w - 0.5, color=INK, lw=0.4, alpha=0.35)
        step = max(1, -(-h // 8))
        axis.set_ticks([r * w + (w - 1) / 2 for r in range(0, h, step)])
        axis.set_ticklabels([f"row {r}" for r in range(0, h, step)])


def _pooled(values: np.ndarray, most: int = 600) -> np.ndarray:
    """The largest value of each n x n patch: a peak must survive being drawn."""
    n = -(-max(values.shape) // most)
    if n == 1:
        return values
    pad = [(0, -s % n) for s in values.shape]
    values = np.pad(values, pad)
    h, w = values.shape
    return values.reshape(h // n, n, w // n, n).max(axis=(1, 3))


def _draw_block(
    ax: Axes, values: np.ndarray, grid0: Grid, grid1: Grid, block: tuple[int, int]
) -> None:
    w0, w1 = grid0[1], grid1[1]
    part = values[block[0] * w0 :, block[1] * w1 :][:w0, :w1]
    if _is_binary(part):
        i, j = np.nonzero(part)
        ax.scatter(
            j,
            i,
            s=np.clip(4000 / max(w0, w1) ** 1.35, 9, 300),
            c=RIGHT,
            marker="s",
            lw=0,
            label="a match (1)",
        )
    else:
        ax.imshow(part, HEAT, vmin=0, interpolation="nearest")
    ax.plot([0, min(w0, w1) - 1], [0, min(w0, w1) - 1], color=INK, lw=0.8, ls=":")
    ax.text(
        min(w0, w1) * 0.72,
        min(w0, w1) * 0.68,
        "did not move sideways",
        fontsize=8,
        color=INK,
        rotation=-45,
        ha="center",
        va="center",
    )
    ax.set_xlim(-0.5, w1 - 0.5)
    ax.set_ylim(w0 - 0.5, -0.5)
    ax.set_aspect("equal")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(6, integer=True))
    for spine in ax.spines.values():
        spine.set(color=CHOSEN, linewidth=2)
    heading(
        ax,
        f"one block: row {block[0]} of image 0, row {block[1]} of image 1",
        "column of the cell in image 1",
        "column of the cell in image 0",
    )


def show_row_on_image(
    matrix: Image,
    cell: int,
    image0: Image,
    image1: Image,
    grid0: Grid,
    grid1: Grid,
    title: str | None = None,
) -> Picture:
    """One row of the matrix as what it is: a map over image 1.

    Args:
        matrix: (L, S), 0/1 or probabilities; row ``cell`` is drawn.
        cell: cell of image 0, counted row by row.
    """
    row = as_array(matrix)[cell].reshape(grid1)
    h, w = as_image(image0).shape[:2]
    picture = Picture(8.0, 3.4 * h / w + 1.15)
    picture.colours = 200  # heat over grey
    left, right = picture.subplots(1, 2)
    draw_image(left, image0, fade=0.2)
    y, x = divmod(cell, grid0[1])
    _mark_cell(left, x, y, CHOSEN)
    heading(
        left,
        f"image 0: cell {cell} (column {x}, row {y})",
        "x (input pixels)",
        "y (input pixels)",
    )
    draw_image(right, image1, fade=0.2)
    words = _draw_row(picture, right, row, cell)
    heading(right, words, "x (input pixels)", "y (input pixels)")
    return picture.titled(title)


def _draw_row(picture: Picture, ax: Axes, row: np.ndarray, cell: int) -> str:
    if row.max() <= 0:
        note(ax, "this cell has no match")
        return f"image 1: row {cell} of the matrix is empty"
    y, x = np.unravel_index(row.argmax(), row.shape)
    if _is_binary(row):
        _mark_cell(ax, x, y, RIGHT)
        return f"image 1: the 1 is cell {row.argmax()} (column {x}, row {y})"
    h, w = row.shape
    half = COARSE_STRIDE / 2
    # Shifted by half a cell: a cell's place is its corner, and what is nearest
    # to a corner is the square around it.
    extent = (-half, w * COARSE_STRIDE - half, h * COARSE_STRIDE - half, -half)
    alpha = np.clip(row / row.max(), 0, 1) ** 0.5 * 0.85
    view = ax.axis()
    shown = ax.imshow(row, HEAT, vmin=0, alpha=alpha, extent=extent)
    ax.axis(view)
    bar = picture.colorbar(shown, ax=ax, shrink=0.8)
    bar.set_label("probability", fontsize=9)
    return f"image 1, row {cell} of the matrix:\nmost at column {x}, row {y}"


def _mark_cell(ax: Axes, x: int, y: int, colour: str) -> None:
    """A cell as a square around its corner, with a ring that the eye finds."""
    at = (x * COARSE_STRIDE, y * COARSE_STRIDE)
    half = COARSE_STRIDE / 2
    corner = (at[0] - half, at[1] - half)
    ax.add_patch(Rectangle(corner, COARSE_STRIDE, COARSE_STRIDE, fc=colour, lw=0))
    ax.scatter(*at, s=320, fc="none", ec="white", lw=3.5)
    ax.scatter(*at, s=320, fc="none", ec=colour, lw=1.8)


def show_supervision(
    batch: Batch,
    supervision: CoarseSupervision,
    row: int = 0,
    limit: int = 60,
    title: str | None = None,
) -> Picture:
    """The matches of one pair as lines, and the cells of image 0 that have none.

    Blue dots are cells with a match, orange ones without; ``limit`` of the
    matches are drawn as lines, spread evenly.
    """
    i, j = (as_array(n[supervision.b == row]) for n in (supervision.i, supervision.j))
    (h0, w0), (_, w1) = supervision.grid0, supervision.grid1
    picture = show_matches(
        unpadded(batch.image0[row], batch.mask0[row]),
        unpadded(batch.image1[row], batch.mask1[row]),
        COARSE_STRIDE * np.stack([i % w0, i // w0], 1),
        COARSE_STRIDE * np.stack([j % w1, j // w1], 1),
        limit=limit,
        title=title or f"{len(i)} of {h0 * w0} cells of image 0 have a match",
    )
    ax = picture.axes[0]
    real = as_array(batch.mask0[row]).reshape(-1)
    none = np.setdiff1d(np.nonzero(real)[0], i)
    for cells, colour, name in ((i, RIGHT, "a match"), (none, WRONG, "no match")):
        at = COARSE_STRIDE * np.stack([cells % w0, cells // w0], 1)
        label = f"{name}: {len(cells)} cells"
        ax.scatter(*at.T, s=4, c=colour, lw=0, label=label, zorder=3)
    legend(
        ax,
        loc="lower center",
        bbox_to_anchor=(0.5, -0.1),
        ncols=2,
        frameon=False,
        markerscale=3,
    )
    return picture


def show_offsets(
    offset: Tensor, inside: Tensor, radius: float, title: str | None = None
) -> Picture:
    """Fine targets in their window: (M, 2) offsets in units of the radius.

    inside: (M,) bool, the targets that supervise the fine stage.
    radius: input pixels per unit, for the axes.
    """
    picture = Picture(5.4, 5.0)
    ax = picture.subplots()
    at = as_array(offset) * radius
    keep = as_array(inside)
    for group, colour, name in ((keep, RIGHT, "used"), (~keep, WRONG, "left out")):
        label = f"{name}: {int(group.sum())}"
        ax.scatter(*at[group].T, s=7, c=colour, lw=0, label=label)
    box = Rectangle((-radius, -radius), 2 * radius, 2 * radius, fill=False, ec=INK)
    ax.add_patch(box)
    ticks = np.linspace(-radius, radius, 5)
    for tick in ticks:
        ax.axhline(tick, color=INK, lw=0.3, alpha=0.4)
        ax.axvline(tick, color=INK, lw=0.3, alpha=0.4)
    far = radius * float(np.clip(np.ceil(np.abs(at / radius).max(initial=0)), 2, 4))
    ax.set_xlim(-far, far)
    ax.set_ylim(far, -far)
    ax.set_aspect("equal")
    legend(ax)
    heading(ax, title, "x offset (input pixels)", "y offset (input pixels)")
    return picture
