"""Real correspondences between two images, from the images alone.

SIFT and a robust fundamental matrix: no depth, pose or K has a part in them, so
they can be held against all three.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ...evaluation.sift import SiftMatcher, match_descriptors

LEAST = 30  # correspondences that a pair must have to be judged
_LONGEST = 1024  # images are shrunk to this for SIFT
_EPIPOLAR = 1.5  # pixels
_KEYPOINTS = 2500


@dataclass(frozen=True)
class Keypoints:
    """points: (N, 2) pixels of the stored image. described: (N, 128)."""

    points: np.ndarray
    described: np.ndarray


def detect(image: np.ndarray) -> Keypoints:
    """SIFT keypoints of an (H, W) uint8 image; perhaps none."""
    factor = min(1.0, _LONGEST / max(image.shape))
    small = image
    if factor < 1:
        size = tuple(max(1, round(s * factor)) for s in image.shape[::-1])
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    points, described = SiftMatcher(max_keypoints=_KEYPOINTS).detect(small)
    back = np.array(image.shape[::-1]) / small.shape[::-1]
    return Keypoints(rescale(points, back), described)


def rescale(points: np.ndarray, factor: np.ndarray | float) -> np.ndarray:
    """Pixels of an image that is resized: pixel centres lie on whole numbers."""
    return (points + 0.5) * factor - 0.5


def correspond(
    one: Keypoints, two: Keypoints, ratio: float = 0.8
) -> tuple[np.ndarray, np.ndarray]:
    """Correspondences (N, 2) and (N, 2) that agree with one epipolar geometry.

    Empty when there are too few to fit one.
    """
    none = np.empty((0, 2)), np.empty((0, 2))
    i, j, _ = match_descriptors(one.described, two.described, ratio)
    if len(i) < 15:
        return none
    a, b = one.points[i], two.points[j]
    try:
        _, inlier = cv2.findFundamentalMat(
            a, b, cv2.USAC_MAGSAC, _EPIPOLAR, 0.9999, 5000
        )
    except cv2.error:  # all points in one place
        return none
    if inlier is None:
        return none
    kept = inlier.ravel().astype(bool)
    return a[kept], b[kept]


def displacement(points0: np.ndarray, points1: np.ndarray) -> float:
    """Median distance that correspondences move, 0 without any."""
    if not len(points0):
        return 0.0
    return float(np.median(np.linalg.norm(points1 - points0, axis=1)))
