"""How much two views with depth show of the same surface.

Training needs pairs that see the same thing from different places. The released
ScanNet index scores each pair by the share of surface both images show, and so
does this: a pixel counts when it lands inside the other image on a surface at
its own depth, to 15 percent. A wall that hides it fails the depth test.
"""

from __future__ import annotations

import numpy as np

DEPTH_AGREEMENT = 0.15  # relative; the tolerance behind the released scores


def pair_overlap(
    depth0: np.ndarray,
    depth1: np.ndarray,
    K0: np.ndarray,
    K1: np.ndarray,
    T_0to1: np.ndarray,
    step: int = 8,
) -> float:
    """Share of the surface that both views show, in [0, 1].

    Every ``step``-th pixel with depth is moved into the other view; it counts
    when it lands inside, on a depth within 15 percent of its own. The result is
    the mean of both directions, so swapping the views does not change it.

    Args:
        depth0, depth1: (H, W) metres, 0 or not finite = unknown.
        K0, K1: (3, 3) in pixels of the depth maps.
        T_0to1: (4, 4) camera 0 to camera 1, metres.

    Returns:
        0.0 when either view has no depth at all.
    """
    T_0to1 = np.asarray(T_0to1, np.float64)
    views = (depth0, depth1, K0, K1), (depth1, depth0, K1, K0)
    shares = []
    for view, T in zip(views, (T_0to1, np.linalg.inv(T_0to1)), strict=True):
        shared, known = shared_pixels(*view, T, step)
        shares.append(shared.sum() / max(known.sum(), 1))
    return float(sum(shares)) / 2


def shared_pixels(
    depth0: np.ndarray,
    depth1: np.ndarray,
    K0: np.ndarray,
    K1: np.ndarray,
    T_0to1: np.ndarray,
    step: int = 8,
) -> tuple[np.ndarray, np.ndarray]:
    """Which pixels of view 0 view 1 shows too, on every ``step``-th pixel.

    Args: as of :func:`pair_overlap`.

    Returns:
        (h, w) bool: seen by view 1 as well; (h, w) bool: depth is known. The
        share of one in the other is the overlap of this direction.
    """
    y, x = np.mgrid[0 : depth0.shape[0] : step, 0 : depth0.shape[1] : step]
    z = depth0[y, x]
    known = np.isfinite(z) & (z > 0)
    shared = np.zeros(known.shape, bool)
    pixels = np.stack([x[known], y[known], np.ones(known.sum())])
    points = np.linalg.inv(K0) @ pixels * z[known]
    points = T_0to1[:3, :3] @ points + T_0to1[:3, 3:]
    front = points[2] > 0
    u, v, w = np.asarray(K1, np.float64) @ points[:, front]
    u, v = np.rint(u / w), np.rint(v / w)
    height, width = depth1.shape
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    seen = depth1[v[inside].astype(int), u[inside].astype(int)]
    # Unknown depth there (0) never agrees: the tolerance is a share of it.
    agree = np.abs(points[2, front][inside] - seen) < DEPTH_AGREEMENT * seen
    at = np.flatnonzero(known)[front][inside][agree]
    shared.flat[at] = True
    return shared, known
