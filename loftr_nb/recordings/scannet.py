"""Scenes as ScanNet's Python exporter writes them.

``sceneXXXX_YY/{color/N.jpg, depth/N.png, pose/N.txt, intrinsic/}``: depth uint16
millimetres, poses camera to world (inverted here), K of the depth camera.
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
        numbers = [p.stem for p in (folder / "pose").glob("*.txt") if p.stem.isdigit()]
        if not numbers:
            raise DataError(f"{folder / 'pose'} holds no pose files like 0.txt")
        self.frames = sorted(numbers, key=int)

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
    """Scenes directly inside ``root``, or ``root`` itself if it is one."""
    if SCENE_NAME.match(root.name) and (root / "pose").is_dir():
        return Recording("scannet", root, (ScanNetScene(root),))
    found = sorted(p for p in root.iterdir() if SCENE_NAME.match(p.name))
    found = [p for p in found if (p / "pose").is_dir()]
    if not found:
        return None
    return Recording("scannet", root, tuple(ScanNetScene(p) for p in found))
