"""Millions of pairs in flat arrays.

A list of tuples, or an array of objects, is copied into every worker: reading a
Python object writes its reference count, and a page that is written is no longer
shared with the parent. Runs of the released code grew by this until the machine
was out of memory. Numbers in numpy arrays are read without being written.

Letters: N pairs, F frames.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DataError


class FlatNames:
    """Many strings in one array of bytes; ``names[i]`` is the i-th, ``len`` F."""

    def __init__(self, names: Iterable[str]) -> None:
        parts = [name.encode() for name in names]
        self._bytes = np.frombuffer(b"".join(parts), np.uint8)
        self._ends = np.cumsum([0] + [len(p) for p in parts])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, i: int) -> str:
        if not 0 <= i < len(self):
            raise IndexError(f"name {i} of {len(self)}")
        return self._bytes[self._ends[i] : self._ends[i + 1]].tobytes().decode()

    @property
    def nbytes(self) -> int:
        """Memory of the names, in bytes."""
        return self._bytes.nbytes + self._ends.nbytes


@dataclass(frozen=True)
class FrameTable:
    """What an index says about each image, where it says it (MegaDepth).

    image, depth: F paths as the index has them. K: (F, 3, 3) float64 original
    pixels. pose: (F, 4, 4) float64, world to camera. slot: (F,) int32 row in
    the index file, for messages.
    """

    image: FlatNames
    depth: FlatNames
    K: np.ndarray
    pose: np.ndarray
    slot: np.ndarray


@dataclass(frozen=True)
class PairTable:
    """One row per pair, one array per column.

    scene: (N,) int32, number in ``scenes``.
    frame0, frame1: (N,) int32: the number in a ScanNet file's name, or the row of
        ``frames``.
    overlap: (N,) float32, NaN where the index has no score.
    row: (N,) int32, row in its index file, for messages.
    file: (N,) int32, number in ``files``, for messages.
    scenes, files: names by number, each once.
    frames: per-image columns (MegaDepth), or None.
    rel_pose: (N, 12) float32, the upper three rows of ``T_0to1``, or None.
    """

    scene: np.ndarray
    frame0: np.ndarray
    frame1: np.ndarray
    overlap: np.ndarray
    row: np.ndarray
    file: np.ndarray
    scenes: tuple[str, ...]
    files: tuple[Path, ...]
    frames: FrameTable | None = None
    rel_pose: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.scene)

    @property
    def bytes_per_row(self) -> float:
        """Memory of the columns per pair, without the per-frame tables."""
        return sum(c.nbytes for c in self._columns().values()) / max(len(self), 1)

    def where(self, i: int) -> str:
        """Index file and row of pair i, for a message."""
        return f"{self.files[self.file[i]]}, row {self.row[i]}"

    def select(self, keep: np.ndarray) -> PairTable:
        """The rows where ``keep`` (N,) is True, or the rows it lists."""
        return dataclasses.replace(
            self, **{name: c[keep] for name, c in self._columns().items()}
        )

    def overlapping(self, least: float, most: float) -> PairTable:
        """The pairs with ``least <= overlap <= most``, perhaps none.

        Raises:
            DataError: a bound is asked for and a pair has no score.
        """
        if least <= 0 and most >= 1:
            return self
        unknown = np.isnan(self.overlap)
        if unknown.any():
            raise DataError(
                f"{self.where(int(unknown.argmax()))} has no overlap score, so pairs "
                f"of overlap {least:g} to {most:g} cannot be chosen. Add scores to "
                "the index, or ask for min_overlap = 0"
            )
        return self.select((self.overlap >= least) & (self.overlap <= most))

    def _columns(self) -> dict[str, np.ndarray]:
        names = ("scene", "frame0", "frame1", "overlap", "row", "file", "rel_pose")
        return {n: c for n in names if (c := getattr(self, n)) is not None}


def gather(
    tables: Iterable[PairTable], min_overlap: float, max_overlap: float = 1.0
) -> PairTable:
    """Tables of single index files as one, with the pairs of the overlap asked for.

    Files are filtered one by one, so that the 230 million rows of the released
    ScanNet index need not be held at once.

    Raises:
        DataError: no pair is left, or a score is missing.
    """
    kept, files = [], []
    low, high = np.inf, -np.inf
    for table in tables:
        files += table.files
        low = min(low, table.overlap.min(initial=np.inf))
        high = max(high, table.overlap.max(initial=-np.inf))
        table = table.overlapping(min_overlap, max_overlap)
        if len(table):
            kept.append(table)
    if not kept:
        raise DataError(
            f"{_some(files)}: no pair has overlap {min_overlap:g} to "
            f"{max_overlap:g}; the scores lie between {low:.3g} and {high:.3g}"
        )
    return _concatenate(kept)


def _concatenate(tables: list[PairTable]) -> PairTable:
    """Equal scene names become one scene, scenes without a pair drop out."""
    used = [np.unique(t.scene) for t in tables]
    scenes = tuple(
        dict.fromkeys(t.scenes[s] for t, u in zip(tables, used, strict=True) for s in u)
    )
    number = {name: i for i, name in enumerate(scenes)}
    renumbered = [
        np.array([number.get(n, -1) for n in t.scenes], np.int32) for t in tables
    ]
    file_starts = np.cumsum([0] + [len(t.files) for t in tables])
    frame_starts = np.cumsum(
        [0] + [len(t.frames.slot) if t.frames else 0 for t in tables]
    )

    def column(name: str) -> np.ndarray:
        return np.concatenate([getattr(t, name) for t in tables])

    def shifted(name: str, starts: np.ndarray) -> np.ndarray:
        parts = [
            getattr(t, name) + np.int32(s) for t, s in zip(tables, starts, strict=False)
        ]
        return np.concatenate(parts)

    poses = {t.rel_pose is None for t in tables}
    if len(poses) > 1:
        odd = next(t for t in tables if t.rel_pose is None)
        raise DataError(f"{_some(odd.files)} has no rel_pose, other index files do")
    return PairTable(
        scene=np.concatenate(
            [m[t.scene] for m, t in zip(renumbered, tables, strict=True)]
        ),
        frame0=shifted("frame0", frame_starts),
        frame1=shifted("frame1", frame_starts),
        overlap=column("overlap"),
        row=column("row"),
        file=shifted("file", file_starts),
        scenes=scenes,
        files=tuple(f for t in tables for f in t.files),
        frames=_join_frames([t.frames for t in tables]),
        rel_pose=None if poses == {True} else column("rel_pose"),
    )


def _join_frames(frames: list[FrameTable | None]) -> FrameTable | None:
    if frames[0] is None:
        return None
    return FrameTable(
        image=FlatNames(f.image[i] for f in frames for i in range(len(f.image))),
        depth=FlatNames(f.depth[i] for f in frames for i in range(len(f.depth))),
        K=np.concatenate([f.K for f in frames]),
        pose=np.concatenate([f.pose for f in frames]),
        slot=np.concatenate([f.slot for f in frames]),
    )


def _some(files: Sequence[Path]) -> str:
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return f"{files[0]}{more}"
