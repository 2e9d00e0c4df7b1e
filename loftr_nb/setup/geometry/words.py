"""What the geometry check says of a mistake: what was found, and the way out."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from .registration import Registration
from .views import Sample, rotation_angle

AGREES = 0.03  # depth maps that agree to this share know their poses and K
UNREGISTERED = "depth not registered to colour"


def unregistered(samples: Sequence[Sample], found: Registration) -> str:
    """Of depth from a camera beside the colour camera."""
    f = float(np.median([s.view0.K[0, 0] for s in samples]))
    return (
        f"depth maps agree with each other and not with the images: {found.words(f)}. "
        "Register depth to colour: warp each depth map into the colour camera "
        "(7-Scenes: `loftr-nb data import sevenscenes`; another sensor: its own tool)"
    )


def unexplained(samples: Sequence[Sample], given: float) -> tuple[str, str]:
    """Short name and words where nothing explains the errors.

    given: how far the depth maps disagree among themselves, a share.
    """
    if not given <= AGREES:
        return (
            "poses and depth disagree",
            "none of the usual mistakes explains the errors, and the depth maps of a "
            f"pair disagree by {given:.0%} under its pose and K. Look at one pair with "
            "show_conventions; check that pose, depth and K are of one frame",
        )
    if _turns_differ(samples):
        return (
            "images swapped",
            "depth, poses and K agree with each other, but the cameras that the images "
            "show turned otherwise: the images do not belong to the frames they are "
            "named after. Pair the files up again, by time",
        )
    return (
        UNREGISTERED,
        "depth maps agree with each other and not with the images, and no small "
        "offset between two cameras explains it. Look at one pair with "
        "show_conventions; check that depth is in the colour camera's pixels and "
        "that images are undistorted",
    )


def unit_words(factor: float) -> str:
    """factor: what depths have to be multiplied by."""
    size = (
        f"{1 / factor:.3g} times too large"
        if factor < 1
        else f"{factor:.3g} times too small"
    )
    tens = 10.0 ** round(np.log10(factor))
    round_one = abs(factor / tens - 1) < 0.15 and tens != 1
    wrong = f"depth looks {tens if tens > 1 else 1 / tens:g} times too "
    wrong += "small" if tens > 1 else "large"
    if not round_one:
        wrong = f"depth looks {size}"
    unit = {1e-3: "millimetres read as metres", 1e3: "metres read as millimetres"}
    unit |= {1e-2: "centimetres read as metres", 0.1: "a factor of the file format"}
    hint = unit.get(tens if round_one else 0.0, "the factor of the file format")
    return (
        f"{wrong} against the poses ({hint}?): one of the two is not in metres. "
        f"Multiply depth by {tens if round_one else factor:.4g}"
    )


def K_words(samples: Sequence[Sample], factor: float) -> str:
    view = samples[0].view0
    w, h = (round(s / factor) for s in view.size)
    f = view.K[0, 0]
    return (
        f"K (f = {f:.0f}) looks as if it belonged to images of {w}x{h}, depth maps are "
        f"{view.size[0]}x{view.size[1]}: multiply its first two rows by {factor:.3g}"
    )


def _turns_differ(samples: Sequence[Sample], degrees: float = 4.0) -> bool:
    """Whether the images turn otherwise than the poses, by E from correspondences."""
    apart = []
    for s in samples:
        unit = [
            (np.c_[p, np.ones(len(p))] @ np.linalg.inv(v.K).T)[:, :2]
            for p, v in ((s.points0, s.view0), (s.points1, s.view1))
        ]
        E, inlier = cv2.findEssentialMat(
            *unit, np.eye(3), cv2.RANSAC, 0.999, 2 / s.view0.K[0, 0]
        )
        if E is None or E.shape != (3, 3):
            continue
        _, R, _, _ = cv2.recoverPose(E, *unit, np.eye(3), mask=inlier)
        T = np.eye(4)
        T[:3, :3] = R @ s.T_0to1[:3, :3].T
        apart.append(rotation_angle(T))
    return bool(apart) and float(np.median(apart)) > degrees
