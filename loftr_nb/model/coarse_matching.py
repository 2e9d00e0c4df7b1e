"""From coarse features to confidences, and from confidences to matches.

Two matchers give the confidence P of a pair of cells. Dual-softmax multiplies a
softmax over the row by a softmax over the column; optimal transport balances rows
and columns against dustbins. Both work in log space: P itself underflows for most
pairs of an untrained network, and a loss on log P still sees them.

Each comes in two forms: as the whole matrix (:meth:`CoarseMatching.log_confidence`),
to read and to check against, and streamed (:meth:`CoarseMatching.streamed`), which
training and matching use: the same numbers in memory that grows with L + S.

Letters: B pairs, L and S cells of image 0 and 1, C channels, M matches.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .config import LoFTRConfig
from .sinkhorn import NO_SCORE, log_sinkhorn, streamed_sinkhorn
from .streaming import PairConfidence, StreamedConfidence, row_and_column_sums

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

    def streamed(
        self,
        feat0: Tensor,
        feat1: Tensor,
        mask0: Tensor | None = None,
        mask1: Tensor | None = None,
    ) -> StreamedConfidence:
        """What :meth:`log_confidence` gives, without the matrix.

        Arguments as there. Differentiable through the potentials and through
        :meth:`.PairConfidence.at`; padded cells are left out.
        """
        B, L, C = feat0.shape
        S = feat1.shape[1]
        dtype = torch.promote_types(feat0.dtype, torch.float32)
        with torch.autocast(feat0.device.type, enabled=False):
            pairs = []
            for n in range(B):
                cells0 = _shown(mask0, n, L, feat0.device)
                cells1 = _shown(mask1, n, S, feat1.device)
                x0 = feat0[n] if mask0 is None else feat0[n, cells0]
                x1 = feat1[n] if mask1 is None else feat1[n, cells1]
                x0, x1 = x0.to(dtype), x1.to(dtype)
                pairs.append(self._streamed_pair(x0, x1, cells0, cells1))
            return StreamedConfidence(pairs, (L, S))

    def _streamed_pair(
        self, x0: Tensor, x1: Tensor, cells0: Tensor, cells1: Tensor
    ) -> PairConfidence:
        scale = 1 / x0.shape[-1]
        if not self._is_ds:
            rounds = self.config.sinkhorn_iterations
            found = streamed_sinkhorn(x0, x1, scale, self.bin_score, rounds)
            return PairConfidence(x0, x1, scale, *found[:2], cells0, cells1, *found[2:])
        scale /= self.config.temperature
        rows, columns = row_and_column_sums(x0, x1, scale)
        return PairConfidence(x0, x1, 2 * scale, -rows, -columns, cells0, cells1)

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
        log_confidence: StreamedConfidence | LogConfidence | Tensor,
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
            log_confidence: of :meth:`streamed` or :meth:`log_confidence`, or the
                latter's ``cells``.
            grid0, grid1: (h, w) rows and columns of cells.
            mask0, mask1: (B, L) and (B, S) bool, False = padding.
        """
        best, j_of, i_of = self._best(log_confidence)
        B, L = best.shape
        own = torch.arange(L, device=best.device)
        keep = i_of.gather(1, j_of) == own
        threshold = self.config.threshold
        keep &= best > (math.log(threshold) if threshold > 0 else LOG_FLOOR)
        keep &= inner_cells(grid0, self.config.border, mask0, B, best.device)
        inner1 = inner_cells(grid1, self.config.border, mask1, B, best.device)
        keep &= inner1.gather(1, j_of)
        b, i = keep.nonzero(as_tuple=True)
        return CoarseMatches(b, i, j_of[b, i], best[b, i].exp())

    def _best(
        self, found: StreamedConfidence | LogConfidence | Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(B, L) the row's largest log P, and its cell; (B, S) that of the column."""
        prefilter = not self.training and not self._is_ds
        if isinstance(found, StreamedConfidence):
            best = (found.without_unmatched() if prefilter else found).best()
            return best.value0, best.j_of, best.i_of
        if isinstance(found, Tensor):
            found = LogConfidence(found)
        cells = found.cells
        if found.dustbin0 is not None and prefilter:
            cells = without_unmatched(found)
        best, j_of = cells.max(dim=2)  # (B, L): no (B, L, S) mask is built
        return best, j_of, cells.argmax(dim=1)


def _shown(mask: Tensor | None, pair: int, N: int, device: torch.device) -> Tensor:
    """Numbers of a pair's unpadded cells."""
    if mask is None:
        return torch.arange(N, device=device)
    return mask[pair].nonzero()[:, 0]


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
