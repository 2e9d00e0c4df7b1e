"""How often the coarse stage is right, cell by cell, and what features alone find.

Letters: M true matches of a pair, C channels, h and w rows and columns of a map.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..datasets import Batch
from ..geometry import COARSE_STRIDE
from ..model import LoFTR
from ..model.images import evaluating
from ..supervision import CoarseSupervision, supervise


class CellScore(NamedTuple):
    """Coarse cells over some pairs.

    right: share of true matches whose row has its largest confidence at the true
        cell, 0 to 1; 0 where no pair has a true match.
    matches: matches a pair that the coarse stage predicts.
    truths: number of true matches it was asked for.
    """

    right: float
    matches: float
    truths: int


@torch.no_grad()
def right_cells(model: LoFTR, batches: Iterable[Batch]) -> CellScore:
    """Judge the coarse stage on cells, in eval mode; thresholds only bear on matches.

    Unlike pose accuracy it needs no solver, so small changes show.
    """
    right = truths = matches = pairs = 0
    with evaluating(model):
        for batch in batches:
            truth = supervise(batch)
            f = model.features(batch.image0, batch.image1, batch.mask0, batch.mask1)
            found = model.coarse_matching.log_confidence(
                f.coarse0, f.coarse1, f.mask0, f.mask1
            )
            best = found.cells[truth.b, truth.i].argmax(1)
            right += int((best == truth.j).sum())
            truths += len(truth)
            predicted = model.coarse_matching.predict(
                found, f.grid0, f.grid1, f.mask0, f.mask1
            )
            matches += len(predicted.i)
            pairs += truth.batch
    return CellScore(right / max(truths, 1), matches / max(pairs, 1), truths)


def nearest_errors(
    maps: tuple[Tensor, Tensor],
    batch: Batch,
    truth: CoarseSupervision,
    near: float | None = None,
) -> Tensor:
    """How far off the most similar feature is, for each true match of one pair.

    Args:
        maps: (1, C, h, w) of image 0 and image 1, at 1/8 or finer.
        batch: the pair, B = 1, both images of one size. truth: its supervision.
        near: search only so many input pixels around the truth, in x and in y.

    Returns:
        (M,) input pixels from where the corner of cell i truly lies.
    """
    map0, map1 = (m[0] for m in maps)
    stride = batch.image0.shape[-1] // map0.shape[-1]
    step, width = COARSE_STRIDE // stride, truth.grid0[1]
    y, x = step * (truth.i // width), step * (truth.i % width)
    score = F.normalize(map0[:, y, x], dim=0).T @ F.normalize(map1.flatten(1), dim=0)
    n = torch.arange(score.shape[1], device=score.device)
    place = stride * torch.stack([n % map1.shape[2], n // map1.shape[2]], 1).float()
    true = truth.warped0[0, truth.i] / batch.scale1
    if near is not None:
        score[torch.cdist(true, place, p=torch.inf) > near] = -2  # below any cosine
    return (place[score.argmax(1)] - true).norm(dim=1)
