"""The coarse loss of a streamed confidence: the same number, no matrix.

The counterpart of :func:`.coarse_loss`, which stays as the reference. Matches are
a gather. The sum over all other cells is made block by block together with its
gradient, so that the backward pass only scales: that spares making every block a
second time.

Letters: B pairs, L and S unpadded cells of image 0 and 1, M matches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from ..model.streaming import PairConfidence, StreamedConfidence, row_blocks
from .config import LossConfig
from .focal import LOG_HALF, bounds, positive_term

if TYPE_CHECKING:
    from ..supervision.coarse import CoarseSupervision


def streamed_coarse_loss(
    confidence: StreamedConfidence, supervision: CoarseSupervision, config: LossConfig
) -> Tensor:
    """Coarse loss of each pair, (B,); see :func:`.coarse_loss` for what it means.

    Args:
        confidence: of :meth:`.CoarseMatching.streamed`, made with the masks of
            ``supervision``.
    """
    with torch.autocast(supervision.b.device.type, enabled=False):
        of_pairs = torch.arange(supervision.batch + 1, device=supervision.b.device)
        b, i, j = (getattr(supervision, name).contiguous() for name in ("b", "i", "j"))
        starts = torch.searchsorted(b, of_pairs).tolist()
        losses = []
        for n, pair in enumerate(confidence.pairs):
            own = slice(starts[n], starts[n + 1])
            # From the padded grid, in which supervision counts, to shown cells.
            rows = torch.searchsorted(pair.cells0, i[own])
            columns = torch.searchsorted(pair.cells1, j[own])
            losses.append(_loss_of_pair(pair, rows, columns, config))
        return torch.stack(losses)


def _loss_of_pair(
    pair: PairConfidence, i: Tensor, j: Tensor, config: LossConfig
) -> Tensor:
    M = len(i)
    loss = positive_term(pair.at(i, j), config).sum() / max(M, 1)
    if config.supervision == "dense":
        others = len(pair.x0) * len(pair.x1) - M
        return loss + rest(pair, i, j, config) / max(others, 1)
    if pair.dustbin0 is None:
        return loss
    lonely = torch.cat([_without(pair.dustbin0, i), _without(pair.dustbin1, j)])
    return loss + positive_term(lonely, config).sum() / max(len(lonely), 1)


def _without(dustbin: Tensor, cells: Tensor) -> Tensor:
    keep = torch.ones_like(dustbin, dtype=torch.bool)
    keep[cells] = False
    return dustbin[keep]


def rest(pair: PairConfidence, i: Tensor, j: Tensor, config: LossConfig) -> Tensor:
    """Sum of :func:`.negative_term` over all cells of a pair but its matches.

    Args:
        i, j: (M,) the matches, sorted by i; counted without padding.
    """
    return _Rest.apply(pair.x0, pair.x1, pair.a, pair.b, pair.scale, i, j, config)


class _Rest(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x0: Tensor,
        x1: Tensor,
        a: Tensor,
        b: Tensor,
        scale: float,
        i: Tensor,
        j: Tensor,
        config: LossConfig,
    ) -> Tensor:
        differentiable = any(ctx.needs_input_grad)
        gradients = [torch.zeros_like(t) for t in (x0, x1, a, b)]
        blocks = list(row_blocks(len(x0), len(x1), x0))
        edges = [rows.start for rows in blocks] + [len(x0)]
        edges = torch.searchsorted(i, torch.tensor(edges, device=i.device)).tolist()
        sums = []
        for k, rows in enumerate(blocks):
            here = slice(edges[k], edges[k + 1])
            log_p = torch.mm(x0[rows], x1.t()).mul_(scale).add_(a[rows, None]).add_(b)
            matches = i[here] - rows.start, j[here]
            value, slope = _terms(log_p, matches, config, differentiable)
            sums.append(value)
            if slope is not None:
                torch.mm(slope, x1, out=gradients[0][rows])
                gradients[1].addmm_(slope.t(), x0[rows])
                torch.sum(slope, 1, out=gradients[2][rows])
                gradients[3].add_(slope.sum(0))
        if differentiable:
            gradients[0].mul_(scale)
            gradients[1].mul_(scale)
            ctx.save_for_backward(*gradients)
        return torch.stack(sums).sum() if sums else x0.new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, by_sum: Tensor) -> tuple:
        return (*(g * by_sum for g in ctx.saved_tensors), None, None, None, None)


def _terms(
    log_p: Tensor,
    matches: tuple[Tensor, Tensor],
    config: LossConfig,
    differentiable: bool,
) -> tuple[Tensor, Tensor | None]:
    """Sum of a block's negative terms, and their slopes; ``log_p`` is used up."""
    low, high = bounds(config)
    outside = None
    if config.clamp == "released" and differentiable:
        outside = (log_p < low).logical_or_(log_p > high)
    log_p.clamp_(low, high)
    P = log_p.exp()
    log_miss = P.neg().log1p_()
    # Towards P = 1 that loses digits. Few cells are there: one a row at most.
    near = (log_p > LOG_HALF).nonzero(as_tuple=True)
    exact = -torch.expm1(log_p[near])
    log_miss[near] = exact.log()
    focus = torch.mul(P, P, out=log_p) if config.gamma == 2 else P**config.gamma
    focus.mul_(config.alpha)
    focus[matches] = 0.0
    value = -torch.dot(focus.flatten(), log_miss.flatten())
    if not differentiable:
        return value, None
    miss = torch.rsub(P, 1)
    miss[near] = exact
    slope = P.div_(miss).sub_(log_miss, alpha=config.gamma).mul_(focus)
    if outside is not None:
        slope.masked_fill_(outside, 0.0)
    return value, slope
