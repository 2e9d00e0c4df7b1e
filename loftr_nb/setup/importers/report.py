"""What an import wrote, or would write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# Called with (frames done, frames in all, what is being written).
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class ImportReport:
    """One finished (or planned) import.

    kind: which importer. out: the folder that now holds a layout that readers take.
    scenes: names of what was written. frames: of the source, after ``every``.
    written, kept: frames written now, and found whole from an earlier run.
    without: frames left out, by reason. size: bytes written now, or an estimate for
    all frames where ``planned``: nothing was written then. notes: what to know.
    next_step: the command that goes on from here.
    """

    kind: str
    out: Path
    scenes: tuple[str, ...]
    frames: int
    written: int
    kept: int
    without: dict[str, int]
    size: int
    planned: bool = False
    notes: tuple[str, ...] = ()
    next_step: str = ""

    def __str__(self) -> str:
        scenes = ", ".join(self.scenes[:4]) + (" ..." if len(self.scenes) > 4 else "")
        about = "about " if self.planned else ""
        done = f"{self.frames} frames to write" if self.planned else self._done()
        lines = [f"{self.out}: {scenes}, {done}, {about}{bytes_in_words(self.size)}"]
        lines += [f"left out: {n} {reason}" for reason, n in self.without.items()]
        lines += self.notes
        if self.next_step and not self.planned:
            lines.append(f"next: {self.next_step}")
        return "\n".join(lines)

    def _done(self) -> str:
        kept = f", {self.kept} there before" if self.kept else ""
        return f"{self.written} frames written{kept}"

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return {**asdict(self), "out": str(self.out)}


def bytes_in_words(size: float) -> str:
    """``850 kB``, ``1.3 GB``: decimal units, as disks are sold."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size / 1e3:.0f} kB"
