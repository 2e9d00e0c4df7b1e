"""Robust solvers: known poses come back, bad matches never raise."""

from __future__ import annotations

import builtins

import cv2
import numpy as np
import pytest

from loftr_nb.errors import ConfigError
from loftr_nb.evaluation import (
    SOLVERS,
    Protocol,
    estimate_pose,
    relative_pose_error,
)
from loftr_nb.evaluation.solvers import mean_focal

K0 = np.array([[500.0, 0, 320], [0, 520, 240], [0, 0, 1]])
K1 = np.array([[700.0, 0, 400], [0, 690, 300], [0, 0, 1]])
solvers = pytest.mark.parametrize("solver", list(SOLVERS))


def motion() -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = cv2.Rodrigues(np.array([0.1, -0.25, 0.05]))[0]
    T[:3, 3] = 0.6, 0.1, 0.2
    return T


def views(
    count: int, outliers: float = 0.0, T: np.ndarray | None = None, depth: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Exact matches of random points; the first share of them is made wrong."""
    rng = np.random.default_rng(0)
    T = motion() if T is None else T
    X = depth * rng.uniform([-2, -2, 3], [2, 2, 8], (count, 3))
    p0, p1 = X @ K0.T, (X @ T[:3, :3].T + T[:3, 3]) @ K1.T
    p0, p1 = p0[:, :2] / p0[:, 2:], p1[:, :2] / p1[:, 2:]
    wrong = int(outliers * count)
    p1[:wrong] = rng.uniform([0, 0], [800, 600], (wrong, 2))
    return p0, p1


@solvers
def test_recovers_the_pose_among_outliers(solver: str) -> None:
    p0, p1 = views(200, outliers=0.4)
    pose = estimate_pose(p0, p1, K0, K1, Protocol(solver=solver))
    assert pose is not None
    assert max(relative_pose_error(motion(), pose.R, pose.t)) < 0.5
    assert np.linalg.norm(pose.t) == pytest.approx(1.0)
    assert np.linalg.det(pose.R) == pytest.approx(1.0)
    assert pose.inliers.shape == (200,)
    assert pose.inliers[80:].mean() > 0.99
    assert pose.inliers[:80].mean() < 0.1


@solvers
@pytest.mark.parametrize("count", [0, 1, 4])
def test_fewer_than_five_matches_have_no_pose(solver: str, count: int) -> None:
    p0, p1 = views(10)
    assert estimate_pose(p0[:count], p1[:count], K0, K1, Protocol(solver)) is None


@solvers
def test_five_matches_have_several_candidates_and_one_pose(solver: str) -> None:
    p0, p1 = views(5)
    pose = estimate_pose(p0, p1, K0, K1, Protocol(solver))
    assert pose is None or pose.R.shape == (3, 3)


@solvers
def test_one_match_repeated_has_no_pose(solver: str) -> None:
    p0, p1 = views(1)
    many = np.repeat(p0, 50, 0), np.repeat(p1, 50, 0)
    assert estimate_pose(*many, K0, K1, Protocol(solver)) is None


@solvers
@pytest.mark.parametrize("case", ["line", "same", "noise", "huge"])
def test_degenerate_matches_do_not_raise(solver: str, case: str) -> None:
    rng = np.random.default_rng(1)
    p0, p1 = views(40)
    p0, p1 = {
        "line": (np.c_[np.arange(40.0), np.arange(40.0)],) * 2,
        "same": (p0, p0),
        "noise": (rng.uniform(0, 600, (40, 2)), rng.uniform(0, 600, (40, 2))),
        "huge": (p0 * 1e30, p1 * 1e30),
    }[case]
    pose = estimate_pose(p0, p1, K0, K1, Protocol(solver, max_iterations=2000))
    if pose is not None:
        assert np.isfinite(pose.R).all()
        assert np.isfinite(pose.t).all()


@solvers
def test_matches_that_are_not_finite_are_left_out(solver: str) -> None:
    p0, p1 = views(100)
    p0[:10] = np.nan
    p1[10:20] = np.inf
    pose = estimate_pose(p0, p1, K0, K1, Protocol(solver))
    assert pose is not None
    assert max(relative_pose_error(motion(), pose.R, pose.t)) < 0.5
    assert not pose.inliers[:20].any()
    assert pose.inliers[20:].mean() > 0.99


@solvers
def test_far_points_count(solver: str) -> None:
    # Some 90 to 250 baselines away: OpenCV's default for what lies
    # in front of both cameras ends at 50 baselines.
    T = motion()
    T[:3, 3] *= 5
    p0, p1 = views(100, T=T, depth=100.0)
    pose = estimate_pose(p0, p1, K0, K1, Protocol(solver))
    assert pose is not None
    assert relative_pose_error(T, pose.R, pose.t)[0] < 0.5
    assert pose.inliers.mean() > 0.9


@solvers
def test_the_seed_decides(solver: str) -> None:
    p0, p1 = views(60, outliers=0.3)
    p1 = p1 + np.random.default_rng(3).normal(0, 1.0, p1.shape)

    def run(seed: int) -> np.ndarray:
        cv2.setRNGSeed(np.random.randint(1 << 30))
        pose = estimate_pose(p0, p1, K0, K1, Protocol(solver, seed=seed))
        return np.r_[pose.R.ravel(), pose.t]

    assert np.array_equal(run(7), run(7))
    assert any(not np.array_equal(run(7), run(seed)) for seed in range(6))


def test_threshold_is_over_the_mean_of_all_four_focal_lengths() -> None:
    assert mean_focal(K0, K1) == (500 + 520 + 700 + 690) / 4


def test_inliers_lie_within_the_threshold() -> None:
    # Against kornia's Sampson-free distance: point to epipolar line, in pixels
    # of a camera with the mean focal length.
    torch = pytest.importorskip("torch")
    epipolar = pytest.importorskip("kornia.geometry.epipolar")
    p0, p1 = views(150, outliers=0.3)
    p1 = p1 + np.random.default_rng(3).normal(0, 0.3, p1.shape)
    pose = estimate_pose(p0, p1, K0, K1, Protocol(threshold_px=0.5))
    x0 = (np.c_[p0, np.ones(150)] @ np.linalg.inv(K0).T)[:, :2]
    x1 = (np.c_[p1, np.ones(150)] @ np.linalg.inv(K1).T)[:, :2]
    t = torch.tensor(pose.t)[None, :, None]
    E = epipolar.cross_product_matrix(t[..., 0]) @ torch.tensor(pose.R)
    sampson = epipolar.sampson_epipolar_distance(
        torch.tensor(x0)[None], torch.tensor(x1)[None], E, squared=False
    )[0].numpy()
    pixels = sampson * mean_focal(K0, K1)
    assert pixels[pose.inliers].max() < 0.5
    assert pixels[~pose.inliers].min() > 0.4


def test_without_poselib_the_error_says_what_to_install(monkeypatch) -> None:
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "poselib":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ConfigError, match="pip install poselib"):
        estimate_pose(*views(20), K0, K1, Protocol("lo-ransac"))
