"""A scene as an index uses it, and what only shows once all of its frames are seen."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...errors import DataError
from ...files import read_intrinsics_txt
from ...geometry import check_intrinsics
from ...recordings import Scene
from ...recordings.scannet import ScanNetScene
from .causes import code_of
from .frames import RGBD, FrameCheck, check_camera
from .report import Tally

_ROOM = (0.2, 20.0)  # metres: median depth of a scene indoors
_KINDS = {"image": "images", "depth": "depth maps", "pose": "poses"}


class IndexedScanNetScene(ScanNetScene):
    """The frames of a ScanNet scene that an index names, whether they are there."""

    def __init__(self, folder: Path, numbers: np.ndarray, K: object = None) -> None:
        # Not the parent's: it lists the pose files and refuses a folder without.
        self.folder, self.name = folder, folder.name
        self.numbers = numbers
        self.frames = _Names(numbers)
        self._given = K

    @property
    def _K(self) -> np.ndarray:
        if self._given is not None:
            return check_intrinsics(self._given, f"intrinsics of {self.name}")
        path = self.folder / "intrinsic" / "intrinsic_depth.txt"
        if not path.is_file():
            raise DataError(
                f"no intrinsics for {self.name}: not in the npz of the index, and "
                f"{path} does not exist"
            )
        return read_intrinsics_txt(path)


class _Names(Sequence):
    """Numbers as names, without a string for each of millions."""

    def __init__(self, numbers: np.ndarray) -> None:
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, k: int) -> str:
        return str(self.numbers[k])


class _Some(Sequence):
    """Some of the names."""

    def __init__(self, names: Sequence[str], kept: np.ndarray) -> None:
        self.names, self.kept = names, kept

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, k: int) -> str:
        return self.names[self.kept[k]]


class SomeFrames(Scene):
    """A scene with only some of its frames: those that can be used."""

    def __init__(self, scene: Scene, kept: np.ndarray) -> None:
        self.scene, self.kept = scene, kept
        self.name, self.is_video = scene.name, scene.is_video
        self.frames = _Some(scene.frames, kept)

    def image_path(self, k: int) -> Path:
        """Of the frame."""
        return self.scene.image_path(self.kept[k])

    def depth_path(self, k: int) -> Path | None:
        """Of the frame."""
        return self.scene.depth_path(self.kept[k])

    def pose_path(self, k: int) -> Path | None:
        """Of the frame."""
        return self.scene.pose_path(self.kept[k])

    def image(self, k: int) -> np.ndarray:
        """Of the frame."""
        return self.scene.image(self.kept[k])

    def depth(self, k: int) -> np.ndarray:
        """Of the frame."""
        return self.scene.depth(self.kept[k])

    def world_to_camera(self, k: int) -> np.ndarray:
        """Of the frame."""
        return self.scene.world_to_camera(self.kept[k])

    def K(self, k: int) -> np.ndarray:
        """Of the frame."""
        return self.scene.K(self.kept[k])


@dataclass
class SceneTally:
    """Gathers the checks of a scene's frames, and judges the scene at the end.

    indexed: an index uses these frames. excerpt: the index is known to name more
    than is there, so that what is missing is only a warning. codes: (F,) uint8 a
    fault for each frame, 0 where it is usable.
    """

    scene: Scene
    layout: str
    tally: Tally
    indexed: bool
    excerpt: bool = False
    codes: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.codes = np.zeros(len(self.scene), np.uint8)
        self._seen = 0
        self._images: Counter = Counter()
        self._depths: Counter = Counter()
        self._odd: dict[tuple[str, tuple[int, int]], int] = {}
        self._medians: list[float] = []

    def add(self, seen: FrameCheck) -> None:
        """One more frame."""
        k = seen.k
        self._seen += 1
        for fault in seen.faults:
            self.tally.add(fault.cause, fault.detail, level=self._level(fault.cause))
            if self.codes[k] == 0:
                self.codes[k] = code_of(fault.cause)
        for kind, sizes in (("image", self._images), ("depth", self._depths)):
            size = getattr(seen, kind)
            if size is not None:
                sizes[size] += 1
                self._odd.setdefault((kind, size), k)
        if np.isfinite(seen.median):
            self._medians.append(seen.median)

    def _level(self, cause: str) -> str | None:
        if self.excerpt and cause.endswith("_missing"):
            return "warning"
        if not self.indexed and cause in ("pose_missing", "pose_not_finite"):
            return "warning"
        return None

    def finish(self) -> None:
        """Judge what only all frames together show."""
        count = self._seen  # fewer than there are after Ctrl-C
        kinds = ["image"] if self.layout == "photos" else list(_KINDS)
        for kind in kinds:
            self.tally.looked_at(_KINDS[kind], count)
        self.tally.looked_at("scenes", 1)
        if self.layout in RGBD:
            self._one_size("image", self._images)
            self._one_size("depth", self._depths)
            self._camera()
            self._unit()
        elif self.layout != "photos":
            self.tally.looked_at("cameras", count)

    def _one_size(self, kind: str, sizes: Counter) -> None:
        if len(sizes) < 2:
            return
        (usual, most), *_, (odd, _) = sizes.most_common()
        k = self._odd[kind, odd]
        path = getattr(self.scene, f"{kind}_path")(k)
        w, h = odd
        first = f"{path} is {w}x{h}, {most} others are {usual[0]}x{usual[1]}"
        self.tally.add(f"{kind}_sizes", first)

    def _camera(self) -> None:
        self.tally.looked_at("cameras", 1)
        if not len(self.scene):
            return
        size = self._depths.most_common(1)[0][0] if self._depths else None
        fault = check_camera(self.scene, 0, size)
        if fault is None:
            return
        self.tally.add(fault.cause, fault.detail)
        self.codes[self.codes == 0] = code_of(fault.cause)

    def _unit(self) -> None:
        if not self._medians:
            return
        median = float(np.median(self._medians))
        if not _ROOM[0] <= median <= _ROOM[1]:
            self.tally.add(
                "depth_unit",
                f"{self.scene.name}: its median depth is {median:.3g} m, expected "
                f"{_ROOM[0]:g} to {_ROOM[1]:g}; {self.scene.depth_path(0)}",
            )


def missing_scene(scene: Scene, tally: Tally, excerpt: bool) -> np.ndarray:
    """Codes of the frames of a scene whose folder is not there."""
    tally.looked_at("scenes", 1)
    tally.add(
        "scene_missing",
        f"{scene.folder} does not exist ({len(scene)} frames of it are used)",
        level="warning" if excerpt else None,
    )
    return np.full(len(scene), code_of("scene_missing"), np.uint8)


def stray_files(scene: Scene, tally: Tally) -> None:
    """Count files beside a scene's own that no frame uses."""
    own: dict[Path, set[str]] = {}
    for k in range(len(scene)):
        paths = scene.image_path(k), scene.depth_path(k), scene.pose_path(k)
        for path in paths:
            if path is not None:
                own.setdefault(path.parent, set()).add(path.name)
    told = {f"{n}.jpg" for n in getattr(scene, "without_pose", ())}
    for folder, names in own.items():
        if folder.name in ("scene_info", "index") or folder == _model(scene):
            continue
        held = _files(folder)
        strays = sorted(n for n in held if n not in names and n not in told)
        tally.looked_at("files", len(held))
        if strays:
            tally.add("stray", str(folder / strays[0]), len(strays))


def _model(scene: Scene) -> Path | None:
    """The folder of a pose file that is not a frame's own (COLMAP, TUM, an index)."""
    path = scene.pose_path(0) if len(scene) else None
    later = scene.pose_path(len(scene) - 1) if len(scene) > 1 else None
    return path.parent if path is not None and path == later else None


def _files(folder: Path) -> Iterable[str]:
    try:
        with os.scandir(folder) as entries:
            return [e.name for e in entries if e.is_file() and e.name[0] != "."]
    except OSError:
        return []
