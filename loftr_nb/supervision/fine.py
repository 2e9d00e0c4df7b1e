"""Fine supervision: where in its window a coarse match really lies.

Letters: M matches.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .coarse import CoarseSupervision

# Window 5x5 at stride 2: two fine cells to each side, 4 input pixels.
FINE_RADIUS = 4.0


class FineTargets(NamedTuple):
    """Offsets for M coarse matches.

    offset: (M, 2) from the corner of cell j to the true place, x and y, in
        units of the window's radius; may exceed 1. Where the place is unknown
        it is 0 and not NaN, so that a masked loss has a finite gradient.
    inside: (M,) bool, True where both offsets are known and below 1 in size.
        Read ``offset`` only there: elsewhere 0 does not mean "at the corner".
    """

    offset: Tensor
    inside: Tensor


@torch.no_grad()
def fine_targets(
    supervision: CoarseSupervision,
    b: Tensor,
    i: Tensor,
    j: Tensor,
    scale1: Tensor,
    radius: float = FINE_RADIUS,
) -> FineTargets:
    """What the fine stage should answer for the coarse matches (b, i, j).

    The matches need not be true ones: training refines predicted matches too,
    and a wrong one falls out through ``inside``.

    Args:
        b, i, j: (M,) pair, cell of image 0, cell of image 1.
        scale1: (B, 2) original pixels per input pixel of image 1.
        radius: input pixels from the window's centre to its edge.
    """
    true = supervision.warped0[b, i]
    offset = (true - supervision.corners1[b, j]) / (radius * scale1[b])
    known = torch.isfinite(offset).all(dim=-1)
    if supervision.mask1 is not None:
        known = known & supervision.mask1[b, j]
    offset = torch.where(known[:, None], offset, 0.0)
    return FineTargets(offset, known & (offset.abs() < 1).all(dim=-1))
