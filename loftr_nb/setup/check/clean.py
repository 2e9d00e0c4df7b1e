"""One index file without the rows that cannot be used, in the kind that it was."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from ...datasets.flat_writer import FlatWriter
from ...datasets.table import PairTable
from ...files import safe_load, save_npz, write_whole
from ...indexing.write import pickled
from .rows import Codes, FlatIndex, IndexFile, MegaDepthFile, Rows


def cleaned_file(file: IndexFile, codes: Codes, new: Path) -> None:
    """Write the rows of ``file`` whose frames are all usable to ``new``.

    Raises:
        DataError: ``new`` cannot be written.
    """
    if isinstance(file, FlatIndex):
        _flat(file, codes, new)
        return
    keep = _keep(file, codes)
    data = {key: _plain(value) for key, value in safe_load(file.path).items()}
    if isinstance(file, MegaDepthFile):
        _drop_pairs(file, data, keep)
    else:
        data = {k: v[keep] if _is_column(v, keep) else v for k, v in data.items()}
    with file.path.open("rb") as stream:
        is_archive = stream.read(2) == b"PK"
    if is_archive:
        save_npz(new, **{key: _array(value) for key, value in data.items()})
    else:
        write_whole(new, lambda out: out.write(pickled(data)))


def _keep(file: IndexFile, codes: Codes) -> np.ndarray:
    """(N,) bool over the rows of the file."""
    found = [(rows.number, codes.of(rows) == 0) for rows in file.rows()]
    keep = np.zeros(sum(len(number) for number, _ in found), bool)
    for number, good in found:
        keep[number] = good
    return keep


def _is_column(value: Any, keep: np.ndarray) -> bool:
    return isinstance(value, np.ndarray) and value.shape[:1] == keep.shape


def _drop_pairs(file: MegaDepthFile, data: dict[str, Any], keep: np.ndarray) -> None:
    if "pair_infos" in data:
        infos = data["pair_infos"]
        if isinstance(infos, np.ndarray):
            data["pair_infos"] = infos[keep]
        else:
            rows = [row for row, good in zip(infos, keep, strict=True) if good]
            data["pair_infos"] = type(infos)(rows)
    elif "pairs" in data:
        for key in ("pairs", "overlaps"):
            if key in data:
                data[key] = np.asarray(data[key])[keep]
    else:
        matrix = np.array(data["overlap_matrix"])
        i, j = file.pairs(data)[~keep].T
        matrix[i, j] = matrix[j, i] = 0
        data["overlap_matrix"] = matrix


def _array(value: Any) -> np.ndarray:
    """As np.savez takes it; rows of unequal parts become an array of objects."""
    if isinstance(value, np.ndarray):
        return value
    array = np.empty(len(value), object)
    array[:] = value
    return array


def _plain(value: Any) -> Any:
    """Arrays of the safe reader's own class as numpy's, however deep they lie."""
    if isinstance(value, np.ndarray):
        array = value.view(np.ndarray)
        if array.dtype.hasobject:
            flat = np.empty(array.size, object)
            for i, part in enumerate(array.ravel().tolist()):
                flat[i] = _plain(part)
            return flat.reshape(array.shape)
        return array
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(part) for part in value)
    return value


def _flat(file: FlatIndex, codes: Codes, new: Path) -> None:
    table = file.table()
    with FlatWriter(new, file.layout) as writer:
        if table.frames is not None:
            writer.add(_usable(table.load(), codes))
            return
        for number, source in enumerate(table.files):
            part = table.of_file(number).load()
            part = _usable(part, codes)
            if len(part):
                none = np.zeros(len(part), np.int32)
                writer.add(dataclasses.replace(part, files=(source,), file=none))


def _usable(table: PairTable, codes: Codes) -> PairTable:
    keep = np.zeros(len(table), bool)
    for scene in np.unique(table.scene).tolist():
        number = np.flatnonzero(table.scene == scene)
        rows = Rows(
            table.scenes[scene], number, table.frame0[number], table.frame1[number]
        )
        keep[number] = codes.of(rows) == 0
    return table.select(keep)
