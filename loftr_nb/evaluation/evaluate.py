"""Matcher in, scores out: pose AUC, precision and matches per pair.

Solving poses is work for the CPU and takes about as long as matching on a GPU;
both are per pair, so several processes share a dataset by taking every n-th
pair (``rank``, ``world``) and :func:`merge` puts their scores together.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from torch.utils.data import DataLoader, Dataset, Subset

from ..datasets.pair import Batch, Pair, collate
from ..errors import ConfigError, DataError
from ..geometry import COARSE_STRIDE
from .epipolar import epipolar_distance, match_precision
from .matchers import Matcher, PairMatches
from .pose import pose_auc, relative_pose_error
from .protocol import Protocol
from .solvers import estimate_pose

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PairRecord:
    """How one pair went.

    index: its place in the dataset. error_R, error_t: degrees, inf without pose.
    matches, inliers: how many were found, and how many agree with the pose.
    precision: percent of the matches. overlap: the index's score, may be NaN.
    """

    index: int
    scene: str
    name0: str
    name1: str
    overlap: float
    error_R: float
    error_t: float
    matches: int
    inliers: int
    precision: float

    @property
    def error(self) -> float:
        """The pose error: the larger of the two, degrees."""
        return max(self.error_R, self.error_t)


@dataclass(frozen=True)
class Scores:
    """Records of the pairs evaluated, and their averages.

    records: by index, each pair once. protocol: how they came about.
    total: pairs in the dataset. All shares and areas are percent, 0 to 100; NaN
    without records.
    """

    records: tuple[PairRecord, ...]
    protocol: Protocol
    total: int

    @property
    def pairs(self) -> int:
        """How many pairs were evaluated."""
        return len(self.records)

    @property
    def errors(self) -> np.ndarray:
        """(pairs,) pose errors in degrees, inf for no pose."""
        return np.array([r.error for r in self.records], np.float64)

    @property
    def auc5(self) -> float:
        """Area under the recall curve up to 5 degrees, percent."""
        return pose_auc(self.errors, [5.0])[0]

    @property
    def auc10(self) -> float:
        """Area under the recall curve up to 10 degrees, percent."""
        return pose_auc(self.errors, [10.0])[0]

    @property
    def auc20(self) -> float:
        """Area under the recall curve up to 20 degrees, percent."""
        return pose_auc(self.errors, [20.0])[0]

    @property
    def precision(self) -> float:
        """Share of right matches, averaged over pairs, percent.

        A pair without matches counts as 0, as in the published numbers.
        """
        return _mean([r.precision for r in self.records])

    @property
    def matches_per_pair(self) -> float:
        """Mean number of matches."""
        return _mean([r.matches for r in self.records])

    def summary(self) -> dict[str, float | None]:
        """The five numbers, for ``summary.json``; None where there is none."""
        names = ("auc5", "auc10", "auc20", "precision", "matches_per_pair")
        values = {name: round(getattr(self, name), 3) for name in names}
        return {k: None if math.isnan(v) else v for k, v in values.items()}

    def card(self) -> str:
        """The protocol in words, to print beside the scores."""
        return self.protocol.card(self.pairs, self.total)


def evaluate(
    matcher: Matcher,
    dataset: Dataset[Pair],
    protocol: Protocol,
    batch_size: int = 1,
    workers: int = 0,
    progress: Progress | None = None,
    rank: int = 0,
    world: int = 1,
) -> Scores:
    """Match every pair, estimate its pose, and score both.

    Args:
        matcher: a batch to one :class:`PairMatches` a pair, in original pixels.
        dataset: pairs with K and relative pose, augmentation off.
        protocol: solver, thresholds, how many pairs, seed.
        batch_size: pairs matched at once; all of one size if above 1.
        workers: processes that load pairs.
        progress: called with (pairs done, pairs to do) after each batch.
        rank, world: evaluate every ``world``-th pair from ``rank`` on.

    Returns:
        Scores of this rank's pairs; the same for any batch size and, merged,
        for any number of ranks.

    Raises:
        DataError: the dataset is empty, or holds a pair that cannot be read.
        ConfigError: pairs that a homography relates have no pose to compare.
    """
    chosen = _choose(len(dataset), protocol.max_pairs)[rank::world]
    loader = DataLoader(
        Subset(dataset, chosen),
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=collate,
    )
    records: list[PairRecord] = []
    sizes: set[tuple[int, int]] = set()
    for batch in loader:
        indices = chosen[len(records) : len(records) + len(batch)]
        sizes |= _input_sizes(batch)
        records += _judge(batch, matcher(batch), indices, protocol)
        if progress is not None:
            progress(len(records), len(chosen))
    if protocol.size is None and sizes:
        protocol = dataclasses.replace(protocol, size=_one_size(sizes))
    return Scores(tuple(records), protocol, len(dataset))


def merge(parts: Iterable[Scores]) -> Scores:
    """Scores of several processes as one; a pair that comes twice counts once.

    Raises:
        ConfigError: nothing to merge, or the parts follow different protocols.
    """
    parts = list(parts)
    if not parts:
        raise ConfigError("no scores to merge")
    first = max(parts, key=lambda part: part.pairs)
    for part in parts:
        # A rank without pairs, or with other image sizes, has another size.
        if dataclasses.replace(part.protocol, size=first.protocol.size) != (
            first.protocol
        ):
            raise ConfigError(
                "scores of different protocols cannot be merged:\n"
                f"{first.protocol}\n{part.protocol}"
            )
    by_index = {r.index: r for part in parts for r in part.records}
    records = tuple(by_index[index] for index in sorted(by_index))
    return Scores(records, first.protocol, first.total)


def score_table(scores: dict[str, Scores]) -> str:
    """Matchers and their scores as aligned lines of text.

    Print :meth:`Scores.card` with it.
    """
    head = ["matcher", "AUC@5", "AUC@10", "AUC@20", "precision", "matches", "pairs"]
    rows = [head]
    for name, s in scores.items():
        areas = [f"{a:.1f}" for a in (s.auc5, s.auc10, s.auc20)]
        means = [f"{s.precision:.1f}", f"{s.matches_per_pair:.0f}"]
        rows.append([name, *areas, *means, str(s.pairs)])
    widths = [max(len(row[c]) for row in rows) for c in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if c == 0 else cell.rjust(width)
            for c, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def _choose(total: int, most: int | None) -> list[int]:
    if total == 0:
        raise DataError("the dataset to evaluate on holds no pair")
    if most is None or most >= total:
        return list(range(total))
    return [k * total // most for k in range(most)]


def _judge(
    batch: Batch,
    found: Sequence[PairMatches],
    indices: Sequence[int],
    protocol: Protocol,
) -> list[PairRecord]:
    # A homography of two measured photos; one that a camera drew has its pose.
    if not bool(batch.T_0to1.isfinite().all()):
        raise ConfigError(
            f"{batch.names0[0]}: a homography relates this pair, it has no "
            "relative pose to compare with. Evaluate on pairs with a pose (in "
            "training: data.holdout_scenes=0)"
        )
    if len(found) != len(batch):
        raise ConfigError(
            f"the matcher returned {len(found)} results for {len(batch)} pairs"
        )
    return [
        _judge_pair(batch, k, found[k], index, protocol)
        for k, index in enumerate(indices)
    ]


def _judge_pair(
    batch: Batch, k: int, found: PairMatches, index: int, protocol: Protocol
) -> PairRecord:
    K0, K1, T = (
        t[k].cpu().double().numpy() for t in (batch.K0, batch.K1, batch.T_0to1)
    )
    points0, points1, _ = found
    pose = estimate_pose(points0, points1, K0, K1, protocol, protocol.seed + index)
    R, t, inliers = pose if pose is not None else (None, None, np.zeros(0))
    error_R, error_t = relative_pose_error(T, R, t)
    distances = epipolar_distance(points0, points1, K0, K1, T)
    return PairRecord(
        index=int(index),
        scene=batch.scenes[k],
        name0=batch.names0[k],
        name1=batch.names1[k],
        overlap=float(batch.overlap[k]),
        error_R=error_R,
        error_t=error_t,
        matches=len(points0),
        inliers=int(inliers.sum()),
        precision=match_precision(distances, protocol.epipolar_threshold),
    )


def _input_sizes(batch: Batch) -> set[tuple[int, int]]:
    """(w, h) of the images without their padding."""
    return {
        (COARSE_STRIDE * int(m.any(0).sum()), COARSE_STRIDE * int(m.any(1).sum()))
        for masks in (batch.mask0, batch.mask1)
        for m in masks
    }


def _one_size(sizes: set[tuple[int, int]]) -> tuple[int, int] | int:
    return next(iter(sizes)) if len(sizes) == 1 else max(max(s) for s in sizes)


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
