"""Optimal transport with a dustbin, solved in log space.

Every cell of image 0 sends a mass of 1 to cells of image 1 or to a dustbin, every
cell of image 1 receives a mass of 1 likewise, and the dustbins take what is left:
the dustbin row may send as much as image 1 has cells, the dustbin column may
receive as much as image 0 has. Sinkhorn's iteration scales rows and columns in
turn until both sums hold. Source: Cuturi, "Sinkhorn distances", 2013; the dustbin
and its marginals as in SuperGlue, section 3.3, which LoFTR-OT uses.

Letters: B pairs, L and S cells of image 0 and 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .streaming import transport_round

# Score of a cell that takes no part. Finite, because -inf - (-inf) is NaN.
NO_SCORE = -1e9


def log_sinkhorn(
    scores: Tensor,
    dustbin: Tensor,
    iterations: int,
    mask0: Tensor | None = None,
    mask1: Tensor | None = None,
) -> Tensor:
    """Log probability of every assignment, dustbins included.

    Args:
        scores: (B, L, S) similarity of the cells.
        dustbin: scalar, the learned score of matching nothing.
        iterations: how often rows and then columns are scaled. Columns come
            last, so their sums are exact and those of the rows nearly so.
        mask0, mask1: (B, L) and (B, S) bool, False = padding. Padded rows and
            columns take no part, and the dustbins' masses count the others only.

    Returns:
        (B, L + 1, S + 1) log P, dustbins last; about ``NO_SCORE`` in padded rows
        and columns. A row of a real cell sums to about 1 in probability.
    """
    B, L, S = scores.shape
    rows, columns = _taking_part(mask0, B, L, scores), _taking_part(mask1, B, S, scores)
    z = _with_dustbins(scores, dustbin)
    if mask0 is not None or mask1 is not None:
        z = z.masked_fill(~(rows[:, :, None] & columns[:, None, :]), NO_SCORE)
    # Masses relative to the whole, so that the iteration starts near balance.
    n0, n1 = rows[:, :-1].sum(1), columns[:, :-1].sum(1)
    whole = (n0 + n1).clamp(min=1).to(z.dtype).log()[:, None]
    log_mu = _log_masses(rows, others=n1, dtype=z.dtype) - whole
    log_nu = _log_masses(columns, others=n0, dtype=z.dtype) - whole
    u, v = torch.zeros_like(log_mu), torch.zeros_like(log_nu)
    for _ in range(iterations):
        u = log_mu - torch.logsumexp(z + v[:, None, :], dim=2)
        u = u.masked_fill(~rows, 0.0)
        v = log_nu - torch.logsumexp(z + u[:, :, None], dim=1)
        v = v.masked_fill(~columns, 0.0)
    return z + (u + whole)[:, :, None] + v[:, None, :]


def streamed_sinkhorn(
    x0: Tensor, x1: Tensor, scale: float, dustbin: Tensor, iterations: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """:func:`log_sinkhorn` of the scores ``scale x0 x1^T``, without a matrix.

    Of one pair without padding. A dustbin scores the same against every cell, so
    its row and column are sums over vectors.

    Args:
        x0, x1: (L, C) and (S, C). Others as in :func:`log_sinkhorn`.

    Returns:
        a (L,) and b (S,), so that log P of cells is ``scale x0 x1^T + a + b``; and
        log P of having no match, (L,) and (S,).
    """
    L, S = len(x0), len(x1)
    bin_score = dustbin.to(x0.dtype)
    whole = math.log(max(L + S, 1))
    mass0, mass1 = (math.log(max(n, 1)) - whole for n in (S, L))
    v, v_bin = x1.new_zeros(S), x1.new_zeros(())
    for _ in range(iterations):
        rows, columns = transport_round(x0, x1, v, bin_score + v_bin, scale)
        u = -whole - rows
        u_bin = mass0 - bin_score - _total(v, v_bin)
        # The round counts the columns with -rows where u belongs.
        v = -whole - torch.logaddexp(columns - whole, bin_score + u_bin)
        v_bin = mass1 - bin_score - _total(u, u_bin)
    a = u + whole
    return a, v, bin_score + a + v_bin, bin_score + u_bin + whole + v


def _total(potentials: Tensor, of_bin: Tensor) -> Tensor:
    """Scalar: log-sum-exp over the cells and the dustbin."""
    return torch.logsumexp(torch.cat([potentials, of_bin[None]]), 0)


def _taking_part(mask: Tensor | None, B: int, N: int, like: Tensor) -> Tensor:
    """(B, N + 1) bool: cells that are no padding, and the dustbin."""
    part = torch.ones(B, N + 1, dtype=torch.bool, device=like.device)
    if mask is not None:
        part[:, :N] = mask
    return part


def _with_dustbins(scores: Tensor, dustbin: Tensor) -> Tensor:
    B, L, S = scores.shape
    bin_score = dustbin.to(scores.dtype)
    wide = torch.cat([scores, bin_score.expand(B, L, 1)], dim=2)
    return torch.cat([wide, bin_score.expand(B, 1, S + 1)], dim=1)


def _log_masses(part: Tensor, others: Tensor, dtype: torch.dtype) -> Tensor:
    """(B, N + 1) log mass: 0 of a cell, log of the other side's count for a dustbin."""
    masses = torch.zeros(part.shape, dtype=dtype, device=part.device)
    # An image that is all padding leaves the other's dustbin without a claim; a
    # mass of 1 keeps its logarithm finite.
    masses[:, -1] = others.clamp(min=1).to(dtype).log()
    return masses
