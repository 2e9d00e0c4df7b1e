"""What stands behind a score: repeats, settings, samples, and why pairs fail.

Letters: M matches, N pairs, D draws.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from ..datasets.pair import Batch, Pair, collate
from ..errors import ConfigError
from .evaluate import Scores, evaluate
from .matchers import Matcher, OracleMatcher, PairMatches
from .pose import THRESHOLDS, pose_auc, rotation_angle
from .protocol import Protocol

PLANE_PX = 3.0  # original pixels: how well a match has to fit one homography


def remember(matcher: Matcher) -> Matcher:
    """A matcher that matches each pair once, and then answers from memory.

    For one dataset at one size: a pair is known by its scene and its two names.
    Solvers and seeds can then be compared on the very same matches.
    """
    memory: dict[tuple[str, str, str], PairMatches] = {}

    def recall(batch: Batch) -> list[PairMatches]:
        keys = list(zip(batch.scenes, batch.names0, batch.names1, strict=True))
        if not all(key in memory for key in keys):
            memory.update(zip(keys, matcher(batch), strict=True))
        return [memory[key] for key in keys]

    return recall


def sweep(
    matcher: Matcher,
    dataset: Dataset[Pair],
    protocol: Protocol,
    field: str,
    values: Iterable,
) -> list[Scores]:
    """Scores with one field of the protocol set to each value.

    The matcher runs anew for each; wrap it in :func:`remember` to spare that.

    Raises:
        ConfigError: a protocol has no such field, or the value is out of range.
    """
    known = [f.name for f in dataclasses.fields(protocol)]
    if field not in known:
        raise ConfigError(
            f"a protocol has no field {field!r}; it has {', '.join(known)}"
        )
    return [
        evaluate(matcher, dataset, dataclasses.replace(protocol, **{field: value}))
        for value in values
    ]


def resampled_auc(
    errors: Sequence[float] | np.ndarray,
    draws: np.ndarray,
    thresholds: Sequence[float] = THRESHOLDS,
) -> np.ndarray:
    """AUC of bootstrap samples of the same pairs, percent.

    Args:
        errors: (N,) degrees, inf for no pose.
        draws: (D, N) whole numbers below N, the pairs of each draw. Hand the same
            draws to two matchers and subtract: a hard pair is hard for both.

    Returns:
        (D, number of thresholds).
    """
    errors = np.asarray(errors, np.float64)
    return np.array([pose_auc(errors[draw], thresholds) for draw in draws])


def place_errors(batch: Batch, found: PairMatches, row: int = 0) -> np.ndarray:
    """(M,) distances of matches from their true place, input pixels of image 1.

    Depth and pose know the place; NaN where there is no depth. Unlike the distance
    from the epipolar line this sees a match that slid along it.
    """
    points = torch.as_tensor(found.keypoints0).to(batch.K0)
    # One pair's warp: the other rows' matches are other in number.
    there = dataclasses.replace(batch, **_row(batch, row)).warp().to1(points[None])
    apart = there.points[0].cpu().numpy() - found.keypoints1
    return np.linalg.norm(apart / batch.scale1[row].cpu().numpy(), axis=1)


def _row(batch: Batch, row: int) -> dict:
    fields = {f.name: getattr(batch, f.name) for f in dataclasses.fields(batch)}
    return {k: v[row : row + 1] for k, v in fields.items() if v is not None}


@dataclass(frozen=True)
class PairFacts:
    """What makes a pair easy or hard, from its depth and pose alone.

    index: its place in the dataset. overlap: the index's score, may be NaN.
    turn: angle between the cameras, degrees. baseline: distance of the cameras in
    units of the median depth of image 0 (NaN without depth). plane: share of the
    true matches that fit one homography, 0 to 1; near 1, many essential matrices
    explain them. 0 with fewer than four.
    """

    index: int
    overlap: float
    turn: float
    baseline: float
    plane: float


def pair_facts(dataset: Dataset[Pair], indices: Iterable[int]) -> list[PairFacts]:
    """Facts of some pairs of a dataset, in their order."""
    return [_facts(collate([dataset[index]]), index) for index in indices]


def _facts(batch: Batch, index: int) -> PairFacts:
    T = batch.T_0to1[0].double().cpu().numpy()
    depth = batch.cell_depth0[batch.cell_depth0 > 0]
    near = float(depth.median()) if len(depth) else np.nan
    return PairFacts(
        index=int(index),
        overlap=float(batch.overlap[0]),
        turn=rotation_angle(np.eye(3), T[:3, :3]),
        baseline=float(np.linalg.norm(T[:3, 3])) / near,
        plane=plane_share(OracleMatcher()(batch)[0]),
    )


def plane_share(found: PairMatches) -> float:
    """Share of matches that fit one homography to three original pixels, 0 to 1."""
    if len(found.keypoints0) < 4:
        return 0.0
    _, fits = cv2.findHomography(
        found.keypoints0, found.keypoints1, cv2.RANSAC, PLANE_PX
    )
    return float(fits.mean()) if fits is not None else 0.0


def auc_by_thirds(
    errors: Mapping[str, Sequence[float] | np.ndarray],
    values: Sequence[float] | np.ndarray,
    threshold: float = 10.0,
) -> dict[str, dict[str, float]]:
    """AUC of the pairs with small, middling and large values, percent.

    Args:
        errors: matcher to (N,) degrees. values: (N,) of the same pairs, such as
            their overlap. The three bins hold equally many.

    Returns:
        The bin, in words, to matcher to AUC; bins in rising order.
    """
    values = np.asarray(values, np.float64)
    low, high = np.quantile(values, [1 / 3, 2 / 3])
    a, b = f"{low:.2g}", f"{high:.2g}"
    bins = {
        f"below {a}": values < low,
        f"{a} to {b}": (values >= low) & (values < high),
        f"{b} or more": values >= high,
    }
    return {
        words: {
            name: pose_auc(np.asarray(e, np.float64)[inside], [threshold])[0]
            for name, e in errors.items()
        }
        for words, inside in bins.items()
    }
