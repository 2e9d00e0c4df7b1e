"""Pose errors in degrees, and the area under their recall curve.

Angles are measured with ``atan2`` of sine and cosine. The common ``arccos`` of
the trace alone loses all accuracy near zero: a rotation rounded to float32
then shows an error of 0.03 degrees that is not there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

NO_BASELINE = 1e-6  # metres: a translation shorter than this has no direction
THRESHOLDS = (5.0, 10.0, 20.0)  # degrees


def relative_pose_error(
    T_0to1: np.ndarray, R: np.ndarray | None, t: np.ndarray | None
) -> tuple[float, float]:
    """Errors of an estimated relative pose, in degrees.

    Args:
        T_0to1: (4, 4) true motion, camera 0 to camera 1.
        R: (3, 3) estimated rotation, or None when no pose was found.
        t: (3,) estimated translation; its length is not used, nor its sign.

    Returns:
        Angle between the rotations (0 to 180) and between the directions of
        translation (0 to 90). Both infinite without a pose. The error of a pose
        is the larger of the two.

    A true translation of less than a micrometre has no direction: its error
    counts as 0, by convention.
    """
    if R is None or t is None:
        return np.inf, np.inf
    truth = np.asarray(T_0to1, np.float64)
    return rotation_angle(truth[:3, :3], R), translation_angle(truth[:3, 3], t)


def rotation_angle(R0: np.ndarray, R1: np.ndarray) -> float:
    """Angle of the rotation from ``R0`` to ``R1``, degrees, 0 to 180."""
    D = np.asarray(R0, np.float64).T @ np.asarray(R1, np.float64)
    axis = [D[2, 1] - D[1, 2], D[0, 2] - D[2, 0], D[1, 0] - D[0, 1]]
    return float(np.degrees(np.arctan2(np.linalg.norm(axis), np.trace(D) - 1)))


def translation_angle(truth: np.ndarray, estimate: np.ndarray) -> float:
    """Angle between two directions up to sign, degrees, 0 to 90.

    Two images fix the line that the camera moved along; which way along it, an
    essential matrix alone does not say. The field leaves the sign out.
    """
    truth = np.asarray(truth, np.float64).ravel()
    estimate = np.asarray(estimate, np.float64).ravel()
    if np.linalg.norm(truth) < NO_BASELINE:
        return 0.0
    if np.linalg.norm(estimate) == 0:
        return 90.0  # no direction found: as wrong as a direction can be
    sine = np.linalg.norm(np.cross(truth, estimate))
    return float(np.degrees(np.arctan2(sine, abs(truth @ estimate))))


def pose_auc(
    errors: Sequence[float] | np.ndarray, thresholds: Sequence[float] = THRESHOLDS
) -> list[float]:
    """Area under the recall curve up to each threshold, in percent (0 to 100).

    The curve starts at (0, 0), climbs by one pair's share at each sorted error,
    joined by straight lines, and runs level from the last error below a
    threshold to the threshold. The area is divided by the threshold.

    Args:
        errors: one pose error a pair, degrees; inf (or NaN) for no pose.
        thresholds: degrees.

    Returns:
        One number a threshold; NaN without pairs.
    """
    errors = np.sort(np.nan_to_num(np.asarray(errors, np.float64), nan=np.inf))
    if errors.size == 0:
        return [float("nan")] * len(thresholds)
    x = np.concatenate([[0.0], errors])
    y = np.arange(errors.size + 1) / errors.size
    areas = []
    for threshold in thresholds:
        # The origin always stays, or a pair with error 0 would hide it.
        last = max(1, int(np.searchsorted(x, threshold)))
        ends = np.append(x[:last], threshold)
        recall = np.append(y[:last], y[last - 1])
        area = np.sum(np.diff(ends) * (recall[1:] + recall[:-1]) / 2)
        areas.append(float(100 * area / threshold))
    return areas
