"""Depth from a camera beside the colour camera: how far apart, which focal length.

Depth and poses of such data agree with each other; only the images do not. What
explains them is a second camera that moves along: its own K, and a fixed motion
from the depth camera to the colour camera. A small least-squares fit finds both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from .views import Sample

_POINTS = 150  # of each pair and direction
_STEPS = np.array([0.02] + 3 * [0.01] + 3 * [0.01])  # log focal, metres, radians
_ROUNDS = 8
_CLIP = 60.0  # pixels: what lands further off says no more than that


@dataclass(frozen=True)
class Registration:
    """A colour camera beside the depth camera.

    focal: colour's over depth's. depth_focal: the depth camera's over that of the
        K that was given. offset: (3,) metres, turn: (3,) rotation vector, both
        from the depth camera's frame to the colour camera's.
    error: pooled median in pixels with it.
    """

    focal: float
    depth_focal: float
    offset: np.ndarray
    turn: np.ndarray
    error: float

    @property
    def apart(self) -> float:
        """Metres between the two cameras."""
        return float(np.linalg.norm(self.offset))

    @property
    def degrees(self) -> float:
        """Angle between the two cameras."""
        return float(np.degrees(np.linalg.norm(self.turn)))

    def plausible(self, depth: float) -> bool:
        """Whether two cameras of one device may stand so, with this median depth."""
        near = self.apart < min(0.3, 0.15 * depth) or self.apart < 0.1 * depth
        return near and self.degrees < 8 and 0.6 < self.focal < 1.6

    def words(self, f: float) -> str:
        """What was found; f: focal length of the given K, pixels."""
        depth_f = f * self.depth_focal
        return (
            f"the colour camera stands about {100 * self.apart:.0f} cm from the depth "
            f"camera, turned by {self.degrees:.0f} degrees, focal lengths about "
            f"{depth_f:.0f} (depth) and {depth_f * self.focal:.0f} (colour)"
        )


def fit(samples: Sequence[Sample]) -> Registration | None:
    """The colour camera that explains the correspondences best.

    Either K is the depth camera's and colour has another focal length, or K is
    the colour camera's and depth has another: both are tried.
    """
    samples = [_thinned(s) for s in samples]
    found = []
    for depth_is_given in (True, False):

        def unpack(x: np.ndarray, given: bool = depth_is_given) -> Registration:
            # K_depth = given, K_colour = given * e^x; or the other way round.
            log = np.clip(x[0], -1, 1)  # beyond e, no two cameras of a device
            f, d = (np.exp(log), 1.0) if given else (np.exp(-log), np.exp(log))
            return Registration(float(f), float(d), x[1:4], x[4:7], np.nan)

        def differences(x: np.ndarray, unpack=unpack) -> np.ndarray:
            r = unpack(x)
            return np.concatenate([d for s in samples for d in _differences(s, r)])

        fitted = unpack(_descend(differences))
        error = _pooled(samples, fitted)
        found.append(
            Registration(
                fitted.focal, fitted.depth_focal, fitted.offset, fitted.turn, error
            )
        )
    return min(found, key=lambda r: r.error) if found else None


def _descend(differences: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Parameters (7,) that make differences (N, 2) small, starting from none.

    Gauss and Newton's steps, damped, with weights that fall with the error. Slopes
    are taken over steps that move points by pixels, then by less: depth is read at
    the nearest pixel, and over the tiny steps of a usual derivative nothing changes.
    """
    x = np.zeros(len(_STEPS))
    for share in (1.0, 0.3, 0.1):
        for _ in range(_ROUNDS):
            closer = _one_step(differences, x, share * _STEPS)
            if closer is None:
                break
            x = closer
    return x


