"""From coarse features to confidences, and from confidences to matches.

Two matchers give the confidence P of a pair of cells. Dual-softmax multiplies a
softmax over the row by a softmax over the column; optimal transport balances rows
and columns against dustbins. Both work in log space: P itself underflows for most
pairs of an untrained network, and a loss on log P still sees them.

Letters: B pairs, L and S cells of image 0 and 1, C channels, M matches.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .config import LoFTRConfig
from .sinkhorn import NO_SCORE, log_sinkhorn

# log P of a pair of cells of which one is padding: exp of it is exactly 0, and a
# sum of thousands of them stays finite.
LOG_FLOOR = -1e4


class LogConfidence(NamedTuple):
    """log P of every pair of cells, float32.

    cells: (B, L, S); ``LOG_FLOOR`` where a cell is padding.
    dustbin0: (B, L) log P that a cell of image 0 has no match; None for
        dual-softmax, which has no dustbin.
    dustbin1: (B, S) likewise for image 1.
    """

    cells: Tensor
    dustbin0: Tensor | None = None
    dustbin1: Tensor | None = None


class CoarseMatches(NamedTuple):
    """M coarse matches, ordered by pair and by cell of image 0.

    b, i, j: (M,) int64 pair, cell of image 0, cell of image 1.
    confidence: (M,) float32 P.
    """

    b: Tensor
    i: Tensor
    j: Tensor
    confidence: Tensor


class CoarseMatching(nn.Module):
    """Confidences and matches of coarse cells; see the top of this file.

    Its one parameter is ``bin_score``, the dustbin of optimal transport.
    """

    def __init__(self, config: LoFTRConfig) -> None:
        super().__init__()
        self.config = config
        self._is_ds = config.matcher == "ds"
        if not self._is_ds:
            self.bin_score = nn.Parameter(torch.tensor(float(config.dustbin_init)))

    def log_confidence(
        self,
        feat0: Tensor,
        feat1: Tensor,
        mask0: Tensor | None = None,
        mask1: Tensor | None = None,
    ) -> LogConfidence:
        """log P of every pair of cells.

        Args:
            feat0, feat1: (B, L, C) and (B, S, C), any dtype; the result is float32
                (float64 for float64), under autocast as well.
            mask0, mask1: (B, L) and (B, S) bool, False = padding.
        """
        with torch.autocast(feat0.device.type, enabled=False):
            scores = self._scores(feat0, feat1)
            if not self._is_ds:
                return self._transport(scores, mask0, mask1)
            cells = dual_log_softmax(mask_cells(scores, mask0, mask1, NO_SCORE))
            return LogConfidence(mask_cells(cells, mask0, mask1, LOG_FLOOR))

    def _scores(self, feat0: Tensor, feat1: Tensor) -> Tensor:
        dtype = torch.promote_types(feat0.dtype, torch.float32)
        norm = feat0.shape[-1] ** 0.5
        scores = (feat0.to(dtype) / norm) @ (feat1.to(dtype) / norm).transpose(1, 2)
        # Divided after the product: scores reach 100, where one more rounding of
        # the features already shows in the fifth digit of P.
        return scores.div_(self.config.temperature) if self._is_ds else scores

    def _transport(
        self, scores: Tensor, mask0: Tensor | None, mask1: Tensor | None
    ) -> LogConfidence:
        plan = log_sinkhorn(
            scores, self.bin_score, self.config.sinkhorn_iterations, mask0, mask1
        )
        cells = mask_cells(plan[:, :-1, :-1], mask0, mask1, LOG_FLOOR)
        dustbin0, dustbin1 = plan[:, :-1, -1], plan[:, -1, :-1]
        if mask0 is not None:
            dustbin0 = dustbin0.masked_fill(~mask0, LOG_FLOOR)
        if mask1 is not None:
            dustbin1 = dustbin1.masked_fill(~mask1, LOG_FLOOR)
        return LogConfidence(cells, dustbin0, dustbin1)

    @torch.no_grad()
    def predict(
        self,
        log_confidence: LogConfidence | Tensor,
        grid0: tuple[int, int],
        grid1: tuple[int, int],
        mask0: Tensor | None = None,
        mask1: Tensor | None = None,
    ) -> CoarseMatches:
        """Pairs of cells above the threshold that are each other's best.

        The best of equal cells is the first one. Cells within ``border`` of the
        unpadded border compete and are then left out: their fine windows reach
        over the edge. In eval mode, given dustbins, a cell that the dustbin takes
        leaves the competition first (the released code's prefilter); training
        keeps it, so that the fine stage sees more of what the network believes.

        Args:
            log_confidence: of :meth:`log_confidence`, or its ``cells``.
            grid0, grid1: (h, w) rows and columns of cells.
            mask0, mask1: (B, L) and (B, S) bool, False = padding.
        """
        if isinstance(log_confidence, Tensor):
            log_confidence = LogConfidence(log_confidence)
        cells = log_confidence.cells
        if log_confidence.dustbin0 is not None and not self.training:
            cells = without_unmatched(log_confidence)
        best, j_of = cells.max(dim=2)  # (B, L): no (B, L, S) mask is built
        i_of = cells.argmax(dim=1)
        B, L, _ = cells.shape
        own = torch.arange(L, device=cells.device)
        keep = i_of.gather(1, j_of) == own
        threshold = self.config.threshold
        keep &= best > (math.log(threshold) if threshold > 0 else LOG_FLOOR)
        keep &= inner_cells(grid0, self.config.border, mask0, B, cells.device)
        inner1 = inner_cells(grid1, self.config.border, mask1, B, cells.device)
        keep &= inner1.gather(1, j_of)
        b, i = keep.nonzero(as_tuple=True)
        return CoarseMatches(b, i, j_of[b, i], best[b, i].exp())


def dual_log_softmax(scores: Tensor) -> Tensor:
    """(B, L, S): log of (softmax over the row times softmax over the column)."""
    return scores.log_softmax(dim=2) + scores.log_softmax(dim=1)


def mask_cells(
    cells: Tensor, mask0: Tensor | None, mask1: Tensor | None, value: float
) -> Tensor:
    """(B, L, S) with ``value`` in the rows and columns of padded cells."""
    if mask0 is None and mask1 is None:
        return cells
    rows = None if mask0 is None else ~mask0[:, :, None]
    columns = None if mask1 is None else ~mask1[:, None, :]
    hidden = columns if rows is None else rows if columns is None else rows | columns
    return cells.masked_fill(hidden, value)


def without_unmatched(log_confidence: LogConfidence) -> Tensor:
    """(B, L, S) with ``LOG_FLOOR`` in rows and columns that the dustbin takes."""
    cells, dustbin0, dustbin1 = log_confidence
    return mask_cells(
        cells,
        cells.amax(dim=2) >= dustbin0,
        cells.amax(dim=1) >= dustbin1,
        LOG_FLOOR,
    )


def inner_cells(
    grid: tuple[int, int],
    border: int,
    mask: Tensor | None,
    B: int,
    device: torch.device,
) -> Tensor:
    """(B, h * w) bool: cells of the image, ``border`` or more away from its edge.

    The edge is that of the unpadded image, which ``mask`` (B, h * w) shows; padding
    lies at the bottom and at the right.
    """
    h, w = grid
    shown = torch.ones(B, h, w, dtype=torch.bool, device=device)
    if mask is not None:
        shown = mask.reshape(B, h, w)
    bottom = shown.any(dim=2).sum(dim=1)[:, None, None] - border
    right = shown.any(dim=1).sum(dim=1)[:, None, None] - border
    y = torch.arange(h, device=device)[:, None]
    x = torch.arange(w, device=device)
    inner = (y >= border) & (x >= border) & (y < bottom) & (x < right)
    return (inner & shown).flatten(1)
