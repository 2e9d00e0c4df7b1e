"""Index files of ScanNet: which frames form pairs, and how they overlap.

The released index is one npz a scene with ``name`` (N, 4) integers (scene,
sub-scene, frame 0, frame 1) and ``score`` (N,), and text lists of such files. The
1,500-pair test index has no score and has ``rel_pose`` (N, 12) instead: the
upper three rows of ``T_0to1``, row by row, camera 0 to camera 1 in metres.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, nearest
from ..files import require_file, safe_load
from ..geometry import check_intrinsics
from .flat import load_flat
from .flat_file import flat_layout, is_flat
from .table import PairTable, gather

_SUBSCENES = 1000  # more than any scene has
_LARGEST = 2**31 - 1


def find_index_files(index: Path | Sequence[Path]) -> list[Path]:
    """The index files meant by a file, a text list, a folder, or several of them.

    They are npz files, or flat ones; of a folder with both, the npz files. Entries
    of a list may lack ``.npz``. They are looked for beside the list, in
    its folder's folders and in the folders beside it, as the released archives
    keep lists and indices apart.

    Raises:
        DataError: nothing there, an empty list or folder, an entry not found.
    """
    if not isinstance(index, (str, Path)):
        return [f for one in index for f in find_index_files(one)]
    path = Path(index)
    if (path / "index.json").is_file() and (path / "train.txt").is_file():
        path = path / "train.txt"  # a folder of `loftr-nb data index`
    if path.is_dir():
        files = sorted(path.glob("*.npz")) or sorted(path.glob("*.h5"))
        if not files:
            held = sorted(p.name for p in path.iterdir())[:5]
            raise DataError(
                f"{path} has no index files (*.npz); it holds {held or 'nothing'}. "
                "Point to the folder of npz files, or to a text list of them"
            )
        return files
    if path.suffix != ".txt":
        if not path.exists():
            raise DataError(
                f"the index {path} does not exist. Point to an npz file, a folder of "
                "them or a text list, or build the embedded data with `loftr-nb data "
                "mini` (`make train` does so)"
            )
        return [path]
    return _read_list(path)


def _read_list(path: Path) -> list[Path]:
    require_file(path)
    try:
        entries = path.read_text().split()
    except UnicodeDecodeError:
        raise DataError(f"{path} is not a text list of index files") from None
    if not entries:
        raise DataError(f"{path} lists no index files. Add one name a line")
    beside = [path.parent, path.parent / path.stem]
    for folder in (path.parent, path.parent.parent):
        beside += sorted(p for p in folder.iterdir() if p.is_dir())
    return [_find_entry(path, entry, beside) for entry in entries]


def _find_entry(path: Path, entry: str, folders: list[Path]) -> Path:
    name = entry if entry.endswith((".npz", ".h5")) else entry + ".npz"
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    known = sorted(f.name for f in path.parent.rglob("*.npz"))[:5000]
    hint = nearest(name, known) if known else "there is no npz file below its folder"
    raise DataError(
        f"{path} lists {entry}, which is neither beside it nor in the folders "
        f"around it; {hint if len(hint) < 300 else f'{len(known)} others are there'}"
    )


def index_layout(path: Path) -> str:
    """``scannet`` or ``megadepth``: what one index file says pairs of.

    Raises:
        DataError: missing or damaged.
    """
    if is_flat(path):
        return flat_layout(path)
    return "scannet" if safe_load(path, ("name",)) else "megadepth"


def load_scannet_pairs(
    index: Path | Sequence[Path], min_overlap: float = 0.0
) -> PairTable:
    """Read ScanNet index files into one table; a flat index stays on disk.

    Args:
        index: see :func:`find_index_files`.
        min_overlap: leave out pairs with a smaller score.

    Raises:
        DataError: a file is damaged, lacks ``name``, or its columns disagree; or
            no pair is left.
    """
    files = find_index_files(index)
    if len(files) == 1 and is_flat(files[0]):
        return load_flat(files[0], "scannet", min_overlap)
    return gather((load_scannet_file(p) for p in files), min_overlap)


def load_scannet_file(path: Path) -> PairTable:
    """Read one ScanNet index file. See :func:`load_scannet_pairs`."""
    if is_flat(path):
        return load_flat(path, "scannet").load()
    data = safe_load(path, ("name", "score", "rel_pose"))
    name = _read_name(data, path)
    rows = len(name)
    overlap = np.full(rows, np.nan, np.float32)
    if "score" in data:
        overlap = _column(data["score"], (rows,), path, "score")
    rel_pose = None
    if "rel_pose" in data:
        rel_pose = _column(data["rel_pose"], (rows, 12), path, "rel_pose")
    number = name[:, 0] * _SUBSCENES + name[:, 1]
    numbers, scene = np.unique(number, return_inverse=True)
    return PairTable(
        scene=scene.astype(np.int32),
        frame0=name[:, 2].astype(np.int32),
        frame1=name[:, 3].astype(np.int32),
        overlap=overlap,
        row=np.arange(rows, dtype=np.int32),
        file=np.zeros(rows, np.int32),
        scenes=tuple(
            "scene{:04d}_{:02d}".format(*divmod(n, _SUBSCENES)) for n in numbers
        ),
        files=(path,),
        rel_pose=rel_pose,
    )


def _read_name(data: dict[str, Any], path: Path) -> np.ndarray:
    """The (N, 4) int64 column ``name``, checked."""
    if "name" not in data:
        keys = sorted(safe_load(path))
        raise DataError(
            f"{path} has no 'name' (N, 4); it has {keys or 'nothing'}. Is it a "
            "MegaDepth scene or an intrinsics file?"
        )
    name = np.asarray(data["name"])
    if name.ndim != 2 or name.shape[1] != 4 or name.dtype.kind not in "iu":
        raise DataError(
            f"{path}: 'name' is {name.dtype} of shape {name.shape}; it must be (N, 4) "
            "integers: scene, sub-scene, frame 0, frame 1"
        )
    if len(name) == 0:
        raise DataError(f"{path}: 'name' has no rows, there is no pair to read")
    beyond = ((name < 0) | (name > _LARGEST)).any(1)
    if beyond.any():
        row = int(beyond.argmax())
        raise DataError(
            f"{path}: row {row} of 'name' is {name[row].tolist()}; scene, sub-scene "
            f"and frames lie between 0 and {_LARGEST}. Write the index again"
        )
    return name.astype(np.int64)


def _column(
    values: np.ndarray, shape: tuple[int, ...], path: Path, name: str
) -> np.ndarray:
    try:
        column = np.asarray(values).astype(np.float32)
    except (TypeError, ValueError):
        column = np.empty(0)
    if column.shape != shape:
        raise DataError(
            f"{path}: '{name}' has shape {np.shape(values)} where 'name' asks for "
            f"{shape}: every pair needs its own. Write the index again"
        )
    return column


def load_intrinsics(path: Path) -> dict[str, np.ndarray]:
    """Intrinsics of many scenes from one npz: (3, 3) float64 by scene name.

    Raises:
        DataError: damaged, or a scene without nine numbers or focal length.
    """
    return {
        scene: check_intrinsics(K, f"{path}[{scene}]")
        for scene, K in safe_load(path).items()
    }
