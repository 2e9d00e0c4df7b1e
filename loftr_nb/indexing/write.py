"""Index files as the released readers take them.

ScanNet: one npz a scene with ``name`` and ``score``, and one with all intrinsics.
MegaDepth: one file a scene and range of overlap, over all of the scene's images.
Letters: N pairs, S slots (all frames of a scene, used or not).
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..files import save_npz, write_whole
from ..recordings import Scene
from ..recordings.scannet import SCENE_NAME
from .grids import Grids

_PER_FRAME = ("image_paths", "depth_paths", "intrinsics", "poses")


def write_scannet(
    path: Path, scene: str, frames: np.ndarray, score: np.ndarray
) -> None:
    """``name`` (N, 4): scene, sub-scene, frame 0, frame 1; ``score`` (N,) float32.

    Args:
        frames: (N, 2) the numbers in the files' names. uint16 as released, where
            they fit.

    Raises:
        DataError: the scene is not named like ``scene0707_00``.
    """
    match = SCENE_NAME.match(scene)
    if match is None:
        raise DataError(
            f"{scene} is not named like scene0707_00, and ScanNet's index has nothing "
            "but those two numbers: rename its folder"
        )
    head = np.broadcast_to([int(g) for g in match.groups()], (len(frames), 2))
    name = np.concatenate([head, np.asarray(frames, np.int64).reshape(-1, 2)], axis=1)
    fits = name.size == 0 or name.max() <= np.iinfo(np.uint16).max
    name = name.astype(np.uint16 if fits else np.int32)
    save_npz(path, name=name, score=np.asarray(score, np.float32))


def write_intrinsics(path: Path, by_scene: dict[str, np.ndarray]) -> None:
    """Nine numbers by scene, as ScanNet's ``intrinsics.npz``."""
    save_npz(path, **{k: np.asarray(v, np.float64) for k, v in by_scene.items()})


def frame_columns(scene: Scene, root: Path, grids: Grids) -> dict[str, np.ndarray]:
    """MegaDepth's columns over all frames of a scene, None where one is not used.

    Returns:
        (S,) object arrays: image and depth paths from ``root``, K (3, 3) in
        pixels of the stored image, pose (4, 4) world to camera.
    """
    columns = {key: np.full(len(scene), None, object) for key in _PER_FRAME}
    for row, k in enumerate(grids.number.tolist()):
        columns["image_paths"][k] = _below(root, scene.image_path(k))
        columns["depth_paths"][k] = _below(root, scene.depth_path(k))
        columns["intrinsics"][k] = scene.K(k)
        columns["poses"][k] = grids.pose[row]
    return columns


def _below(root: Path, path: Path) -> str:
    return Path(os.path.relpath(path, root)).as_posix()


def write_megadepth(
    path: Path,
    columns: dict[str, np.ndarray],
    pairs: np.ndarray,
    overlap: np.ndarray,
    central: np.ndarray,
    as_pickle: bool = False,
) -> None:
    """One file of one scene and one range of overlap.

    Args:
        columns: of :func:`frame_columns`.
        pairs: (N, 2) slots. overlap: (N,). central: (N, 4), x0, y0, x1, y1 of a
            match in original pixels.
        as_pickle: a pickled dict under the name, as the released files are: the
            released code deletes a key of what it loads, which no npz allows.
    """
    rows = [
        (np.asarray(ends), float(share), middle)
        for ends, share, middle in zip(pairs, overlap, central, strict=True)
    ]
    if as_pickle:
        write_whole(
            path, lambda file: file.write(pickled({**columns, "pair_infos": rows}))
        )
        return
    infos = np.empty(len(rows), object)
    infos[:] = rows
    save_npz(path, **columns, pair_infos=infos)


def pickled(info: dict[str, object]) -> bytes:
    """A pickle that numpy 1 reads too.

    numpy 2 has moved the function that rebuilds an array, and the old place still
    leads to it; the released code runs on versions that know the old one only.
    Protocol 3 names it in plain text.
    """
    data = pickle.dumps(info, protocol=3)
    return data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def write_list(path: Path, names: Iterable[str]) -> None:
    """A text list of index files, one name a line."""
    text = "".join(f"{name}\n" for name in names)
    write_whole(path, lambda file: file.write(text.encode()))
