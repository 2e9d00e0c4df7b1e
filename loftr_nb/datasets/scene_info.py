"""Index files of MegaDepth, in the three forms that people have.

All hold, over the images of one scene, ``image_paths``, ``depth_paths``,
``intrinsics`` and ``poses`` (world to camera); an unused slot is None. They
differ in how they say which images form pairs:

- ``pair_infos``, rows of ((i, j), overlap, ...): the released files, which are
  pickled dicts named ``.npz``, and the same keys in a real npz;
- ``pairs`` (N, 2), with ``overlaps`` (N,) or with an ``overlap_matrix``;
- ``overlap_matrix`` (F, F) alone: every pair i < j that overlaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..files import safe_load
from ..geometry import check_intrinsics, check_pose
from .flat import load_flat
from .flat_file import is_flat
from .index import find_index_files
from .table import FlatNames, FrameTable, PairTable, gather

_PER_FRAME = ("image_paths", "depth_paths", "intrinsics", "poses")
KEYS = (*_PER_FRAME, "pair_infos", "pairs", "overlaps", "overlap_matrix")


def load_megadepth_scenes(
    index: Path | Sequence[Path], min_overlap: float = 0.0, max_overlap: float = 1.0
) -> PairTable:
    """Read MegaDepth index files into one table; a flat index stays on disk.

    Each file is a scene of its own, named by its stem (``0015_0.1_0.3``): the
    released recipe draws its 100 pairs an epoch from each file, not from each
    place, so that every overlap bin has the same share.

    Raises:
        DataError: a file is damaged or lacks a key; a row names an image beyond
            the arrays or an empty slot; a pose or K is impossible; no pair is
            left.
    """
    files = find_index_files(index)
    if len(files) == 1 and is_flat(files[0]):
        return load_flat(files[0], "megadepth", min_overlap, max_overlap)
    return gather((load_megadepth_scene(f) for f in files), min_overlap, max_overlap)


def load_megadepth_scene(path: Path) -> PairTable:
    """Read one MegaDepth index file. See :func:`load_megadepth_scenes`."""
    if is_flat(path):
        return load_flat(path, "megadepth").load()
    data = safe_load(path, KEYS)
    for key in ("image_paths", "intrinsics", "poses"):
        if key not in data:
            raise DataError(
                f"{path} has no '{key}'; it has {sorted(data) or 'none of the keys'} "
                f"of a MegaDepth scene ({', '.join(KEYS)})"
            )
    frames = [data.get(k) for k in _PER_FRAME]
    if frames[1] is None:
        frames[1] = np.full(len(frames[0]), None)
    lengths = {k: len(f) for k, f in zip(_PER_FRAME, frames, strict=True)}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{path}: columns over the images differ in length: {lengths}")
    used = np.array(
        [all(f[i] is not None for f in (frames[0], *frames[2:]))
         for i in range(len(frames[0]))],
        dtype=bool,
    )  # fmt: skip
    pairs, overlap = _read_pairs(data, used, path)
    _check_rows(pairs, used, path)
    slots, compact = np.unique(pairs, return_inverse=True)
    compact = compact.reshape(pairs.shape).astype(np.int32)
    rows = len(pairs)
    return PairTable(
        scene=np.zeros(rows, np.int32),
        frame0=np.ascontiguousarray(compact[:, 0]),
        frame1=np.ascontiguousarray(compact[:, 1]),
        overlap=overlap,
        row=np.arange(rows, dtype=np.int32),
        file=np.zeros(rows, np.int32),
        scenes=(path.stem,),
        files=(path,),
        frames=_frame_table(frames, slots, path),
    )


def _read_pairs(
    data: dict[str, Any], used: np.ndarray, path: Path
) -> tuple[np.ndarray, np.ndarray]:
    try:
        if "pair_infos" in data:
            rows = data["pair_infos"]
            pairs = np.array([np.asarray(row[0]) for row in rows])
            overlap = np.array([row[1] for row in rows], np.float32)
        elif "pairs" in data:
            pairs = np.asarray(data["pairs"])
            overlap = _overlap_of(pairs, data)
        elif "overlap_matrix" in data:
            pairs, overlap = _overlapping(data["overlap_matrix"], used)
        else:
            raise DataError(
                f"{path} has none of 'pair_infos', 'pairs' and 'overlap_matrix': it "
                "does not say which images form pairs"
            )
        if len(pairs) == 0:
            raise DataError(f"{path} holds no pairs of images")
        if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
            raise ValueError(f"pairs are {pairs.dtype} of shape {pairs.shape}")
        if overlap.shape != (len(pairs),):
            raise ValueError(f"overlaps have shape {overlap.shape}")
    except (ValueError, TypeError, IndexError) as error:
        raise DataError(
            f"{path}: its pairs cannot be read ({error}). A row is ((i, j), overlap, "
            "...) in 'pair_infos', or (i, j) in 'pairs'"
        ) from None
    return pairs.astype(np.int64), overlap


def _overlap_of(pairs: np.ndarray, data: dict[str, Any]) -> np.ndarray:
    if "overlaps" in data:
        return np.asarray(data["overlaps"], np.float32)
    if "overlap_matrix" in data:
        matrix = np.asarray(data["overlap_matrix"])
        return matrix[pairs[:, 0], pairs[:, 1]].astype(np.float32)
    return np.full(len(pairs), np.nan, np.float32)


def _overlapping(matrix: Any, used: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs i < j of a matrix that is not symmetric: the mean of both directions."""
    matrix = np.asarray(matrix, np.float32)
    if matrix.shape != (len(used), len(used)):
        raise ValueError(f"overlap_matrix is {matrix.shape} for {len(used)} images")
    known = (matrix > 0) & used & used[:, None]  # -1 where nothing was computed
    i, j = np.nonzero(np.triu(known & known.T, 1))
    return np.stack([i, j], 1), (matrix[i, j] + matrix[j, i]) / 2


def _check_rows(pairs: np.ndarray, used: np.ndarray, path: Path) -> None:
    beyond = ((pairs < 0) | (pairs >= len(used))).any(1)
    if beyond.any():
        row = int(beyond.argmax())
        raise DataError(
            f"{path}: pair row {row} names images {pairs[row].tolist()}, and there are "
            f"{len(used)} (0 to {len(used) - 1}). Drop the row, or write the index "
            "again"
        )
    empty = ~used[pairs].all(1)
    if empty.any():
        row = int(empty.argmax())
        slot = pairs[row][~used[pairs[row]]][0]
        raise DataError(
            f"{path}: pair row {row} uses image {slot}, whose slot has no path, K or "
            "pose (None). Drop the row, or write the index again"
        )


def _frame_table(frames: list[Any], slots: np.ndarray, path: Path) -> FrameTable:
    image, depth, K, pose = frames
    return FrameTable(
        image=FlatNames(str(image[s]) for s in slots),
        depth=FlatNames("" if depth[s] is None else str(depth[s]) for s in slots),
        K=_all_checked(K, slots, check_intrinsics, f"{path}: intrinsics"),
        pose=_all_checked(pose, slots, check_pose, f"{path}: poses"),
        slot=slots.astype(np.int32),
    )


def _all_checked(values: Any, slots: np.ndarray, check: Any, where: str) -> np.ndarray:
    checked = []
    for slot in slots:
        try:
            number = np.asarray(values[slot], np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(f"{where}[{slot}] is not numbers ({error})") from None
        checked.append(check(number, f"{where}[{slot}]"))
    return np.stack(checked)
