"""Two frames as they are stored: what geometry is checked and overlap scored on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..geometry import relative_pose
from .scene import Scene


@dataclass(frozen=True)
class RawPair:
    """Two frames before any resizing, padding or sampling.

    image0, image1: (H, W) uint8 grey, as stored. It may be larger than the depth
        map (ScanNet's colour is 1296x968): K belongs to the depth map.
    depth0, depth1: (h, w) float32 metres, 0 = unknown.
    K0, K1: (3, 3) float64, pixels of the depth maps.
    T_0to1: (4, 4) float64, camera 0 to camera 1, metres.
    name0, name1: of the images, for messages.
    """

    image0: np.ndarray
    image1: np.ndarray
    depth0: np.ndarray
    depth1: np.ndarray
    K0: np.ndarray
    K1: np.ndarray
    T_0to1: np.ndarray
    name0: str
    name1: str


def raw_pair(scene: Scene, i: int, j: int) -> RawPair:
    """Frames i and j of a scene.

    Raises:
        DataError: a file of either frame is unusable; the message names it.
    """
    return RawPair(
        image0=scene.image(i),
        image1=scene.image(j),
        depth0=scene.depth(i),
        depth1=scene.depth(j),
        K0=scene.K(i),
        K1=scene.K(j),
        T_0to1=relative_pose(scene.world_to_camera(i), scene.world_to_camera(j)),
        name0=str(scene.image_path(i)),
        name1=str(scene.image_path(j)),
    )
