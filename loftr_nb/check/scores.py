"""Verdicts of the exercises on pose errors, areas under recall, and noise.

As in :mod:`.supervision`: a known case, and the answers that usual mistakes give.
Right answers are worked out here, without the functions that the notebook shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from .verdict import Verdict, judge


def pose_error(answer: Callable) -> Verdict:
    """Exercise: ``answer(T_0to1, R, t)`` is the error of a pose, degrees.

    T_0to1: (4, 4) truth; R: (3, 3) and t: (3,) the estimate, as numpy arrays, or
    None for both. Returns the larger of rotation and direction of translation (up
    to sign), and infinity without a pose.
    """
    # (rotation error, angle between the translations, length of the estimate)
    cases = [(4.0, 7.0, 1.0), (9.0, 2.0, 0.3), (3.0, 168.0, 1.0), (120.0, 5.0, 2.0)]
    posed = [_estimate(*case) for case in cases]
    R = torch.tensor([case[0] for case in cases], dtype=torch.float64)
    raw = torch.tensor([case[1] for case in cases], dtype=torch.float64)
    t = torch.minimum(raw, 180 - raw)
    right = torch.maximum(R, t)
    mistakes = {
        "the sign of the translation counts here: matches do not fix it, so take "
        "the smaller of the angle and 180 minus it": torch.maximum(R, raw),
        "it is the larger of the two errors, not their mean": (R + t) / 2,
        "it is the larger of the two errors, not their sum": R + t,
        "it is the larger of the two errors, not the smaller": torch.minimum(R, t),
        "the translation is left out: a pose can have the right rotation and still "
        "point the wrong way": R,
        "the rotation is left out": t,
        "the answer is in radians: give degrees": torch.deg2rad(right),
    }
    verdict = judge(
        lambda: _numbers([answer(*(a.copy() for a in case)) for case in posed]),
        right,
        mistakes,
    )
    if not verdict:
        return verdict
    none = judge(
        lambda: _numbers([answer(posed[0][0].copy(), None, None)]),
        _numbers([math.inf]),
        {
            "a pair without a pose gives 0, the best error there is: it has to be "
            "infinite": _numbers([0.0]),
            "a pair without a pose gives NaN, which sorts to no place: give "
            "infinity": _numbers([math.nan]),
            "a pair without a pose gives 180, a finite error: under a larger "
            "threshold it would count as found. Give infinity": _numbers([180.0]),
        },
    )
    if not none:
        return none
    return Verdict(True, "4 poses, one of them turned about, and a pair without one")


def _estimate(error_R: float, error_t: float, length: float) -> tuple:
    """A true pose, and an estimate that is wrong by these angles."""
    truth = np.eye(4)
    truth[:3, :3] = _turn([1.0, 2.0, -1.0], 35.0)
    truth[:3, 3] = [0.4, -0.2, 0.1]
    aside = np.cross(truth[:3, 3], [0.0, 0.0, 1.0])
    R = truth[:3, :3] @ _turn([0.3, -1.0, 0.5], error_R)
    return truth, R, length * _turn(aside, error_t) @ truth[:3, 3]


def _turn(axis: list[float] | np.ndarray, degrees: float) -> np.ndarray:
    x, y, z = np.asarray(axis, np.float64) / np.linalg.norm(axis)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    angle = np.radians(degrees)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def area_under_recall(answer: Callable) -> Verdict:
    """Exercise: ``answer(errors, threshold)`` is the AUC of pose errors, percent.

    errors: (N,) numpy array in degrees, in any order, inf for no pose. By
    trapezoids from (0, 0), level after the last error below the threshold.
    """
    errors = np.array([8.0, 1.0, np.inf, 3.0, 12.0, 4.0, np.inf, 30.0])
    thresholds = (5.0, 10.0)

    def areas(e: np.ndarray, **kwargs) -> Tensor:
        return _numbers([_area(e, limit, **kwargs) for limit in thresholds])

    right = areas(np.sort(errors))
    sorted_errors = np.sort(errors)
    mistakes = {
        "pairs without a pose are dropped: they count, as pairs never found": areas(
            sorted_errors[:-2]
        ),
        "the curve ends at the last error below the threshold: it runs on, level, "
        "to the threshold": areas(sorted_errors, level=False),
        "the curve has to start at (0, 0)": areas(sorted_errors, origin=False),
        "these are steps, not trapezoids: join the points by straight lines": _numbers(
            [100 * np.mean(np.clip(1 - errors / limit, 0, 1)) for limit in thresholds]
        ),
        "this is the recall at the threshold, not the area under the curve": _numbers(
            [100 * np.mean(errors < limit) for limit in thresholds]
        ),
        "the area is not divided by the threshold": right * _numbers(thresholds),
        "it is a share: the answer is in percent": right / 100,
        "the errors are not sorted: recall climbs with the sorted errors": areas(
            errors
        ),
    }
    return judge(
        lambda: _numbers([answer(errors.copy(), limit) for limit in thresholds]),
        right,
        mistakes,
        "8 pairs, two of them without a pose, up to 5 and 10 degrees",
    )


def _area(
    errors: np.ndarray, limit: float, level: bool = True, origin: bool = True
) -> float:
    """Area by adding up trapezoids one at a time, errors taken as they come."""
    points = [(0.0, 0.0)] if origin else []
    points += [(e, (n + 1) / len(errors)) for n, e in enumerate(errors) if e < limit]
    if level:
        points.append((limit, points[-1][1]))
    total = 0.0
    for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
        total += (x1 - x0) * (y0 + y1) / 2
    return 100 * total / limit


def paired_interval(answer: Callable) -> Verdict:
    """Exercise: ``answer(errors0, errors1, draws)`` is an interval by bootstrap.

    errors0, errors1: (N,) degrees of two matchers on the same pairs; draws: (D, N)
    pairs of each draw. Returns the 2.5 and the 97.5 percentile, over the draws, of
    the difference of recall at 10 degrees, matcher 1 minus matcher 0, in percent.
    """
    rng = np.random.default_rng(7)
    errors0, errors1 = rng.uniform(0, 22, (2, 30))
    errors1[:4] = errors0[10:12] = np.inf
    draws = rng.integers(0, 30, (400, 30))
    found0, found1 = 100.0 * (errors0 < 10), 100.0 * (errors1 < 10)
    gain = (found1[draws] - found0[draws]).mean(1)

    def ends(values: np.ndarray, low: float = 2.5, high: float = 97.5) -> Tensor:
        return _numbers(np.percentile(values, [low, high]))

    mistakes = {
        "matcher 0 minus matcher 1: turn it round": ends(-gain),
        "these are the 5 and 95 percentiles, an interval of 90 %": ends(gain, 5, 95),
        "these are the smallest and the largest draw: take the 2.5 and 97.5 "
        "percentiles": ends(gain, 0, 100),
        "it is a share: the answer is in percent": ends(gain / 100),
        "this is recall of matcher 1 alone: take the difference": ends(
            found1[draws].mean(1)
        ),
        "the pairs are not drawn: index both errors with each row of draws": ends(
            found1 - found0
        ),
        "this is the spread of the difference of errors, which is not finite where "
        "a pose is missing: count pairs below 10 degrees": _numbers([np.nan, np.nan]),
    }
    return judge(
        lambda: _numbers(answer(errors0.copy(), errors1.copy(), draws.copy())),
        ends(gain),
        mistakes,
        "400 draws of 30 pairs",
    )


def _numbers(values) -> Tensor:
    return torch.as_tensor(np.asarray(values, np.float64))
