"""The fine loss: how far the refined place of a match is from the true one.

Letters: B pairs, M fine samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .coarse import at_least_float32, mean_per_pair

if TYPE_CHECKING:
    from ..model.fine_matching import FineOffsets
    from ..supervision.fine import FineTargets


def fine_loss(
    offsets: FineOffsets,
    targets: FineTargets,
    b: Tensor,
    batch: int,
    std_min: float = 1e-10,
) -> Tensor:
    """Fine loss of each pair, (B,), in float32 (float64 for float64 input).

    The mean over samples inside the window of ``weight x squared error``, in
    units of the window's radius (LoFTR, section 3.5). The weight is 1/std of
    the heat map, scaled to mean 1 over all samples of the pair, and detached:
    otherwise the model could lower its loss by being unsure everywhere. A pair
    with no sample inside has exactly 0.

    Args:
        offsets: (M, 2) predicted, with their std (M,).
        targets: (M, 2) true, and which are inside the window.
        b: (M,) the pair of each sample.
        batch: B.
        std_min: smaller ones count as this; see ``LossConfig.fine_std_min``.
    """
    with torch.autocast(offsets.offset.device.type, enabled=False):
        # Selected first: a target without an answer must not meet arithmetic.
        inside = targets.inside
        predicted = at_least_float32(offsets.offset)[inside]
        error = predicted - targets.offset[inside].to(predicted.dtype)
        weight = _weights(offsets.std.detach(), b, batch, std_min)[inside]
        squared = (error**2).sum(dim=1)
        return mean_per_pair(weight * squared, b[inside], batch)


def _weights(std: Tensor, b: Tensor, batch: int, std_min: float) -> Tensor:
    """(M,) 1/std over its mean in the sample's own pair."""
    inverse = 1 / at_least_float32(std).clamp(min=std_min)
    return inverse / mean_per_pair(inverse, b, batch)[b]


@torch.no_grad()
def fine_error_px(
    offsets: FineOffsets, targets: FineTargets, b: Tensor, batch: int, radius: float
) -> Tensor:
    """Mean distance of each pair's samples inside the window, (B,) input pixels.

    Args:
        radius: of the window, input pixels. Zero for a pair of no such sample.
    """
    inside = targets.inside
    error = (offsets.offset.detach() - targets.offset)[inside].float()
    return mean_per_pair(error.norm(dim=1) * radius, b[inside], batch)
