"""A few places that two images share, to draw on both."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from ..datasets.images import resize_grey

_POINTS = 9

Matches = tuple[np.ndarray, np.ndarray]


def spread(points: np.ndarray) -> np.ndarray:
    """Rows of a few points that lie far from one another."""
    if not len(points):
        return np.empty(0, np.int64)
    middle = np.linalg.norm(points - np.median(points, axis=0), axis=1)
    chosen = [int(middle.argmin())]
    while len(chosen) < min(_POINTS, len(points)):
        away = np.linalg.norm(points[:, None] - points[chosen], axis=2).min(1)
        chosen.append(int(away.argmax()))
    return np.array(chosen)


def shared_places(image0: np.ndarray, image1: np.ndarray) -> Matches:
    """Some places that both images show, from the images alone; perhaps none."""
    none = np.empty((0, 2)), np.empty((0, 2))
    sift = cv2.SIFT_create(2000, enable_precise_upscale=True)
    found = list(_small_keypoints(sift, image0, image1))
    if any(described is None or len(described) < 2 for _, described in found):
        return none
    (at0, one), (at1, two) = found
    pairs = [
        (m.queryIdx, m.trainIdx)
        for m, second in cv2.BFMatcher().knnMatch(one, two, k=2)
        if m.distance < 0.75 * second.distance
    ]
    if len(pairs) < 15:
        return none
    i, j = np.array(pairs).T
    try:
        _, kept = cv2.findFundamentalMat(
            at0[i], at1[j], cv2.USAC_MAGSAC, 1.5, 0.9999, 5000
        )
    except cv2.error:  # all points in one place
        return none
    if kept is None:
        return none
    kept = kept.ravel().astype(bool)
    return at0[i][kept], at1[j][kept]


def _small_keypoints(sift, *images: np.ndarray) -> Iterator[tuple]:
    for image in images:
        factor = min(1.0, 1024 / max(image.shape))
        size = tuple(max(1, round(s * factor)) for s in image.shape[::-1])
        small = (255 * resize_grey(image, size)).round().astype(np.uint8)
        keypoints, described = sift.detectAndCompute(small, None)
        at = np.array([k.pt for k in keypoints], np.float64).reshape(-1, 2)
        yield (at + 0.5) * (np.array(image.shape[::-1]) / size) - 0.5, described
