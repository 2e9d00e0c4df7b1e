"""Bars in groups: the same few numbers of several things, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .style import SERIES, Picture, heading, legend


def show_grouped(
    names: Sequence[str],
    groups: Mapping[str, Sequence[float]],
    unit: str,
    title: str | None = None,
    decimals: int = 0,
) -> Picture:
    """Several numbers of each name, as bars with their values.

    Args:
        names: what is compared, from top to bottom.
        groups: what each number is, to one value a name.
        unit: what is drawn, with its unit, for the axis.
    """
    picture = Picture(7.2, (0.3 * len(groups) + 0.2) * len(names) + 1.2)
    ax = picture.subplots()
    height = 0.8 / len(groups)
    rows = np.arange(len(names))
    for n, (name, values) in enumerate(groups.items()):
        at = rows + (n - (len(groups) - 1) / 2) * height
        bars = ax.barh(at, list(values), 0.9 * height, color=SERIES[n], label=name)
        ax.bar_label(bars, fmt=f"{{:,.{decimals}f}}", padding=4, fontsize=9)
    top = max(max(values) for values in groups.values())
    ax.set_yticks(rows, names)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.15 * top if top > 0 else 1)
    ax.spines[["top", "right"]].set_visible(False)
    legend(ax, loc="best")
    heading(ax, None, unit)
    ax.tick_params(axis="y", labelsize=9)
    return picture.titled(title)
