"""The file behind a flat index: opened, checked, and its columns located.

See :mod:`.flat` for what it holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from ..errors import DataError
from ..files import require_file
from .columns import StoredColumn, StoredFile, StoredText, decode
from .ranking import STEPS

FORMAT = "loftr_nb pair index"
VERSION = 1
PER_SPAN = ("scene", "file", "first", "count", "scored", "at_least")
PER_PAIR = ("frame0", "frame1", "row")
PER_PAIR_SOME = ("overlap", "rel_pose")  # where the index has them
PER_FRAME = ("image", "depth", "slot", "K", "pose")
_DAMAGED = (
    *(OSError, RuntimeError, KeyError, IndexError, ValueError, TypeError),
    *(AttributeError, OverflowError, MemoryError),  # sizes and kinds that cannot be
)
_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def is_flat(path: Path) -> bool:
    """Whether a file is HDF5, by its first bytes: no other kind of index is."""
    path = Path(path)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_SIGNATURE)) == _SIGNATURE


def flat_layout(path: Path) -> str:
    """``scannet`` or ``megadepth``, from the attributes of a flat index.

    Raises:
        DataError: no flat index.
    """
    return FlatFile.open(path).layout


@dataclass(frozen=True)
class FlatFile:
    """What a flat index holds: its small tables read, its columns located.

    scene, source, first, count, scored: (P,) of the spans. columns: every dataset
    by its name in the file.
    """

    layout: str
    scenes: tuple[str, ...]
    files: tuple[Path, ...]
    K: np.ndarray | None
    scene: np.ndarray
    source: np.ndarray
    first: np.ndarray
    count: np.ndarray
    scored: np.ndarray
    columns: dict[str, StoredColumn]

    @classmethod
    def open(cls, path: Path) -> FlatFile:
        """Read the small tables and check that all sizes agree.

        Raises:
            DataError: missing, damaged, written by a later version, or another
                kind of file.
        """
        path = Path(path)
        require_file(path)
        try:
            # Without a lock: the file may lie on read-only or network storage.
            with h5py.File(path, "r", locking=False) as file:
                layout, pairs = _check_kind(file, path)
                columns = _locate(file, path)
            return cls._checked(layout, pairs, columns, path)
        except _DAMAGED as error:
            raise DataError(
                f"{path} cannot be read as a flat index ({error}). It may be truncated "
                "or damaged: copy it again, or write it again with `loftr-nb data "
                "convert`"
            ) from None

    @classmethod
    def _checked(
        cls, layout: str, pairs: int, columns: dict[str, StoredColumn], path: Path
    ) -> FlatFile:
        _check_sizes(columns, layout, pairs)
        whole = {n: np.asarray(columns[f"spans/{n}"]) for n in PER_SPAN[:-1]}
        spans = {n: whole[n].astype(np.int64) for n in ("first", "count", "scored")}
        scenes = tuple(decode(n) for n in np.asarray(columns["scenes/name"]))
        files = tuple(Path(decode(n)) for n in np.asarray(columns["files/name"]))
        _check_spans(spans, pairs)
        for name, known in (("scene", scenes), ("file", files)):
            _demand(
                whole[name].min(initial=0) >= 0
                and whole[name].max(initial=-1) < len(known),
                f"a span names {name} {whole[name].max(initial=-1)} of {len(known)}",
            )
        K = columns.get("scenes/K")
        return cls(
            layout,
            scenes,
            files,
            None if K is None else np.array(K),
            whole["scene"].astype(np.int32),
            whole["file"].astype(np.int32),
            spans["first"],
            spans["count"],
            spans["scored"],
            columns,
        )

    def text(self, name: str) -> StoredText:
        """A column of names."""
        return StoredText(self.columns[name])


def _check_kind(file: h5py.File, path: Path) -> tuple[str, int]:
    """Layout and number of pairs, from a file that says that it is a flat index."""
    if file.attrs.get("format") != FORMAT:
        held = ", ".join(sorted(file)[:6]) or "nothing"
        raise DataError(
            f"{path} is an HDF5 file but no flat index; it holds {held}. Give an index "
            "of pairs: npz files, or what `loftr-nb data convert` wrote"
        )
    version = int(file.attrs["version"])
    if version > VERSION:
        raise DataError(
            f"{path} is a flat index of version {version}, this loftr_nb reads up to "
            f"{VERSION}. Update loftr_nb, or convert the index again"
        )
    layout = file.attrs["layout"]
    _demand(layout in ("scannet", "megadepth"), f"its layout is {layout!r}")
    return layout, int(file.attrs["pairs"])


def _locate(file: h5py.File, path: Path) -> dict[str, StoredColumn]:
    stored = StoredFile(path)
    columns = {}
    for group in file.values():
        for name, dataset in group.items():
            full = f"{group.name[1:]}/{name}"
            offset = dataset.id.get_offset()
            _demand(
                offset is not None or dataset.size == 0,
                f"{full} is stored in pieces, and every column must be in one",
            )
            end = (offset or 0) + dataset.size * dataset.dtype.itemsize
            _demand(end <= stored.size, f"{full} ends beyond the file")
            dtype = dataset.dtype
            if h5py.check_string_dtype(dtype):
                dtype = np.dtype(f"S{dtype.itemsize}")
            columns[full] = StoredColumn(stored, offset or 0, dataset.shape, dtype)
    return columns


def _check_sizes(columns: dict[str, StoredColumn], layout: str, pairs: int) -> None:
    rows = {f"pairs/{n}": (pairs,) for n in PER_PAIR}
    rows |= {f"pairs/{n}": (pairs,) for n in PER_PAIR_SOME if f"pairs/{n}" in columns}
    spans = len(columns["spans/scene"])
    rows |= {f"spans/{n}": (spans,) for n in PER_SPAN}
    rows["spans/at_least"] = (spans, len(STEPS))
    if "pairs/rel_pose" in columns:
        rows["pairs/rel_pose"] = (pairs, 12)
    if "scenes/K" in columns:
        rows["scenes/K"] = (len(columns["scenes/name"]), 3, 3)
    if layout == "megadepth":
        frames = len(columns["frames/image"])
        rows |= {f"frames/{n}": (frames,) for n in PER_FRAME}
        rows |= {"frames/K": (frames, 3, 3), "frames/pose": (frames, 4, 4)}
    for name, shape in rows.items():
        found = columns[name].shape
        _demand(found == shape, f"{name} has shape {found}, it must have {shape}")


def _check_spans(spans: dict[str, np.ndarray], pairs: int) -> None:
    first, count, scored = spans["first"], spans["count"], spans["scored"]
    inside = (first >= 0) & (count > 0) & (first + count <= pairs)
    _demand(bool(inside.all()), "a span lies beyond the pairs")
    _demand(int(count.sum()) == pairs, f"spans hold {count.sum()} of {pairs} pairs")
    _demand(bool(((scored >= 0) & (scored <= count)).all()), "more scores than pairs")


def _demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
