"""Time and memory against image size, both sides."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from ..viz.style import SERIES, Picture, heading, legend
from .compare import Comparison, Side

SIZE = "image size (megapixels)"


def growth_picture(rows: Sequence[Comparison], title: str | None = None) -> Picture:
    """Seconds and peak memory by megapixels; a cross marks what did not fit.

    Args:
        rows: one comparison for each size, in order of size.
    """
    picture = Picture(9.2, 3.6)
    time, memory = picture.subplots(1, 2)
    names = ("ours", rows[0].name)
    for ax, get in ((time, _seconds), (memory, _gigabytes)):
        for name, colour in zip(names, SERIES, strict=False):
            sides = [r.ours if name == "ours" else r.other for r in rows]
            _line(ax, rows, [get(s) for s in sides], name, colour)
        ax.set_xlim(0, None)
        ax.set_ylim(0, None)
        ax.grid(alpha=0.25)
        legend(ax, loc="upper left")
    what = "step" if rows[0].order.what == "step" else "pair"
    heading(time, f"Time of a {what}", SIZE, "seconds")
    heading(memory, f"Peak memory of a {what}", SIZE, "GiB")
    return picture.titled(title)


def _line(
    ax: Axes, rows: Sequence[Comparison], values: list, name: str, colour: str
) -> None:
    sizes = [r.order.width * r.order.height / 1e6 for r in rows]
    known = [(x, y) for x, y in zip(sizes, values, strict=True) if y is not None]
    if known:
        ax.plot(*zip(*known, strict=True), "o-", color=colour, label=name, ms=4)
    for x, y in zip(sizes, values, strict=True):
        if y is None:
            ax.plot(
                x,
                0.03,
                "x",
                color=colour,
                ms=8,
                mew=2,
                clip_on=False,
                transform=ax.get_xaxis_transform(),
            )


def _seconds(side: Side) -> float | None:
    return side.seconds


def _gigabytes(side: Side) -> float | None:
    return side.peak_mb / 1024 if side.peak_mb is not None else None
