"""Pictures of confidences: from scores of a few cells to the matches of a pair.

Small matrices carry their numbers and their row and column sums, because the sums
are what softmax and optimal transport are about. Rows are cells of image 0,
columns cells of image 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from .features import DASHES, show_series
from .matches import show_matches
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
    as_image,
    heading,
    ink_on,
    legend,
)


def show_numbers(
    panels: Mapping[str, Image],
    sums: bool = True,
    dustbin: bool = False,
    top: float | None = None,
    columns: int = 4,
    title: str | None = None,
) -> Picture:
    """Small matrices with their numbers written in, beside row and column sums.

    Args:
        panels: name to (rows, columns); at most about 6 of each.
        sums: write the sum of each row at its right and of each column below it.
        dustbin: the last row and column are dustbins, set apart by a line.
        top: value of the brightest colour; the largest of all panels by default.
    """
    arrays = {name: as_array(matrix) for name, matrix in panels.items()}
    top = top or max(float(a.max()) for a in arrays.values())
    columns = min(columns, len(arrays))
    rows = -(-len(arrays) // columns)
    picture = Picture(min(8.6, 2.9 * columns), (7.4 / columns + 0.5) * rows + 0.3)
    if columns < 3:
        picture.set_size_inches(3.4 * columns, 3.6 * rows)
    for n, (name, values) in enumerate(arrays.items()):
        ax = picture.add_subplot(rows, columns, n + 1)
        _draw_numbers(ax, values, top, dustbin)
        if sums:
            _write_sums(ax, values)
        heading(ax, name)
    return picture.titled(title)


def _draw_numbers(ax: Axes, values: np.ndarray, top: float, dustbin: bool) -> None:
    h, w = values.shape
    low = min(0.0, float(values.min()))
    ax.imshow(values, HEAT, vmin=low, vmax=top)
    for y, x in np.ndindex(h, w):
        ink = ink_on(values[y, x], low, top)
        ax.text(x, y, _short(values[y, x]), ha="center", va="center", size=9, c=ink)
    names = [str(n) for n in range(max(h, w))]
    rows, columns = names[:h], names[:w]
    if dustbin:
        rows[-1] = columns[-1] = "bin"
        ax.axhline(h - 1.5, color="white", lw=3)
        ax.axvline(w - 1.5, color="white", lw=3)
    ax.set_xticks(range(w), columns)
    ax.set_yticks(range(h), rows)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)


def _write_sums(ax: Axes, values: np.ndarray) -> None:
    h, w = values.shape
    for y, total in enumerate(values.sum(1)):
        ax.text(w - 0.35, y, _short(total), va="center", size=9, color=INK)
    for x, total in enumerate(values.sum(0)):
        ax.text(x, h - 0.2, _short(total), ha="center", size=9, color=INK, va="center")
    ax.set_xlim(-0.5, w + 0.1)
    ax.set_ylim(h + 0.1, -0.5)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _short(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 9.95 else f"{value:.1f}"


def show_softmax(
    scores: Image, temperatures: Sequence[float], title: str | None = None
) -> Picture:
    """One row of scores, and the probabilities that each temperature makes of it."""
    scores = as_array(scores).astype(float)
    picture = Picture(8.6, 2.7)
    axes = picture.subplots(1, len(temperatures) + 1)
    best = scores.argmax()
    colours = [RIGHT if n == best else UNKNOWN for n in range(len(scores))]
    axes[0].bar(range(len(scores)), scores, color=colours)
    heading(axes[0], "the scores", "cell of image 1", "score")
    for ax, temperature in zip(axes[1:], temperatures, strict=True):
        raised = np.exp((scores - scores.max()) / temperature)
        share = raised / raised.sum()
        bars = ax.bar(range(len(scores)), share, color=colours)
        ax.bar_label(bars, [f"{p:.2f}" for p in share], fontsize=7, color=INK)
        ax.set_ylim(0, 1.12)
        heading(ax, f"temperature {temperature:g}", "cell of image 1", "probability")
    for ax in axes:
        ax.set_xticks(range(len(scores)))
    return picture.titled(title)


def show_lines(
    x: Sequence[float],
    lines: Mapping[str, Sequence[float]],
    xlabel: str,
    ylabel: str,
    mark: tuple[float, str] | None = None,
    log: bool = False,
    title: str | None = None,
) -> Picture:
    """A few quantities over one setting: :func:`show_series` with one x for all.

    mark: a place on the x axis and its name, drawn as an upright line.
    log: logarithmic y axis.
    """
    series = {name: (x, values) for name, values in lines.items()}
    kind = {"log": "y" if log else "", "marker": True, "mark": mark}
    return show_series(series, title, xlabel, ylabel, **kind)


def show_stages(
    image0: Image,
    image1: Image,
    keypoints0: Image,
    keypoints1: Image,
    errors: Image,
    stages: Mapping[str, Image],
    threshold: float,
    limit: int = 120,
    title: str | None = None,
) -> Picture:
    """The same matches after each of several filters, coloured by error.

    Args:
        keypoints0, keypoints1: (M, 2) pixels; errors: (M,), NaN = unknown.
        stages: name of a panel to (M,) bool, the matches drawn in it.
    """
    h, w = as_image(image0).shape[:2]
    rows = -(-len(stages) // 2)
    picture = Picture(8.6, rows * (4.3 * h / (2 * w) + 0.62) + 0.3)
    axes = picture.subplots(rows, 2).flat
    points0, points1, errors = map(as_array, (keypoints0, keypoints1, errors))
    for ax, (name, keep) in zip(axes, stages.items(), strict=False):
        keep = as_array(keep)
        points = (points0[keep], points1[keep], errors[keep])
        show_matches(
            image0, image1, *points, threshold=threshold, limit=limit, title=name, ax=ax
        )
        # The title of a panel counts what is left; its legend would say it again.
        ax.get_legend().remove()
        known = np.isfinite(points[2])
        right = (points[2][known] < threshold).mean() if known.any() else 0.0
        heading(ax, f"{name}: {keep.sum()} left, {right:.0%} right")
    return picture.titled(title)


def show_log_confidence(
    groups: Mapping[str, Image],
    bound: float,
    bound_name: str,
    title: str | None = None,
) -> Picture:
    """How small P is: histograms of log10 P, and a bound below which it is cut off.

    Args:
        groups: name to natural log P, any shape.
        bound: P at the bound.
    """
    picture = Picture(7.2, 3.3)
    ax = picture.subplots()
    tens = {n: as_array(v).reshape(-1) / np.log(10) for n, v in groups.items()}
    low = min(float(v.min()) for v in tens.values())
    bins = np.linspace(low, 0.0, 61)
    for n, (name, values) in enumerate(tens.items()):
        share = np.full(len(values), 1 / len(values))
        style = {"color": SERIES[n], "lw": 1.6, "ls": DASHES[n % len(DASHES)]}
        ax.hist(values, bins, weights=share, histtype="step", label=name, **style)
    edge = np.log10(bound)
    ax.axvspan(low, edge, color=WRONG, alpha=0.12, lw=0)
    ax.axvline(edge, color=WRONG, lw=1.2, label=bound_name)
    ax.set_xlim(low, 0)
    legend(ax, loc="upper left")
    heading(ax, title, "log10 P at a true match", "share of true matches")
    return picture


def show_two_confidences(
    first: Image,
    second: Image,
    right: Image,
    names: tuple[str, str],
    threshold: float,
    title: str | None = None,
) -> Picture:
    """P of the same candidates by two matchers, one dot each, coloured by truth."""
    picture = Picture(5.2, 4.6)
    ax = picture.subplots()
    right = as_array(right)
    x, y = as_array(first), as_array(second)
    groups = (
        (~right, WRONG, "x", "a wrong cell"),
        (right, RIGHT, "o", "the true cell"),
    )
    for group, colour, mark, name in groups:
        label = f"{name}: {group.sum()}"
        ax.scatter(x[group], y[group], s=13, c=colour, marker=mark, lw=0.8, label=label)
    box = {"fill": False, "ec": CHOSEN, "lw": 1.6}
    ax.add_patch(Rectangle((threshold, threshold), 1 - threshold, 1 - threshold, **box))
    ax.plot([0, 1], [0, 1], color=INK, lw=0.7, ls=":")
    ax.set_xlim(-0.02, 1.02)
    ax.set_ylim(-0.02, 1.02)
    ax.set_aspect("equal")
    legend(ax, loc="upper left")
    heading(ax, title, f"P by {names[0]}", f"P by {names[1]}")
    return picture
