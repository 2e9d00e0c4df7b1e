"""Depth of one camera, seen from another: depth registered to colour.

Letters: H, W rows and columns of the depth map, h, w of the registered one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_SAME_SURFACE = 0.02  # neighbours whose depths differ by less lie on one surface


@dataclass(frozen=True)
class Rig:
    """A depth and a colour camera that are screwed together.

    K_depth, K_colour: (3, 3), each in pixels of its own image.
    T_depth_to_colour: (4, 4), points of the depth camera to the colour camera, metres.
    size: (w, h) of the colour image.
    """

    K_depth: np.ndarray
    K_colour: np.ndarray
    T_depth_to_colour: np.ndarray
    size: tuple[int, int]


def register_depth(depth: np.ndarray, rig: Rig) -> np.ndarray:
    """The depth map as the colour camera would have measured it.

    Each known pixel becomes a point, which falls on the nearest pixel of the colour
    image; where several fall, the nearest surface hides the others. Cracks one pixel
    wide inside a surface, which rounding leaves open, are closed; what only the
    colour camera sees stays unknown.

    Args:
        depth: (H, W) float32 metres, 0 = unknown.

    Returns:
        (h, w) float32 metres on the colour image's pixels, 0 = unknown.
    """
    y, x = np.nonzero(depth > 0)
    z = depth[y, x].astype(np.float64)
    rays = np.stack([x, y, np.ones(len(x))]) * z
    M = rig.K_colour @ rig.T_depth_to_colour[:3, :3] @ np.linalg.inv(rig.K_depth)
    u, v, z = M @ rays + (rig.K_colour @ rig.T_depth_to_colour[:3, 3])[:, None]
    front = z > 0
    u, v, z = u[front], v[front], z[front]
    u, v = np.rint(u / z).astype(np.int64), np.rint(v / z).astype(np.int64)
    w, h = rig.size
    inside = (u >= 0) & (u < w) & (v >= 0) & (v < h)
    nearest = np.full(h * w, np.inf, np.float32)
    np.minimum.at(nearest, v[inside] * w + u[inside], z[inside].astype(np.float32))
    nearest = nearest.reshape(h, w)
    return _close_cracks(np.where(np.isinf(nearest), np.float32(0), nearest))


def _close_cracks(depth: np.ndarray) -> np.ndarray:
    """Fill unknown pixels between two opposite ones of the same surface.

    A pixel far behind both opposite neighbours is a surface that shows through such
    a crack: it becomes unknown, not filled, as it may be a real gap.
    """
    for axis in (1, 0):  # in turn: where a row and a column of cracks cross
        before, after = _opposite(depth, axis)
        surface = (before > 0) & (after > 0)
        surface &= np.abs(before - after) < _SAME_SURFACE * np.minimum(before, after)
        between = (before + after) / 2
        through = surface & (depth > (1 + 3 * _SAME_SURFACE) * between)
        depth = np.where(surface & (depth == 0), between, depth)
        depth = np.where(through, np.float32(0), depth)
    return depth


def _opposite(depth: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """The neighbours before and after every pixel along an axis; 0 outside."""
    padded = np.pad(depth, [(1, 1) if a == axis else (0, 0) for a in (0, 1)])
    count = depth.shape[axis]
    return np.take(padded, range(count), axis), np.take(
        padded, range(2, count + 2), axis
    )
