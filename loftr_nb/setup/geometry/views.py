"""What the geometry check holds of a pair: correspondences, depths, poses and K.

Letters: N correspondences. Pixels are those of the depth maps (x, y), pixel
centres on whole numbers; errors are in these pixels too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...recordings import RawPair

_LONGEST = 1000  # depth maps are thinned to this: 24 pairs of 2000x2000 fill 770 MB


@dataclass(frozen=True)
class View:
    """One side of a pair.

    depth: (h, w) metres at every ``step``-th pixel, 0 = unknown.
    size: (w, h) of the whole depth map; image_size of the stored image.
    K: (3, 3). pose: (4, 4) world to camera, or None where only the motion
        between the views is known.
    scene, frame: where it is from; frame is -1 where frames have no number.
    """

    name: str
    depth: np.ndarray
    step: int
    size: tuple[int, int]
    image_size: tuple[int, int]
    K: np.ndarray
    pose: np.ndarray | None = None
    scene: str = ""
    frame: int = -1

    @property
    def diagonal(self) -> float:
        """Of the depth map, in pixels."""
        return float(np.hypot(*self.size))

    def depth_at(self, points: np.ndarray) -> np.ndarray:
        """(N,) metres at (N, 2) pixels, NaN where unknown or outside."""
        h, w = self.depth.shape
        inside = np.isfinite(points).all(1)
        cell = np.where(inside[:, None], points, -1.0) / self.step
        cell = np.rint(cell)
        inside &= (cell >= 0).all(1) & (cell[:, 0] < w) & (cell[:, 1] < h)
        x, y = np.where(inside[:, None], cell, 0).astype(np.int64).T
        z = self.depth[y, x].astype(np.float64)
        return np.where(inside & np.isfinite(z) & (z > 0), z, np.nan)


@dataclass(frozen=True)
class Sample:
    """A pair with real correspondences, and what is believed of its geometry.

    A hypothesis is another sample: the same points, something else believed.

    points0, points1: (N, 2), row n of both shows the same place. T_0to1: (4, 4).
    unit0, unit1: factors on the depths.
    """

    view0: View
    view1: View
    T_0to1: np.ndarray
    points0: np.ndarray
    points1: np.ndarray
    unit0: float = 1.0
    unit1: float = 1.0

    def swapped(self) -> Sample:
        """The same pair seen from the other side."""
        return Sample(
            self.view1,
            self.view0,
            np.linalg.inv(self.T_0to1),
            self.points1,
            self.points0,
            self.unit1,
            self.unit0,
        )

    def with_poses(self, pose0: np.ndarray, pose1: np.ndarray) -> Sample:
        """The same correspondences under other world-to-camera poses."""
        return replace(self, T_0to1=pose1 @ np.linalg.inv(pose0))


def make_view(
    image: np.ndarray,
    depth: np.ndarray,
    K: np.ndarray,
    name: str,
    pose: np.ndarray | None = None,
    scene: str = "",
    frame: int = -1,
) -> View:
    """A view from a stored image (H, W) and its depth map (h, w)."""
    step = -(-max(depth.shape) // _LONGEST)
    thin = np.ascontiguousarray(depth[::step, ::step])
    sizes = depth.shape[::-1], image.shape[::-1]
    return View(name, thin, step, *sizes, np.asarray(K, float), pose, scene, frame)


def views_of(pair: RawPair) -> tuple[View, View]:
    """Both views of a pair as it is stored."""
    return (
        make_view(pair.image0, pair.depth0, pair.K0, pair.name0),
        make_view(pair.image1, pair.depth1, pair.K1, pair.name1),
    )


def move(
    points: np.ndarray,
    depth: np.ndarray,
    K_from: np.ndarray,
    K_to: np.ndarray,
    T: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N, 2) with depth (N,) moved into the other camera.

    Returns:
        (N, 2) pixels and (N,) depth there. A point on or behind that camera's
        plane is at infinity, unknown depth gives NaN.
    """
    rays = np.c_[points, np.ones(len(points))] @ np.linalg.inv(K_from).T
    there = (rays * depth[:, None]) @ T[:3, :3].T + T[:3, 3]
    z = there[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels = (there @ K_to.T)[:, :2] / z[:, None]
    pixels[z <= 0] = np.inf
    return pixels, z


def errors(sample: Sample) -> np.ndarray:
    """Distances in pixels between where points land and where they really are.

    Both directions, (2 N,) at most: correspondences without depth are left out.
    Infinity for a point that lands behind the camera.
    """
    found = []
    for s in (sample, sample.swapped()):
        z = s.view0.depth_at(s.points0)
        known = np.isfinite(z)
        landed, _ = move(
            s.points0[known], z[known] * s.unit0, s.view0.K, s.view1.K, s.T_0to1
        )
        with np.errstate(invalid="ignore"):
            found.append(np.linalg.norm(landed - s.points1[known], axis=1))
    return np.concatenate(found)


def median_error(sample: Sample) -> float:
    """Median of :func:`errors`, NaN when no correspondence has depth."""
    found = errors(sample)
    return float(np.median(found)) if found.size else float("nan")


def depth_disagreement(sample: Sample, step: int = 12) -> float:
    """How far depth 0, moved by pose and K, is from depth 1: a share, median.

    Asks nothing of the images. Points of a grid over depth map 0 that land
    inside depth map 1 on known depth, both directions; NaN without any. A surface
    that hides another gives large values, which the median passes over.
    """
    found = []
    for s in (sample, sample.swapped()):
        w, h = s.view0.size
        y, x = (a.ravel() for a in np.mgrid[step // 2 : h : step, step // 2 : w : step])
        grid = np.stack([x, y], 1).astype(np.float64)
        z = s.view0.depth_at(grid)
        grid, z = grid[np.isfinite(z)], z[np.isfinite(z)] * s.unit0
        landed, depth = move(grid, z, s.view0.K, s.view1.K, s.T_0to1)
        seen = s.view1.depth_at(landed) * s.unit1
        found.append((np.abs(depth - seen) / seen)[np.isfinite(seen)])
    found = np.concatenate(found)
    return float(np.median(found)) if found.size >= 20 else float("nan")


def rotation_angle(T: np.ndarray) -> float:
    """Degrees by which a motion turns the camera."""
    return float(np.degrees(np.arccos(np.clip((np.trace(T[:3, :3]) - 1) / 2, -1, 1))))
