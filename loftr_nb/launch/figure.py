"""The picture of a run while it goes: loss, learning rate and pose AUC in one row."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from PIL import Image

from ..viz.curves import running_mean, series
from ..viz.style import INK, RIGHT, SERIES, UNKNOWN, Picture, heading, legend, png

Rows = Sequence[Mapping[str, Any]]

POINTS = 1000  # more of them than pixels draw the same line, slower
TERMS = (
    ("loss", RIGHT, 1.6),
    ("loss_coarse", SERIES[4], 1.0),
    ("loss_fine", SERIES[2], 1.0),
)
SCORES = (("auc5", SERIES[4]), ("auc10", RIGHT), ("auc20", SERIES[2]))
LOSS_PERCENTILE = 98.0  # the first steps of a run may be far above all others


class RunFigure:
    """One figure that is drawn again and again, without being built again."""

    def __init__(self) -> None:
        self.picture = Picture(10.8, 2.75)
        # Fixed places: to lay a figure out takes longer than to draw it.
        self.picture.set_layout_engine(None)
        places = {"left": 0.05, "right": 0.99, "bottom": 0.16, "top": 0.89}
        self.axes = self.picture.subplots(1, 3, gridspec_kw={**places, "wspace": 0.2})
        for ax in self.axes:
            ax.grid(alpha=0.25)
            ax.spines[["top", "right"]].set_visible(False)

    def draw(self, rows: Rows) -> Picture:
        """The figure for these rows; without any, axes that say what will come."""
        loss, rate, scores = self.axes
        for ax in self.axes:
            _wipe(ax)
        _draw_loss(loss, rows)
        _draw_rate(rate, rows)
        _draw_scores(scores, rows)
        return self.picture

    def quick_png(self, rows: Rows) -> bytes:
        """The figure as a PNG that is made fast and need not be small."""
        file = io.BytesIO()
        self.draw(rows).savefig(file, format="png", pil_kwargs={"compress_level": 1})
        return file.getvalue()

    def small_png(self, rows: Rows, matches: Path | None = None) -> bytes:
        """The figure as a notebook stores it, above the newest matches picture."""
        top = png(self.draw(rows))
        if matches is None:
            return top
        try:
            return stacked([top, matches.read_bytes()])
        except OSError:  # being written now, or gone
            return top


def _wipe(ax: Axes) -> None:
    """Take the curves off and keep the ticks: to make those anew takes longest."""
    for artist in [*ax.lines, *ax.texts]:
        artist.remove()
    if ax.get_legend() is not None:
        ax.get_legend().remove()
    ax.relim()
    ax.autoscale(True)
    ax.set_axis_on()


def stacked(pictures: Sequence[bytes]) -> bytes:
    """PNGs of few colours each, one below the other on white, as one of them all."""
    images = [Image.open(io.BytesIO(content)).convert("RGB") for content in pictures]
    width = max(image.width for image in images)
    page = Image.new("RGB", (width, sum(i.height for i in images)), "white")
    top = 0
    for image in images:
        page.paste(image, ((width - image.width) // 2, top))
        top += image.height
    file = io.BytesIO()
    plain = Image.Dither.NONE
    page.quantize(256, dither=plain).save(file, "PNG", optimize=True)
    return file.getvalue()


def _draw_loss(ax: Axes, rows: Rows) -> None:
    highest: list[float] = []
    for key, colour, width in TERMS:
        steps, values = series(rows, key)
        if not len(steps):
            continue
        window = max(1, len(values) // 25)
        smooth = running_mean(values, window)
        if key == "loss":
            ax.plot(*_thinned(steps, values), color=colour, lw=0.7, alpha=0.25)
            ax.set_xlim(0, 1.03 * steps[-1])
            highest = [float(np.percentile(values, LOSS_PERCENTILE)), smooth[-1]]
        few = {"marker": "o", "ms": 2.5} if len(steps) < 20 else {}
        ax.plot(*_thinned(steps, smooth), color=colour, lw=width, label=key, **few)
    if not highest:
        return _empty(ax, "Loss", "the first row comes after a few steps")
    ax.set_ylim(0, 1.25 * max(highest) or 1)  # room for the legend
    steps, values = series(rows, "loss")
    heading(ax, f"Loss: {values[0]:#.3g} at first, {smooth_end(values):#.3g} now")
    _axes(ax, "loss")
    legend(ax, fontsize=7, ncols=3, columnspacing=1.0)


def smooth_end(values: np.ndarray) -> float:
    """The mean of the last few values, which one noisy row does not move."""
    return float(values[-max(1, len(values) // 25) :].mean())


def _draw_rate(ax: Axes, rows: Rows) -> None:
    steps, values = series(rows, "lr")
    if not len(steps):
        return _empty(ax, "Learning rate", "as the recipe plans it")
    few = {"marker": "o", "ms": 2.5} if len(steps) < 20 else {}
    ax.plot(*_thinned(steps, values), color=RIGHT, lw=1.6, **few)
    ax.set_xlim(0, 1.03 * steps[-1])
    ax.set_ylim(0, 1.08 * values.max() or 1)
    ax.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    ax.yaxis.get_offset_text().set_fontsize(7)
    heading(ax, f"Learning rate: {values[-1]:.2e} now")
    _axes(ax, "learning rate")


def _draw_scores(ax: Axes, rows: Rows) -> None:
    every, latest = series(rows, "auc10")
    if not len(every):
        return _empty(ax, "Pose AUC", "comes with the first validation")
    tried = [r for r in rows if r.get("event") != "test"]
    tested = [r for r in rows if r.get("event") == "test"]
    for key, colour in SCORES:
        ax.plot(*series(tried, key), color=colour, lw=1.3, marker="o", ms=3.5)
        at_end, score = series(tested, key)
        ax.plot(at_end[-1:], score[-1:], color=colour, marker="*", ms=10)
        ax.plot([], [], color=colour, lw=1.5, label=f"AUC@{key[3:]}")
    if tested:
        ax.plot([], [], color=INK, marker="*", ls="", ms=8, label="test pairs")
    ax.set_xlim(0, 1.03 * max(row["step"] for row in rows[-1:]))
    ax.set_ylim(0, max(1.0, ax.get_ylim()[1]))
    heading(ax, _scores_title(tried, latest[-1], bool(tested)))
    _axes(ax, "AUC (percent)")
    legend(ax, loc="best", fontsize=7)


def _scores_title(tried: Rows, latest: float, is_test: bool) -> str:
    steps, values = series(tried, "auc10")
    best = ""
    if len(steps):
        n = int(values.argmax())
        best = f"best {values[n]:.1f} at step {steps[n]:,}"
    if is_test:
        return f"Test AUC@10: {latest:.1f}" + (best and f"; held out: {best}")
    return f"Held-out AUC@10: {latest:.1f}, {best}"


def _axes(ax: Axes, unit: str) -> None:
    ax.set_xlabel("step", fontsize=8, labelpad=1)
    ax.set_ylabel(unit, fontsize=8, labelpad=2)
    ax.tick_params(labelsize=7)
    ax.title.set_fontsize(9)


def _empty(ax: Axes, title: str, words: str) -> None:
    heading(ax, title)
    ax.title.set_fontsize(9)
    ax.set_axis_off()
    where = {"transform": ax.transAxes, "ha": "center", "va": "center"}
    ax.text(0.5, 0.5, words, color=UNKNOWN, fontsize=9, **where)


def _thinned(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    keep = np.unique(
        np.linspace(0, len(steps) - 1, min(POINTS, len(steps))).astype(int)
    )
    return steps[keep], values[keep]
