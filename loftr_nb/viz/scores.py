"""Pictures of pose scores: recall, spread, bins, and what a score hides.

Everything comes in as numbers, errors in degrees (inf for no pose), scores and
shares in percent. Letters: N pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import FixedLocator, NullLocator

from .style import (
    INK,
    RIGHT,
    SERIES,
    UNKNOWN,
    WRONG,
    Picture,
    heading,
    legend,
)

FLOOR = 0.05  # degrees: smaller errors are drawn here on a log axis
NO_POSE = 300.0  # degrees: where pairs without a pose are drawn, above 180
Errors = Sequence[float] | np.ndarray


def show_recall(
    errors: Mapping[str, Errors],
    threshold: float = 20.0,
    shade: float | None = None,
    marks: Sequence[float] = (),
    title: str | None = None,
) -> Picture:
    """Share of pairs below an error, against the error, one curve a matcher.

    Args:
        errors: name (with its score, if it shall be read) to (N,) degrees.
        threshold: where the axis ends.
        shade: fill the area under the first curve up to this error: the AUC is
            the filled share of the box.
        marks: errors at which a vertical line is drawn.
    """
    picture = Picture(7.6, 3.9)
    ax = picture.subplots()
    for n, (name, values) in enumerate(errors.items()):
        x, y = _recall(values, threshold)
        small = len(np.atleast_1d(values)) <= 20
        ax.plot(x, y, color=SERIES[n], lw=1.8, label=name)
        if small:
            ax.plot(x[:-1], y[:-1], "o", color=SERIES[n], ms=4)
        if shade is not None and n == 0:
            inside = np.linspace(0, shade, 400)
            ax.fill_between(inside, np.interp(inside, x, y), color=RIGHT, alpha=0.2)
            ax.plot([0, shade, shade], [100, 100, 0], color=INK, lw=0.8, ls="--")
    for mark in marks:
        ax.axvline(mark, color=UNKNOWN, lw=1, zorder=0)
    ax.set_xlim(0, threshold)
    ax.set_ylim(0, 104)
    ax.grid(alpha=0.25)
    legend(ax, loc="upper left" if shade is None else "lower right")
    heading(ax, None, "pose error (degrees)", "pairs below it (percent)")
    return picture.titled(title)


def _recall(values: Errors, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """The curve's corners: from (0, 0), up at each error, level at the end."""
    ordered = np.sort(np.nan_to_num(np.asarray(values, np.float64), nan=np.inf))
    below = ordered[ordered < threshold]
    share = 100 * np.arange(len(below) + 1) / max(1, len(ordered))
    return np.r_[0.0, below, threshold], np.r_[share, share[-1]]


def show_pose_errors(
    error_R: Errors,
    error_t: Errors,
    threshold: float = 10.0,
    title: str | None = None,
) -> Picture:
    """Both errors of each pair, one against the other, on log axes.

    Below the diagonal the rotation decides, above it the translation. Pairs
    whose larger error is under ``threshold`` lie in the marked square. Pairs
    without a pose stand at the corner beyond 180 degrees.
    """
    picture = Picture(6.4, 5.2)
    ax = picture.subplots()
    R, t = (np.asarray(e, np.float64) for e in (error_R, error_t))
    lost = ~np.isfinite(R) | ~np.isfinite(t)
    x, y = (np.clip(np.where(lost, NO_POSE, e), FLOOR, NO_POSE) for e in (R, t))
    good = np.maximum(x, y) < threshold
    for group, colour, name in (
        (good, RIGHT, f"both below {threshold:g} degrees"),
        (~good & ~lost, WRONG, "one or both above"),
        (lost, INK, "no pose"),
    ):
        if group.any():
            label = f"{name}: {group.sum()}"
            ax.scatter(x[group], y[group], s=20, c=colour, lw=0, label=label)
    ends = [FLOOR, NO_POSE]
    ax.plot(ends, ends, color=UNKNOWN, lw=1, zorder=0)
    ax.plot([FLOOR, threshold, threshold], [threshold, threshold, FLOOR], color=INK)
    ax.loglog()
    for axis in (ax.xaxis, ax.yaxis):
        _plain_log(axis, (0.1, 1, 5, 20, 90))
    legend(ax, loc="lower right")
    heading(ax, None, "rotation error (degrees)", "translation error (degrees)")
    return picture.titled(title)


def _plain_log(axis, places: Sequence[float]) -> None:
    axis.set_major_locator(FixedLocator(places))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda value, _: f"{value:g}")


