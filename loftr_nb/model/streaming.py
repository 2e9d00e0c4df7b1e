"""Confidences without their matrix: blocks of rows, made when they are needed.

Both matchers end in the same form, ``log P_ij = scale x0_i . x1_j + a_i + b_j``.
Dual-softmax has ``-a`` and ``-b`` the log-sum-exp of the row and of the column,
optimal transport the potentials of its last round. So features and two vectors
say everything about L x S cells, and whoever needs cells multiplies a block of
rows again: that is cheaper than reading a matrix back from memory.

Everything here is of one pair and of its unpadded cells, so that padding costs
nothing and a pair's numbers do not depend on its batch. The plain matrix of
:meth:`.CoarseMatching.log_confidence` is the reference.

Letters: B pairs, L and S unpadded cells of image 0 and 1, C channels, M matches.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


def row_blocks(rows: int, columns: int, like: Tensor) -> Iterator[slice]:
    """Slices that cover ``rows``, each block small enough for its device."""
    # On a CPU a block and its copies stay in the cache, which is what makes
    # this fast; a GPU wants few and large kernels.
    size = 2**25 if like.is_cuda else 2**19
    step = max(1, size // max(columns, 1))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def exp_floored(exponents: Tensor) -> Tensor:
    """``exp`` in place, with e^-40 (float64: e^-300) for anything smaller.

    Nothing in a sum, but without it a CPU meets numbers below 1e-38 here and in
    products of two of these, and computes ten times as long with each.
    """
    floor = -300.0 if exponents.dtype == torch.float64 else -40.0
    return exponents.clamp_(min=floor).exp_()


def row_and_column_sums(x0: Tensor, x1: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Log-sum-exp of every row and of every column of ``scale x0 x1^T``.

    Args:
        x0, x1: (L, C) and (S, C), float32 or float64.

    Returns:
        (L,) and (S,), differentiable; in memory that grows with L + S.
    """
    return _Sums.apply(x0, x1, None, None, scale)


