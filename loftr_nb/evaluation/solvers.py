"""Relative pose from matches: three robust solvers behind one call.

Each solver sees the same normalised points and the same threshold; they differ
in how they search and how they polish. That alone moves published scores by
13 points of AUC@5, so the solver's name belongs beside every score.

Letters: M matches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from ..errors import ConfigError
from .epipolar import normalise

if TYPE_CHECKING:
    from .protocol import Protocol

MIN_MATCHES = 5  # an essential matrix has five unknowns
FAR_AWAY = 1e9  # baselines


class EstimatedPose(NamedTuple):
    """A relative pose up to scale.

    R: (3, 3), t: (3,) of length 1; they take camera 0 to camera 1.
    inliers: (M,) bool, the matches that agree with it.
    """

    R: np.ndarray
    t: np.ndarray
    inliers: np.ndarray


class Search(NamedTuple):
    """What a solver is told.

    threshold: largest distance of an inlier, in normalised coordinates.
    focal: mean focal length in pixels; threshold * focal is in pixels.
    confidence: to stop at. iterations: the most to run. seed: any integer >= 0.
    """

    threshold: float
    focal: float
    confidence: float
    iterations: int
    seed: int


class Solver(NamedTuple):
    """A robust solver.

    solve: (x0, x1, search) to a pose or None; x0, x1 are (M, 2) normalised.
    iterations: the most iterations where the protocol does not say.
    library: where it comes from, ``module`` its import name.
    """

    solve: Callable[[np.ndarray, np.ndarray, Search], EstimatedPose | None]
    iterations: int
    library: str
    module: str


def estimate_pose(
    points0: np.ndarray,
    points1: np.ndarray,
    K0: np.ndarray,
    K1: np.ndarray,
    protocol: Protocol,
    seed: int | None = None,
) -> EstimatedPose | None:
    """Relative pose of two views from their matches.

    Args:
        points0, points1: (M, 2) pixels of the images that K0 and K1 describe.
        K0, K1: (3, 3).
        protocol: names the solver, its threshold, confidence and iterations.
        seed: ``protocol.seed`` if None.

    Returns:
        The pose, or None for fewer than five different finite matches and
        where the solver finds none. Bad matches never raise.

    Raises:
        ConfigError: the solver's library is not installed.
    """
    solver = SOLVERS[protocol.solver]
    points0 = np.asarray(points0, np.float64).reshape(-1, 2)
    points1 = np.asarray(points1, np.float64).reshape(-1, 2)
    matches = np.hstack([points0, points1])
    # Rows that OpenCV would count as inliers of whatever it finds (NaN), and
    # repeated ones, which fix nothing, must not make up a sample of five.
    usable = np.flatnonzero(np.isfinite(matches).all(1))
    if len(np.unique(matches[usable], axis=0)) < MIN_MATCHES:
        return None
    # OpenCV's RANSAC and MAGSAC start from a fixed state and ignore its seed:
    # a shuffled order is the one way to repeat a run with other samples.
    seed = protocol.seed if seed is None else seed
    usable = np.random.default_rng(seed).permutation(usable)
    focal = mean_focal(K0, K1)
    search = Search(
        threshold=protocol.threshold_px / focal,
        focal=focal,
        confidence=protocol.confidence,
        iterations=protocol.max_iterations or solver.iterations,
        seed=seed,
    )
    x0 = normalise(points0[usable], K0)
    x1 = normalise(points1[usable], K1)
    try:
        pose = solver.solve(x0, x1, search)
    except cv2.error:  # a degenerate sample inside OpenCV
        return None
    if pose is None or not np.isfinite(np.r_[pose.R.ravel(), pose.t]).all():
        return None
    inliers = np.zeros(len(matches), bool)
    inliers[usable] = pose.inliers
    return EstimatedPose(pose.R, pose.t, inliers)


def mean_focal(K0: np.ndarray, K1: np.ndarray) -> float:
    """Mean of fx and fy of both cameras, pixels.

    The released code takes fx of camera 0 and fy of camera 1 twice each.
    """
    return float(np.mean([K0[0, 0], K0[1, 1], K1[0, 0], K1[1, 1]]))


def _ransac(x0: np.ndarray, x1: np.ndarray, search: Search) -> EstimatedPose | None:
    return _opencv(x0, x1, search, cv2.RANSAC)


def _magsac(x0: np.ndarray, x1: np.ndarray, search: Search) -> EstimatedPose | None:
    return _opencv(x0, x1, search, cv2.USAC_MAGSAC)


def _opencv(
    x0: np.ndarray, x1: np.ndarray, search: Search, method: int
) -> EstimatedPose | None:
    stacked, mask = cv2.findEssentialMat(
        x0,
        x1,
        np.eye(3),
        method=method,
        prob=search.confidence,
        threshold=search.threshold,
        maxIters=search.iterations,
    )
    if stacked is None or mask is None:
        return None
    best, best_count = None, 0
    # With exactly five points up to ten matrices come back, stacked in rows.
    for E in stacked.reshape(-1, 3, 3):
        if not np.isfinite(E).all():
            continue
        # recoverPose writes into its mask, so each candidate gets its own. The
        # distance goes by name: by position OpenCV takes it for R, in silence,
        # and keeps its limit of 50 baselines, which loses pairs taken close by.
        count, R, t, inliers, _ = cv2.recoverPose(
            E, x0, x1, np.eye(3), distanceThresh=FAR_AWAY, mask=mask.copy()
        )
        if count > best_count:
            best_count = count
            best = EstimatedPose(R, t.ravel(), inliers.ravel() > 0)
    return best


def _lo_ransac(x0: np.ndarray, x1: np.ndarray, search: Search) -> EstimatedPose | None:
    try:
        import poselib
    except ImportError as error:
        raise ConfigError(
            "solver 'lo-ransac' needs PoseLib: pip install poselib, or choose "
            "'ransac' or 'magsac'"
        ) from error
    # PoseLib's refinement has its scales in pixels, so it gets the pixels of one
    # camera with the mean focal length: its threshold is then the others' too.
    focal = search.focal
    camera = {
        "model": "SIMPLE_PINHOLE",
        "width": 1,
        "height": 1,
        "params": [focal, 0.0, 0.0],
    }
    options = {
        "max_epipolar_error": focal * search.threshold,
        "success_prob": search.confidence,
        "max_iterations": search.iterations,
        "min_iterations": min(1000, search.iterations),
        "seed": search.seed % 2**31,
    }
    pose, info = poselib.estimate_relative_pose(
        x0 * focal, x1 * focal, camera, camera, options
    )
    if info["num_inliers"] < MIN_MATCHES:
        return None
    return EstimatedPose(
        np.asarray(pose.R), np.asarray(pose.t).ravel(), np.asarray(info["inliers"])
    )


SOLVERS: dict[str, Solver] = {
    # 1,000 iterations are OpenCV's default, which the published scores used.
    "ransac": Solver(_ransac, 1_000, "OpenCV's RANSAC", "cv2"),
    "magsac": Solver(_magsac, 10_000, "OpenCV's MAGSAC++", "cv2"),
    "lo-ransac": Solver(_lo_ransac, 100_000, "PoseLib's LO-RANSAC", "poselib"),
}
