"""Verdicts on scores: answers found another way pass, usual mistakes are named."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from loftr_nb import check
from loftr_nb.evaluation import pose_auc, relative_pose_error


def stub(*_):
    raise NotImplementedError


def by_rotation_vectors(T, R, t):
    """OpenCV's rotation vector and arccos: another road to the same degrees."""
    if R is None:
        return np.inf
    turned = np.linalg.norm(cv2.Rodrigues(T[:3, :3].T @ R)[0])
    cosine = T[:3, 3] @ t / np.linalg.norm(T[:3, 3]) / np.linalg.norm(t)
    return np.degrees(max(turned, np.arccos(abs(cosine))))


def parts(T, R, t):
    turned = Rotation.from_matrix(T[:3, :3].T @ R).magnitude()
    cosine = T[:3, 3] @ t / np.linalg.norm(T[:3, 3]) / np.linalg.norm(t)
    return np.degrees(turned), np.degrees(np.arccos(cosine))


def signed(T, R, t):
    return max(parts(T, R, t))


def combined(how):
    def answer(T, R, t):
        turned, moved = parts(T, R, t)
        return how(turned, min(moved, 180 - moved))

    return answer


def without_pose(value):
    return lambda T, R, t: value if R is None else by_rotation_vectors(T, R, t)


def test_pose_errors_are_judged_by_rotation_vectors_and_the_package():
    assert check.pose_error(by_rotation_vectors)
    assert check.pose_error(lambda T, R, t: max(relative_pose_error(T, R, t)))


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (stub, "still the stub"),
        (signed, "sign of the translation"),
        (combined(lambda a, b: (a + b) / 2), "not their mean"),
        (combined(lambda a, b: a + b), "not their sum"),
        (combined(min), "not the smaller"),
        (combined(lambda a, b: a), "translation is left out"),
        (combined(lambda a, b: b), "rotation is left out"),
        (
            lambda T, R, t: np.radians(by_rotation_vectors(T, R, t)),
            "radians",
        ),
        (without_pose(0.0), "best error there is"),
        (without_pose(np.nan), "NaN"),
        (without_pose(180.0), "finite error"),
        (combined(max), "raises"),  # None reaches the arithmetic
        (lambda T, R, t: None, "right is"),
    ],
)
def test_mistakes_in_pose_errors_are_named(mistake, words):
    verdict = check.pose_error(mistake)
    assert not verdict and words in repr(verdict)


def by_dense_integration(errors, threshold):
    """A million thin slices under the curve, no trapezoid formula."""
    known = np.sort(errors)
    below = known[known < threshold]
    x = np.r_[0.0, below, threshold]
    y = np.r_[np.arange(len(below) + 1), len(below)] / len(errors)
    middles = (np.arange(1_000_000) + 0.5) * threshold / 1_000_000
    return 100 * np.interp(middles, x, y).mean()


def curve(errors, threshold, level=True, origin=True, keep=None):
    known = np.sort(errors)[:keep]
    below = known[known < threshold]
    y = np.arange(1, len(below) + 1) / len(known)
    x = np.r_[[0.0] * origin, below, [threshold] * level]
    y = np.r_[[0.0] * origin, y, [y[-1]] * level]
    return 100 * np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2) / threshold


def test_areas_are_judged_by_thin_slices_and_the_package():
    assert check.area_under_recall(by_dense_integration)
    assert check.area_under_recall(curve)
    assert check.area_under_recall(lambda e, limit: pose_auc(e, [limit])[0])


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (stub, "still the stub"),
        (lambda e, limit: curve(e[np.isfinite(e)], limit), "dropped"),
        (lambda e, limit: curve(e, limit, level=False), "runs on, level"),
        (lambda e, limit: curve(e, limit, origin=False), "start at (0, 0)"),
        (lambda e, limit: 100 * np.clip(1 - e / limit, 0, 1).mean(), "steps"),
        (lambda e, limit: 100 * (e < limit).mean(), "recall at the threshold"),
        (lambda e, limit: limit * curve(e, limit), "not divided"),
        (lambda e, limit: curve(e, limit) / 100, "in percent"),
        (lambda e, limit: 50.0, "right is"),
    ],
)
def test_mistakes_in_areas_are_named(mistake, words):
    verdict = check.area_under_recall(mistake)
    assert not verdict and words in repr(verdict)


def gains(errors0, errors1, draws):
    """One draw at a time, in plain counts."""
    return [
        100 * sum(int(errors1[n] < 10) - int(errors0[n] < 10) for n in draw) / len(draw)
        for draw in draws.tolist()
    ]


def test_intervals_are_judged_by_counting():
    assert check.paired_interval(lambda *a: np.quantile(gains(*a), [0.025, 0.975]))


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (stub, "still the stub"),
        (lambda a, b, d: np.quantile(gains(b, a, d), [0.025, 0.975]), "turn it round"),
        (lambda *a: np.quantile(gains(*a), [0.05, 0.95]), "90 %"),
        (lambda *a: (min(gains(*a)), max(gains(*a))), "smallest and the largest"),
        (lambda *a: np.quantile(gains(*a), [0.025, 0.975]) / 100, "in percent"),
        (
            lambda a, b, d: np.percentile(100 * (b[d] < 10).mean(1), [2.5, 97.5]),
            "matcher 1 alone",
        ),
        (
            lambda a, b, d: np.percentile(
                100.0 * (b < 10) - 100 * (a < 10), [2.5, 97.5]
            ),
            "not drawn",
        ),
        (
            lambda a, b, d: np.percentile((b[d] - a[d]).mean(1), [2.5, 97.5]),
            "not finite",
        ),
        (lambda *a: np.mean(gains(*a)), "shape"),
    ],
)
def test_mistakes_in_intervals_are_named(mistake, words):
    verdict = check.paired_interval(mistake)
    assert not verdict and words in repr(verdict)
