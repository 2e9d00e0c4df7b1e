"""Pairs of frames in ScanNet's layout, as its Python exporter writes it.

``<root>/scene0707_00/color/15.jpg``, ``depth/15.png`` (uint16 millimetres) and
``pose/15.txt`` (4x4, camera to world: inverted here). Depth is the frame of
reference: the colour image may be larger, intrinsics are the depth camera's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..files import read_depth_png, read_image_grey, read_intrinsics_txt, read_pose_txt
from ..geometry import COARSE_STRIDE, check_pose
from .augment import Augment
from .base import DepthUse, PosedPairs, check_divisible
from .images import InputFrame, check_same_aspect, fit_longer_side, require_size
from .index import load_intrinsics, load_scannet_pairs

_DEPTH_SIZE = (640, 480)  # of every ScanNet depth map


class ScanNet(PosedPairs):
    """Pairs of frames in ScanNet's layout.

    Args:
        root: holds ``sceneXXXX_YY/{color,depth,pose}``.
        index: npz file(s), a text list of them, a folder of them, or a flat index.
        intrinsics: npz with nine numbers by scene. For a scene that it lacks (or
            without it), K is that of the flat index, or else of
            ``<scene>/intrinsic/intrinsic_depth.txt``.
        size: (w, h) of the network's input, multiples of 8; None takes the depth
            map's size, rounded down to multiples of 8.
        min_overlap: leaves out pairs with a smaller score.
        augment: photometric changes for training.
        depth: "optional" gives zeros where a depth map is missing, for an
            evaluation that needs poses only; training needs "required".

    Raises:
        DataError: root or index missing or damaged. The files of a frame are
            read, and complained about, when a pair asks for them.

    The trap: K belongs to the depth map. It is never scaled; ``scale`` is.
    """

    def __init__(
        self,
        root: Path,
        index: Path | Sequence[Path],
        intrinsics: Path | None = None,
        size: tuple[int, int] | None = (640, 480),
        min_overlap: float = 0.0,
        augment: Augment | None = None,
        depth: DepthUse = "required",
    ) -> None:
        if size is not None:
            check_divisible(tuple(size), "the input size (w, h)")
        super().__init__(root, load_scannet_pairs(index, min_overlap), augment, depth)
        self.size = size
        self._intrinsics_file = intrinsics
        self._K = self.table.intrinsics()
        if intrinsics is not None:
            self._K |= load_intrinsics(Path(intrinsics))

    def relative_pose(self, i: int) -> np.ndarray:
        """(4, 4) float64 ``T_0to1``: the pose files', or else the index's own.

        The index's ``rel_pose`` has five digits after the point, the files more.
        """
        paths = [self._path(i, side, "pose", ".txt") for side in (0, 1)]
        rel_pose = self.table.rel_pose
        if rel_pose is not None and not any(p.exists() for p in paths):
            where = f"{self.table.where(i)}, rel_pose"
            return check_pose(rel_pose[i].reshape(3, 4), where)
        cam0_to_world, cam1_to_world = (read_pose_txt(p) for p in paths)
        return np.linalg.inv(cam1_to_world) @ cam0_to_world

    def full_depth(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Both depth maps of pair i, (H, W) float32 metres, 0 = unknown."""
        i = self._row(i)
        first, second = (
            read_depth_png(self._path(i, s, "depth", ".png")) for s in (0, 1)
        )
        return first, second

    def image_paths(self, i: int) -> tuple[Path, Path]:
        """Where the two images of pair i are, or should be."""
        i = self._row(i)
        return self._path(i, 0, "color", ".jpg"), self._path(i, 1, "color", ".jpg")

    def files(self, i: int, side: int) -> tuple[Path, Path, Path]:
        """Where image, depth map and pose of one side of pair i are, or should be."""
        kinds = (("color", ".jpg"), ("depth", ".png"), ("pose", ".txt"))
        image, depth, pose = (self._path(self._row(i), side, *kind) for kind in kinds)
        return image, depth, pose

    def intrinsics(self, scene: str) -> np.ndarray:
        """(3, 3) float64 K of a scene's depth camera.

        Raises:
            DataError: neither in the intrinsics file nor in the scene's folder.
        """
        if scene in self._K:
            return self._K[scene]
        path = self.root / scene / "intrinsic" / "intrinsic_depth.txt"
        if not path.is_file():
            given = self._intrinsics_file or "no intrinsics file was given"
            raise DataError(
                f"no intrinsics for {scene}: not in {given} ({len(self._K)} scenes), "
                f"and {path} does not exist. Give an npz that has this scene"
            )
        return read_intrinsics_txt(path)

    def _path(self, i: int, side: int, kind: str, suffix: str) -> Path:
        frames = self.table.frame1 if side else self.table.frame0
        scene = self.table.scenes[self.table.scene[i]]
        return self.root / scene / kind / f"{frames[i]}{suffix}"

    def _depth_map(self, i: int, side: int) -> np.ndarray | None:
        path = self._path(i, side, "depth", ".png")
        if self.depth == "optional" and not path.exists():
            return None
        return read_depth_png(path)

    def frame_intrinsics(self, i: int, side: int) -> np.ndarray:
        """(3, 3) K of one side of pair i: that of its scene's depth camera."""
        return self.intrinsics(self.table.scenes[self.table.scene[i]])

    def frame(self, i: int, side: int) -> InputFrame:
        """Image and depth of one side (0 or 1) of pair i, as training reads them."""
        path = self._path(i, side, "color", ".jpg")
        image, depth = read_image_grey(path), self._depth_map(i, side)
        original = _DEPTH_SIZE if depth is None else depth.shape[::-1]
        require_size(image.shape[::-1], str(path))
        check_same_aspect(image.shape[::-1], original, str(path))
        size = self.size
        if size is None:
            size = fit_longer_side(original, None, COARSE_STRIDE, str(path))
        return InputFrame.of(image, depth, original, size, str(path))
