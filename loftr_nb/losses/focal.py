"""Focal terms in log space, and their sum over a whole matrix in little memory.

Everything takes log P, because P itself gets lost: an even dual-softmax matrix
of a 640x480 pair has P = 4e-8, and a wrong one may have P = 1e-40. The term of
a match needs log P only; the term of any other cell needs log(1 - P), which
:func:`log1mexp` takes from log P without cancellation.

Letters: B pairs, L and S coarse cells of image 0 and 1, M matches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from .config import LossConfig

# The released clamp keeps P in [1e-6, 1 - 1e-6]; these are its logarithms.
LOG_P_MIN = math.log(1e-6)
LOG_P_MAX = math.log1p(-1e-6)
LOG_HALF = -math.log(2.0)


def log1mexp(x: Tensor) -> Tensor:
    """log(1 - e^x) for x < 0, accurate at both ends (Maechler, 2012).

    So is its derivative: each form is given only what it is good for, since a
    slope of infinity times a choice of 0 would be NaN.
    """
    near = torch.log(-torch.expm1(x.clamp(min=LOG_HALF)))
    far = torch.log1p(-torch.exp(x.clamp(max=LOG_HALF)))
    return torch.where(x > LOG_HALF, near, far)


def positive_term(log_p: Tensor, config: LossConfig) -> Tensor:
    """``-alpha (1 - P)^gamma log P`` of matches, any shape, differentiable.

    With ``clamp="log"`` no match is silenced: towards P = 0 the derivative by
    log P is ``-alpha``. With ``"released"`` it is exactly 0 below P = 1e-6.
    """
    if config.clamp == "released":
        log_p = log_p.clamp(LOG_P_MIN, LOG_P_MAX)
    else:
        # Rounding may leave log P a hair above 0, where the power has no value.
        log_p = log_p.clamp(max=0.0)
    miss = -torch.expm1(log_p)  # 1 - P
    return -config.alpha * miss**config.gamma * log_p


def negative_term(log_p: Tensor, config: LossConfig) -> Tensor:
    """``-alpha P^gamma log(1 - P)`` of other cells, any shape, differentiable.

    log(1 - P) has no bound towards P = 1; both settings hold its value at
    P = 1 - 1e-6. ``"released"`` thereby stops the gradient as well: the surest
    mistakes teach nothing. ``"log"`` goes on with the slope of that point. It is
    steep by log P (alpha x 1e6), but log P of a softmax is flat there, by
    1 - P: what reaches the features stays of the size of alpha.
    """
    at = _held(log_p, config)
    if config.clamp == "log":
        # The held value, with the gradient of what is inside the bounds.
        at = log_p + (at - log_p).detach()
    return _negative_value(at, config)


def bounds(config: LossConfig) -> tuple[float, float]:
    """Least and largest log P at which a negative term is computed."""
    if config.clamp == "released":
        return LOG_P_MIN, LOG_P_MAX
    # Below, the term is under e^-80 and nothing in a sum, but a CPU takes ten
    # times as long over float32 numbers that small.
    return -80 / (config.gamma + 1), LOG_P_MAX


def _held(log_p: Tensor, config: LossConfig) -> Tensor:
    """log P within bounds where its negative term has a value and is cheap."""
    return log_p.clamp(*bounds(config))


def _negative_value(at: Tensor, config: LossConfig) -> Tensor:
    return -config.alpha * torch.exp(config.gamma * at) * log1mexp(at)


def _negative_slope(log_p: Tensor, config: LossConfig) -> Tensor:
    """Derivative of :func:`negative_term` by log P."""
    at = _held(log_p, config)
    odds = 1 / torch.expm1(-at)  # P / (1 - P)
    focus = config.alpha * torch.exp(config.gamma * at)
    slope = focus * (odds - config.gamma * log1mexp(at))
    if config.clamp == "released":
        slope = slope.masked_fill_((log_p < LOG_P_MIN) | (log_p > LOG_P_MAX), 0.0)
    return slope


def matches_and_rest(
    cells: Tensor,
    matches: tuple[Tensor, Tensor, Tensor],
    masks: tuple[Tensor | None, Tensor | None],
    config: LossConfig,
) -> tuple[Tensor, Tensor]:
    """Split a matrix into its matches and the summed loss of all other cells.

    The same as ``cells[b, i, j]`` and a sum of :func:`negative_term` over a
    mask, in less memory: the sum runs over blocks of rows, and the backward
    pass recomputes each block, so neither a mask nor any intermediate of the
    matrix's size is kept. Matches are left out of a block before it is summed;
    subtracting them afterwards would cancel digits.

    Args:
        cells: (B, L, S) log P, float32 or float64.
        matches: b, i, j, each (M,), sorted by b, then i; no cell twice.
        masks: (B, L) and (B, S) bool or None; False cells count nothing.

    Returns:
        log P at the matches (M,), and the sum over all other cells (B,).
    """
    return _MatchesAndRest.apply(cells, *matches, *masks, config)


class _MatchesAndRest(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        cells: Tensor,
        b: Tensor,
        i: Tensor,
        j: Tensor,
        mask0: Tensor | None,
        mask1: Tensor | None,
        config: LossConfig,
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(cells, b, i, j, mask0, mask1)
        ctx.config = config
        sums: list[list[Tensor]] = [[] for _ in cells]
        for pair, rows, here in _blocks(cells, b, i):
            term = _negative_value(_held(cells[pair, rows], config), config)
            term[i[here] - rows.start, j[here]] = 0.0
            _hide(term, mask0, mask1, pair, rows)
            sums[pair].append(term.sum())
        rest = torch.stack([torch.stack(s).sum() for s in sums])
        return cells[b, i, j], rest

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, by_match: Tensor, by_rest: Tensor) -> tuple:
        cells, b, i, j, mask0, mask1 = ctx.saved_tensors
        gradient = torch.empty_like(cells)
        for pair, rows, _ in _blocks(cells, b, i):
            slope = _negative_slope(cells[pair, rows], ctx.config)
            _hide(slope, mask0, mask1, pair, rows)
            torch.mul(slope, by_rest[pair], out=gradient[pair, rows])
        gradient[b, i, j] = by_match
        return gradient, None, None, None, None, None, None


def _blocks(cells: Tensor, b: Tensor, i: Tensor) -> Iterator[tuple[int, slice, slice]]:
    """(pair, rows, matches in these rows) of blocks that cover the matrix.

    A block never holds rows of two pairs: a pair's sum is then the same to the
    last bit whatever batch it stands in.
    """
    B, L, S = cells.shape
    # On a CPU a block's intermediates stay in its cache, which is what makes
    # this fast; a GPU wants few and large kernels.
    size = 2**25 if cells.is_cuda else 2**18
    step = max(1, size // max(S, 1))
    starts = range(0, L, step)
    edges = [pair * L + row for pair in range(B) for row in starts]
    edges = torch.tensor([*edges, B * L], device=b.device)
    bounds = torch.searchsorted(b * L + i, edges).tolist()
    at = 0
    for pair in range(B):
        for row in starts:
            here = slice(bounds[at], bounds[at + 1])
            yield pair, slice(row, min(row + step, L)), here
            at += 1


def _hide(
    block: Tensor,
    mask0: Tensor | None,
    mask1: Tensor | None,
    pair: int,
    rows: slice,
) -> None:
    if mask0 is not None:
        block.masked_fill_(~mask0[pair, rows, None], 0.0)
    if mask1 is not None:
        block.masked_fill_(~mask1[pair], 0.0)
