"""An index as large as ScanNet's: in one flat file, and in an npz file a scene.

Opens either with a least overlap and draws scene-balanced batches from it, once in
the process itself and once through loader workers. No image is read: what is
measured is the index. Every measurement is a process of its own.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError, RunError

MIN_OVERLAP = 0.4
EVERY = 250  # batches between two readings of memory
KINDS = ("rss", "uss", "pss")
MOST_SCENES = 20_000  # names of ScanNet's scenes have four digits, and two scans each


@dataclass(frozen=True)
class IndexSide:
    """What one way of keeping the index costs.

    kind: ``flat`` or ``npz``. cold: read from disk, not from the disk cache.
    open_s, ready_s: until it is open, until the first batch can be drawn.
    costs_mb: rss, uss and pss above the process's before it opened the index.
    worker_mb: of the largest loader worker, in all. peak_mb: of the process.
    """

    kind: str
    workers: int
    cold: bool
    pairs: int
    open_s: float
    ready_s: float
    pairs_s: float
    costs_mb: dict[str, float]
    worker_mb: dict[str, float]
    peak_mb: float


@dataclass(frozen=True)
class IndexReport:
    """Both ways beside one another; made: how long making them took, bytes on disk."""

    scenes: int
    pairs: int
    made: dict[str, dict[str, float]]
    sides: list[IndexSide]

    def side(self, kind: str) -> IndexSide:
        """In the process itself, from the disk cache."""
        return next(
            s for s in self.sides if s.kind == kind and not s.workers and not s.cold
        )

    def ratios(self) -> dict[str, float]:
        """npz divided by flat: time to open, memory it costs (USS), pairs a second."""
        flat, npz = self.side("flat"), self.side("npz")
        return {
            "open": npz.open_s / flat.open_s,
            "memory": npz.costs_mb["uss"] / max(flat.costs_mb["uss"], 0.1),
            "pairs_s": npz.pairs_s / flat.pairs_s,
        }

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return dataclasses.asdict(self) | {"ratios": self.ratios()}

    def text(self) -> str:
        """As lines for a person."""
        ratios, chosen = self.ratios(), self.sides[0].pairs
        rows = [
            f"{self.scenes:,} scenes, {self.pairs:,} pairs, of which {chosen:,} "
            f"overlap by {MIN_OVERLAP} or more"
        ]
        for kind, made in self.made.items():
            rows.append(
                f"{kind}: {made['bytes'] / 1e6:,.0f} MB on disk, made in "
                f"{made['seconds']:.1f} s at a peak of {made['peak_mb']:,.0f} MiB"
            )
        rows.append(
            f"{'index':<12}{'workers':>8}{'opened s':>10}{'costs MiB':>16}"
            f"{'a worker MiB':>16}{'peak MiB':>10}{'pairs/s':>10}"
        )
        for s in self.sides:
            name = f"{s.kind}, disk" if s.cold else s.kind
            worker = _pair(s.worker_mb) if s.workers else "-"
            rows.append(
                f"{name:<12}{s.workers:>8}{s.open_s:>10.2f}{_pair(s.costs_mb):>16}"
                f"{worker:>16}{s.peak_mb:>10,.0f}{s.pairs_s:>10,.0f}"
            )
        rows.append(
            f"npz / flat: {ratios['open']:,.0f} times as long to open, "
            f"{ratios['memory']:,.0f} times the memory, {ratios['pairs_s']:.2f} times "
            "the pairs a second"
        )
        rows.append("memory: RSS / USS, pages in all / pages that no other shares")
        return "\n".join(rows)


def compare_indices(
    work: Path,
    scenes: int = 100,
    pairs: int = 2_000_000,
    batches: int = 1000,
    workers: int = 2,
    say: Callable[[str], None] = lambda text: None,
) -> IndexReport:
    """Make both kinds of one synthetic index in ``work``, and measure them in turns.

    Args:
        work: a folder for both; 24 bytes a pair in all. ScanNet's index has 1,513
            scenes and 230 million pairs: 6 GB, and 6.4 GB of memory for the npz.
        batches: drawn in one measurement, of 64 pairs.
        workers: loader processes of the second measurement of each kind.

    Raises:
        ConfigError: a count that cannot be. RunError: a process failed.
    """
    if not 1 <= scenes <= MOST_SCENES or pairs < 20 * scenes:
        raise ConfigError(
            f"{scenes:,} scenes of {pairs:,} pairs: needs 1 to {MOST_SCENES:,} scenes "
            "and 20 pairs a scene or more"
        )
    if batches < EVERY or workers < 1:
        raise ConfigError(
            f"--batches {batches} --workers {workers}: at least {EVERY} batches, for "
            "memory to be read, and 1 worker are needed"
        )
    files = {"npz": work / "npz", "flat": work / "train.h5"}
    say(f"writing {pairs:,} pairs of {scenes:,} scenes as npz files")
    made = {"npz": _run("npz", files["npz"], scenes, pairs)}
    say("writing them into one flat file")
    made["flat"] = _run("flat", files["npz"], files["flat"])
    for kind, path in files.items():
        made[kind]["bytes"] = sum(f.stat().st_size for f in _files(path))
    sides = []
    for kind in ("flat", "npz"):
        for cold, count in ((True, 0), (False, 0), (False, workers)):
            if cold and not (kind == "flat" and _drop_from_cache(files[kind])):
                continue
            say(f"{kind}, {count} workers, {batches:,} batches")
            found = _run("measure", files[kind], batches, count)
            sides.append(_side(kind, count, cold, found))
    if len({s.pairs for s in sides}) > 1:
        raise RunError("the flat file and the npz files chose different pairs")
    return IndexReport(scenes, pairs, made, sides)


def _side(kind: str, workers: int, cold: bool, found: dict[str, Any]) -> IndexSide:
    before, highest = found.pop("before_mb"), found.pop("highest_mb")
    costs = {k: highest[k] - before[k] for k in KINDS}
    return IndexSide(kind, workers, cold, costs_mb=costs, **found)


def _run(step: str, *words: object) -> dict[str, Any]:
    module = "loftr_nb.benchmarks.index_child"
    command = [sys.executable, "-m", module, step, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RunError(
            f"the step {step!r} of the comparison failed:\n{done.stderr[-2000:]}"
        )
    return json.loads(done.stdout.splitlines()[-1])


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(path.iterdir())


def _drop_from_cache(path: Path) -> bool:
    """Have the next process read from disk, not memory; False where it cannot be."""
    if not hasattr(os, "posix_fadvise"):
        return False
    for file in _files(path):
        fd = os.open(file, os.O_RDONLY)
        try:
            os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)
    return True


def _pair(memory: dict[str, float]) -> str:
    return f"{memory['rss']:,.0f} / {memory['uss']:,.0f}"
