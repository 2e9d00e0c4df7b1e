"""Homographies to train on: a photo on a wall, seen by two cameras.

The first camera looks at the photo straight, the second from elsewhere: turned,
nearer or further, at a slant. That is a homography with a true pose and K, so such
pairs can be trained on and their pose errors mean something.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

FOCAL = 1.2  # of the longer side: a phone's camera
TILT = 45.0  # degrees between the second camera's axis and the wall, at most
ROLL = 45.0  # degrees about the axis, either way
ZOOM = 1.7  # nearer or further by this factor at most
AIM = 0.25  # how far from the photo's middle it looks, in its half sides
_NEAREST = 0.1  # depth of the photo's corners; behind the camera there is none
_TRIES = 50


@dataclass(frozen=True)
class Poster:
    """Two views of a flat photo at distance 1.

    H_0to1: (3, 3) pixels to pixels. K: (3, 3), of both views. T_0to1: (4, 4), in
    units of the distance. overlap: see :func:`homography_overlap`.
    """

    H_0to1: np.ndarray
    K: np.ndarray
    T_0to1: np.ndarray
    overlap: float


def draw_poster(
    rng: np.random.Generator, size: tuple[int, int], min_overlap: float = 0.1
) -> Poster:
    """A random second view of a photo of ``size`` (w, h).

    Views that overlap less than ``min_overlap`` are drawn again; after 50 tries the
    best of them is taken.
    """
    w, h = size
    f = FOCAL * max(size)
    K = np.array([[f, 0, (w - 1) / 2], [0, f, (h - 1) / 2], [0, 0, 1]])
    best = None
    for _ in range(_TRIES):
        R, t = _second_camera(rng, np.array(size) / (2 * f))
        # The plane z = 1 of camera 0: X1 = R X0 + t n^T X0 with n = (0, 0, 1).
        on_wall = R + np.outer(t, [0, 0, 1])
        corners = np.linalg.inv(K) @ _corners(size).T
        if (on_wall @ corners)[2].min() < _NEAREST:
            continue
        H = K @ on_wall @ np.linalg.inv(K)
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = R, t
        poster = Poster(H / H[2, 2], K, T, homography_overlap(H, size, size))
        if best is None or poster.overlap > best.overlap:
            best = poster
        if poster.overlap >= min_overlap:
            return poster
    if best is None:  # cannot be drawn, with the limits above
        return Poster(np.eye(3), K, np.eye(4), 1.0)
    return best


def _second_camera(
    rng: np.random.Generator, half: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rotation and translation; ``half`` (2,) is half the photo's size on the wall."""
    axis = rng.uniform(0, 2 * np.pi)
    tilt = np.radians(rng.uniform(0, TILT))
    roll = np.radians(rng.uniform(-ROLL, ROLL))
    away = np.exp(rng.uniform(-1, 1) * np.log(ZOOM))
    aim = np.append(rng.uniform(-AIM, AIM, 2) * half, 1.0)
    slanted, _ = cv2.Rodrigues(tilt * np.array([np.cos(axis), np.sin(axis), 0]))
    rolled, _ = cv2.Rodrigues(np.array([0, 0, roll]))
    R = rolled @ slanted
    centre = aim - away * R[2]  # its axis, R^T (0, 0, 1), goes through the aim
    return R, -R @ centre


def homography_overlap(
    H_0to1: np.ndarray, size0: tuple[int, int], size1: tuple[int, int]
) -> float:
    """Share of the images that both show, in [0, 1], exactly.

    The part of image 0 that lands inside image 1 is a polygon: image 0 cut by five
    straight lines, the borders of image 1 and the horizon. The result is the mean of
    both directions, as for pairs with depth. Sizes are (w, h).
    """
    H = np.asarray(H_0to1, np.float64)
    H = -H if H[2, 2] < 0 else H  # w > 0 at the origin, as in HomographyWarp
    shares = []
    for matrix, here, there in ((H, size0, size1), (np.linalg.inv(H), size1, size0)):
        w, h = there
        x, y, z = matrix
        inside = x + 0.5 * z, (w - 0.5) * z - x, y + 0.5 * z, (h - 0.5) * z - y, z
        polygon = _corners(here)
        for line in inside:
            polygon = _cut(polygon, line)
        shares.append(_area(polygon) / (here[0] * here[1]))
    return float(np.mean(shares))


def _corners(size: tuple[int, int]) -> np.ndarray:
    """(4, 3) corners of the outer pixels' borders, homogeneous, in order."""
    x, y = size[0] - 0.5, size[1] - 0.5
    return np.array([[-0.5, -0.5, 1], [x, -0.5, 1], [x, y, 1], [-0.5, y, 1]])


def _cut(polygon: np.ndarray, line: np.ndarray) -> np.ndarray:
    """The part of a convex polygon (N, 3) where ``line`` . point >= 0."""
    side = polygon @ line
    kept = []
    for n in range(len(polygon)):
        after = (n + 1) % len(polygon)
        if side[n] >= 0:
            kept.append(polygon[n])
        if (side[n] >= 0) != (side[after] >= 0):
            share = side[n] / (side[n] - side[after])
            kept.append(polygon[n] + share * (polygon[after] - polygon[n]))
    return np.array(kept).reshape(-1, 3)


def _area(polygon: np.ndarray) -> float:
    if len(polygon) < 3:
        return 0.0
    x, y = polygon[:, 0], polygon[:, 1]
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)