def show_spread(
    scores: Mapping[str, Mapping[str, Sequence[float]]],
    unit: str,
    title: str | None = None,
) -> Picture:
    """Repeated scores as dots, with a bar from the smallest to the largest.

    scores: group on the axis (a solver) to name (a matcher) to its repeats.
    """
    picture = Picture(7.6, 3.8)
    ax = picture.subplots()
    names = list(dict.fromkeys(name for group in scores.values() for name in group))
    for place, group in enumerate(scores.values()):
        for n, name in enumerate(names):
            values = np.asarray(group.get(name, ()), np.float64)
            if not values.size:
                continue
            x = place + 0.28 * (n - (len(names) - 1) / 2)
            ax.plot(
                [x, x], [values.min(), values.max()], color=SERIES[n], lw=5, alpha=0.3
            )
            ax.plot([x - 0.07, x + 0.07], [values.mean()] * 2, color=SERIES[n], lw=2)
            label = name if place == 0 else None
            ax.scatter([x] * len(values), values, s=18, c=SERIES[n], label=label)
    ax.set_xticks(range(len(scores)), list(scores))
    ax.set_ylim(bottom=0)
    ax.grid(alpha=0.25, axis="y")
    legend(ax, loc="lower right")
    heading(ax, None, "", unit)
    return picture.titled(title)


def show_differences(
    differences: Mapping[str, Errors], unit: str, title: str | None = None
) -> Picture:
    """Histograms of bootstrapped differences, with zero and the 95 % interval."""
    picture = Picture(9.2, 3.2)
    axes = picture.subplots(1, len(differences), squeeze=False, sharex=True)[0]
    for n, (ax, (name, values)) in enumerate(
        zip(axes, differences.items(), strict=True)
    ):
        low, high = np.percentile(values, [2.5, 97.5])
        ax.hist(values, bins=40, color=SERIES[0], alpha=0.75)
        ax.axvspan(low, high, color=UNKNOWN, alpha=0.35, zorder=0)
        ax.axvline(0, color=INK, lw=1.2)
        heading(ax, f"{name}: {low:+.1f} to {high:+.1f}", unit, "" if n else "draws")
    return picture.titled(title)


def show_bins(
    panels: Mapping[str, Mapping[str, Mapping[str, float]]],
    unit: str,
    title: str | None = None,
) -> Picture:
    """Bars side by side: one panel a way of binning, one group a bin.

    panels: label of the axis to bin to matcher to value.
    """
    picture = Picture(9.2, 3.6)
    axes = picture.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for k, (ax, (label, bins)) in enumerate(zip(axes, panels.items(), strict=True)):
        names = list(next(iter(bins.values())))
        wide = 0.8 / len(names)
        for n, name in enumerate(names):
            x = np.arange(len(bins)) + wide * (n - (len(names) - 1) / 2)
            heights = [group[name] for group in bins.values()]
            bars = ax.bar(x, heights, 0.92 * wide, color=SERIES[n], label=name)
            ax.bar_label(bars, fmt="%.0f", fontsize=8)
        ax.set_xticks(range(len(bins)), list(bins))
        ax.margins(y=0.12)
        heading(ax, None, label, unit if k == 0 else "")
    legend(axes[-1], loc="best")
    return picture.titled(title)


def show_precision(
    matches: Mapping[str, Errors],
    precision: Mapping[str, Errors],
    errors: Mapping[str, Errors],
    threshold: float = 10.0,
    title: str | None = None,
) -> Picture:
    """Each pair by its number of matches and their precision, one panel a matcher.

    Blue: the pose is within ``threshold`` degrees.
    """
    picture = Picture(9.2, 3.7)
    axes = picture.subplots(1, len(matches), squeeze=False, sharey=True, sharex=True)[0]
    for k, (ax, name) in enumerate(zip(axes, matches, strict=True)):
        good = np.asarray(errors[name]) < threshold
        x, y = np.asarray(matches[name]), np.asarray(precision[name])
        for group, colour, words in (
            (good, RIGHT, f"pose within {threshold:g} degrees"),
            (~good, WRONG, "pose wrong or missing"),
        ):
            label = f"{words}: {group.sum()}"
            ax.scatter(x[group], y[group], s=18, c=colour, lw=0, alpha=0.8, label=label)
        heading(ax, name, "matches", "" if k else "precision (percent)")
        ax.grid(alpha=0.25)
        ax.set_ylim(-4, 104)
        legend(ax, loc="lower right")
    return picture.titled(title)


def show_settings(
    panels: Mapping[str, Mapping[str, tuple[Errors, Errors]]],
    unit: str,
    title: str | None = None,
    log: bool = False,
) -> Picture:
    """A score against a setting, one panel a setting, a line a name.

    Args:
        panels: label of the x axis to name to (x, y).
        log: draw x by its logarithm, with a tick at each x; all above 0.
    """
    picture = Picture(4.6 * max(2, len(panels)) - 1.6 * (len(panels) == 1), 3.5)
    axes = picture.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for k, (ax, (label, lines)) in enumerate(zip(axes, panels.items(), strict=True)):
        for n, (name, (x, y)) in enumerate(lines.items()):
            style = "-" if n < 2 else "--"
            ax.plot(x, y, style, color=SERIES[n], marker="o", ms=4, label=name)
        if log:
            ax.set_xscale("log")
            _plain_log(ax.xaxis, list(next(iter(lines.values()))[0]))
        ax.grid(alpha=0.25)
        heading(ax, None, label, "" if k else unit)
        legend(ax, loc="best")
    return picture.titled(title)
