"""Where a run is at a moment: numbers for gauges, and one line of words."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..progress import duration

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Snapshot:
    """A run at a moment. What is not known yet is None.

    data_wait: share of the time that a step waits for its pairs, 0 to 1.
    memory_mb: most memory of one process so far, of the card on a GPU.
    left_s: seconds to the last step, without the evaluation after it.
    doing: what the training itself says it is doing, such as ``evaluating``.
    """

    state: str
    step: int = 0
    total: int | None = None
    epoch: float | None = None
    loss: float | None = None
    lr: float | None = None
    auc5: float | None = None
    auc10: float | None = None
    auc20: float | None = None
    pairs_per_s: float | None = None
    data_wait: float | None = None
    memory_mb: float | None = None
    left_s: float | None = None
    doing: str | None = None

    def line(self) -> str:
        """One line: the step, what is known, and the time left."""
        words = [self.state, self.steps()]
        if self.loss is not None:
            words.append(f"loss {self.loss:.3f}")
        if self.lr is not None:
            words.append(f"lr {self.lr:.2e}")
        if self.auc10 is not None:
            words.append(f"AUC@10 {self.auc10:.1f}")
        if self.state in ("training", "unknown"):
            words += self._speed()
        return "  ".join(words)

    def steps(self) -> str:
        """``step 120/1,520``."""
        return f"step {self.step:,}" + (f"/{self.total:,}" if self.total else "")

    def _speed(self) -> list[str]:
        words = []
        if self.pairs_per_s is not None:
            words.append(f"{self.pairs_per_s:.1f} pairs/s")
        if self.data_wait is not None:
            words.append(f"waiting {self.data_wait:.0%}")
        if self.memory_mb is not None:
            words.append(f"peak {self.memory_mb:,.0f} MB")
        if self.left_s is not None:
            words.append(f"left {duration(self.left_s)}")
        return words


def read_progress(folder: Path, since: float = 0.0) -> dict[str, Any]:
    """What the training says of itself in ``progress.json``.

    Empty where there is none, or only one from before ``since`` (seconds since
    1970), which an earlier launch left.
    """
    path = folder / "progress.json"
    try:
        # File systems keep time in steps, some of a second.
        if path.stat().st_mtime < since - 1:
            return {}
        progress = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return progress if isinstance(progress, dict) else {}


def take(
    state: str,
    rows: Rows,
    progress: Mapping[str, Any],
    total: int | None = None,
    pairs_a_step: int | None = None,
) -> Snapshot:
    """The newest of what the rows and ``progress.json`` say.

    Args:
        total: the last step, where ``progress.json`` does not say it.
        pairs_a_step: pairs of all processes in a step, for the time left.
    """
    values: dict[str, Any] = {}
    known = ("epoch", "loss", "lr", "pairs_per_s", "data_wait")
    for row in rows[-200:]:  # a later row overrides an earlier one
        values |= {k: row[k] for k in known if _number(row.get(k))}
        if _number(row.get("peak_mb")):
            values["memory_mb"] = row["peak_mb"]
    for row in reversed(rows):
        if _number(row.get("auc10")):
            values |= {k: row.get(k) for k in ("auc5", "auc10", "auc20")}
            break
    step = max([0, *(row["step"] for row in rows[-1:])])
    values |= {k: progress[k] for k in known if _number(progress.get(k))}
    for name, ours in (("memory", "memory_mb"), ("memory_mb", "memory_mb")):
        if _number(progress.get(name)):
            values[ours] = progress[name]
    step = max(step, progress["step"]) if _number(progress.get("step")) else step
    total = progress["total"] if _number(progress.get("total")) else total
    left = progress.get("eta_s")
    if not _number(left):
        left = _time_left(step, total, values.get("pairs_per_s"), pairs_a_step)
    doing = progress.get("state")
    doing = doing if isinstance(doing, str) and doing != "training" else None
    return Snapshot(state, step, total, left_s=left, doing=doing, **values)


def _time_left(
    step: int, total: int | None, speed: float | None, pairs_a_step: int | None
) -> float | None:
    if not (total and speed and pairs_a_step):
        return None
    return max(0, total - step) * pairs_a_step / speed


def _number(value: Any) -> bool:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
    )
