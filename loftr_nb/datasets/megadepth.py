"""Pairs of photographs in MegaDepth's layout, of any size and orientation.

The index says where each image and its h5 depth map lie below the root, and
their intrinsics and poses (world to camera). Depth and image have the same size.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import ConfigError, DataError
from ..files import read_depth_h5, read_image_grey
from ..geometry import relative_pose
from ..recordings.megadepth_paths import MegaDepthPaths
from .augment import Augment
from .base import DepthUse, PosedPairs, check_divisible
from .images import InputFrame, fit_longer_side
from .scene_info import load_megadepth_scenes


class MegaDepth(PosedPairs):
    """Pairs of photographs in MegaDepth's layout.

    Args:
        root: the folder that paths in the index start from. Trees that are
            unpacked or linked in another way work too, see
            :class:`MegaDepthPaths`.
        index: scene file(s), a text list of them, a folder of them, or a flat index.
        size: the longer side of the network's input; None keeps each image's.
        divisor: sides are rounded down to its multiples; a multiple of 8.
        pad: pad to a square at the bottom and the right, so that images of any
            shape stack into a batch.
        min_overlap, max_overlap: leave out pairs beyond these scores.
        augment: photometric changes for training.
        depth: "optional" gives zeros where a depth map is missing: the download
            of the 1,500 test pairs has none. Training needs "required".

    Raises:
        DataError: root or index missing or damaged, or an index that contradicts
            itself. Images and depths are read, and complained about, when a
            pair asks for them.

    The trap: K belongs to the stored image and is never scaled; ``scale`` is.
    """

    def __init__(
        self,
        root: Path,
        index: Path | Sequence[Path],
        size: int | None = 640,
        divisor: int = 8,
        pad: bool = True,
        min_overlap: float = 0.0,
        max_overlap: float = 1.0,
        augment: Augment | None = None,
        depth: DepthUse = "required",
    ) -> None:
        check_divisible((divisor,), "the divisor")
        if size is not None and size < divisor:
            raise ConfigError(f"the longer side is {size}, less than {divisor} pixels")
        table = load_megadepth_scenes(index, min_overlap, max_overlap)
        super().__init__(root, table, augment, depth)
        self.size = size
        self.divisor = divisor
        self.pad = pad
        self._paths = MegaDepthPaths(self.root)

    def relative_pose(self, i: int) -> np.ndarray:
        """(4, 4) float64 ``T_0to1 = T1 @ inv(T0)`` of pair i."""
        pose = self.table.frames.pose
        return relative_pose(pose[self.table.frame0[i]], pose[self.table.frame1[i]])

    def full_depth(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Both depth maps of pair i, (H, W) float32 metres, 0 = unknown."""
        i = self._row(i)
        first, second = (
            read_depth_h5(self._paths.depth(self._written_depth(i, side)))
            for side in (0, 1)
        )
        return first, second

    def image_paths(self, i: int) -> tuple[Path, Path]:
        """Where the two images of pair i are, or should be."""
        i = self._row(i)
        first, second = (
            self.root / self.table.frames.image[self._frame(i, side)] for side in (0, 1)
        )
        return first, second

    def files(self, i: int, side: int) -> tuple[Path | None, Path | None]:
        """Image and depth map of one side of pair i, None where they are not there.

        Raises:
            DataError: a name fits two files.
        """
        frame, frames = self._frame(self._row(i), side), self.table.frames
        depth = frames.depth[frame]
        found = self._paths.images(frames.image[frame], depth)
        image = self._paths.image(frames.image[frame], depth) if found else None
        return image, self._paths.find_depth(depth) if depth else None

    def _frame(self, i: int, side: int) -> int:
        return int((self.table.frame1 if side else self.table.frame0)[i])

    def _written_depth(self, i: int, side: int) -> str:
        frame = self._frame(i, side)
        written = self.table.frames.depth[frame]
        if not written:
            raise DataError(
                f"{self.table.where(i)}: image {self.table.frames.slot[frame]} has no "
                "depth path in the index. Training needs depth; for an evaluation "
                "without it, open the dataset with depth='optional'"
            )
        return written

    def _depth_map(self, i: int, side: int) -> np.ndarray | None:
        if self.depth == "required":
            return read_depth_h5(self._paths.depth(self._written_depth(i, side)))
        written = self.table.frames.depth[self._frame(i, side)]
        path = self._paths.find_depth(written) if written else None
        return None if path is None else read_depth_h5(path)

    @property
    def pads(self) -> bool:
        """Whether images are padded to a square."""
        return self.pad

    def frame_intrinsics(self, i: int, side: int) -> np.ndarray:
        """(3, 3) K of one side of pair i, original pixels."""
        return self.table.frames.K[self._frame(i, side)]

    def frame(self, i: int, side: int) -> InputFrame:
        """Image and depth of one side (0 or 1) of pair i, as training reads them."""
        frame = self._frame(i, side)
        frames = self.table.frames
        path = self._paths.image(frames.image[frame], frames.depth[frame])
        image, depth = read_image_grey(path), self._depth_map(i, side)
        original = image.shape[::-1]
        if depth is not None and depth.shape != image.shape:
            raise DataError(
                f"{path} is {original[0]}x{original[1]} and its depth map "
                f"{depth.shape[1]}x{depth.shape[0]}: they must be of one size. Take "
                "image and depth from the same release, neither of them resized"
            )
        size = fit_longer_side(original, self.size, self.divisor, str(path))
        return InputFrame.of(image, depth, original, size, str(path))
