"""What a folder of downloaded images, or of index files, is, and where it belongs.

Links are given as a name below ``data/<layout>/`` and what it is to point to. For
systems without links, a :class:`Source` also says which single folder does as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import DataError
from ...files import require_folder
from ...recordings.scannet import SCENE_NAME

V1 = "phoenix/S6/zl548/MegaDepth_v1"
# Folders of the python export. The published test pairs have poses in their index
# and are evaluated without depth.
_PYTHON = {"train": ("color", "depth", "pose"), "test": ("color",)}
_CPP_FRAME = re.compile(r"frame-\d+\.(color|depth|pose)\.\w+")

# What a folder of index files holds directly, by layout.
_INDEX_NAMES = {
    "scannet": ("scene_data", "scannet_test_1500", "scannet_indices"),
    "megadepth": (
        "scene_info_0.1_0.7",
        "scene_info_val_1500",
        "trainvaltest_list",
        "megadepth_test_1500_scene_info",
        "megadepth_indices",
    ),
}
_OWN_NAMES = ("train", "test", "train.txt", "test.txt", "train.h5", "test.h5")
# The lists of the 1,500 test pairs, which lie beside their npz files.
_TEST_LISTS = {"scannet": "scannet_test.txt", "megadepth": "megadepth_test_1500.txt"}
_TEST_PLACES = {
    "scannet": "scannet_test_1500",
    "megadepth": "megadepth_test_1500_scene_info",
}
_SIDES = ("train", "test")


@dataclass
class Source:
    """A folder that was recognised.

    what: in words. links: target by name. root: the one folder that serves as
    well, None if there is none. left_out: scenes that cannot be used, and why.
    """

    what: str
    links: dict[str, Path]
    root: Path | None
    left_out: list[str] = field(default_factory=list)


def scannet_images(folder: Path, side: str = "train") -> Source:
    """The scenes in a folder, as the python exporter writes them.

    side: training needs depth and poses of each scene, a test colour only.

    Raises:
        DataError: no scenes, or none exported so; what is there is explained.
    """
    require_folder(folder, "the folder of ScanNet scenes")
    if SCENE_NAME.match(folder.name) and not any(_scenes(folder)):
        raise DataError(
            f"{folder} is one scene: give the folder that holds it, {folder.parent}"
        )
    found, left_out = {}, []
    for scene in _scenes(folder):
        why = _scene_fault(scene, _PYTHON[side])
        if why is None:
            found[scene.name] = scene
        else:
            left_out.append(f"{scene.name} {why}")
    if not found:
        raise DataError(_no_scenes(folder, left_out))
    return Source(f"{len(found):,} ScanNet scenes", found, folder, left_out)


def scannet_sides(folder: Path) -> dict[str, Path]:
    """``scannet_train`` and ``scannet_test`` in a folder that holds them."""
    pairs = (("scannet_train", "scannet_test"), ("scans", "scans_test"), _SIDES)
    for names in pairs:
        inside = {s: folder / n for s, n in zip(_SIDES, names, strict=True)}
        inside = {s: p for s, p in inside.items() if p.is_dir() and any(_scenes(p))}
        if inside:
            return inside
    return {}


def _scenes(folder: Path) -> Iterable[Path]:
    return (
        p for p in sorted(folder.iterdir()) if SCENE_NAME.match(p.name) and p.is_dir()
    )


def _scene_fault(scene: Path, needed: tuple[str, ...]) -> str | None:
    """Why a scene is not one that the python exporter wrote; None if it is."""
    missing = [name for name in needed if not (scene / name).is_dir()]
    if not missing:
        return None
    names = [p.name for p in scene.iterdir()]
    inner = [p.name for p in scene.glob("*/*") if _CPP_FRAME.fullmatch(p.name)]
    if inner or any(_CPP_FRAME.fullmatch(n) or n == "_info.txt" for n in names):
        return "was exported by the C++ tool"
    if any(n.endswith(".sens") for n in names):
        return "is not exported yet (it holds the .sens file)"
    return f"has no {', '.join(n + '/' for n in missing)}"


def _no_scenes(folder: Path, faults: list[str]) -> str:
    way_out = (
        "Export with ScanNet's python tool (SensReader/python, which writes color/, "
        "depth/, pose/ and intrinsic/), or with `loftr-nb data import scannet-sens "
        "FILE.sens --out DIR`"
    )
    names = [p.name for p in folder.iterdir()]
    if any("C++" in f for f in faults) or any(map(_CPP_FRAME.fullmatch, names)):
        return (
            f"{folder} was exported by ScanNet's C++ tool (frame-000000.color.jpg, "
            ".depth.pgm and .pose.txt in one folder, _info.txt beside them); LoFTR's "
            f"index and the readers take the python export. {way_out}"
        )
    if any(".sens" in f for f in faults) or any(n.endswith(".sens") for n in names):
        return f"{folder} holds .sens files that are not exported yet. {way_out}"
    if faults:
        return f"{folder} has no scene that can be used: {faults[0]}. {way_out}"
    shown = ", ".join(sorted(names)[:6]) or "nothing"
    return (
        f"{folder} has no folders like scene0000_00; it holds {shown}. Give the folder "
        "that the scenes lie in, often called scannet_train, scannet_test or scans"
    )


def megadepth_images(folder: Path, depth: Path | None = None) -> Source:
    """MegaDepth's images and depths, from whichever folder of the tree is given.

    Args:
        folder: the root, Undistorted_SfM, phoenix or MegaDepth_v1, or one above.
        depth: where the depth maps are, if elsewhere.

    Raises:
        DataError: not recognised, or the archive of raw photos.
    """
    links = _megadepth_tree(folder, "the folder of MegaDepth's images")
    if depth is not None:
        more = _megadepth_tree(depth, "the folder of MegaDepth's depth maps")
        for name, target in more.items():
            if links.setdefault(name, target) != target:
                links = _both(links, more, name)
    kinds = {"Undistorted_SfM": "D2-Net's images", "phoenix": "MegaDepth_v1"}
    what = [text for name, text in kinds.items() if any(name in link for link in links)]
    return Source(" and ".join(what) or "MegaDepth", links, _common_root(links))


def _both(links: dict[str, Path], more: dict[str, Path], name: str) -> dict[str, Path]:
    raise DataError(
        f"both folders hold {name}: {links[name]} and {more[name]}. Leave --depth out "
        "if one of them has images and depth maps; otherwise give --images the folder "
        "Undistorted_SfM alone"
    )


def _megadepth_tree(folder: Path, what: str) -> dict[str, Path]:
    require_folder(folder, what)
    found = _megadepth_here(folder)
    if not found:
        below = [p for p in sorted(folder.iterdir()) if p.is_dir()]
        trees = [(p, _megadepth_here(p)) for p in below[:50]]
        trees = [(p, tree) for p, tree in trees if tree]
        if len(trees) > 1:
            names = ", ".join(p.name for p, _ in trees)
            raise DataError(
                f"{folder} holds several MegaDepth trees ({names}): give one"
            )
        found = trees[0][1] if trees else {}
    if not found:
        shown = ", ".join(sorted(p.name for p in folder.iterdir())[:6]) or "nothing"
        raise DataError(
            f"{folder} is no MegaDepth tree; it holds {shown}. Give the folder that "
            "holds Undistorted_SfM or phoenix, or MegaDepth_v1, which holds "
            "0015/dense0/{imgs,depths}"
        )
    return found


def _megadepth_here(folder: Path) -> dict[str, Path]:
    names = {p.name for p in folder.iterdir() if p.is_dir()}
    roots = ("Undistorted_SfM", "phoenix", "depth_undistorted")
    found = {name: folder / name for name in roots if name in names}
    if "S6" in names:
        found["phoenix"] = folder
    elif "zl548" in names:
        found["phoenix/S6"] = folder
    elif "MegaDepth_v1" in names:
        found[V1] = folder / "MegaDepth_v1"
    if found:
        return found
    if next(folder.glob("*/sparse/manhattan"), None):
        raise DataError(
            f"{folder} is MegaDepth's SfM archive (667 GB): its photos are not "
            "undistorted, depth maps and K do not fit them. Link MegaDepth_v1 "
            "(199 GB), which has images and depth maps"
        )
    if next(folder.glob("*/dense*/"), None):
        found[V1] = folder
    if next(folder.glob("*/images/"), None):
        found["Undistorted_SfM"] = folder
    return found


def _common_root(links: dict[str, Path]) -> Path | None:
    """The folder below which the reader finds all of it, without links."""
    roots = set()
    for name, target in links.items():
        depth = len(Path(name).parts)
        named = target.parts[-depth:] == Path(name).parts
        roots.add(target.parents[depth - 1] if named else target)
    return roots.pop() if len(roots) == 1 else None


def index_links(layout: str, folder: Path) -> Source:
    """Names below ``index/`` for the entries of a folder of index files.

    Raises:
        DataError: not recognised, or of the other layout.
    """
    if folder.is_file():
        return _index_file(folder)
    require_folder(folder, "the folder of index files")
    inner = folder / f"{layout}_indices"
    if inner.is_dir():
        return index_links(layout, inner)
    names = {p.name for p in folder.iterdir()}
    other = "megadepth" if layout == "scannet" else "scannet"
    if not names & set(_INDEX_NAMES[layout]):
        if _TEST_LISTS[layout] in names:
            place = _TEST_PLACES[layout]
            return Source("the 1,500 test pairs", {place: folder}, folder)
        if names & {*_INDEX_NAMES[other], _TEST_LISTS[other]}:
            raise DataError(
                f"{folder} is an index of {other}: `loftr-nb data link {other}` takes "
                "it"
            )
    if names & {*_INDEX_NAMES[layout], *_OWN_NAMES, "test.npz"}:
        kept = [n for n in sorted(names) if not _is_image_folder(n)]
        return Source("an index", {n: folder / n for n in kept}, folder)
    return _flat_index(folder, names)


def _index_file(path: Path) -> Source:
    side = "test" if "test" in path.stem else "train"
    if path.suffix == ".h5":
        return Source("a flat index", {f"{side}.h5": path}, path)
    if path.suffix == ".npz":
        return Source("one index file", {f"{side}/{path.name}": path}, path)
    raise DataError(f"{path} is no index: give a folder of npz files, or a flat .h5")


def _flat_index(folder: Path, names: set[str]) -> Source:
    """A folder of npz files and nothing else that is known."""
    files = sorted(n for n in names if n.endswith(".npz") and not n.startswith("."))
    side = "test" if "test" in folder.name else "train"
    cameras = {n: folder / n for n in files if n.startswith("intrinsics")}
    rows = {f"{side}/{n}": folder / n for n in files if n not in cameras}
    if not rows:
        shown = ", ".join(sorted(names)[:6]) or "nothing"
        raise DataError(
            f"{folder} has no index files; it holds {shown}. Give scannet_indices or "
            "megadepth_indices as `loftr-nb data extract` leaves them, or a folder of "
            "npz files"
        )
    what = f"{len(rows):,} index files"
    return Source(what, rows | cameras, None if cameras else folder)


def _is_image_folder(name: str) -> bool:
    known = ("Undistorted_SfM", "phoenix", "scene_info")
    return bool(SCENE_NAME.match(name)) or name in known or name.startswith(".")
