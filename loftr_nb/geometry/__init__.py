"""Cameras, coarse cells and the three ways to move points between two images."""

from .camera import check_intrinsics, check_pose, project, relative_pose, unproject
from .grid import COARSE_STRIDE, FINE_STRIDE, cell_corners
from .warp import CorrespondenceWarp, DepthMap, DepthWarp, HomographyWarp, Warp, Warped

__all__ = [
    "COARSE_STRIDE",
    "FINE_STRIDE",
    "CorrespondenceWarp",
    "DepthMap",
    "DepthWarp",
    "HomographyWarp",
    "Warp",
    "Warped",
    "cell_corners",
    "check_intrinsics",
    "check_pose",
    "project",
    "relative_pose",
    "unproject",
]