def transport_round(
    x0: Tensor, x1: Tensor, v: Tensor, lone: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """One round of Sinkhorn's iteration over the cells, without its matrix.

    Args:
        x0, x1: (L, C) and (S, C). v: (S,) potentials of the columns.
        lone: scalar, score of the dustbin column plus its potential.

    Returns:
        r (L,), the log-sum-exp of each row of ``scale x0 x1^T + v`` and ``lone``;
        and (S,), that of each column of ``scale x0 x1^T - r``.
    """
    return _Sums.apply(x0, x1, v, lone, scale)


class _Sums(torch.autograd.Function):
    """Rows first, then columns, of one block after the other.

    A row is complete within its block, so the columns can already use it: a
    round of transport needs one pass, not two.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x0: Tensor,
        x1: Tensor,
        v: Tensor | None,
        lone: Tensor | None,
        scale: float,
    ) -> tuple[Tensor, Tensor]:
        L, S = len(x0), len(x1)
        r = x0.new_full((L,), -torch.inf)
        top, total = x0.new_full((S,), -torch.inf), x0.new_zeros(S)
        for rows in row_blocks(L, S, x0) if S else ():
            z = torch.mm(x0[rows], x1.t()).mul_(scale)
            shifted = z.clone() if v is None else z + v
            largest = shifted.amax(1)
            shifted.sub_(largest[:, None])
            r[rows] = exp_floored(shifted).sum(1).log_().add_(largest)
            if lone is not None:
                r[rows] = torch.logaddexp(r[rows], lone)
                z.sub_(r[rows, None])
            higher = torch.maximum(top, z.amax(0))
            total.mul_((top - higher).exp_())
            total.add_(exp_floored(torch.sub(z, higher, out=shifted)).sum(0))
            top = higher
        c = top + total.log()
        ctx.save_for_backward(x0, x1, v, lone, r, c)
        ctx.scale = scale
        return r, c

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, by_r: Tensor, by_c: Tensor) -> tuple:
        x0, x1, v, lone, r, c = ctx.saved_tensors
        L, S = len(x0), len(x1)
        by_x0, by_x1 = torch.zeros_like(x0), torch.zeros_like(x1)
        by_v = None if v is None else torch.zeros_like(v)
        by_lone = None if lone is None else torch.zeros_like(lone)
        for rows in row_blocks(L, S, x0) if S else ():
            z = torch.mm(x0[rows], x1.t()).mul_(ctx.scale)
            slope = z - c
            by_row = by_r[rows]
            if lone is not None:
                slope.sub_(r[rows, None])
            exp_floored(slope).mul_(by_c)
            if lone is not None:
                by_row = by_row - slope.sum(1)
                by_lone += by_row @ (lone - r[rows]).exp_()
                z.add_(v)
            exp_floored(z.sub_(r[rows, None]))
            if v is not None:
                by_v += by_row @ z
            slope.addcmul_(z, by_row[:, None])
            torch.mm(slope, x1, out=by_x0[rows])
            by_x1.addmm_(slope.t(), x0[rows])
        return by_x0.mul_(ctx.scale), by_x1.mul_(ctx.scale), by_v, by_lone, None


class PairConfidence(NamedTuple):
    """log P of one pair's unpadded cells, ``scale x0_i . x1_j + a_i + b_j``.

    x0, x1: (L, C) and (S, C). a, b: (L,) and (S,).
    cells0, cells1: (L,) and (S,) numbers of these cells in the padded grid.
    dustbin0, dustbin1: (L,) and (S,) log P of having no match; None for
        dual-softmax.
    """

    x0: Tensor
    x1: Tensor
    scale: float
    a: Tensor
    b: Tensor
    cells0: Tensor
    cells1: Tensor
    dustbin0: Tensor | None = None
    dustbin1: Tensor | None = None

    def at(self, i: Tensor, j: Tensor) -> Tensor:
        """(M,) log P at cells (i, j), counted without padding; differentiable."""
        similarity = (self.x0[i] * self.x1[j]).sum(1)
        return self.scale * similarity + self.a[i] + self.b[j]

    def block(self, rows: slice) -> Tensor:
        """(rows, S) log P; no gradient flows through it."""
        x0, x1, a, b = (t.detach() for t in (self.x0, self.x1, self.a, self.b))
        z = torch.mm(x0[rows], x1.t()).mul_(self.scale)
        return z.add_(a[rows, None]).add_(b)

    def only(self, keep0: Tensor, keep1: Tensor) -> PairConfidence:
        """The same confidences of fewer cells; ``keep0/1`` are (L,) and (S,) bool."""
        x0, a, cells0 = self.x0[keep0], self.a[keep0], self.cells0[keep0]
        x1, b, cells1 = self.x1[keep1], self.b[keep1], self.cells1[keep1]
        return PairConfidence(x0, x1, self.scale, a, b, cells0, cells1)


class BestCells(NamedTuple):
    """The largest log P of each row and column of a batch, and where it stands.

    value0, value1: (B, L) and (B, S), ``-inf`` for padded cells.
    j_of, i_of: (B, L) and (B, S) the first cell that has it; 0 for padded ones.
    """

    value0: Tensor
    value1: Tensor
    j_of: Tensor
    i_of: Tensor


class StreamedConfidence:
    """log P of all cells of a batch, without a matrix.

    pairs: one :class:`PairConfidence` each. cells: L and S with padding.
    """

    def __init__(self, pairs: list[PairConfidence], cells: tuple[int, int]) -> None:
        self.pairs = pairs
        self.cells = cells
        self._best: BestCells | None = None

    @torch.no_grad()
    def best(self) -> BestCells:
        """Row and column maxima; one pass, made once."""
        if self._best is None:
            found = [_best_of_pair(pair, *self.cells) for pair in self.pairs]
            self._best = BestCells(*map(torch.stack, zip(*found, strict=True)))
        return self._best

    @torch.no_grad()
    def without_unmatched(self) -> StreamedConfidence:
        """Less the rows and columns that the dustbin takes."""
        best = self.best()
        pairs = [
            pair.only(
                best.value0[n, pair.cells0] >= pair.dustbin0,
                best.value1[n, pair.cells1] >= pair.dustbin1,
            )
            for n, pair in enumerate(self.pairs)
        ]
        return StreamedConfidence(pairs, self.cells)


def _best_of_pair(pair: PairConfidence, L: int, S: int) -> tuple[Tensor, ...]:
    """The fields of :class:`BestCells` for one pair, in the padded grid."""
    l, s = len(pair.cells0), len(pair.cells1)  # noqa: E741
    value0, value1 = (pair.a.new_full((n,), -torch.inf) for n in (l, s))
    j_of, i_of = (torch.zeros_like(cells) for cells in (pair.cells0, pair.cells1))
    for rows in row_blocks(l, s, pair.a) if s else ():
        block = pair.block(rows)
        value0[rows], j_of[rows] = block.max(1)
        value, row = block.max(0)
        higher = value > value1  # of equal ones the first row stays
        value1 = torch.where(higher, value, value1)
        i_of = torch.where(higher, row + rows.start, i_of)
    full = [value0.new_full((n,), -torch.inf) for n in (L, S)]
    full += [j_of.new_zeros(n) for n in (L, S)]
    full[0][pair.cells0], full[1][pair.cells1] = value0, value1
    if l and s:
        full[2][pair.cells0] = pair.cells1[j_of]
        full[3][pair.cells1] = pair.cells0[i_of]
    return tuple(full)
