"""Rows of index files against the frames that can be used, a file at a time.

Readers refuse an index at its first bad row. Here every row is looked at: those of
a file are arrays, compared as arrays. The released ScanNet index has 230 million.

Letters: N rows, F slots of an index file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from ...datasets.flat import FlatTable, open_flat
from ...datasets.flat_file import is_flat
from ...datasets.index import load_scannet_pairs
from ...datasets.scene_info import KEYS as MEGADEPTH_KEYS
from ...errors import DataError
from ...files import safe_load
from ...recordings.megadepth import COLUMNS, used_slots
from .causes import ROW_EMPTY


class Rows(NamedTuple):
    """Rows of one scene. number: in the file. frame0, frame1: what they name."""

    scene: str
    number: np.ndarray
    frame0: np.ndarray
    frame1: np.ndarray


class IndexFile(Protocol):
    """An index file on disk; what it holds is read again for each question."""

    path: Path
    layout: str

    def rows(self) -> Iterator[Rows]:
        """All rows, by scene."""
        ...


class ScanNetFile:
    """npz with ``name``: rows name a scene and the numbers of two frames."""

    layout = "scannet"

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self) -> Iterator[Rows]:
        """See :class:`IndexFile`."""
        table = load_scannet_pairs(self.path)
        for scene, name in enumerate(table.scenes):
            number = np.flatnonzero(table.scene == scene)
            yield Rows(name, number, table.frame0[number], table.frame1[number])


class MegaDepthFile:
    """npz or pickled dict: rows name slots of its columns over the images."""

    layout = "megadepth"

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> dict[str, Any]:
        """Everything that a MegaDepth index has, with all its columns.

        Raises:
            DataError: damaged, or no such index.
        """
        data = safe_load(self.path, MEGADEPTH_KEYS)
        lacking = {"image_paths", "intrinsics", "poses"} - data.keys()
        if lacking:
            raise DataError(f"{self.path} has no {', '.join(sorted(lacking))}")
        try:
            count = len(data["image_paths"])
            data.setdefault("depth_paths", np.full(count, None))
            lengths = {len(data[key]) for key in COLUMNS}
        except TypeError:
            lengths = set()
        if len(lengths) != 1:
            raise DataError(f"{self.path}: columns over the images differ in length")
        return data

    def rows(self) -> Iterator[Rows]:
        """See :class:`IndexFile`; frames are slots."""
        pairs = self.pairs(self.load())
        number = np.arange(len(pairs))
        yield Rows(self.path.stem, number, pairs[:, 0], pairs[:, 1])

    def pairs(self, data: dict[str, Any]) -> np.ndarray:
        """(N, 2) int64 slots, whether they are there or not.

        Raises:
            DataError: they cannot be read.
        """
        try:
            if "pair_infos" in data:
                pairs = np.array([np.asarray(row[0]) for row in data["pair_infos"]])
            elif "pairs" in data:
                pairs = np.asarray(data["pairs"])
            elif "overlap_matrix" in data:
                pairs = self._overlapping(data)
            else:
                raise ValueError("none of pair_infos, pairs, overlap_matrix")
            if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
                raise ValueError(f"they are {pairs.dtype} of shape {pairs.shape}")
        except (ValueError, TypeError, IndexError, KeyError) as error:
            raise DataError(
                f"{self.path}: its pairs cannot be read ({error})"
            ) from None
        return pairs.astype(np.int64)

    def _overlapping(self, data: dict[str, Any]) -> np.ndarray:
        matrix = np.asarray(data["overlap_matrix"], np.float32)
        used = used_slots(data)
        if matrix.shape != (len(used), len(used)):
            raise ValueError(f"overlap_matrix is {matrix.shape} for {len(used)} images")
        known = (matrix > 0) & used & used[:, None]
        return np.argwhere(np.triu(known & known.T, 1))


class FlatIndex:
    """A flat HDF5 index, of either layout; rows are read span by span."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.layout = "scannet" if self.table().frames is None else "megadepth"

    def table(self) -> FlatTable:
        """The whole index, on disk."""
        return open_flat(self.path)

    def rows(self) -> Iterator[Rows]:
        """See :class:`IndexFile`; of MegaDepth, frames are rows of ``frames``."""
        table = self.table()
        start = 0
        for scene, end in zip(
            table.spans.scene, table.spans.ends.tolist(), strict=True
        ):
            part = slice(start, end)
            yield Rows(
                table.scenes[scene],
                np.arange(start, end),
                np.asarray(table.frame0[part]),
                np.asarray(table.frame1[part]),
            )
            start = end


def open_index(path: Path, layout: str) -> IndexFile:
    """The index file of that layout.

    Raises:
        DataError: a flat index that is damaged, or of the other layout.
    """
    if is_flat(path):
        flat = FlatIndex(path)
        if flat.layout != layout:
            raise DataError(f"{path} is a flat index in {flat.layout}'s layout")
        return flat
    return ScanNetFile(path) if layout == "scannet" else MegaDepthFile(path)


def used_frames(
    path: Path, layout: str
) -> tuple[IndexFile, int, dict[str, np.ndarray]]:
    """An index file, how many rows it has, and the frames that they name by scene.

    Raises:
        DataError: the file cannot be read.
    """
    file = open_index(path, layout)
    count, frames = 0, {}
    for rows in file.rows():
        count += len(rows.number)
        named = np.union1d(rows.frame0, rows.frame1)
        known = frames.get(rows.scene)
        frames[rows.scene] = named if known is None else np.union1d(known, named)
    return file, count, frames


class Codes:
    """The fault of each frame that an index file may name, by scene.

    Built from sorted frame numbers and their codes; any other frame is an empty
    slot.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def set(self, scene: str, frames: np.ndarray, codes: np.ndarray) -> None:
        """codes (F,) of ``frames`` (F,), which rise."""
        self._known[scene] = frames, codes

    def any(self, scene: str) -> bool:
        """Whether a frame of the scene has a fault."""
        return scene not in self._known or bool(self._known[scene][1].any())

    def of(self, rows: Rows) -> np.ndarray:
        """(N,) uint8: 0 for a row that can be used, else its first frame's fault."""
        if rows.scene not in self._known:
            return np.full(len(rows.number), ROW_EMPTY, np.uint8)
        frames, codes = self._known[rows.scene]
        first, second = (self._look_up(frames, codes, f) for f in rows[2:])
        return np.where(first > 0, first, second)

    @staticmethod
    def _look_up(
        frames: np.ndarray, codes: np.ndarray, asked: np.ndarray
    ) -> np.ndarray:
        if not len(frames):
            return np.full(len(asked), ROW_EMPTY, np.uint8)
        place = np.searchsorted(frames, asked).clip(max=len(frames) - 1)
        return np.where(frames[place] == asked, codes[place], np.uint8(ROW_EMPTY))
