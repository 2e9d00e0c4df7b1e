"""Curves of a training run, from ``metrics.jsonl`` or from rows in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from ..errors import RunError
from .style import SERIES, Picture, heading, legend

Rows = Sequence[Mapping[str, float]]

# What is drawn together: title, unit of the axis, names in a row of metrics.
PANELS = (
    ("Loss falls", "loss", ("loss", "loss_coarse", "loss_fine")),
    ("Learning rate as planned", "learning rate", ("lr",)),
    ("More coarse cells are right", "share of cells", ("coarse_accuracy", "accuracy")),
    ("Refined places come closer", "error (input pixels)", ("fine_error_px",)),
    ("Pose accuracy on unseen scenes", "AUC (percent)", ("auc5", "auc10", "auc20")),
    ("More matches agree with the pose", "precision", ("precision",)),
)


def read_metrics(path: Path | str) -> list[dict]:
    """Rows of a ``metrics.jsonl``, or of the one in a run folder.

    A last line that a running process has not finished writing is left out.

    Raises:
        RunError: no such file, or a line before the last is not JSON.
    """
    path = Path(path)
    path = path / "metrics.jsonl" if path.is_dir() else path
    if not path.is_file():
        raise RunError(
            f"{path} does not exist: give a run folder, or the metrics.jsonl in it"
        )
    lines = path.read_text().splitlines()
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise RunError(
                    f"{path}, line {number} is not JSON: {line[:40]!r}. Remove "
                    "this line to draw the rest"
                ) from error
    return rows


def curves(
    runs: Rows | Path | str | Mapping[str, Rows | Path | str],
    title: str | None = None,
    smooth: int = 1,
    keys: Sequence[str] | None = None,
) -> Picture:
    """Loss, learning rate, accuracy and pose AUC over the steps of a run.

    Args:
        runs: rows of metrics (each with ``step``), a run folder, a
            ``metrics.jsonl``, or several of these under a name, to compare.
        title: what to see; the panels' own titles, which tell of a run that goes
            well, are then left out.
        smooth: mean over so many rows; the raw values stay visible behind it.
        keys: the values to draw; None draws all that are known.

    Panels without any value are left out.

    Raises:
        RunError: a file is missing or damaged, or no row has a known name.
    """
    named = runs if isinstance(runs, Mapping) else {"": runs}
    named = {
        name: read_metrics(r) if isinstance(r, (str, Path)) else list(r)
        for name, r in named.items()
    }
    present = {key for rows in named.values() for row in rows for key in row}
    if keys is not None:
        present &= set(keys)
    panels = [p for p in PANELS if present.intersection(p[2])]
    if not panels:
        raise RunError(
            "nothing to draw: no row holds any of "
            + ", ".join(key for p in PANELS for key in p[2])
        )
    columns = 3 if len(panels) == 3 else min(2, len(panels))
    width = 10.8 if columns == 3 else 4.6 * columns
    picture = Picture(width, 2.9 * -(-len(panels) // columns) + 0.2)
    for n, (head, unit, names) in enumerate(panels):
        ax = picture.add_subplot(-(-len(panels) // columns), columns, n + 1)
        names = [k for k in names if k in present]
        # One chosen value a panel: the axis says which, the legend whose it is.
        lone = keys is not None and len(names) == 1 and "" not in named
        _draw_panel(ax, named, names, smooth, lone)
        heading(ax, None if title else head, "step", unit)
    return picture.titled(title)


def _draw_panel(
    ax: Axes, named: Mapping[str, Rows], keys: Sequence[str], smooth: int, lone: bool
) -> None:
    count = 0
    for name, rows in named.items():
        for key in keys:
            steps, values = series(rows, key)
            if not len(steps):
                continue
            colour = SERIES[count % len(SERIES)]
            label = name if lone else f"{name} {key}".strip()
            marker = "o" if len(steps) <= 30 else None
            if smooth > 1 and len(steps) > smooth:
                ax.plot(steps, values, color=colour, lw=0.6, alpha=0.3)
                values = running_mean(values, smooth)
                marker = None
            ax.plot(
                steps, values, color=colour, lw=1.5, marker=marker, ms=3, label=label
            )
            count += 1
    ax.grid(alpha=0.25)
    ax.set_ylim(bottom=0)
    legend(ax, loc="best")


def series(rows: Rows, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of the rows that hold ``key``; rows without it are skipped."""
    held = [(r["step"], r[key]) for r in rows if r.get(key) is not None]
    steps = np.array([h[0] for h in held], dtype=np.int64)
    return steps, np.array([h[1] for h in held], dtype=np.float64)


def running_mean(values: np.ndarray, n: int) -> np.ndarray:
    """Mean of the last n values (of all there are, at the start)."""
    total = np.cumsum(np.concatenate([[0.0], values]))
    end = np.arange(1, len(values) + 1)
    start = np.maximum(0, end - n)
    return (total[end] - total[start]) / (end - start)
