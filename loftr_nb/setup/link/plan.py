"""Which links a layout needs, and whether anything stands in their way."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import ConfigError, DataError
from ...indexing.folder import HEAD
from .sources import (
    Source,
    index_links,
    megadepth_images,
    scannet_images,
    scannet_sides,
)

_SIDES = ("train", "test")


@dataclass
class LinkPlan:
    """Links of one layout, by name below ``folder``; nothing is made yet.

    roots: for the paths file, the folder of images of each side; None where one
    folder will not do. indices: folders of index files by side.
    """

    layout: str
    folder: Path
    links: dict[str, Path] = field(default_factory=dict)
    roots: dict[str, Path | None] = field(default_factory=dict)
    indices: dict[str, list[Path]] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def add(self, part: str, source: Source) -> None:
        """Links of a source below ``train``, ``test`` or ``index``."""
        for name, target in source.links.items():
            name = f"{part}/{name}"
            before = self.links.setdefault(name, target)
            if before != target:
                raise DataError(
                    f"both {before} and {target} would be {self.folder / name}. Give "
                    "one of them, or link the other with its own --data"
                )
        self.left_out += [x for x in source.left_out if x not in self.left_out]

    def new_links(self, relative: bool) -> dict[str, str]:
        """Links that are not there yet, as text that the link will hold.

        Raises:
            DataError: something else has a link's name, or a link would lead into a
                circle.
        """
        new = {}
        for name, target in self.links.items():
            path = self.folder / name
            if os.path.lexists(path):
                if _same(path, target):
                    continue
                raise DataError(_in_the_way(path, target))
            _check_way(self.folder, path)
            _check_circle(path, target)
            text = os.path.abspath(target)
            if relative:
                text = os.path.relpath(
                    os.path.realpath(target), os.path.realpath(path.parent)
                )
            new[name] = text
        return new

    def paths(self, before: dict[str, Any]) -> dict[str, Any]:
        """Content of the paths file, what is in it already included.

        Raises:
            DataError: one folder a side does not do.
        """
        paths: dict[str, Any] = {k: v for k, v in before.items() if k in _SIDES}
        for side, root in self.roots.items():
            if root is None:
                raise DataError(
                    "this system has no links, and a paths file names one folder for "
                    f"the {side} images: put images and depth maps below one folder, "
                    "as Undistorted_SfM and phoenix, and give that. (On Windows "
                    "`mklink /J` joins folders without any rights)"
                )
            path = os.path.abspath(root)
            if before.get(side, path) != path:
                raise DataError(
                    f"{self.folder} has {before[side]} for its {side} images, not "
                    f"{path}. Undo that first: `loftr-nb data link {self.layout} "
                    "--undo`"
                )
            paths[side] = path
        index = {k: list(v) for k, v in before.get("index", {}).items()}
        for side, folders in self.indices.items():
            known = index.setdefault(side, [])
            found = [os.path.abspath(f) for f in folders]
            known += [f for f in found if f not in known]
        return {**paths, "index": index}


def plan_links(
    layout: str,
    images: Path | None,
    index: Path | Sequence[Path],
    depth: Path | None,
    test_images: Path | None,
    data: Path,
) -> LinkPlan:
    """Recognise what is given, and plan the links for it.

    Raises:
        DataError: a folder is not what it should be.
        ConfigError: too little is given, or a depth folder for ScanNet.
    """
    if images is None and test_images is None:
        raise ConfigError("no images were given: say --images DIR or --test-images DIR")
    indices = [index] if isinstance(index, (str, Path)) else list(index)
    if not indices:
        raise ConfigError("no index was given: say --index DIR")
    plan = LinkPlan(layout, data / layout)
    try:
        _add_indices(plan, [Path(i) for i in indices])
        if layout == "scannet":
            _add_scannet(plan, images, test_images, depth)
        else:
            _add_megadepth(plan, images, test_images, depth)
    except OSError as error:
        raise DataError(
            f"{error.filename} cannot be looked into ({error.strerror})"
        ) from None
    return plan


def _add_indices(plan: LinkPlan, folders: list[Path]) -> None:
    for folder in folders:
        source = index_links(plan.layout, folder)
        plan.add("index", source)
        plan.sources.append(f"index: {source.what} in {folder}")
        root = source.root
        for side in _index_sides(source):
            # A folder with cameras among its rows has no root: rows come from it.
            plan.indices.setdefault(side, []).append(root or folder)


def _index_sides(source: Source) -> list[str]:
    """For which sides an index has pairs, as far as its names say."""
    names = " ".join(source.links)
    marks = {
        "train": ("scene_data", "scene_info_0.1_0.7", "train"),
        "test": ("1500", "test", "val"),
    }
    sides = [s for s in _SIDES if any(m in names for m in marks[s])]
    return sides or list(_SIDES)


def _add_scannet(
    plan: LinkPlan, images: Path | None, test_images: Path | None, depth: Path | None
) -> None:
    if depth is not None:
        raise ConfigError(
            f"--depth {depth} is not for ScanNet: its depth maps lie in depth/ of each "
            "scene. Leave it out"
        )
    given: dict[str, Path] = {}
    if images is not None:
        images = Path(images)
        inside = scannet_sides(images) if images.is_dir() else {}
        given = inside or dict.fromkeys(_sides_of(plan, test_images), images)
    if test_images is not None:
        given["test"] = Path(test_images)
    for side, folder in given.items():
        source = scannet_images(folder, side)
        plan.add(side, source)
        plan.roots[side] = source.root
        plan.sources.append(f"{side}: {source.what} in {folder}")


def _sides_of(plan: LinkPlan, test_images: Path | None) -> list[str]:
    """Images go to train, unless the index has nothing but test pairs.

    An index that ``loftr-nb data index`` made holds pairs of the same images out.
    """
    if f"index/{HEAD}" in plan.links and test_images is None:
        return list(_SIDES)
    only_test = set(plan.indices) == {"test"} and test_images is None
    return ["test"] if only_test else ["train"]


def _add_megadepth(
    plan: LinkPlan, images: Path | None, test_images: Path | None, depth: Path | None
) -> None:
    depth = None if depth is None else Path(depth)
    given = {}
    if images is not None:
        given = {"train": Path(images), "test": Path(images)}
    if test_images is not None:
        given["test"] = Path(test_images)
    known: dict[Path, Source] = {}
    for side, folder in given.items():
        if folder not in known:
            known[folder] = megadepth_images(folder, depth)
            plan.sources.append(f"images: {known[folder].what} in {folder}")
        plan.add(side, known[folder])
        plan.roots[side] = known[folder].root


def _same(path: Path, target: Path) -> bool:
    try:
        return os.path.samefile(path, target)
    except OSError:
        return False


def _in_the_way(path: Path, target: Path) -> str:
    if path.is_symlink():
        what = f"is a link to {os.readlink(path)}"
        if not path.exists():
            what += ", which is not there"
    else:
        what = "is a folder of its own" if path.is_dir() else "is a file of its own"
    return (
        f"nothing was linked: {path} {what}, and was to lead to {target}. Links made "
        "by this command are removed with --undo; move anything else away by hand"
    )


def _check_way(folder: Path, path: Path) -> None:
    """The folders of a link must be real: through a link, others' folders change."""
    for above in (*reversed(path.relative_to(folder).parents), Path()):
        at = folder / above
        if at.is_symlink():
            raise DataError(
                f"nothing was linked: {at} is a link to {os.readlink(at)}, and links "
                "made in it would lie there. Remove that link (not what it points to) "
                "and run the command again"
            )
        if at.exists() and not at.is_dir():
            raise DataError(f"nothing was linked: {at} is a file; move it away")


def _check_circle(path: Path, target: Path) -> None:
    real, goal = os.path.realpath(path.parent), os.path.realpath(target)
    if real == goal or real.startswith(goal.rstrip(os.sep) + os.sep):
        raise DataError(
            f"nothing was linked: {path} would lie inside {target}, which it leads to, "
            "a circle. Choose another folder with --data, outside the images"
        )
