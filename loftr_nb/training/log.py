"""What a run writes: metrics.jsonl."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import torch

from ..errors import RunError
from ..viz import read_metrics

MB = 2**20


class Metrics:
    """Rows of ``metrics.jsonl``, one JSON object a line.

    Every row has ``event`` (train or validation) and ``step``. A run that goes on
    from step n drops later rows first, so that no step appears twice.
    """

    def __init__(self, path: Path, keep_until: int | None = None) -> None:
        self.path = path
        if keep_until is not None and path.exists():
            kept = [r for r in read_metrics(path) if r["step"] <= keep_until]
            part = path.with_name(path.name + ".part")
            part.write_text("".join(json.dumps(r) + "\n" for r in kept))
            part.replace(path)

    def add(self, event: str, step: int, **values: Any) -> None:
        """Append one row; NaN and infinity become null, which JSON can hold."""
        row = {"event": event, "step": step}
        for name, value in values.items():
            if isinstance(value, float):
                value = float(f"{value:.6g}") if math.isfinite(value) else None
            row[name] = value
        try:
            with open(self.path, "a") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise RunError(f"{self.path} could not be written: {error}") from error


def peak_memory_mb(device: torch.device) -> float:
    """Most memory so far in MiB: of the card on a GPU, of this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MB
    try:
        import resource
    except ModuleNotFoundError:  # Windows: what the process holds now
        return psutil.Process().memory_info().rss / MB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return peak / (MB if sys.platform == "darwin" else 1024)


class Meter:
    """Averages of a stretch of steps, and the time spent waiting for data."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin a new stretch."""
        self.sums: dict[str, float] = {}
        self.steps = 0
        self.pairs = 0
        self.waited = 0.0
        self.began = time.perf_counter()

    def add(self, values: dict[str, float], pairs: int, waited: float) -> None:
        """Count one step of ``pairs`` pairs that waited that many seconds."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.steps += 1
        self.pairs += pairs
        self.waited += waited

    def pause(self, seconds: float) -> None:
        """Leave out that many seconds, spent on something else than steps."""
        self.began += seconds

    def state(self) -> dict[str, Any]:
        """Sums so far, for a checkpoint; times are this process's own."""
        return {"sums": dict(self.sums), "steps": self.steps}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on summing where a checkpoint was written."""
        self.reset()
        self.sums = dict(state.get("sums", {}))
        self.steps = state.get("steps", 0)

    def means(self) -> dict[str, float]:
        """Average of each value, pairs per second and share of time waiting."""
        seconds = max(time.perf_counter() - self.began, 1e-9)
        means = {name: total / self.steps for name, total in self.sums.items()}
        means["pairs_per_s"] = self.pairs / seconds
        means["data_wait"] = self.waited / seconds
        return means
