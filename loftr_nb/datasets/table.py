"""Millions of pairs in flat arrays.

A list of tuples, or an array of objects, is copied into every worker: reading a
Python object writes its reference count, and a page that is written is no longer
shared with the parent. Runs of the released code grew by this until the machine
was out of memory. Numbers in numpy arrays are read without being written.

A column need not be in memory: of a flat index (:mod:`.flat`) it is read row by
row from disk, and answers ``column[i]`` and ``np.asarray(column)`` all the same.

Letters: N pairs, F frames, S scenes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from .groups import SceneGroups


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

    def select(self, frames: np.ndarray) -> FrameTable:
        """The frames listed, in memory."""
        return FrameTable(
            image=FlatNames(self.image[int(k)] for k in frames),
            depth=FlatNames(self.depth[int(k)] for k in frames),
            K=self.K[frames],
            pose=self.pose[frames],
            slot=self.slot[frames],
        )


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
    K: (S, 3, 3) float64 intrinsics by number of the scene, NaN where they are not
        known, or None (ScanNet keeps them in a file of their own).
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
    K: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.scene)

    @property
    def bytes_per_row(self) -> float:
        """Memory of the columns per pair, without the per-frame tables."""
        return sum(c.nbytes for c in self._columns().values()) / max(len(self), 1)

    def where(self, i: int) -> str:
        """Index file and row of pair i, for a message."""
        return f"{self.files[self.file[i]]}, row {self.row[i]}"

    def intrinsics(self) -> dict[str, np.ndarray]:
        """(3, 3) float64 by scene, of the scenes whose K the index knows."""
        known = () if self.K is None else zip(self.scenes, self.K, strict=True)
        return {name: K for name, K in known if np.isfinite(K).all()}

    def select(self, keep: np.ndarray) -> PairTable:
        """The rows where ``keep`` (N,) is True, or the rows it lists."""
        return dataclasses.replace(
            self, **{name: c[keep] for name, c in self._columns().items()}
        )

    def groups(self) -> SceneGroups:
        """Which rows belong to which scene, for a sampler."""
        return SceneGroups.of(self.scene)

    def of_scenes(self, numbers: Iterable[int]) -> PairTable:
        """The pairs of these scenes. ``scenes`` and its numbers stay."""
        return self.select(np.isin(self.scene, list(numbers)))

    def at_most(self, most: float) -> PairTable:
        """The pairs of no larger overlap, and those without a score."""
        return self.select(~(self.overlap > most))

    def load(self) -> PairTable:
        """The same table with its columns in memory, as numpy arrays."""
        return self

    def compact(self) -> PairTable:
        """The same pairs in memory, and no scene, file or frame that they lack."""
        table = self.load()
        scenes, scene = np.unique(table.scene, return_inverse=True)
        files, file = np.unique(table.file, return_inverse=True)
        renewed: dict[str, Any] = {}
        if table.frames is not None:
            both = np.stack([table.frame0, table.frame1])
            used, frame = np.unique(both, return_inverse=True)
            frame0, frame1 = frame.reshape(both.shape).astype(np.int32)
            renewed = {"frame0": frame0, "frame1": frame1}
            renewed["frames"] = table.frames.select(used)
        return dataclasses.replace(
            table,
            scene=scene.astype(np.int32),
            file=file.astype(np.int32),
            scenes=tuple(table.scenes[s] for s in scenes),
            files=tuple(table.files[f] for f in files),
            K=None if table.K is None else table.K[scenes],
            **renewed,
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
            raise self.unscored(int(unknown.argmax()), least, most)
        return self.select((self.overlap >= least) & (self.overlap <= most))

    def unscored(self, i: int, least: float, most: float) -> DataError:
        """What to say where pairs of some overlap are asked for and i has no score."""
        return DataError(
            f"{self.where(i)} has no overlap score, so pairs of overlap {least:g} to "
            f"{most:g} cannot be chosen. Add scores to the index, or ask for "
            "min_overlap = 0"
        )

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
        raise none_left(files, (min_overlap, max_overlap), (low, high))
    return _concatenate(kept)


def none_left(
    files: Sequence[Path], asked: tuple[float, float], known: tuple[float, float]
) -> DataError:
    """What to say where no pair has an overlap in the range that is asked for."""
    return DataError(
        f"{_some(files)}: no pair has overlap {asked[0]:g} to {asked[1]:g}; the scores "
        f"lie between {known[0]:.3g} and {known[1]:.3g}"
    )


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
        K=_join_intrinsics(tables, scenes),
    )


def _join_intrinsics(tables: list[PairTable], scenes: Sequence[str]) -> Any:
    """(S, 3, 3), the first that any table knows of each scene, or None."""
    known: dict[str, np.ndarray] = {}
    for table in reversed(tables):
        known |= table.intrinsics()
    if not known:
        return None
    return np.array([known.get(name, np.full((3, 3), np.nan)) for name in scenes])


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
