"""Any index as the npz files or pickles that other LoFTR code reads.

One file for each index file that the pairs came from, with its name and its order
of rows, and ``list.txt`` with the names. ScanNet: ``name``, ``score``, ``rel_pose``.
MegaDepth: the columns over the images and ``pair_infos``, whose third entry, a point
in both images that a flat index does not keep, is NaN.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, DataError
from ..files import save_npz
from .convert import Converted, Progress, count_sources, index_tables
from .index import find_index_files, index_layout
from .scene_file import save_scene
from .table import PairTable

FORMS = ("npz", "pickle")


def export_index(
    index: Path | Sequence[Path],
    out: Path,
    form: str = "npz",
    intrinsics: Path | None = None,
    progress: Progress | None = None,
) -> Converted:
    """Write an index, a flat one above all, as a folder of one npz file each.

    Args:
        index: anything that :func:`convert_index` takes.
        out: the folder, not there yet or empty.
        form: "npz", or "pickle": a dict under the name of an npz, as MegaDepth's
            index was released. The released code deletes a key from it, which a
            real npz refuses.
        intrinsics: where to write ScanNet's K by scene, if the index has them.
        progress: called with files done, files in all, and a line of words.

    Raises:
        DataError: the index is damaged, or ``out`` holds something.
        ConfigError: a form that is not known, or that ScanNet does not have.
    """
    files = find_index_files(index)
    layout = index_layout(files[0])
    if form not in FORMS or (layout, form) == ("scannet", "pickle"):
        raise ConfigError(
            f"{layout} cannot be written as {form!r}: ScanNet's files are npz, "
            "MegaDepth's 'npz' or 'pickle'"
        )
    names: list[str] = []
    K: dict[str, np.ndarray] = {}
    counted = {"scenes": set(), "pairs": 0, "frames": 0}
    with whole_folder(Path(out)) as folder:
        for table in index_tables(files, layout):
            names.append(_free_name(table.files[0], names))
            write_table(table, folder / names[-1], form)
            K |= table.intrinsics()
            counted["scenes"] |= set(table.scenes)
            counted["pairs"] += len(table)
            counted["frames"] += 0 if table.frames is None else len(table.frames.slot)
            if progress is not None:
                text = f"{names[-1]}, {counted['pairs']:,} pairs"
                progress(len(names), count_sources(files), text)
        # The released code adds the ending to MegaDepth's names, not to ScanNet's.
        listed = names if layout == "scannet" else [n[: -len(".npz")] for n in names]
        (folder / "list.txt").write_text("".join(f"{n}\n" for n in listed))
    if intrinsics is not None:
        _write_intrinsics(K, Path(intrinsics), files[0])
    size = sum(f.stat().st_size for f in Path(out).iterdir())
    return Converted(
        Path(out),
        layout,
        len(names),
        len(counted["scenes"]),
        counted["pairs"],
        counted["frames"],
        len(K) if intrinsics is not None else 0,
        size,
    )


def write_table(table: PairTable, path: Path, form: str = "npz") -> None:
    """Write the pairs of one index file, in the order of its rows."""
    order = np.argsort(np.asarray(table.row), kind="stable")
    table = table.load().select(order)
    if table.frames is None:
        save_npz(path, **_scannet_arrays(table))
        return
    save_scene(path, _megadepth_arrays(table), pickled=form == "pickle")


def _scannet_arrays(table: PairTable) -> dict[str, np.ndarray]:
    numbers = np.array([[int(p) for p in s[5:].split("_")] for s in table.scenes])
    name = np.column_stack([numbers[table.scene], table.frame0, table.frame1])
    narrow = np.uint16 if name.max() < 1 << 16 else np.int64
    arrays = {"name": name.astype(narrow)}
    if not np.isnan(table.overlap).all():
        arrays["score"] = table.overlap
    if table.rel_pose is not None:
        arrays["rel_pose"] = table.rel_pose
    return arrays


def _megadepth_arrays(table: PairTable) -> dict[str, Any]:

    frames = table.frames
    slots = int(frames.slot.max()) + 1
    columns = ("image_paths", "depth_paths", "intrinsics", "poses")
    arrays: dict[str, Any] = {n: np.full(slots, None, object) for n in columns}
    for k, slot in enumerate(frames.slot.tolist()):
        arrays["image_paths"][slot] = frames.image[k]
        arrays["depth_paths"][slot] = frames.depth[k] or None
        arrays["intrinsics"][slot] = frames.K[k].copy()
        arrays["poses"][slot] = frames.pose[k].copy()
    ends = frames.slot[np.column_stack([table.frame0, table.frame1])].astype(np.int64)
    arrays["pair_infos"] = [
        (pair, overlap, np.full(4, np.nan))
        for pair, overlap in zip(ends, table.overlap.tolist(), strict=True)
    ]
    return arrays


def _free_name(source: Path, taken: Sequence[str]) -> str:
    """The source's name; files of one name in several folders carry the folder's."""
    stem = source.stem
    while f"{stem}.npz" in taken:
        stem = f"{source.parent.name or 'other'}_{stem}"
    return f"{stem}.npz"


def _write_intrinsics(K: dict[str, np.ndarray], path: Path, index: Path) -> None:
    if not K:
        raise DataError(f"{index} has no intrinsics to write to {path}")
    if path.exists():
        raise DataError(f"{path} exists and is left as it is. Name another file")
    save_npz(path, **{scene: k.reshape(9) for scene, k in K.items()})


@contextmanager
def whole_folder(out: Path) -> Any:
    """A folder to fill that becomes ``out`` when all is well, or disappears.

    Raises:
        DataError: ``out`` holds something, or cannot be written.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise DataError(f"{out} exists and is left as it is. Name another folder")
    folder = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
        yield folder
        folder.chmod(0o777 & ~_umask())
        if out.exists():
            out.rmdir()  # it is empty; Windows moves nothing onto a folder
        os.replace(folder, out)
    except OSError as error:
        raise DataError(
            f"{out} could not be written ({error.strerror or error}). Free space on "
            "its disk, or write to another folder"
        ) from None
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
