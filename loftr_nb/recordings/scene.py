"""What every layout offers: scenes of frames with image, depth, pose and K.

A :class:`Recording` is a folder of such scenes before anything says which frames
form pairs. Checks, importers and indices are written once against it, and a new
layout is one class.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..files import read_image_grey


class Scene(ABC):
    """Frames of one place. Files are read when asked for, never before.

    name: of the scene. frames: names of the frames; of a video in order of time.
    is_video: neighbours in ``frames`` are neighbours in time, so that most pairs
        far apart need not be looked at.

    Frames are numbered by their place in ``frames``, k = 0 ...
    """

    name: str
    frames: Sequence[str]
    is_video: bool = True

    def __len__(self) -> int:
        return len(self.frames)

    @abstractmethod
    def image_path(self, k: int) -> Path:
        """Where frame k's colour image is, or should be."""

    @abstractmethod
    def depth_path(self, k: int) -> Path | None:
        """Where frame k's depth is, or should be; None in layouts without depth."""

    def pose_path(self, k: int) -> Path | None:
        """The file that holds frame k's pose, for messages."""
        return None

    def image(self, k: int) -> np.ndarray:
        """Frame k as (H, W) uint8 grey. Raises DataError, naming the file."""
        return read_image_grey(self.image_path(k))

    @abstractmethod
    def depth(self, k: int) -> np.ndarray:
        """(H, W) float32 metres, 0 = unknown. Raises DataError, naming the file."""

    @abstractmethod
    def world_to_camera(self, k: int) -> np.ndarray:
        """(4, 4) float64, metres. Raises DataError (missing, not finite, ...)."""

    @abstractmethod
    def K(self, k: int) -> np.ndarray:
        """(3, 3) float64 in pixels of the depth map (of the image without one)."""


@dataclass(frozen=True)
class Recording:
    """Scenes found below a folder.

    layout: how they lie there, such as ``scannet``, ``megadepth``, ``sevenscenes``,
        ``tum``, ``colmap`` or ``photos``.
    """

    layout: str
    root: Path
    scenes: tuple[Scene, ...]

    def scene(self, name: str) -> Scene:
        """The scene of that name.

        Raises:
            DataError: there is none.
        """
        for scene in self.scenes:
            if scene.name == name:
                return scene
        raise DataError(f"{self.root} ({self.layout}) has no scene {name!r}")
