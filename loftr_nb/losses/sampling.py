"""Which coarse matches the fine stage is trained on.

Predicted matches are what the fine stage will meet in use, but early in training
there are none, and wrong ones teach it nothing. So some come from the ground
truth. The draw is made for each pair by itself, from a seed of its own: a batch
split over processes refines the same samples as one process would.

Letters: B pairs, M samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from .config import LossConfig

if TYPE_CHECKING:
    from ..model.coarse_matching import CoarseMatches
    from ..supervision.coarse import CoarseSupervision


class FineSamples(NamedTuple):
    """Coarse matches to refine: pair, cell of image 0, cell of image 1, (M,) each.

    Sorted by pair; within a pair the predicted ones come before the true ones.
    """

    b: Tensor
    i: Tensor
    j: Tensor


@torch.no_grad()
def choose_fine_samples(
    predicted: CoarseMatches,
    supervision: CoarseSupervision,
    config: LossConfig,
    seeds: Sequence[int],
) -> FineSamples:
    """Draw the fine samples of each pair.

    A pair has a budget of ``fine_share`` times the larger number of (unpadded)
    coarse cells of its images. At least ``fine_min_gt`` of it is kept for the
    ground truth, but half the budget at most, so that an image of any size
    works. Predicted matches fill what is left, ground truth the remainder.

    Nothing is drawn twice from one source, unlike in the released code: a
    repeated sample costs its time and tells nothing. So a pair has fewer
    samples than its budget when it has few matches, and none when it has
    neither predicted nor true ones. A match that is both may stand twice.

    Args:
        predicted: matches of all pairs, sorted by pair.
        supervision: ground truth of the same batch.
        seeds: one number for each pair. The draw depends on it and on the
            pair's own matches, not on the rest of the batch: derive it from the
            step and the pair's position in the batch over all processes.
    """
    budgets = _budgets(supervision, config.fine_share)
    n_predicted = torch.bincount(predicted.b, minlength=supervision.batch).tolist()
    n_true = supervision.counts.tolist()
    picks: list[Tensor] = []  # into predicted followed by ground truth
    first_predicted, first_true = 0, len(predicted.b)
    for pair, (budget, seed) in enumerate(zip(budgets, seeds, strict=True)):
        kept = min(config.fine_min_gt, budget // 2, n_true[pair])
        p = min(n_predicted[pair], budget - kept)
        # On the CPU, whose generator gives the same numbers on every machine.
        generator = torch.Generator().manual_seed(int(seed))
        picks.append(first_predicted + _draw(n_predicted[pair], p, generator))
        picks.append(first_true + _draw(n_true[pair], budget - p, generator))
        first_predicted += n_predicted[pair]
        first_true += n_true[pair]
    pick = torch.cat(picks).to(predicted.b.device, non_blocking=True)
    return FineSamples(
        *(
            torch.cat([getattr(predicted, name), getattr(supervision, name)])[pick]
            for name in ("b", "i", "j")
        )
    )


def _budgets(spv: CoarseSupervision, share: float) -> list[int]:
    sizes = []
    for (h, w), mask in ((spv.grid0, spv.mask0), (spv.grid1, spv.mask1)):
        full = torch.full((spv.batch,), h * w, device=spv.b.device)
        sizes.append(full if mask is None else mask.sum(1))
    cells = torch.maximum(*sizes).tolist()
    return [max(1, int(share * n)) for n in cells]


def _draw(n: int, count: int, generator: torch.Generator) -> Tensor:
    """``count`` different numbers below n, or all n of them when n is smaller."""
    return torch.randperm(n, generator=generator)[:count]
