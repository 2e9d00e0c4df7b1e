"""Scenes of a MegaDepth tree: photos and h5 depth maps, K and pose in an index.

Nothing beside the images says where the cameras stood: intrinsics and poses (world
to camera) are columns of the index files, ``scene_info/*.npz`` or what
``megadepth_indices.tar`` holds. Depth is in the scene's own unit, not metres:
supervision does not mind, as depth and pose share it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..files import read_depth_h5, read_image_grey, safe_load
from ..geometry import check_intrinsics, check_pose
from .megadepth_paths import MegaDepthPaths
from .scene import Recording, Scene

COLUMNS = ("image_paths", "depth_paths", "intrinsics", "poses")
_BIN = re.compile(r"_\d\.\d+_\d\.\d+$")  # of overlap, at the end of a file's name


class MegaDepthScene(Scene):
    """The images of one place. Frames are named as the index writes their paths.

    An index keeps one file per range of overlap, each with all images of the
    place: an image that several files have with the same K and pose is one frame.

    where: file and slot of each frame, for messages.
    """

    is_video = False

    def __init__(self, name: str, paths: MegaDepthPaths) -> None:
        self.name = name
        self.frames: list[str] = []
        self.where: list[str] = []
        self.without = 0
        self._paths = paths
        self._depths: list[str] = []
        self._K: list[Any] = []
        self._poses: list[Any] = []
        self._numbers: dict[tuple, int] = {}

    def add(self, columns: dict[str, Any], slot: int, where: str) -> int:
        """Add a slot of an index file, or find it among the frames; its number."""
        image, depth, K, pose = (columns[key][slot] for key in COLUMNS)
        depth = "" if depth is None else str(depth)
        key = str(image), depth, _bytes(K), _bytes(pose)
        if key not in self._numbers:
            self._numbers[key] = len(self.frames)
            self.frames.append(str(image))
            self.where.append(where)
            self._depths.append(depth)
            self._K.append(K)
            self._poses.append(pose)
        return self._numbers[key]

    def image_path(self, k: int) -> Path:
        """Where the image is, whichever way the tree was unpacked, or should be."""
        found = self._paths.find_image(self.frames[k], self._depths[k])
        return found or self._paths.root / self.frames[k]

    def image_paths(self, k: int) -> list[Path]:
        """The files that the image may be: readers refuse more than one."""
        return self._paths.images(self.frames[k], self._depths[k])

    def image(self, k: int) -> np.ndarray:
        """(H, W) uint8 grey."""
        return read_image_grey(self._paths.image(self.frames[k], self._depths[k]))

    def depth_path(self, k: int) -> Path | None:
        """Where the h5 file is, or should be; None where the index names none."""
        if not self._depths[k]:
            return None
        found = self._paths.find_depth(self._depths[k])
        return found or self._paths.root / self._depths[k]

    def pose_path(self, k: int) -> Path:
        """The index file that has the pose."""
        return Path(self.where[k].partition(", slot ")[0])

    def depth(self, k: int) -> np.ndarray:
        """(H, W) float32 in the scene's unit, 0 = unknown."""
        path = self.depth_path(k)
        if path is None:
            raise DataError(f"{self.where[k]} has no depth path in the index")
        return read_depth_h5(path)

    def world_to_camera(self, k: int) -> np.ndarray:
        """(4, 4) float64, in the scene's unit."""
        where = f"{self.where[k]}, poses"
        return check_pose(_numbers(self._poses[k], where), where)

    def stored_pose(self, k: int) -> Any:
        """What the index holds as the pose, whatever it is."""
        return self._poses[k]

    def K(self, k: int) -> np.ndarray:
        """(3, 3) float64 in pixels of the stored image, which depth has too."""
        where = f"{self.where[k]}, intrinsics"
        return check_intrinsics(_numbers(self._K[k], where), where)


def read_columns(path: Path) -> dict[str, Any] | None:
    """The columns over the images of an index file; None for another kind of file.

    Raises:
        DataError: damaged, or columns that differ in length.
    """
    data = safe_load(path, COLUMNS)
    if not {"image_paths", "intrinsics", "poses"} <= data.keys():
        return None
    # Anything may be stored under a name: a number has no slots.
    if any(np.ndim(column) == 0 for column in data.values()):
        raise DataError(f"{path}: {', '.join(data)} must have a slot for each image")
    count = len(data["image_paths"])
    data.setdefault("depth_paths", np.full(count, None))
    lengths = {key: len(column) for key, column in data.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{path}: columns over the images differ in length: {lengths}")
    return data


def used_slots(columns: dict[str, Any]) -> np.ndarray:
    """(F,) bool: the slots that have a path, K and pose."""
    parts = [columns[key] for key in ("image_paths", "intrinsics", "poses")]
    return np.array(
        [all(p is not None for p in slot) for slot in zip(*parts, strict=True)], bool
    )


def place_name(stem: str) -> str:
    """``0015`` of ``0015_0.1_0.3``: index files of one place share their images."""
    return _BIN.sub("", stem)


def find_megadepth(root: Path) -> Recording | None:
    """A tree with its index files in ``scene_info``, or beside its images.

    Frames are the slots whose image is there; the others are counted in the
    scene's ``without``: people keep a part of the images of an index.

    Raises:
        DataError: a damaged index file; a tree without one; or none of the images
            that it names.
    """
    folder = root / "scene_info"
    files = sorted((folder if folder.is_dir() else root).glob("*.npz"))
    if not folder.is_dir() and not _holds_depth(root):
        return None
    scenes = _scenes(files, MegaDepthPaths(root))
    if not scenes:
        if (root / "Undistorted_SfM").is_dir() or (root / "phoenix").is_dir():
            raise DataError(
                f"{root} has images and depth maps of MegaDepth and no index with "
                f"their intrinsics and poses. Put the npz files into {folder}: they "
                "come in megadepth_indices.tar, beside the images in no download"
            )
        return None
    found = tuple(s for s in scenes if len(s))
    if not found:
        raise DataError(
            f"{root}: none of the images that {files[0]} names is there, the first is "
            f"{root / next(_named(files))}. Unpack or link the images below {root}"
        )
    return Recording("megadepth", root, found)


def _holds_depth(root: Path) -> bool:
    places = root / "phoenix", root / "Undistorted_SfM", root / "MegaDepth_v1"
    return any(p.is_dir() for p in places) or next(root.glob("*.h5"), None) is not None


def _scenes(files: Iterable[Path], paths: MegaDepthPaths) -> list[MegaDepthScene]:
    scenes: dict[str, MegaDepthScene] = {}
    for path in files:
        columns = read_columns(path)
        if columns is None:
            continue
        name = place_name(path.stem)
        scene = scenes.setdefault(name, MegaDepthScene(name, paths))
        images, depths = columns["image_paths"], columns["depth_paths"]
        for slot in np.flatnonzero(used_slots(columns)).tolist():
            depth = "" if depths[slot] is None else str(depths[slot])
            if paths.find_image(str(images[slot]), depth) is None:
                scene.without += 1
            else:
                scene.add(columns, slot, f"{path}, slot {slot}")
    return list(scenes.values())


def _named(files: Iterable[Path]) -> Iterable[str]:
    for path in files:
        columns = read_columns(path)
        if columns is not None:
            yield from (str(i) for i in columns["image_paths"] if i is not None)


def _bytes(value: Any) -> bytes:
    try:
        return np.asarray(value, np.float64).tobytes()
    except (TypeError, ValueError):
        return repr(value).encode()


def _numbers(value: Any, where: str) -> np.ndarray:
    try:
        return np.asarray(value, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: not numbers ({error})") from None
