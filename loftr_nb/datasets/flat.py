"""The flat index: all pairs of a dataset in one HDF5 file of plain arrays.

The released ScanNet index is 1,513 files with 230 million pairs; read into memory
it is gigabytes before the first batch. Here a process knows where each scene's
pairs lie, and reads the rows that it draws.

==============  ===============================================================
attributes      ``format``, ``version``, ``layout`` (``scannet`` or
                ``megadepth``), ``pairs``, ``written_by``
``scenes/*``    (S,) ``name``; ``K`` (S, 3, 3), where it was given
``files/name``  (I,) the index files that the pairs came from
``spans/*``     (P,) one for each file and scene: ``scene``, ``file``, ``first``
                and ``count`` (rows of ``pairs``), ``scored`` (those with an
                overlap), and ``at_least`` (P, 101), how many overlap by 0.00,
                0.01 ... 1.00 or more
``pairs/*``     (N,) ``frame0``, ``frame1``, ``row`` in its index file; where the
                index has them, ``overlap`` and ``rel_pose`` (N, 12)
``frames/*``    MegaDepth: (F,) ``image``, ``depth``, ``slot``, ``K`` (F, 3, 3),
                ``pose`` (F, 4, 4); ``frame0`` is a row here, of ScanNet it is the
                number in a file's name
==============  ===============================================================

Within a span, pairs lie from the largest overlap to the smallest, in the order of
their file where that is equal or not known: a least overlap is a first part of
each span. Every array is contiguous and uncompressed, so that one row is one
small reading. Names are fixed-length UTF-8.

Letters: N pairs, P spans, S scenes, I index files, F frames.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DataError
from .flat_file import FlatFile
from .groups import SceneGroups
from .ranking import Ranking
from .spans import Constant, SpanColumn, SpanNumbers, Spans
from .table import FrameTable, PairTable, none_left


@dataclass(frozen=True)
class FlatTable(PairTable):
    """A :class:`PairTable` whose columns are read from a flat index, row by row.

    Choosing scenes or an overlap reads next to nothing and costs no memory.
    ``select`` and ``load`` give tables in memory.

    spans: the stored rows that it is made of. ranking: of the whole file's scores.
    """

    spans: Spans = dataclasses.field(kw_only=True)
    ranking: Ranking = dataclasses.field(kw_only=True)

    def groups(self) -> SceneGroups:
        """Which rows belong to which scene: two numbers a scene."""
        counts = np.zeros(len(self.scenes), np.int64)
        np.add.at(counts, self.spans.scene, self.spans.count)
        return SceneGroups.from_counts(counts)

    def select(self, keep: np.ndarray) -> PairTable:
        """The rows where ``keep`` (N,) is True, or the rows it lists, in memory."""
        return self._in_memory({n: c[keep] for n, c in self._columns().items()})

    def load(self) -> PairTable:
        """The same table in memory."""
        return self._in_memory({n: np.asarray(c) for n, c in self._columns().items()})

    def of_scenes(self, numbers: Iterable[int]) -> FlatTable:
        """The pairs of these scenes. ``scenes`` and its numbers stay."""
        kept = np.isin(self.spans.scene, list(numbers))
        return self._of(self.spans.select(kept))

    def of_file(self, number: int) -> FlatTable:
        """The pairs that came from one index file. ``files`` stays."""
        return self._of(self.spans.select(self.spans.source == number))

    def at_most(self, most: float) -> FlatTable:
        """The pairs of no larger overlap, and those without a score."""
        spans = self.spans
        return self._of(spans.cut(self._beyond(most), spans.first + spans.count))

    def overlapping(self, least: float, most: float) -> FlatTable:
        """The pairs with ``least <= overlap <= most``, perhaps none.

        Raises:
            DataError: a bound is asked for and a pair has no score.
        """
        if least <= 0 and most >= 1:
            return self
        spans, ranking = self.spans, self.ranking
        scored = ranking.begin[spans.number] + ranking.scored[spans.number]
        lacking = np.flatnonzero(spans.first + spans.count > scored)
        if len(lacking):  # pairs without a score are the last of their span
            raise self.unscored(int(spans.ends[lacking[0]]) - 1, least, most)
        last = ranking.reach(spans.number, np.float32(least))
        return self._of(spans.cut(self._beyond(most), last))

    def without_empty_scenes(self) -> FlatTable:
        """Scenes that have pairs, numbered anew."""
        used, scene = np.unique(self.spans.scene, return_inverse=True)
        spans = dataclasses.replace(self.spans, scene=scene.astype(np.int32))
        K = None if self.K is None else self.K[used]
        scenes = tuple(self.scenes[s] for s in used)
        return dataclasses.replace(self._of(spans), scenes=scenes, K=K)

    def _beyond(self, most: float) -> np.ndarray:
        """First stored row of each span that does not overlap by more."""
        more = np.nextafter(np.float32(most), np.float32(np.inf))
        return self.ranking.reach(self.spans.number, more)

    def _of(self, spans: Spans) -> FlatTable:
        columns = {
            name: dataclasses.replace(c, spans=spans)
            for name, c in self._columns().items()
            if isinstance(c, SpanColumn)
        }
        columns["scene"] = SpanNumbers(spans.scene, spans)
        columns["file"] = SpanNumbers(spans.source, spans)
        if self.ranking.overlap is None:
            columns["overlap"] = Constant(np.float32(np.nan), spans.rows)
        return dataclasses.replace(self, spans=spans, **columns)

    def _in_memory(self, columns: dict[str, np.ndarray]) -> PairTable:
        # As readers of single files have them, and not as narrow as stored.
        for name in ("frame0", "frame1", "row"):
            columns[name] = columns[name].astype(np.int32)
        shared = {n: getattr(self, n) for n in ("scenes", "files", "frames", "K")}
        return PairTable(**columns, **shared)


def load_flat(
    path: Path, layout: str, min_overlap: float = 0.0, max_overlap: float = 1.0
) -> FlatTable:
    """Open a flat index of a layout, with the pairs of the overlap asked for.

    Raises:
        DataError: damaged, no flat index, one of another layout, or no pair is
            left.
    """
    whole = open_flat(path)
    found = "scannet" if whole.frames is None else "megadepth"
    if found != layout:
        raise DataError(
            f"{path} is a flat index in {found}'s layout, and {layout}'s is asked for. "
            f"Open it as {found}, or give the other index"
        )
    table = whole.overlapping(min_overlap, max_overlap)
    if len(table) == 0:
        asked = (min_overlap, max_overlap)
        raise none_left([Path(path)], asked, whole.ranking.extremes())
    return table.without_empty_scenes()


def open_flat(path: Path) -> FlatTable:
    """Open a flat index, whichever its layout; only its small tables are read.

    Raises:
        DataError: missing, damaged, or no flat index; the message says what to do.
    """
    file = FlatFile.open(Path(path))
    number = np.arange(len(file.first), dtype=np.int32)
    # By scene: spans of a scene that several files tell of come together.
    order = np.argsort(file.scene, kind="stable")
    spans = Spans(
        file.first, file.count, number, file.scene, file.source
    ).select(order)  # fmt: skip
    columns = {
        name: SpanColumn(file.columns[f"pairs/{name}"], spans)
        for name in ("frame0", "frame1", "row", "overlap", "rel_pose")
        if f"pairs/{name}" in file.columns
    }
    columns.setdefault("overlap", Constant(np.float32(np.nan), spans.rows))
    return FlatTable(
        **columns,
        scene=SpanNumbers(spans.scene, spans),
        file=SpanNumbers(spans.source, spans),
        scenes=file.scenes,
        files=file.files,
        frames=_frames(file),
        K=file.K,
        spans=spans,
        ranking=Ranking(
            file.columns.get("pairs/overlap"),
            file.first,
            file.scored,
            file.columns["spans/at_least"],
        ),
    )


def _frames(file: FlatFile) -> FrameTable | None:
    if file.layout != "megadepth":
        return None
    columns = file.columns
    return FrameTable(
        image=file.text("frames/image"),
        depth=file.text("frames/depth"),
        K=columns["frames/K"],
        pose=columns["frames/pose"],
        slot=columns["frames/slot"],
    )
