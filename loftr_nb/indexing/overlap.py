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
    forth = _seen(depth0, depth1, K0, K1, T_0to1, step)
    back = _seen(depth1, depth0, K1, K0, np.linalg.inv(T_0to1), step)
    return float(forth + back) / 2


def _seen(
    here: np.ndarray,
    there: np.ndarray,
    K_here: np.ndarray,
    K_there: np.ndarray,
    T: np.ndarray,
    step: int,
) -> float:
    """Share of known grid points of ``here`` that ``there`` shows as well."""
    y, x = np.mgrid[0 : here.shape[0] : step, 0 : here.shape[1] : step]
    z = here[y, x]
    known = np.isfinite(z) & (z > 0)
    if not known.any():
        return 0.0
    pixels = np.stack([x[known], y[known], np.ones(known.sum())])
    points = np.linalg.inv(K_here) @ pixels * z[known]
    points = T[:3, :3] @ points + T[:3, 3:]
    points = points[:, points[2] > 0]
    u, v, w = np.asarray(K_there, np.float64) @ points
    u, v = np.rint(u / w), np.rint(v / w)
    height, width = there.shape
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    seen = there[v[inside].astype(int), u[inside].astype(int)]
    # Unknown depth there (0) never agrees: the tolerance is a share of it.
    agree = np.abs(points[2, inside] - seen) < DEPTH_AGREEMENT * seen
    return agree.sum() / known.sum()