def _one_step(
    differences: Callable[[np.ndarray], np.ndarray], x: np.ndarray, steps: np.ndarray
) -> np.ndarray | None:
    """Better parameters, or None where no step helps."""
    here = differences(x)
    sides = [(differences(x + step), differences(x - step)) for step in np.diag(steps)]
    slopes = np.stack([(a - b) / 2 for a, b in sides], 2)  # per step, (N, 2, 7)
    off = np.linalg.norm(here, axis=1)
    used = np.isfinite(off) & np.isfinite(slopes).all((1, 2)) & (off < _CLIP)
    if used.sum() < 20:
        return None
    weight = 1 / (1 + (off[used] / max(0.5, 1.5 * np.median(off[used]))) ** 2)
    J, r, w = slopes[used].reshape(-1, len(x)), here[used].ravel(), np.repeat(weight, 2)
    A, g = (J * w[:, None]).T @ J, (J * w[:, None]).T @ r
    for damping in (1e-3, 1e-1, 10.0):
        way = np.linalg.solve(A + damping * np.diag(np.diag(A) + 1e-9), -g)
        there = differences(x + way * steps)
        if _cost(there) < 0.999 * _cost(here):
            return x + way * steps
    return None


def _cost(differences: np.ndarray) -> float:
    off = np.linalg.norm(differences, axis=1)
    off = off[np.isfinite(off)]
    if 2 * off.size < len(differences):  # pushing points out of sight is no gain
        return np.inf
    return float(np.minimum(off, _CLIP).mean())


def errors_with(sample: Sample, r: Registration) -> np.ndarray:
    """Distances in pixels, both directions, of what has depth."""
    return np.concatenate([np.linalg.norm(d, axis=1) for d in _differences(sample, r)])


def _pooled(samples: Sequence[Sample], r: Registration) -> float:
    medians = []
    for s in samples:
        off = errors_with(s, r)
        off = off[np.isfinite(off)]
        medians.append(np.median(off) if off.size else np.inf)
    return float(np.median(medians))


def _differences(sample: Sample, r: Registration) -> list[np.ndarray]:
    R = Rotation.from_rotvec(r.turn).as_matrix()
    found = []
    for s in (sample, sample.swapped()):
        colour0, colour1 = (
            _focal(v.K, r.depth_focal * r.focal) for v in (s.view0, s.view1)
        )
        K0 = _focal(s.view0.K, r.depth_focal)
        X = _seen_by_depth(s, colour0, K0, R, r.offset)
        X = X @ s.T_0to1[:3, :3].T + s.T_0to1[:3, 3]
        X = X @ R.T + r.offset
        with np.errstate(divide="ignore", invalid="ignore"):
            landed = (X @ colour1.T)[:, :2] / X[:, 2:]
        landed[X[:, 2] <= 0] = np.nan
        found.append(landed - s.points1)
    return found


def _seen_by_depth(
    s: Sample, colour: np.ndarray, K: np.ndarray, R: np.ndarray, b: np.ndarray
) -> np.ndarray:
    """(N, 3) points, in the depth camera's frame, that colour pixels show.

    Which depth pixel shows the same place depends on its depth: three rounds of
    guessing settle it, but at edges.
    """
    rays = np.c_[s.points0, np.ones(len(s.points0))] @ np.linalg.inv(colour).T
    z = s.view0.depth_at(s.points0) * s.unit0
    z = np.where(np.isfinite(z), z, np.nanmedian(z) if np.isfinite(z).any() else 1.0)
    for _ in range(3):
        X = (rays * z[:, None] - b) @ R
        pixels = (X @ K.T)[:, :2] / np.maximum(X[:, 2:], 1e-6)
        depth = s.view0.depth_at(pixels) * s.unit0
        z = (X * (depth / X[:, 2])[:, None] @ R.T + b)[:, 2]
    return X * (depth / X[:, 2])[:, None]


def _focal(K: np.ndarray, factor: float) -> np.ndarray:
    K = K.copy()
    K[:2, :2] *= factor
    return K


def _thinned(s: Sample) -> Sample:
    """At most so many correspondences, and only those with depth on both sides."""
    z0 = s.view0.depth_at(s.points0)
    z1 = s.view1.depth_at(s.points1)
    rows = np.flatnonzero(np.isfinite(z0) & np.isfinite(z1))
    rows = rows[np.linspace(0, len(rows) - 1, min(_POINTS, len(rows))).astype(int)]
    return Sample(
        s.view0, s.view1, s.T_0to1, s.points0[rows], s.points1[rows], s.unit0, s.unit1
    )
