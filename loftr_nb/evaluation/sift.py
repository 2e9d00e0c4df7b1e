"""SIFT with ratio test and mutual nearest neighbours, the classical yardstick.

It sees what the network sees: the same grey image at the same size, without
the padding. Letters: N and M keypoints of image 0 and 1.
"""

from __future__ import annotations

import cv2
import numpy as np
from torch import Tensor

from ..datasets.pair import Batch
from ..geometry import COARSE_STRIDE
from .matchers import PairMatches


class SiftMatcher:
    """SIFT keypoints matched by nearest descriptors, as a matcher.

    A match is kept when each descriptor is the other's nearest and the nearest
    is closer than ``ratio`` times the second nearest. Its confidence is 1 minus
    the ratio of the two distances.

    Args:
        ratio: of Lowe's test (IJCV 2004, section 7.1).
        max_keypoints: the strongest of each image; bounds memory at N x M floats.
    """

    def __init__(self, ratio: float = 0.8, max_keypoints: int = 8192) -> None:
        self.ratio = ratio
        self.max_keypoints = max_keypoints
        # Without the precise upscale OpenCV's keypoints sit a quarter pixel off.
        self._sift = cv2.SIFT_create(
            nfeatures=max_keypoints, enable_precise_upscale=True
        )

    def __call__(self, batch: Batch) -> list[PairMatches]:
        return [
            self._pair(
                crop_padding(batch.image0[k], batch.mask0[k]),
                crop_padding(batch.image1[k], batch.mask1[k]),
                batch.scale0[k].cpu().numpy(),
                batch.scale1[k].cpu().numpy(),
            )
            for k in range(len(batch))
        ]

    def _pair(
        self,
        image0: np.ndarray,
        image1: np.ndarray,
        scale0: np.ndarray,
        scale1: np.ndarray,
    ) -> PairMatches:
        points0, described0 = self.detect(image0)
        points1, described1 = self.detect(image1)
        i, j, confidence = match_descriptors(described0, described1, self.ratio)
        return PairMatches(points0[i] * scale0, points1[j] * scale1, confidence)

    def detect(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints and descriptors of a uint8 image.

        Returns:
            (N, 2) pixels with the first pixel's centre at (0, 0), and (N, 128).
            Empty when the image has no texture or is smaller than 8 pixels.
        """
        if min(image.shape) < COARSE_STRIDE:
            return np.empty((0, 2)), np.empty((0, 128), np.float32)
        keypoints, descriptors = self._sift.detectAndCompute(image, None)
        # OpenCV returns a few more than asked for when responses tie.
        keypoints = keypoints[: self.max_keypoints]
        if not keypoints:
            return np.empty((0, 2)), np.empty((0, 128), np.float32)
        points = np.array([k.pt for k in keypoints], np.float64)
        return points, descriptors[: self.max_keypoints]


def crop_padding(image: Tensor, mask: Tensor) -> np.ndarray:
    """The image without its padding, as uint8.

    Args:
        image: (1, H, W) grey in [0, 1].
        mask: (H/8, W/8) bool, True = image; padding is at the bottom and right.
    """
    h = int(mask.any(1).sum()) * COARSE_STRIDE
    w = int(mask.any(0).sum()) * COARSE_STRIDE
    grey = image[0, :h, :w].float().cpu().numpy()
    return np.clip(grey * 255, 0, 255).round().astype(np.uint8)


def match_descriptors(
    descriptors0: np.ndarray, descriptors1: np.ndarray, ratio: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mutual nearest neighbours that pass the ratio test from image 0.

    Args:
        descriptors0: (N, D). descriptors1: (M, D).
        ratio: nearest over second nearest distance has to be below it.

    Returns:
        Rows of image 0, rows of image 1, and 1 minus the ratio; empty when
        image 0 has no descriptor or image 1 fewer than two.
    """
    nothing = np.empty(0, np.int64)
    if len(descriptors0) == 0 or len(descriptors1) < 2:
        return nothing, nothing, np.empty(0)
    squares = _squared_distances(descriptors0, descriptors1)
    nearest = squares.argmin(1)
    back = squares.argmin(0)
    rows = np.arange(len(descriptors0))
    first = squares[rows, nearest]
    second = np.partition(squares, 1, axis=1)[:, 1]
    share = np.sqrt(first / np.maximum(second, 1e-12))
    keep = (back[nearest] == rows) & (share < ratio)
    return rows[keep], nearest[keep], 1.0 - share[keep]


def _squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    # SIFT's descriptors are whole numbers of norm 512: every sum stays far
    # below 2^24, so float32 gives the exact squared distance.
    a, b = a.astype(np.float32), b.astype(np.float32)
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * (a @ b.T)
    return np.maximum(squares, 0.0)
