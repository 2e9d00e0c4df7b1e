"""Write a flat index, one index file after the other.

How many pairs there are and how wide their numbers is known at the end: columns
gather in files of their own beside the index, and are put together last. Nothing
but the rows of one index file is ever in memory.

Letters: N pairs, P spans, F frames.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import h5py
import numpy as np

from .. import __version__
from ..errors import DataError
from .columns import encode
from .flat_file import FORMAT, VERSION
from .ranking import STEPS
from .table import FrameTable, PairTable

# Columns as they gather: type and the shape of one row.
_COLUMNS: dict[str, tuple[type, tuple[int, ...]]] = {
    "pairs/frame0": (np.int32, ()),
    "pairs/frame1": (np.int32, ()),
    "pairs/row": (np.int32, ()),
    "pairs/overlap": (np.float32, ()),
    "pairs/rel_pose": (np.float32, (12,)),
    "frames/slot": (np.int32, ()),
    "frames/K": (np.float64, (3, 3)),
    "frames/pose": (np.float64, (4, 4)),
}
_NAMES = ("frames/image", "frames/depth")  # gather as text, ended by a zero byte
_BLOCK = 8 << 20  # bytes put into place at once


class FlatWriter:
    """Writes a flat index that is there whole or not at all.

    ::

        with FlatWriter(Path("train.h5"), "scannet") as writer:
            writer.add(table)  # of one index file; then the next

    On leaving the block after an error, and after Ctrl-C, nothing stays behind.
    """

    def __init__(self, out: Path, layout: str, overwrite: bool = False) -> None:
        """
        Args:
            out: the file to write. overwrite: replace it if it is there.

        Raises:
            DataError: it exists, or its folder cannot be written to.
        """
        self.out = Path(out)
        self.layout = layout
        self.pairs = self.frames = 0
        self._has_pose = False
        self._scenes: dict[str, int] = {}
        self._files: list[str] = []
        self._K: dict[str, np.ndarray] = {}
        self._spans: list[tuple[int, int, int, int, int]] = []
        self._at_least: list[np.ndarray] = []
        self._largest = dict.fromkeys(_COLUMNS, 0)
        self._longest = dict.fromkeys(_NAMES, 1)
        self._open: dict[str, BinaryIO] = {}
        if self.out.exists() and not overwrite:
            raise DataError(
                f"{self.out} exists and is left as it is. Name another file, or ask "
                "for it to be replaced (--overwrite)"
            )
        try:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            self._folder = Path(
                tempfile.mkdtemp(dir=self.out.parent, prefix=f".{self.out.name}.")
            )
        except OSError as error:
            raise self._failed(error) from None

    def __enter__(self) -> FlatWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._finish()
        except (OSError, RuntimeError) as failed:  # h5py raises both on a full disk
            raise self._failed(failed) from None
        finally:
            for file in self._open.values():
                with suppress(OSError):  # on a full disk, what is buffered is lost
                    file.close()
            shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, table: PairTable) -> None:
        """Append the pairs of a table, and the frames they are of.

        Pairs of one scene and index file become a span, sorted by falling overlap.

        Raises:
            DataError: the disk is full, or some files have ``rel_pose`` and others
                do not.
        """
        has_pose = table.rel_pose is not None
        if self._spans and has_pose != self._has_pose:
            raise DataError(
                f"{table.files[0]} {'has' if has_pose else 'has no'} rel_pose, other "
                "index files differ. Convert them into flat files of their own"
            )
        self._has_pose = has_pose
        try:
            base = self.frames
            if table.frames is not None:
                self._add_frames(table.frames)
            numbers = [self._file(table, k) for k in range(len(table.files))]
            for scene, file, rows in _by_file_and_scene(table):
                self._add_span(table, scene, numbers[file], rows, base)
        except OSError as error:
            raise self._failed(error) from None
        self.add_intrinsics(table.intrinsics())

    def add_intrinsics(self, K: Mapping[str, np.ndarray]) -> None:
        """(3, 3) of scenes by name; those without pairs are left out at the end."""
        self._K |= K

    @property
    def scenes_with_intrinsics(self) -> int:
        """Scenes of this index whose intrinsics are known."""
        return len(self._scenes.keys() & self._K.keys())

    @property
    def files(self) -> int:
        """Index files so far."""
        return len(self._files)

    @property
    def scenes(self) -> int:
        """Scenes so far."""
        return len(self._scenes)

    def _file(self, table: PairTable, number: int) -> int:
        self._files.append(table.files[number].as_posix())
        return len(self._files) - 1

    def _add_span(
        self, table: PairTable, scene: int, file: int, rows: np.ndarray, base: int
    ) -> None:
        overlap = np.asarray(table.overlap[rows], np.float32)
        known = int((~np.isnan(overlap)).sum())
        if known:
            # Stable, and nothing compares with NaN: rows without a score go last.
            order = np.argsort(-overlap, kind="stable")
            rows, overlap = rows[order], overlap[order]
        name = table.scenes[scene]
        number = self._scenes.setdefault(name, len(self._scenes))
        self._spans.append((number, file, self.pairs, len(rows), known))
        falling = -overlap[:known]
        self._at_least.append(np.searchsorted(falling, -STEPS, side="right"))
        self.pairs += len(rows)
        self._append("pairs/frame0", table.frame0[rows] + np.int32(base))
        self._append("pairs/frame1", table.frame1[rows] + np.int32(base))
        self._append("pairs/row", table.row[rows])
        self._append("pairs/overlap", overlap)
        if table.rel_pose is not None:
            self._append("pairs/rel_pose", table.rel_pose[rows])

    def _add_frames(self, frames: FrameTable) -> None:
        for name in ("slot", "K", "pose"):
            self._append(f"frames/{name}", np.asarray(getattr(frames, name)))
        for name in ("image", "depth"):
            column = getattr(frames, name)
            names = [encode(column[i]) for i in range(len(column))]
            full = f"frames/{name}"
            self._longest[full] = max(self._longest[full], *map(len, names))
            self._file_of(full).write(b"".join(n + b"\0" for n in names))
        self.frames += len(frames.slot)

    def _append(self, name: str, rows: np.ndarray) -> None:
        rows = np.ascontiguousarray(rows, _COLUMNS[name][0])
        if rows.dtype.kind == "i":
            self._largest[name] = max(self._largest[name], int(rows.max(initial=0)))
        self._file_of(name).write(rows.data)

    def _file_of(self, name: str) -> BinaryIO:
        if name not in self._open:
            self._open[name] = (self._folder / name.replace("/", "-")).open("w+b")
        return self._open[name]

    def _finish(self) -> None:
        if not self._spans:
            raise DataError(f"{self.out}: there are no pairs to write")
        whole = self._folder / "whole.h5"
        with h5py.File(whole, "w", libver="v110") as file:
            self._write_attributes(file)
            self._write_small(file)
            for name in self._open:
                if name in _NAMES:
                    self._place_names(file, name)
                elif name != "pairs/overlap" or any(s[4] for s in self._spans):
                    self._place(file, name)
        with whole.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(whole, self.out)

    def _write_attributes(self, file: h5py.File) -> None:
        file.attrs["format"] = FORMAT
        file.attrs["version"] = VERSION
        file.attrs["layout"] = self.layout
        file.attrs["pairs"] = self.pairs
        file.attrs["written_by"] = f"loftr_nb {__version__}"

    def _write_small(self, file: h5py.File) -> None:
        _write_names(file, "scenes/name", list(self._scenes))
        _write_names(file, "files/name", self._files)
        if self.scenes_with_intrinsics:
            unknown = np.full((3, 3), np.nan)
            K = [np.reshape(self._K.get(s, unknown), (3, 3)) for s in self._scenes]
            file["scenes/K"] = np.array(K, np.float64)
        spans = np.array(self._spans, np.int64)
        for column, name in enumerate(("scene", "file", "first", "count", "scored")):
            file[f"spans/{name}"] = spans[:, column]
        file["spans/at_least"] = np.array(self._at_least, np.uint32)

    def _place(self, file: h5py.File, name: str) -> None:
        """Put a gathered column into the file, as narrow as its numbers allow."""
        kind, one = _COLUMNS[name]
        rows = self.frames if name.startswith("frames/") else self.pairs
        narrow = kind
        if np.dtype(kind).kind == "i":
            narrow = np.uint16 if self._largest[name] < 1 << 16 else np.uint32
        dataset = file.create_dataset(name, (rows, *one), narrow)
        gathered = self._open[name]
        gathered.seek(0)
        step = max(_BLOCK // (np.dtype(kind).itemsize * int(np.prod(one))), 1)
        for first in range(0, rows, step):
            count = min(step, rows - first)
            block = np.fromfile(gathered, kind, count * int(np.prod(one)))
            dataset[first : first + count] = block.reshape(count, *one)

    def _place_names(self, file: h5py.File, name: str) -> None:
        length = self._longest[name]
        text = h5py.string_dtype("utf-8", length)
        dataset = file.create_dataset(name, (self.frames,), text)
        gathered = self._open[name]
        gathered.seek(0)
        names = gathered.read().split(b"\0")[:-1]
        for first in range(0, len(names), 1 << 16):
            block = np.array(names[first : first + (1 << 16)], text)
            dataset[first : first + len(block)] = block

    def _failed(self, error: Exception) -> DataError:
        kept = "; the previous file is untouched" if self.out.exists() else ""
        # HDF5 tells of buffers and addresses before it comes to the cause.
        cause = getattr(error, "strerror", None) or str(error)
        cause = re.sub(r".*error message = '([^']*)'.*", r"\1", cause, flags=re.S)
        return DataError(
            f"{self.out} could not be written ({cause}){kept}. Free space on its disk "
            "(while it is written it takes twice its size), or write to another folder"
        )


def _by_file_and_scene(table: PairTable) -> Iterator[tuple[int, int, np.ndarray]]:
    """Scene, file and rows of each span, in the order that they come in first."""
    scene, file = np.asarray(table.scene), np.asarray(table.file)
    key = file.astype(np.int64) * len(table.scenes) + scene
    keys, first, count = np.unique(key, return_index=True, return_counts=True)
    by_key = np.split(np.argsort(key, kind="stable"), np.cumsum(count)[:-1])
    for k in np.argsort(first):
        number, name = divmod(int(keys[k]), len(table.scenes))
        yield name, number, by_key[k]


def _write_names(file: h5py.File, name: str, names: list[str]) -> None:
    stored = [encode(n) for n in names]
    text = h5py.string_dtype("utf-8", max(map(len, stored)))
    file.create_dataset(name, data=np.array(stored, text))
