"""Folders of plain photos: no depth, no poses, no K.

They can still be trained on: a photo and the same photo through a known
homography are a pair (:class:`loftr_nb.datasets.PhotoHomographies`).
"""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import numpy as np

from ..errors import DataError
from .scene import Recording, Scene

IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .png .ppm .pgm .bmp .tif .tiff .webp".split(),
)
# A folder beside which one of these lies belongs to a recording with depth, whose
# other parts are missing or misnamed: its depth maps are no photos.
_NOT_PLAIN = frozenset({"depth", "depths", "pose", "poses", "stereo", "sparse"})


class PhotoFolder(Scene):
    """The images directly inside one folder, by name."""

    is_video = False

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            DataError: no images there.
        """
        self.folder = folder
        self.name = folder.resolve().name
        self.frames = [p.name for p in photos_in(folder)]
        if not self.frames:
            raise DataError(
                f"{folder} holds no images ({' '.join(sorted(IMAGE_SUFFIXES))})"
            )

    def image_path(self, k: int) -> Path:
        """The photo."""
        return self.folder / self.frames[k]

    def depth_path(self, k: int) -> None:
        """None: plain photos have no depth."""
        return None

    def depth(self, k: int) -> np.ndarray:
        """Raises DataError: there is none."""
        self._refuse(k, "depth")

    def world_to_camera(self, k: int) -> np.ndarray:
        """Raises DataError: there is none."""
        self._refuse(k, "pose")

    def K(self, k: int) -> np.ndarray:
        """Raises DataError: there is none."""
        self._refuse(k, "intrinsics")

    def _refuse(self, k: int, what: str) -> NoReturn:
        raise DataError(
            f"{self.image_path(k)} is a plain photo without {what}. Train on "
            "homographies of it (`loftr-nb data import folder`), or reconstruct the "
            "scene with COLMAP and import that"
        )


def photos_in(folder: Path) -> list[Path]:
    """Images directly inside a folder, by name; hidden files are left out."""
    return sorted(
        p
        for p in folder.iterdir()
        if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")
    )


def find_photos(root: Path) -> Recording | None:
    """Photos directly inside ``root``, or else one scene for each folder of photos."""
    below = sorted(p for p in root.iterdir() if p.is_dir())
    if any(p.name.lower() in _NOT_PLAIN for p in below):
        return None
    found = [root] if photos_in(root) else [p for p in below if photos_in(p)]
    if not found:
        return None
    return Recording("photos", root, tuple(map(PhotoFolder, found)))
