"""Columns of pairs that stay on disk: a row is read when it is asked for.

A file that is mapped into memory counts as the process's own as soon as it is
read at random, which is what sampling does. Reading with ``pread`` leaves the
pages to the operating system, which gives them away when memory is short.

Letters: N rows.
"""

from __future__ import annotations

import math
import operator
import os
import threading
import weakref
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError

_GAP = 1024  # rows apart that are still fetched in one reading
_BLOCK = 1 << 20  # rows of one reading at most


class StoredFile:
    """A file that any process reads at any place, each through its own handle.

    It may be pickled into a spawned worker or inherited by a forked one: ``pread``
    has no position that two processes could move for each other.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path).absolute()
        self._identity = _identity(os.stat(self.path))
        self._fd: int | None = None
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._identity[0]

    def read(self, offset: int, count: int) -> bytes:
        """``count`` bytes from ``offset`` on.

        Raises:
            DataError: the file is gone, was replaced since it was opened, or
                ends too early.
        """
        try:
            if self._fd is None:
                self._open()
            content = self._read_at(offset, count)
        except OSError as error:
            raise DataError(f"{self.path} cannot be read any more ({error})") from None
        if len(content) != count:
            raise DataError(
                f"{self.path} ends at {offset + len(content)} bytes, {count} from "
                f"{offset} on were to be read. It is truncated: convert or copy it "
                "again"
            )
        return content

    def _open(self) -> None:
        # Without O_BINARY, Windows would translate line ends.
        fd = os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        if _identity(os.fstat(fd)) != self._identity:
            os.close(fd)
            raise DataError(
                f"{self.path} was written again since this process opened it. Open "
                "the dataset again"
            )
        self._fd = fd
        self._closer = weakref.finalize(self, os.close, fd)

    def close(self) -> None:
        """Let go of the handle; the next reading opens the file again."""
        if self._fd is not None:
            self._fd = None
            self._closer()

    def _read_at(self, offset: int, count: int) -> bytes:
        if hasattr(os, "pread"):
            # One call gives 2 GB at most, and fewer bytes at the end of the file.
            parts = []
            while count > 0 and (part := os.pread(self._fd, count, offset)):
                parts.append(part)
                offset, count = offset + len(part), count - len(part)
            return parts[0] if len(parts) == 1 else b"".join(parts)
        with self._lock, open(self._fd, "rb", 0, closefd=False) as file:
            file.seek(offset)  # Windows: no pread, and no fork that shares a place
            return file.read(count) or b""

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_identity": self._identity}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _fd=None, _lock=threading.Lock())


def _identity(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_size, stat.st_mtime_ns


class Column(np.lib.mixins.NDArrayOperatorsMixin):
    """What answers as an array does, though it is none.

    ``column[rows]`` reads these rows. Comparing, computing, ``min``, ``max``,
    ``tolist`` and ``np.asarray`` read all of them, into memory.
    """

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        raise NotImplementedError

    def __array_ufunc__(self, ufunc: Any, how: str, *inputs: Any, **more: Any) -> Any:
        arrays = [np.asarray(x) if isinstance(x, Column) else x for x in inputs]
        return getattr(ufunc, how)(*arrays, **more)

    def min(self, **options: Any) -> Any:
        """As of the array."""
        return np.asarray(self).min(**options)

    def max(self, **options: Any) -> Any:
        """As of the array."""
        return np.asarray(self).max(**options)

    def tolist(self) -> list:
        """As of the array."""
        return np.asarray(self).tolist()


@dataclass(frozen=True, eq=False)
class StoredColumn(Column):
    """An array on disk, its first axis cut into rows that are read one by one.

    offset: byte of row 0 in ``file``. shape, dtype: of the whole array.
    """

    file: StoredFile
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype
    nbytes: int = 0  # in memory, as numpy counts it

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, first: int, last: int) -> np.ndarray:
        """Rows ``first`` to ``last`` - 1.

        Raises:
            DataError: they lie beyond the column: the file contradicts itself.
        """
        if not 0 <= first <= last <= len(self):
            raise DataError(
                f"{self.file.path} points to rows {first} to {last - 1} of a column of "
                f"{len(self)}. It is damaged: convert the index again"
            )
        row = self._row_bytes
        content = self.file.read(self.offset + first * row, (last - first) * row)
        rows = np.frombuffer(content, self.dtype)
        return rows.reshape(-1, *self.shape[1:]) if len(self.shape) > 1 else rows

    @cached_property
    def _row_bytes(self) -> int:
        return self.dtype.itemsize * math.prod(self.shape[1:])

    def take(self, rows: np.ndarray) -> np.ndarray:
        """The rows listed, in that order; neighbours are read together."""
        taken = np.empty((len(rows), *self.shape[1:]), self.dtype)
        order = np.argsort(rows, kind="stable")
        wanted = rows[order]
        apart = (np.diff(wanted) > _GAP) | (np.diff(wanted // _BLOCK) > 0)
        for places in np.split(order, np.flatnonzero(apart) + 1):
            if len(places):
                low, high = int(rows[places[0]]), int(rows[places[-1]])
                taken[places] = self.read(low, high + 1)[rows[places] - low]
        return taken

    def __getitem__(self, rows: Any) -> Any:
        return get_rows(self, rows, lambda i: self.read(i, i + 1)[0], self.take)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.read(0, len(self)), dtype)


@dataclass(frozen=True)
class StoredText:
    """A column of names; ``names[i]`` is a string."""

    column: StoredColumn

    def __len__(self) -> int:
        return len(self.column)

    def __getitem__(self, i: int) -> str:
        return decode(self.column[i])


def encode(name: str) -> bytes:
    """A name as it is stored; names that are no UTF-8 on disk come back whole."""
    return name.encode("utf-8", "surrogateescape")


def decode(stored: bytes) -> str:
    """The name that :func:`encode` stored."""
    return bytes(stored).decode("utf-8", "surrogateescape")


def get_rows(column: Any, rows: Any, one: Any, many: Any) -> Any:
    """``column[rows]`` for a number, a slice, a mask or a list of numbers."""
    length = len(column)
    try:
        i = operator.index(rows)
    except TypeError:
        return many(_as_numbers(rows, length))
    if not -length <= i < length:
        raise IndexError(f"row {i} of {length}")
    return one(i if i >= 0 else i + length)


def _as_numbers(rows: Any, length: int) -> np.ndarray:
    if isinstance(rows, slice):
        return np.arange(*rows.indices(length))
    rows = np.asarray(rows)
    if rows.dtype == bool:
        if rows.shape != (length,):
            raise IndexError(f"a mask of shape {rows.shape} for {length} rows")
        return np.flatnonzero(rows)
    rows = rows.astype(np.int64)
    if rows.size and not -length <= rows.min() <= rows.max() < length:
        raise IndexError(f"rows {rows.min()} to {rows.max()} of {length}")
    return np.where(rows < 0, rows + length, rows)
