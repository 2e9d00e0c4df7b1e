"""What packing says of itself: the plan, the pace, the outcome."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..progress import duration
from .pack_folder import PackOptions

Progress = Callable[[int, int, str], None]


@dataclass
class PackReport:
    """What a pack holds, or would.

    splits: scenes, frames, pairs of each. kept, written: scenes. need, free: bytes
    still to be written, and of the disk. bytes: of the pack on disk. faults: scenes
    that could not be packed, and why. notes: what else is to be known.
    """

    out: Path
    options: PackOptions
    splits: dict[str, dict[str, int]]
    need: int
    free: int
    dry_run: bool
    kept: int = 0
    written: int = 0
    bytes: int = 0
    seconds: float = 0.0
    faults: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether training can read it (or could, of a dry run)."""
        return not self.faults

    def plan(self) -> str:
        """Before it starts: what is packed, and how many GB."""
        parts = [
            f"{name}: {s['scenes']:,} scenes, {s['frames']:,} frames, "
            f"{s['pairs']:,} pairs"
            for name, s in self.splits.items()
        ]
        size = self.options.size_in_words
        what = f"{self.options.layout} at {size}"
        what += ", images as PNG" if self.options.compress else ""
        kept = f"; {self.kept:,} scenes are there already" if self.kept else ""
        room = f"needs {self.need / 1e9:,.2f} GB, {self.free / 1e9:,.1f} GB free{kept}"
        return "\n".join([what, *parts, room, *self.notes])

    def __str__(self) -> str:
        if self.dry_run:
            return f"{self.plan()}\nnothing was written (--dry-run)"
        lines = [
            f"{self.out}: {self.written:,} scenes packed, {self.kept:,} kept, "
            f"{self.bytes / 1e9:,.2f} GB, {duration(self.seconds)}"
        ]
        for scene, faults in self.faults.items():
            more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
            lines.append(f"not packed, {scene}: {faults[0]}{more}")
        if self.faults:
            lines.append(
                "The pack is unfinished. Mend these files, or take their pairs out of "
                f"the index (`loftr-nb data check {self.options.source} --fix`), and "
                "run the same command again: scenes that are there are kept"
            )
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"out": str(self.out), "ok": self.ok}


class Pace:
    """Progress in words: rate, and time left."""

    def __init__(self, total: int, report: Progress | None) -> None:
        self.total, self.report = total, report
        self.done = self.fresh = 0
        self.began = time.perf_counter()

    def skip(self, count: int) -> None:
        """Frames that are there already."""
        self.done += count

    def step(self, words: str) -> None:
        """One more frame."""
        self.done, self.fresh = self.done + 1, self.fresh + 1
        if self.report is not None:
            rate = self.fresh / max(time.perf_counter() - self.began, 1e-6)
            left = duration((self.total - self.done) / rate)
            text = f"{words}, {rate:,.0f} frames/s, {left} left"
            self.report(self.done, self.total, text)
