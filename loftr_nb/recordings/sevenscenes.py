"""Scenes of the 7-Scenes data set, as published.

``seq-XX/frame-000000.{color.png,depth.png,pose.txt}``: depth uint16 millimetres
with 65535 for no reading, poses camera to world (inverted here).

The trap: depth is not registered to colour. The two cameras stand about 2.5 cm
apart and differ in focal length, and poses and K are the depth camera's. What is
given here is that, as it is; ``loftr-nb data import sevenscenes`` registers it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import DataError
from ..files import read_depth_png, read_pose_txt
from .scene import Recording, Scene

# Of the depth camera, from the data set's page: 640x480, the Kinect's nominal values.
FOCAL = 585.0
CENTRE = (320.0, 240.0)
_COLOURS = (".color.png", ".color.jpg", ".color.jpeg")


class SevenScenesSequence(Scene):
    """One ``seq-XX`` folder. Frames are those with a pose file, by number."""

    def __init__(self, folder: Path, name: str | None = None) -> None:
        """
        Raises:
            DataError: no pose files like ``frame-000000.pose.txt``.
        """
        self.folder = folder
        self.name = name or folder.resolve().name
        poses = sorted(p.name for p in folder.glob("frame-*.pose.txt"))
        if not poses:
            raise DataError(f"{folder} holds no pose files like frame-000000.pose.txt")
        self.frames = [p.removesuffix(".pose.txt") for p in poses]

    def image_path(self, k: int) -> Path:
        """``frame-000000.color.png``, or ``.jpg`` where that is what is there."""
        paths = [self.folder / (self.frames[k] + suffix) for suffix in _COLOURS]
        return next((p for p in paths if p.is_file()), paths[0])

    def depth_path(self, k: int) -> Path:
        """``frame-000000.depth.png``."""
        return self.folder / f"{self.frames[k]}.depth.png"

    def pose_path(self, k: int) -> Path:
        """``frame-000000.pose.txt``."""
        return self.folder / f"{self.frames[k]}.pose.txt"

    def depth(self, k: int) -> np.ndarray:
        """(H, W) float32 metres on the depth camera's pixels, 0 = unknown."""
        return read_depth_png(self.depth_path(k))

    def world_to_camera(self, k: int) -> np.ndarray:
        """(4, 4) float64, of the depth camera: the inverse of the file's."""
        return np.linalg.inv(read_pose_txt(self.pose_path(k)))

    def K(self, k: int) -> np.ndarray:
        """(3, 3) float64, of the depth camera."""
        return np.array([[FOCAL, 0, CENTRE[0]], [0, FOCAL, CENTRE[1]], [0, 0, 1]])


def find_sevenscenes(root: Path) -> Recording | None:
    """``root`` is a sequence, a scene of sequences, or a folder of scenes."""
    for folders in ([root], _below(root), [q for p in _below(root) for q in _below(p)]):
        found = [p for p in folders if _is_sequence(p)]
        if found:
            # chess/seq-01 and fire/seq-01 are two scenes: names keep the folder.
            names = [
                "_".join(p.relative_to(root).parts) or p.resolve().name for p in found
            ]
            scenes = map(SevenScenesSequence, found, names)
            return Recording("sevenscenes", root, tuple(scenes))
    return None


def _below(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir())


def _is_sequence(folder: Path) -> bool:
    return next(folder.glob("frame-*.pose.txt"), None) is not None
