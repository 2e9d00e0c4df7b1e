"""Scenes as ScanNet's Python exporter writes them.

``sceneXXXX_YY/{color/N.jpg, depth/N.png, pose/N.txt, intrinsic/}``: depth uint16
millimetres, poses camera to world (inverted here), K of the depth camera.

ScanNet's C++ exporter writes the same frames under other names, all in one folder:
``frame-000000.{color.jpg,depth.pgm,pose.txt}`` and ``_info.txt``. No released index
can be used with it, so it is recognised and refused with the way out.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..files import read_depth_png, read_intrinsics_txt, read_pose_txt
from .scene import Recording, Scene

SCENE_NAME = re.compile(r"scene(\d{4})_(\d{2})$")


class ScanNetScene(Scene):
    """One ``sceneXXXX_YY`` folder. Frames are those with a pose file, by number."""

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            DataError: no pose files like ``pose/0.txt``.
        """
        self.folder = folder
        self.name = folder.name
        self.frames = _numbers(folder / "pose", ".txt")
        if not self.frames:
            raise DataError(f"{folder / 'pose'} holds no pose files like 0.txt")

    @cached_property
    def without_pose(self) -> list[str]:
        """Numbers of the images that have no pose file, by number."""
        posed = set(self.frames)
        images = _numbers(self.folder / "color", ".jpg")
        return [n for n in images if n not in posed]

    def image_path(self, k: int) -> Path:
        """``color/N.jpg``."""
        return self.folder / "color" / f"{self.frames[k]}.jpg"

    def depth_path(self, k: int) -> Path:
        """``depth/N.png``."""
        return self.folder / "depth" / f"{self.frames[k]}.png"

    def pose_path(self, k: int) -> Path:
        """``pose/N.txt``."""
        return self.folder / "pose" / f"{self.frames[k]}.txt"

    def depth(self, k: int) -> np.ndarray:
        """(H, W) float32 metres, 0 = unknown."""
        return read_depth_png(self.depth_path(k))

    def world_to_camera(self, k: int) -> np.ndarray:
        """(4, 4) float64: the inverse of the file's."""
        return np.linalg.inv(read_pose_txt(self.pose_path(k)))

    def K(self, k: int) -> np.ndarray:
        """(3, 3) float64, of the depth camera."""
        return self._K

    @cached_property
    def _K(self) -> np.ndarray:
        return read_intrinsics_txt(self.folder / "intrinsic" / "intrinsic_depth.txt")


def find_scannet(root: Path) -> Recording | None:
    """``root`` is a scene or holds scenes, directly or one folder below (``scans``).

    Raises:
        DataError: a C++ export (see :func:`require_python_export`), or two folders
            of one name.
    """
    if SCENE_NAME.match(root.name):
        require_python_export(root)
        if (root / "pose").is_dir():
            return Recording("scannet", root, (ScanNetScene(root),))
    below = sorted(p for p in root.iterdir() if p.is_dir())
    for folders in (below, [q for p in below for q in _scenes_in(p)]):
        found = [p for p in folders if SCENE_NAME.match(p.name)]
        for folder in found[:1]:
            require_python_export(folder)
        found = [p for p in found if (p / "pose").is_dir()]
        if found:
            _require_names_once(found)
            return Recording("scannet", root, tuple(ScanNetScene(p) for p in found))
    return None


def cpp_export_in(scene: Path) -> Path | None:
    """A file of ScanNet's C++ exporter in a scene's folder, None without one.

    7-Scenes names its frames alike; its depth is ``.depth.png`` and not ``.pgm``.
    """
    depth = next(scene.glob("frame-*.depth.pgm"), None)
    if depth is None and (scene / "_info.txt").is_file():
        depth = next(scene.glob("frame-*.color.jpg"), None)
    return depth


def require_python_export(scene: Path) -> None:
    """Refuse a scene that was exported with ScanNet's C++ tool.

    Raises:
        DataError: naming a file of it, and how to export the scene instead.
    """
    found = cpp_export_in(scene)
    if found is not None:
        raise DataError(
            f"{scene} was exported by ScanNet's C++ tool (it holds {found.name}): "
            "frames are named frame-000000.* in one folder, and an index looks for "
            "color/0.jpg, depth/0.png and pose/0.txt. Export the .sens file again with "
            f"`loftr-nb data import scannet-sens {scene.name}.sens` or ScanNet's "
            "Python exporter"
        )


def _scenes_in(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if SCENE_NAME.match(p.name))


def _numbers(folder: Path, suffix: str) -> list[str]:
    """Numbers that the files of a folder are named by, by number."""
    # Written as a plain number: 007.txt is not what an index asks for.
    stems = [p.stem for p in folder.glob(f"*{suffix}")]
    plain = [n for n in stems if n.isascii() and n.isdigit() and n == str(int(n))]
    return sorted(plain, key=int)


def _require_names_once(folders: list[Path]) -> None:
    seen: dict[str, Path] = {}
    for folder in folders:
        if folder.name in seen:
            raise DataError(
                f"{seen[folder.name]} and {folder} are two scenes of one name. Give "
                "the folder that holds one of them"
            )
        seen[folder.name] = folder
