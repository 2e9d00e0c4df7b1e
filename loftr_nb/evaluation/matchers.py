"""What can be evaluated: anything that turns a batch into matches.

Pixels are (x, y) of the original images: input pixel times scale. Letters: B
pairs, M matches, L coarse cells of image 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from ..datasets.pair import Batch
from ..geometry import COARSE_STRIDE, cell_corners

if TYPE_CHECKING:
    from ..model.loftr import LoFTR


class PairMatches(NamedTuple):
    """Matches of one pair.

    keypoints0, keypoints1: (M, 2) original pixels, row m matches row m.
    confidence: (M,) in [0, 1].
    """

    keypoints0: np.ndarray
    keypoints1: np.ndarray
    confidence: np.ndarray

    @classmethod
    def none(cls) -> PairMatches:
        """No matches: arrays of length 0."""
        return cls(np.empty((0, 2)), np.empty((0, 2)), np.empty(0))


class Matcher(Protocol):
    """Anything that finds matches in a batch; a plain function will do."""

    def __call__(self, batch: Batch) -> list[PairMatches]:
        """One PairMatches a pair of the batch."""


class LoFTRMatcher:
    """A LoFTR as a matcher.

    The model matches in eval mode, without gradient, on the device it lies on,
    and is left in the mode it was found in.
    """

    def __init__(self, model: LoFTR) -> None:
        self.model = model

    def __call__(self, batch: Batch) -> list[PairMatches]:
        device = next(self.model.parameters()).device
        batch = batch.to(device)
        was_training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                dtype = next(self.model.parameters()).dtype
                found = self.model(
                    batch.image0.to(dtype),
                    batch.image1.to(dtype),
                    mask0=_unless_full(batch.mask0),
                    mask1=_unless_full(batch.mask1),
                    scale0=batch.scale0,
                    scale1=batch.scale1,
                )
        finally:
            self.model.train(was_training)
        b = found.b.cpu().numpy()
        fields = [
            getattr(found, name).detach().float().cpu().numpy()
            for name in ("keypoints0", "keypoints1", "confidence")
        ]
        return [PairMatches(*(f[b == k] for f in fields)) for k in range(len(batch))]


class OracleMatcher:
    """The matches that depth and pose know: an upper bound, and a check.

    Every coarse cell of image 0 with known depth that lands inside image 1 is
    matched to the exact place it lands on. Points that another surface hides in
    image 1 are among them. On sound data its AUC is close to 100; far from it,
    poses, K or depths contradict each other.
    """

    def __call__(self, batch: Batch) -> list[PairMatches]:
        corners = cell_corners(batch.grid0, batch.scale0)
        there, known = batch.warp().to1(corners)
        # The mask tells the image from its padding: (B,) columns, then rows.
        cells = torch.stack([batch.mask1.any(1).sum(1), batch.mask1.any(2).sum(1)], 1)
        limit = (COARSE_STRIDE * cells * batch.scale1)[:, None]
        known = known & (there >= 0).all(-1) & (there < limit).all(-1)
        return [
            PairMatches(
                corners[k, known[k]].cpu().numpy(),
                there[k, known[k]].cpu().numpy(),
                np.ones(int(known[k].sum())),
            )
            for k in range(len(batch))
        ]


def _unless_full(mask: Tensor) -> Tensor | None:
    # Unpadded images need no mask, and the network is faster without one.
    return None if bool(mask.all()) else mask
