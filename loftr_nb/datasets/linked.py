"""Where ``train``, ``test`` and ``index`` of a linked folder really are.

Links need no reader's help. Where a system gives none (Windows without developer
mode), ``loftr-nb data link`` writes ``paths.json`` beside the empty folders::

    {"train": "D:/scannet_train", "test": "D:/scannet_test",
     "index": {"train": ["D:/scannet_indices"], "test": ["D:/scannet_test_1500"]}}

Paths in it may be relative to its own folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import DataError

PATHS_FILE = "paths.json"


def read_paths(folder: Path) -> dict[str, Any]:
    """The paths file of a folder; empty where there is none.

    Raises:
        DataError: damaged, or not of this form.
    """
    path = Path(folder) / PATHS_FILE
    if not path.is_file():
        return {}
    try:
        paths = json.loads(path.read_text(encoding="utf-8"))
        sides = [paths[s] for s in ("train", "test") if s in paths]
        index = [p for listed in paths.get("index", {}).values() for p in listed]
        if not all(isinstance(p, str) for p in (*sides, *index)):
            raise ValueError("a path is not text")
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} cannot be read ({error}). Write it again with `loftr-nb data link "
            "... --paths-file`, or delete it if the folders beside it are links"
        ) from None
    return paths


def image_root(folder: Path, split: str) -> Path:
    """``<folder>/<split>``, or the folder that the paths file names for it."""
    named = read_paths(folder).get(split)
    return folder / split if named is None else folder / named


def find_index(
    folder: Path, split: str, find: Callable[[Path], tuple[Path, ...]]
) -> tuple[Path, tuple[Path, ...]]:
    """The index folder of a split, and what ``find`` finds in it.

    Without a paths file that is ``<folder>/index``. A paths file may also name index
    files, or a folder that holds nothing but them.
    """
    for named in read_paths(folder).get("index", {}).get(split, ()):
        place = folder / named
        if place.is_file():
            return place.parent, (place,)
        bare = (p for p in sorted(place.glob("*.npz")) if not _is_cameras(p))
        files = find(place) or tuple(bare)
        if files:
            return place, files
    return folder / "index", find(folder / "index")


def _is_cameras(path: Path) -> bool:
    return path.name.startswith("intrinsics")
