"""What state a run is in, from what is alive and what lies on disk.

Whoever asks may be another process than the one that launched, so no exit status is
to be had: the summary, what the training says of itself and torchrun's own report
in the log take its place.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from ..training import RunFolder
from . import logs
from . import record as records
from .record import Record
from .snapshot import read_progress

# Files written so recently belong to a run that lives, where its processes cannot
# be seen.
FRESH_SECONDS = 180
ENDED = ("finished", "failed", "stopped")


def read_summary(folder: Path) -> dict[str, Any] | None:
    """The scores of a complete run, None before."""
    try:
        return RunFolder(folder).read_summary()
    except (OSError, json.JSONDecodeError):
        return None


def is_fresh(folder: Path) -> bool:
    """Whether a run's files were written in the last minutes."""
    names = ("metrics.jsonl", "progress.json", "launch.json")
    return min(records.age(folder / name) for name in names) < FRESH_SECONDS


def alive(
    folder: Path, record: Record, process: subprocess.Popen | None = None
) -> bool:
    """Whether the launch still runs; on another machine, whether it still writes.

    process: the launch itself, where this process started it. Asking it also
        lets the system forget it once it has ended.
    """
    if process is not None and process.pid == record.pid:
        return process.poll() is None
    if records.here(record):
        return records.is_alive(record)
    return is_fresh(folder) and read_summary(folder) is None


def state_of(folder: Path, record: Record, process: subprocess.Popen | None) -> str:
    """The state of a launched run; see :class:`loftr_nb.launch.Run`."""
    if alive(folder, record, process):
        return "training" if _has_stepped(folder, record) else "starting"
    if not records.here(record):
        return "finished" if read_summary(folder) is not None else "unknown"
    return _how_it_ended(folder, record, process)


def _has_stepped(folder: Path, record: Record) -> bool:
    metrics = folder / "metrics.jsonl"
    if _newer(metrics, record) and os.path.getsize(metrics):
        return True
    if "step" in read_progress(folder, record.time):
        return True
    log = logs.log_path(folder, record.attempt)
    return bool(logs.STEP.search(logs.read_end(log)))


def _how_it_ended(
    folder: Path, record: Record, process: subprocess.Popen | None
) -> str:
    summary = RunFolder(folder).summary
    if _newer(summary, record):
        return "finished"
    log = logs.log_path(folder, record.attempt)
    said = read_progress(folder, record.time).get("state")
    if record.stopping or said == "stopped" or logs.ended_by_signal(log):
        return "stopped"
    status = process.poll() if process is not None else None
    if logs.find_failure(log) is None and summary.exists() and not status:
        return "finished"  # it was complete before, and the training said so
    return "failed"


def _newer(path: Path, record: Record) -> bool:
    try:
        # File systems keep time in steps, some of a second.
        return path.stat().st_mtime >= record.time - 1
    except OSError:
        return False
