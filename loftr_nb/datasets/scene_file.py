"""Write a MegaDepth scene so that old code reads it.

The released code runs with numpy 1.x, and deletes a key from what it loads, which
only a pickled dict lets it do. Numpy 2 names itself ``numpy._core`` in a pickle,
which numpy before 1.26 does not know: the name that both know is written instead.
"""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..files import write_whole


def save_scene(path: Path, arrays: dict[str, Any], pickled: bool = False) -> None:
    """Write the arrays of a scene, whole or not at all.

    Args:
        arrays: by name; ``pair_infos`` may be any rows of (pair, overlap, ...).
        pickled: a pickled dict, as released, and not a real npz. ``path`` ends in
            ``.npz`` all the same.

    Raises:
        DataError: the disk is full, or the folder cannot be written to.
    """
    arrays = {name: _plain(value) for name, value in arrays.items()}
    if "pair_infos" in arrays:
        rows = [tuple(row) for row in arrays["pair_infos"]]
        arrays["pair_infos"] = rows if pickled else _object_rows(rows)
    if pickled:
        write_whole(path, lambda file: file.write(_for_all_numpys(arrays)))
    else:
        write_whole(path, lambda file: _write_npz(file, arrays))


def _plain(value: Any) -> Any:
    """Arrays of numpy's own type: what was read safely has a type of this package."""
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        plain = np.empty(value.shape, object)
        for place in np.ndindex(value.shape):
            plain[place] = _plain(value[place])
        return plain
    if isinstance(value, np.ndarray):
        return np.array(value)
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value))
    return value


def _object_rows(rows: list[tuple]) -> np.ndarray:
    """(N, 3) of objects: numpy alone would try to make numbers of them."""
    array = np.empty((len(rows), len(rows[0]) if rows else 3), object)
    for k, row in enumerate(rows):
        for column, value in enumerate(row):
            array[k, column] = value
    return array


def _write_npz(file: BinaryIO, arrays: dict[str, Any]) -> None:
    form = np.lib.format
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in arrays.items():
            array = np.asarray(value)
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                if array.dtype.hasobject:
                    header = form.header_data_from_array_1_0(array)
                    form.write_array_header_1_0(member, header)
                    member.write(_for_all_numpys(array))
                else:
                    form.write_array(member, array, allow_pickle=False)


def _for_all_numpys(value: Any) -> bytes:
    # Protocol 3 writes a name as "c" module newline name newline.
    return pickle.dumps(value, 3).replace(b"cnumpy._core.", b"cnumpy.core.")
