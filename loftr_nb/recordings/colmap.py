"""Dense reconstructions by COLMAP: undistorted photos with depth and pose.

What ``colmap image_undistorter`` and ``patch_match_stereo`` leave behind:
``images/``, ``sparse/{cameras,images}.{bin,txt}`` (also in ``sparse/0``) and
``stereo/depth_maps/NAME.geometric.bin`` (or ``.photometric.bin``). Poses are world
to camera. Lengths are in the model's own unit, not metres: supervision does not
mind, as depth and pose share it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import DataError
from .colmap_files import ColmapCamera, depth_map_size, read_depth_map, read_model
from .scene import Recording, Scene

_KINDS = ("geometric", "photometric")  # the first was also checked against neighbours
_SPARSE = ("sparse", "sparse/0")


class ColmapModel(Scene):
    """One dense folder. Frames are the registered images, by name.

    K and depth are given in the pixels of the depth map, which COLMAP makes smaller
    than the image where ``--PatchMatchStereo.max_image_size`` says so.
    """

    is_video = False

    def __init__(self, folder: Path, name: str | None = None) -> None:
        """
        Raises:
            DataError: the model is damaged, distorted, or has no images.
        """
        self.folder = folder
        self.name = name or folder.resolve().name
        self._model = _model_folder(folder)
        if self._model is None:
            raise DataError(f"{folder} holds no model such as sparse/cameras.bin")
        self._cameras, self._images = read_model(self._model)
        if not self._images:
            raise DataError(f"{self._model} has no registered images")
        self.frames = [image.name for image in self._images]
        self._depth_sizes: dict[int, tuple[int, int]] = {}

    def image_path(self, k: int) -> Path:
        """``images/NAME``."""
        return self.folder / "images" / self.frames[k]

    def depth_path(self, k: int) -> Path:
        """``stereo/depth_maps/NAME.geometric.bin``, or else the photometric one."""
        maps = self.folder / "stereo" / "depth_maps"
        paths = [maps / f"{self.frames[k]}.{kind}.bin" for kind in _KINDS]
        return next((p for p in paths if p.is_file()), paths[0])

    def pose_path(self, k: int) -> Path:
        """``sparse/images.bin`` or ``.txt``."""
        binary = self._model / "images.bin"
        return binary if binary.is_file() else self._model / "images.txt"

    def camera(self, k: int) -> ColmapCamera:
        """The camera that took frame k: size and K of the image, not of the depth."""
        return self._cameras[self._images[k].camera]

    def depth(self, k: int) -> np.ndarray:
        """(h, w) float32 in the model's unit, 0 = unknown.

        Raises:
            DataError: missing, damaged, without a single known depth, or of another
                aspect than the image.
        """
        path = self.depth_path(k)
        depth = read_depth_map(path)
        if not depth.any():
            raise DataError(
                f"{path} has no known depth: stereo found nothing for this image. "
                "Drop it from the model, or run `colmap patch_match_stereo` with more "
                "sources"
            )
        self._depth_sizes[k] = self._checked_size(k, depth.shape[::-1])
        return depth

    def world_to_camera(self, k: int) -> np.ndarray:
        """(4, 4) float64, in the model's unit."""
        return self._images[k].world_to_camera

    def K(self, k: int) -> np.ndarray:
        """(3, 3) float64 in pixels of the depth map (of the image without one)."""
        camera = self.camera(k)
        if k not in self._depth_sizes:
            path = self.depth_path(k)
            size = camera.size
            if path.is_file():
                size = self._checked_size(k, depth_map_size(path))
            self._depth_sizes[k] = size
        return scale_intrinsics(camera.K, camera.size, self._depth_sizes[k])

    def _checked_size(self, k: int, size: tuple[int, int]) -> tuple[int, int]:
        w, h = self.camera(k).size
        # Both sides are rounded to whole pixels when the map is made smaller.
        if abs(size[0] * h - size[1] * w) > max(w, h):
            raise DataError(
                f"{self.depth_path(k)} is {size[0]}x{size[1]} and its image {w}x{h}: "
                "they are of different photos. Run stereo again on this model's images"
            )
        return size


def scale_intrinsics(
    K: np.ndarray, size: tuple[int, int], to: tuple[int, int]
) -> np.ndarray:
    """K of an image of ``size`` (w, h) for the same image resized to ``to``.

    Borders of images coincide, not centres of pixels: half a pixel counts.
    """
    s = np.array(to, np.float64) / size
    scaled = np.array(K, np.float64)
    scaled[:2] *= s[:, None]
    scaled[:2, 2] += s / 2 - 0.5
    return scaled


def find_colmap(root: Path) -> Recording | None:
    """``root`` is a dense folder, or holds some, up to two levels below it.

    A workspace may hold the distorted model too (``sparse``, beside ``dense``):
    folders with stereo results come first.
    """
    below = _below(root)
    levels = [root], below, [p for q in below for p in _below(q)]
    for part in ("stereo", "images"):
        for folders in levels:
            found = [p for p in folders if _model_folder(p) and (p / part).is_dir()]
            if found:
                names = ["_".join(p.relative_to(root).parts) for p in found]
                return Recording("colmap", root, tuple(map(ColmapModel, found, names)))
    return None


def _below(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir())


def _model_folder(folder: Path) -> Path | None:
    for place in _SPARSE:
        if any((folder / place / f"cameras{s}").is_file() for s in (".bin", ".txt")):
            return folder / place
    return None
