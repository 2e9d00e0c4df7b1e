"""Runs of stored rows as the rows of a table.

A flat index keeps, for each index file and scene, its pairs from the largest
overlap to the smallest. Whatever part of them is asked for, by scene or by
overlap, is again one run of rows a scene: a table needs two numbers for each of
them and none for each pair.

Letters: N rows of a table, P spans.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .columns import Column, StoredColumn, get_rows


@dataclass(frozen=True, eq=False)
class Spans:
    """The runs of stored rows that make up a table, one after the other.

    A span is what one index file says about one scene. Those of a scene lie
    together, so rows of the table are in order of their scenes.

    first, count: (P,) int64, stored row it starts at and rows that it has.
    number: (P,) int32, of the span in the file. scene: (P,) int32, its scene.
    source: (P,) int32, number of the index file that it came from.
    """

    first: np.ndarray
    count: np.ndarray
    number: np.ndarray
    scene: np.ndarray
    source: np.ndarray

    @cached_property
    def ends(self) -> np.ndarray:
        """(P,) int64, row of the table after each span's last."""
        return np.cumsum(self.count)

    def __len__(self) -> int:
        return len(self.first)

    @cached_property
    def rows(self) -> int:
        """Rows of the table."""
        return int(self.count.sum())

    @cached_property
    def _shift(self) -> np.ndarray:
        """(P,) int64, what to add to a row of the table for the stored row."""
        return self.first - (self.ends - self.count)

    def select(self, keep: np.ndarray) -> Spans:
        """The spans where ``keep`` (P,) is True, or those it lists."""
        names = ("first", "count", "number", "scene", "source")
        return Spans(**{name: getattr(self, name)[keep] for name in names})

    def span_of(self, rows: Any) -> Any:
        """Number of the span that rows of the table lie in."""
        return self.ends.searchsorted(rows, side="right")

    def stored(self, rows: Any) -> Any:
        """Rows of the table as rows of the file's columns."""
        return rows + self._shift[self.span_of(rows)]

    def cut(self, first: np.ndarray, last: np.ndarray) -> Spans:
        """Each span from stored row ``first`` (P,) to ``last`` - 1 at most."""
        start = np.maximum(self.first, first)
        stop = np.minimum(self.first + self.count, last)
        count = np.maximum(stop - start, 0)
        cut = Spans(start, count, self.number, self.scene, self.source)
        return cut.select(count > 0)


@dataclass(frozen=True, eq=False)
class SpanColumn(Column):
    """Rows of a stored column, as spans arrange them into a table.

    ``column[i]``, ``column[a:b]`` and ``column[rows]`` read what they name, and
    nothing stays in memory; ``np.asarray(column)`` reads all of it.
    """

    stored: StoredColumn
    spans: Spans
    nbytes: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """As of the array."""
        return (self.spans.rows, *self.stored.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """As stored."""
        return self.stored.dtype

    def __len__(self) -> int:
        return self.spans.rows

    def __getitem__(self, rows: Any) -> Any:
        def one(i: int) -> Any:
            return self.stored[int(self.spans.stored(i))]

        return get_rows(
            self, rows, one, lambda r: self.stored.take(self.spans.stored(r))
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        whole = np.empty(self.shape, self.dtype)
        for part, first, count in self._parts():
            whole[part] = self.stored.read(first, first + count)
        return np.asarray(whole, dtype)

    def _parts(self) -> Iterator[tuple[slice, int, int]]:
        ends = self.spans.ends.tolist()
        spans = zip(ends, self.spans.first.tolist(), self.spans.count, strict=True)
        for end, first, count in spans:
            yield slice(end - int(count), end), first, int(count)


@dataclass(frozen=True, eq=False)
class SpanNumbers(Column):
    """A number per span as a number per row: (N,) that takes P numbers of memory."""

    values: np.ndarray
    spans: Spans
    nbytes: int = 0

    @property
    def shape(self) -> tuple[int]:
        """As of the array."""
        return (self.spans.rows,)

    @property
    def dtype(self) -> np.dtype:
        """Of the numbers."""
        return self.values.dtype

    def __len__(self) -> int:
        return self.spans.rows

    def __getitem__(self, rows: Any) -> Any:
        def many(rows: Any) -> Any:
            return self.values[self.spans.span_of(rows)]

        return get_rows(self, rows, many, many)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(np.repeat(self.values, self.spans.count), dtype)


@dataclass(frozen=True, eq=False)
class Constant(Column):
    """One number for every row."""

    value: Any
    rows: int
    nbytes: int = 0

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, rows: Any) -> Any:
        def many(rows: np.ndarray) -> np.ndarray:
            return np.full(len(rows), self.value)

        return get_rows(self, rows, lambda _: self.value, many)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.full(self.rows, self.value, dtype)
