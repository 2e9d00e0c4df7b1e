"""Pictures of losses: what an entry costs, where it is pushed, what is held of it.

Up is blue and down is orange, as right and wrong are elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Rectangle

from .pairs import Image
from .style import (
    CHOSEN,
    HEAT,
    INK,
    RIGHT,
    SERIES,
    UNKNOWN,
    WRONG,
    Picture,
    as_array,
    heading,
    legend,
)

# Orange over white to blue: signed values, 0 in the middle.
SIGNED = LinearSegmentedColormap.from_list("signed", [WRONG, "white", RIGHT])
_DASHES = ("-", "--", "-.", ":")


def show_costs(
    p: Image,
    match: Mapping[str, Image],
    other: Mapping[str, Image],
    title: str | None = None,
) -> Picture:
    """Cost of a match and of any other cell over its confidence, side by side.

    Args:
        p: (N,) confidences.
        match, other: name of a line to its (N,) costs.
    """
    picture = Picture(8.6, 3.2)
    axes = picture.subplots(1, 2, sharey=True)
    heads = ("a match wants P = 1", "any other cell wants P = 0")
    for ax, head, lines in zip(axes, heads, (match, other), strict=True):
        for n, (name, cost) in enumerate(lines.items()):
            style = {"color": SERIES[n], "ls": _DASHES[n % len(_DASHES)], "lw": 1.7}
            ax.plot(as_array(p), as_array(cost), label=name, **style)
        ax.set_xlim(0, 1)
        ax.grid(alpha=0.25)
        legend(ax, loc="upper center")
        heading(ax, head, "confidence P", "cost of one entry")
    axes[1].set_ylabel("")
    return picture.titled(title)


def show_push(
    panels: Mapping[str, Image],
    unit: str,
    notes: Mapping[str, str] | None = None,
    title: str | None = None,
) -> Picture:
    """Where a step moves each entry of small matrices, two panels a row.

    Args:
        panels: name to (rows, columns), the negative gradient: above 0 is up.
        unit: of the numbers, for the sentence below.
        notes: name of a panel to words below it.
    """
    arrays = {name: as_array(push) for name, push in panels.items()}
    rows = -(-len(arrays) // 2)
    picture = Picture(6.6, 2.9 * rows + 0.7)
    for n, (name, push) in enumerate(arrays.items()):
        ax = picture.add_subplot(rows, 2, n + 1)
        _draw_push(ax, push)
        heading(ax, name, (notes or {}).get(name, ""))
    picture.text(
        0.5,
        0.005,
        f"blue is pushed up, orange down; {unit}",
        ha="center",
        va="bottom",
        fontsize=9,
        color=INK,
    )
    picture.get_layout_engine().set(rect=(0, 0.05, 1, 0.95))
    return picture.titled(title)


def _draw_push(ax: Axes, push: np.ndarray) -> None:
    # The root: a push of a tenth is still seen.
    most = max(float(np.abs(push).max()), 1e-30)
    tint = np.sign(push) * np.sqrt(np.abs(push) / most)
    ax.imshow(tint, SIGNED, vmin=-1.25, vmax=1.25)
    for y, x in np.ndindex(*push.shape):
        ink = "white" if abs(tint[y, x]) > 0.75 else INK
        words = f"{push[y, x]:+.0f}" if round(push[y, x]) else "0"
        ax.text(x, y, words, ha="center", va="center", size=10, c=ink)
    for edge in range(1, push.shape[0]):
        ax.axhline(edge - 0.5, color=UNKNOWN, lw=0.6)
    for edge in range(1, push.shape[1]):
        ax.axvline(edge - 0.5, color=UNKNOWN, lw=0.6)
    ax.set_xticks(range(push.shape[1]))
    ax.set_yticks(range(push.shape[0]))
    ax.xaxis.tick_top()
    ax.tick_params(length=0)


def show_block(
    log_p: Image, a: Image, b: Image, rows: slice, title: str | None = None
) -> Picture:
    """What streaming holds at one moment: a block of rows, and two vectors.

    Args:
        log_p: (L, S), drawn faintly where it is not in memory.
        a, b: (L,) and (S,), beside and below it.
        rows: the block.
    """
    full, a, b = (as_array(values) for values in (log_p, a, b))
    picture = Picture(5.6, 4.8)
    ax, right, below, corner = picture.subplots(
        2, 2, width_ratios=(12, 1), height_ratios=(12, 1)
    ).flat
    corner.remove()
    low, high = float(full.min()), float(full.max())
    ax.imshow(full, HEAT, vmin=low, vmax=high, alpha=0.16, aspect="auto")
    held = np.full_like(full, np.nan)
    held[rows] = full[rows]
    ax.imshow(held, HEAT, vmin=low, vmax=high, aspect="auto", interpolation="nearest")
    frame = {"fill": False, "ec": CHOSEN, "lw": 2}
    height = rows.stop - rows.start
    corner_at = (-0.5, rows.start - 0.5)
    ax.add_patch(Rectangle(corner_at, full.shape[1], height, **frame))
    right.imshow(a[:, None], HEAT, aspect="auto", interpolation="nearest")
    below.imshow(b[None], HEAT, aspect="auto", interpolation="nearest")
    for side in (right, below):
        side.set_xticks([])
        side.set_yticks([])
    heading(ax, None, "", "cell of image 0")
    heading(right, "a")
    heading(below, None, "cell of image 1", "b")
    below.yaxis.label.set(rotation=0, va="center", ha="right", fontsize=10)
    share = height / len(full)
    words = f"in memory: rows {rows.start} to {rows.stop - 1}, {share:.0%} of all"
    ax.set_title(words, fontsize=10, color=INK)
    return picture.titled(title)
