"""Several processes at work: who holds which pair, what they add up, what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch
from torch import Tensor

from .curves import series
from .style import (
    INK,
    RIGHT,
    SERIES,
    UNKNOWN,
    Picture,
    as_array,
    heading,
    legend,
)

Table = np.ndarray | Tensor
Rows = Sequence[Mapping[str, float]]
Curve = tuple[Sequence[float], Sequence[float]]


def show_dealt(
    panels: Mapping[str, tuple[Table, Table]], title: str | None = None
) -> Picture:
    """Which process holds which pair, as one table of coloured numbers a panel.

    Args:
        panels: heading of each panel to (steps, pairs) numbers of the pairs and
            (steps, pairs) ranks that hold them.
    """
    tables = {
        head: (as_array(pairs), as_array(ranks))
        for head, (pairs, ranks) in panels.items()
    }
    steps = max(len(pairs) for pairs, _ in tables.values())
    picture = Picture(3.6 * len(tables), 0.34 * steps + 1.35)
    axes = picture.subplots(1, len(tables), squeeze=False)[0]
    for ax, (head, (pairs, ranks)) in zip(axes, tables.items(), strict=True):
        _deal(ax, pairs, ranks)
        heading(ax, head, "place in the global batch", "step")
    most = max(int(ranks.max()) for _, ranks in tables.values())
    picture.legend(
        handles=[
            Patch(color=_pale(rank), label=f"rank {rank}") for rank in range(most + 1)
        ],
        loc="outside lower center",
        ncols=most + 1,
        fontsize=8,
        frameon=False,
    )
    return picture.titled(title)


def _deal(ax: Axes, pairs: np.ndarray, ranks: np.ndarray) -> None:
    height, width = pairs.shape
    colours = np.array([_pale(rank) for rank in range(int(ranks.max()) + 1)])
    ax.imshow(colours[ranks], aspect="auto", interpolation="nearest")
    for y, x in np.ndindex(height, width):
        ax.text(x, y, f"{pairs[y, x]}", ha="center", va="center", fontsize=7, color=INK)
    ax.set_xticks(range(width))
    ax.set_yticks(range(height))
    ax.set_xticks(np.arange(width + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(height + 1) - 0.5, minor=True)
    ax.grid(which="minor", color="white", lw=1.5)
    ax.tick_params(which="both", length=0)


def _pale(rank: int) -> tuple[float, ...]:
    """A rank's colour, light enough for a number on it."""
    return tuple(0.45 * c + 0.55 for c in to_rgb(SERIES[rank % len(SERIES)]))


def show_gradient_gaps(
    gaps: Mapping[str, Sequence[float]], title: str | None = None
) -> Picture:
    """How far two gradients are apart in each tensor of weights, on a log scale.

    Args:
        gaps: name of each comparison to one relative difference a tensor, in the
            model's own order. Exact zeros are drawn at the lower edge.
    """
    picture = Picture(8.6, 3.3)
    ax = picture.subplots()
    low = min(v for values in gaps.values() for v in values if v > 0) / 3
    for n, (name, values) in enumerate(gaps.items()):
        shown = np.maximum(np.asarray(values, dtype=float), low)
        ax.scatter(range(len(shown)), shown, s=12, c=SERIES[n], lw=0, label=name)
    ax.axhline(1e-12, color=UNKNOWN, lw=1, ls="--")
    ax.text(0, 1.4e-12, "rounding of float64, added up", fontsize=8, color=INK)
    ax.set_yscale("log")
    ax.grid(alpha=0.25)
    legend(ax, loc="center right")
    heading(
        ax, None, "tensor of weights, from the image to the offsets", "relative gap"
    )
    return picture.titled(title)


def show_bars(
    values: Mapping[str, float],
    unit: str,
    title: str | None = None,
    decimals: int = 0,
) -> Picture:
    """A few numbers of one kind as bars with their values.

    unit: what is drawn, with its unit, for the axis.
    """
    picture = Picture(7.2, 0.42 * len(values) + 1.2)
    ax = picture.subplots()
    names = list(values)
    bars = ax.barh(names, list(values.values()), color=RIGHT, height=0.6)
    ax.bar_label(bars, fmt=f"{{:,.{decimals}f}}", padding=4, fontsize=9)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.15 * max(values.values()))
    ax.spines[["top", "right"]].set_visible(False)
    heading(ax, None, unit)
    ax.tick_params(axis="y", labelsize=9)
    return picture.titled(title)


def show_stays(
    whole: Rows, stays: Mapping[str, Rows], key: str, unit: str, title: str
) -> Picture:
    """A run in several stays, drawn on the run that nobody disturbed.

    Args:
        whole: rows of the undisturbed run.
        stays: how each stay ended to its own rows. A step that was lost and taken
            again is in two of them.
        key: the value that is drawn. unit: of it, for the axis.
    """
    picture = Picture(8.6, 3.4)
    ax = picture.subplots()
    ax.plot(*series(whole, key), color=UNKNOWN, lw=8, label="undisturbed, 1 stay")
    for n, (name, rows) in enumerate(stays.items()):
        steps, values = series(rows, key)
        colour = SERIES[n % len(SERIES)]
        # Smaller from stay to stay: a step that is taken twice shows both.
        size = max(3, 9 - 3 * n)
        ax.plot(steps, values, color=colour, lw=1.5, marker="o", ms=size, label=name)
        if n < len(stays) - 1 and len(steps):
            ax.axvline(steps[-1] + 0.5, color=colour, lw=1, ls="--")
    ax.grid(alpha=0.25)
    legend(ax, loc="best")
    heading(ax, None, "step", unit)
    return picture.titled(title)


def show_days(
    lines: Mapping[str, Curve],
    known: Mapping[str, tuple[float, float]],
    title: str | None = None,
) -> Picture:
    """Days of a whole run over the number of GPUs, both on a log scale.

    Args:
        lines: name of an assumption to numbers of GPUs and days.
        known: what people report, name to (GPUs, days).
    """
    picture = Picture(8.6, 3.8)
    ax = picture.subplots()
    for n, (name, (gpus, days)) in enumerate(lines.items()):
        ax.plot(gpus, days, color=SERIES[n], lw=1.5, marker=".", label=name)
    for name, (gpus, days) in known.items():
        ax.plot(gpus, days, "D", color=INK, ms=6)
        ax.annotate(
            name,
            (gpus, days),
            textcoords="offset points",
            xytext=(-9, -4),
            ha="right",
            va="top",
            fontsize=8,
        )
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ticks = sorted({g for gpus, _ in lines.values() for g in gpus})
    ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
    ax.grid(alpha=0.25)
    legend(ax, loc="upper right")
    heading(ax, None, "processes: GPUs, or machines", "days")
    return picture.titled(title)
