"""What a run writes and says: metrics.jsonl, and one status line."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

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

    def means(self) -> dict[str, float]:
        """Average of each value, pairs per second and share of time waiting."""
        seconds = max(time.perf_counter() - self.began, 1e-9)
        means = {name: total / self.steps for name, total in self.sums.items()}
        means["pairs_per_s"] = self.pairs / seconds
        means["data_wait"] = self.waited / seconds
        return means


class StatusLine:
    """One line that is rewritten on a terminal, and repeated rarely elsewhere.

    every: seconds between lines where the output is no terminal.
    """

    def __init__(
        self, stream: TextIO | None = None, every: float = 10.0, on: bool = True
    ) -> None:
        self.stream = sys.stdout if stream is None else stream
        self.on = on
        self.tty = self.stream.isatty()
        self.every = 0.2 if self.tty else every
        self.last = -math.inf
        self.width = 0

    def show(self, text: Callable[[], str], force: bool = False) -> None:
        """Show ``text()`` if it is time to."""
        now = time.monotonic()
        if not self.on or (not force and now - self.last < self.every):
            return
        self.last = now
        line = text()
        if self.tty:
            self.stream.write("\r" + line.ljust(self.width))
            self.width = len(line)
        else:
            self.stream.write(line + "\n")
        self.stream.flush()

    def say(self, text: str) -> None:
        """A line of its own that stays."""
        if not self.on:
            return
        if self.tty and self.width:
            self.stream.write("\r" + " " * self.width + "\r")
            self.width = 0
        self.stream.write(text + "\n")
        self.stream.flush()


class NotebookStatus(StatusLine):
    """The status line of a notebook: one output that is rewritten in place.

    What was said stays above, the line below it changes. A run of an hour leaves
    a few lines in the stored notebook and not a thousand.
    """

    def __init__(self, every: float = 0.5, on: bool = True) -> None:
        super().__init__(every=every, on=on)
        self.every = every
        self.said: list[str] = []
        self.handle: Any = None

    def show(self, text: Callable[[], str], force: bool = False) -> None:
        """Show ``text()`` below what was said, if it is time to."""
        now = time.monotonic()
        if not self.on or (not force and now - self.last < self.every):
            return
        self.last = now
        self._draw([*self.said, text()])

    def say(self, text: str) -> None:
        """A line of its own that stays."""
        if self.on:
            self.said.append(text)
            self._draw(self.said)

    def _draw(self, lines: list[str]) -> None:
        from IPython.display import display

        content = {"text/plain": "\n".join(lines)}
        if self.handle is None:
            self.handle = display(content, raw=True, display_id=True)
        else:
            self.handle.update(content, raw=True)


def status_line(on: bool = True) -> StatusLine:
    """The status line that suits this place: a terminal, a file or a notebook."""
    # Not imported for the question: whoever runs in a kernel has IPython loaded.
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    in_kernel = getattr(shell, "kernel", None) is not None
    return NotebookStatus(on=on) if in_kernel else StatusLine(on=on)


def duration(seconds: float) -> str:
    """Seconds in words: ``45 s``, ``7 min 05 s``, ``3 h 12 min``."""
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
