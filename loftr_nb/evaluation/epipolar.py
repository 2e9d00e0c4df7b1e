"""How far matches lie from each other's epipolar lines.

All in normalised coordinates (pixels through the inverse of K), so that one
threshold serves every image size. Letters: M matches.
"""

from __future__ import annotations

import numpy as np

from .pose import NO_BASELINE


def normalise(points: np.ndarray, K: np.ndarray) -> np.ndarray:
    """(M, 2) pixels to (M, 2) normalised coordinates, float64."""
    points = np.asarray(points, np.float64).reshape(-1, 2)
    rays = np.c_[points, np.ones(len(points))] @ np.linalg.inv(K).T
    return rays[:, :2] / rays[:, 2:]


def essential_matrix(T_0to1: np.ndarray) -> np.ndarray:
    """(3, 3) E with ``x1^T E x0 = 0`` for the two views of any point."""
    T = np.asarray(T_0to1, np.float64)
    x, y, z = T[:3, 3]
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return cross @ T[:3, :3]


def epipolar_distance(
    points0: np.ndarray,
    points1: np.ndarray,
    K0: np.ndarray,
    K1: np.ndarray,
    T_0to1: np.ndarray,
) -> np.ndarray:
    """Squared symmetric epipolar distance of each match.

    The squared distance of a point to the line that its partner draws in its
    image, summed over both images (Hartley and Zisserman, eq. 11.10).

    Args:
        points0, points1: (M, 2) original pixels.
        K0, K1: (3, 3). T_0to1: (4, 4).

    Returns:
        (M,) float64, no unit; inf where it is not defined. A camera that only
        turns has no epipolar lines: the points' own squared distances after the
        turn take their place.
    """
    x0, x1 = normalise(points0, K0), normalise(points1, K1)
    T = np.asarray(T_0to1, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        if np.linalg.norm(T[:3, 3]) < NO_BASELINE:
            distance = _turned(x0, x1, T[:3, :3])
        else:
            distance = _to_lines(x0, x1, essential_matrix(T))
    return np.where(np.isfinite(distance), distance, np.inf)


def _to_lines(x0: np.ndarray, x1: np.ndarray, E: np.ndarray) -> np.ndarray:
    ones = np.ones((len(x0), 1))
    lines1 = np.hstack([x0, ones]) @ E.T
    lines0 = np.hstack([x1, ones]) @ E
    residual = np.sum(np.hstack([x1, ones]) * lines1, axis=1)
    squares0 = (lines0[:, :2] ** 2).sum(1)
    squares1 = (lines1[:, :2] ** 2).sum(1)
    return residual**2 * (1 / squares0 + 1 / squares1)


def _turned(x0: np.ndarray, x1: np.ndarray, R: np.ndarray) -> np.ndarray:
    ones = np.ones((len(x0), 1))
    there = np.hstack([x0, ones]) @ R.T
    back = np.hstack([x1, ones]) @ R
    off1 = x1 - there[:, :2] / there[:, 2:]
    off0 = x0 - back[:, :2] / back[:, 2:]
    distance = (off0**2).sum(1) + (off1**2).sum(1)
    return np.where((there[:, 2] > 0) & (back[:, 2] > 0), distance, np.inf)


def match_precision(distances: np.ndarray, threshold: float) -> float:
    """Share of matches under the threshold, percent; 0 without matches."""
    distances = np.asarray(distances)
    return float(100 * np.mean(distances < threshold)) if distances.size else 0.0
