"""Find out how a folder of data is laid out, and open it.

Seven layouts are known; ``<layout>`` is ``scannet`` or ``megadepth``:

========  ==================================================================
linked    ``<data>/<layout>/{train,test,index}``, as the training guide links
          the released archives and as the embedded data is written; also
          given directly as ``<data>/{train,test,index}``
scenes    a bare folder of ScanNet scenes, ``<data>/sceneXXXX_YY``; its pair
          index is built once and kept in ``cache``
tree      a MegaDepth tree with its index files in ``<data>/scene_info``, or a flat
          index ``<data>/scene_info.h5``
photos    ``<data>/photos.json``, which ``loftr-nb data import folder`` wrote
built     what ``loftr-nb data index`` wrote, ``<data>`` or ``<data>/index``
pack      what ``loftr-nb data pack`` made of one of these
========  ==================================================================

The first has a split, and so has the last if asked. In the others a fifth of the
scenes is for "test"; of a single scene, a part of its images: none is in both.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import ConfigError, DataError, LoftrNbError, nearest
from ..files import require_folder
from ..indexing import SCENE_NAME, SceneReport, build_scannet_index, find_built
from .index import find_index_files, index_layout
from .linked import find_index, image_root
from .megadepth import MegaDepth
from .pack_folder import is_pack, refuse_pack
from .packed import open_pack
from .photo_list import is_photos
from .photos import PhotoHomographies
from .places import PLACES
from .scannet import ScanNet
from .split import divided

Split = Literal["train", "test"]
Layout = Literal["scannet", "megadepth", "photos"]
LAYOUTS: tuple[Layout, ...] = ("scannet", "megadepth")


@dataclass(frozen=True)
class Found:
    """What :func:`find_layout` found: arguments of a dataset.

    held_out: the data came without a split, one is made of its rows.
    """

    layout: Layout
    root: Path
    index: tuple[Path, ...]
    intrinsics: Path | None = None
    held_out: bool = False


def open_dataset(
    data: Path,
    split: Split,
    layout: Layout | None = None,
    cache: Path | None = None,
    progress: Callable[[SceneReport], None] | None = None,
    **kwargs: Any,
) -> ScanNet | MegaDepth | PhotoHomographies:
    """Open the training or test pairs of a folder, whatever its layout.

    Args:
        data: a folder in one of the layouts above.
        split: "train" or "test".
        layout: needed only where ``data`` holds both.
        cache: folder for the pair index of bare ScanNet scenes; needed for those
            only. An index is built again when the frames change.
        progress: called for each scene while an index is built.
        kwargs: passed on to the dataset (``photos``: :class:`PhotoHomographies`).

    Raises:
        DataError: no such folder, no known layout, or its index is not there;
            the message says what was looked for.
        ConfigError: a mistyped split or layout, or one that must be chosen.
    """
    if is_photos(data, layout):
        return PhotoHomographies(data, split, **kwargs)
    if is_pack(data):
        _known(split, ("train", "test"), "split")
        return open_pack(Path(data), split, layout, kwargs, find_index_today)
    found = find_layout(data, split, layout, cache, progress)
    if not found.held_out:
        return _open(found, kwargs)
    least, most = kwargs.pop("min_overlap", 0.0), kwargs.pop("max_overlap", 1.0)
    return divided(_open(found, kwargs), split, str(data), least, most)


def _open(found: Found, kwargs: dict[str, Any]) -> ScanNet | MegaDepth:
    if found.layout == "scannet":
        return ScanNet(found.root, found.index, found.intrinsics, **kwargs)
    return MegaDepth(found.root, found.index, **kwargs)


def find_index_today(
    data: Path, split: Split, layout: Layout, built: Path | None
) -> tuple[Path, ...] | None:
    """Index files that a reader takes, None where they cannot be known.

    built: the folder that a pack keeps the index of bare scenes in; where their
    frames are other ones by now, no file is right.
    """
    try:
        if built is not None:
            return None if built.name == _bare_index(data) else ()
        return find_layout(data, split, layout).index
    except LoftrNbError:
        return None


def find_layout(
    data: Path,
    split: Split,
    layout: Layout | None = None,
    cache: Path | None = None,
    progress: Callable[[SceneReport], None] | None = None,
) -> Found:
    """Where images and index of a split are. See :func:`open_dataset`."""
    data = Path(data)
    _known(split, ("train", "test"), "split")
    if layout is not None:
        _known(layout, LAYOUTS, "layout")
    require_folder(data, "the data folder")
    refuse_pack(data)
    built = find_built(data) or find_built(data / "index")
    if built is not None and layout in (None, built.style):
        path, held_out = built.pairs_of(split)
        index = tuple(find_index_files(path))
        return Found(built.style, built.root, index, built.intrinsics, held_out)
    wanted = LAYOUTS if layout is None else (layout,)
    inside = [name for name in wanted if (data / name).is_dir()]
    if len(inside) > 1:
        raise ConfigError(
            f"{data} holds {' and '.join(inside)}: choose one with layout="
            f"'{inside[0]}' or '{inside[1]}'"
        )
    if inside:
        return _linked(data / inside[0], split, inside[0])
    if (data / "index").is_dir():
        return _linked(data, split, layout)
    if "scannet" in wanted and any(_scenes(data)):
        return _bare_scenes(data, cache, progress)
    for place in (data / "scene_info.h5", data / "scene_info"):
        if "megadepth" in wanted and place.exists():
            index = tuple(find_index_files(place))
            return Found("megadepth", data, index, held_out=True)
    raise DataError(_nothing_found(data, wanted))


def _known(name: str, names: tuple[str, ...], what: str) -> None:
    if name not in names:
        raise ConfigError(f"unknown {what} {name!r}; {nearest(name, names)}")


def _linked(folder: Path, split: Split, layout: Layout | None) -> Found:
    """A folder with ``train``, ``test`` and ``index`` inside."""
    require_folder(folder / "index", f"the index folder of {folder.name}")
    found = None
    for name in LAYOUTS if layout is None else (layout,):
        place, index = find_index(
            folder, split, lambda place, name=name: _index_files(place, split, name)
        )
        if index and (layout or index_layout(index[0]) == name):
            found = name, index, place
            break
    if found is None:
        raise DataError(_no_index(folder / "index", split, layout))
    layout, index, place = found
    root = image_root(folder, split)
    if layout == "megadepth" and not root.is_dir():
        # Train and test are the same images there: one link is enough.
        root = image_root(folder, "train" if split == "test" else "test")
    require_folder(root, f"the {split} images of {folder.name}")
    intrinsics = None
    if layout == "scannet":
        intrinsics = _intrinsics(place, index[0].parent, split)
    return Found(layout, root, index, intrinsics)


def _index_files(index: Path, split: Split, layout: Layout) -> tuple[Path, ...]:
    for listed, place in PLACES[layout, split]:
        if listed is None:
            path = index / place
            if path.is_file() or (path.is_dir() and any(path.glob("*.npz"))):
                return tuple(find_index_files(path))
        elif (index / listed).is_file():
            return _listed(index / listed, index / place)
    return ()


def _listed(path: Path, folder: Path) -> tuple[Path, ...]:
    """Files of a list, from its own folder: others hold files of the same name."""
    entries = path.read_text().split()
    files = [folder / (e if e.endswith(".npz") else f"{e}.npz") for e in entries]
    if files and all(f.is_file() for f in files):
        return tuple(files)
    return tuple(find_index_files(path))


def _intrinsics(index: Path, beside: Path, split: Split) -> Path | None:
    names = (f"intrinsics_{split}.npz", "intrinsics.npz")
    places = [folder / name for folder in (beside, index) for name in names]
    return next((p for p in places if p.is_file()), None)


def _scenes(data: Path) -> list[Path]:
    return sorted(p for p in data.iterdir() if SCENE_NAME.match(p.name) and p.is_dir())


def _bare_scenes(
    data: Path, cache: Path | None, progress: Callable[[SceneReport], None] | None
) -> Found:
    if cache is None:
        raise ConfigError(
            f"{data} has ScanNet scenes and no index of pairs: give a folder to "
            "build it in with cache=..."
        )
    index = Path(cache) / _bare_index(data)
    # The report is written last: without it, the index is unfinished.
    if not (index / "report.json").is_file():
        build_scannet_index(data, index, progress=progress)
    files = tuple(find_index_files(index))
    return Found("scannet", data, files, held_out=True)


def _bare_index(data: Path) -> str:
    """Its folder's name; changes with the data's place and with the frames in it."""
    frames = {
        scene.name: sorted(p.name for p in (scene / "pose").glob("*.txt"))
        for scene in _scenes(data)
    }
    text = json.dumps([str(data.resolve()), frames])
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return f"{data.resolve().name}-{digest}"


def _nothing_found(data: Path, wanted: tuple[Layout, ...]) -> str:
    held = sorted(p.name for p in data.iterdir())
    shown = ", ".join(held[:8]) + (" ..." if len(held) > 8 else "")
    looked = [f"{data}/{n}/{{train,test,index}}" for n in wanted]
    looked.append(f"{data}/{{train,test,index}}")
    if "scannet" in wanted:
        looked.append(f"{data}/sceneXXXX_YY/{{color,depth,pose}}")
    if "megadepth" in wanted:
        looked.append(f"{data}/scene_info/*.npz and {data}/scene_info.h5")
    hint = ""
    if SCENE_NAME.match(data.name):
        hint = f" It looks like one ScanNet scene: give its parent, {data.parent}."
    return (
        f"{data} is in no layout that is known here; it holds {shown or 'nothing'}. "
        f"Looked for {'; '.join(looked)}.{hint}"
    )


def _no_index(index: Path, split: Split, layout: Layout | None) -> str:
    names = LAYOUTS if layout is None else (layout,)
    places = [p for name in names for p in PLACES[name, split]]
    looked = ", ".join(dict.fromkeys(listed or place for listed, place in places))
    held = ", ".join(sorted(p.name for p in index.iterdir())[:8])
    return (
        f"{index} has no {split} pairs; it holds {held or 'nothing'}. Looked there for "
        f"{looked}. Unpack or link the released index files there"
    )
