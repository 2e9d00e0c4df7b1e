"""A real pair on every machine: the Middlebury 2014 motorcycle.

Two rectified photographs with measured disparity, shipped in the scikit-image
wheel at a quarter of their size: 741x500, no download. Depth follows from the
disparity d in pixels: Z = f b / (d + doffs), where doffs is how far the two
principal points lie apart (Scharstein et al., GCPR 2014).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from ..errors import ConfigError
from ..geometry import COARSE_STRIDE
from ..indexing import pair_overlap
from .images import make_view, resize_grey
from .pair import Pair

# From the docstring of `skimage.data.stereo_motorcycle`: pixels of the shipped
# 741x500 images, where the principal point of the right camera is `CX + DOFFS`.
FOCAL = 994.978
CX, CY = 311.193, 254.877
DOFFS = 31.086
BASELINE = 0.193001  # metres


@dataclass(frozen=True)
class StereoDepth:
    """The motorcycle at full size, for a viewer.

    image0, image1: (500, 741) uint8 grey, left and right.
    depth0, depth1: (500, 741) float32 metres, 0 = unknown. The left is
        measured. The right is the left seen from the right camera, nearest
        surface first; what only the right camera sees stays unknown.
    K0, K1: (3, 3) float64. T_0to1: (4, 4) float64, metres.
    """

    image0: np.ndarray
    image1: np.ndarray
    depth0: np.ndarray
    depth1: np.ndarray
    K0: np.ndarray
    K1: np.ndarray
    T_0to1: np.ndarray


@cache
def motorcycle_depth() -> StereoDepth:
    """Images, whole depth maps and cameras of the motorcycle pair."""
    from skimage import data  # loads slowly, and only this pair needs it

    left, right, disparity = data.stereo_motorcycle()
    known = np.isfinite(disparity) & (disparity > 0)
    disparity = np.where(known, disparity, np.nan).astype(np.float64)
    T = np.eye(4)
    T[0, 3] = -BASELINE  # the right camera stands to the right
    return StereoDepth(
        image0=_grey(left),
        image1=_grey(right),
        depth0=_depth(disparity),
        depth1=_depth(_seen_from_right(disparity)),
        K0=_intrinsics(CX),
        K1=_intrinsics(CX + DOFFS),
        T_0to1=T,
    )


def motorcycle(size: tuple[int, int] | None = None) -> Pair:
    """The motorcycle as a training sample with depth, K and pose.

    Args:
        size: (w, h) of the network's input, multiples of 8; None takes 736x496,
            which hardly changes the pictures. Aspect changes are fine: scale
            has an x and a y.

    Raises:
        ConfigError: a side that is not a multiple of 8.
    """
    stereo = motorcycle_depth()
    h, w = stereo.image0.shape
    size = size or (
        w // COARSE_STRIDE * COARSE_STRIDE,
        h // COARSE_STRIDE * COARSE_STRIDE,
    )
    if any(s < COARSE_STRIDE or s % COARSE_STRIDE for s in size):
        raise ConfigError(f"size is {size}, both sides must be multiples of 8")
    views = [
        make_view(resize_grey(image, size), depth, K, (w, h), size, False, name)
        for image, depth, K, name in (
            (stereo.image0, stereo.depth0, stereo.K0, "motorcycle left"),
            (stereo.image1, stereo.depth1, stereo.K1, "motorcycle right"),
        )
    ]
    overlap = pair_overlap(
        stereo.depth0, stereo.depth1, stereo.K0, stereo.K1, stereo.T_0to1
    )
    T = torch.from_numpy(stereo.T_0to1.astype(np.float32))
    return Pair(*views, T_0to1=T, scene="motorcycle", overlap=overlap)


def _grey(image: np.ndarray) -> np.ndarray:
    weights = np.array([0.299, 0.587, 0.114])
    return (image.astype(np.float64) @ weights).round().astype(np.uint8)


def _intrinsics(cx: float) -> np.ndarray:
    return np.array([[FOCAL, 0, cx], [0, FOCAL, CY], [0, 0, 1]])


def _depth(disparity: np.ndarray) -> np.ndarray:
    depth = FOCAL * BASELINE / (disparity + DOFFS)
    return np.where(np.isnan(depth), 0, depth).astype(np.float32)


def _seen_from_right(disparity: np.ndarray) -> np.ndarray:
    """The left disparity moved onto the right image's pixels, NaN in the holes.

    Each pixel moves left by its own disparity. Where several arrive, the
    nearest surface (largest disparity) hides the others.
    """
    y, x = np.nonzero(~np.isnan(disparity))
    moved = disparity[y, x]
    column = np.rint(x - moved).astype(int)
    inside = column >= 0
    y, column, moved = y[inside], column[inside], moved[inside]
    right = np.full(disparity.shape, -np.inf)
    np.maximum.at(right, (y, column), moved)
    return np.where(np.isinf(right), np.nan, right)
