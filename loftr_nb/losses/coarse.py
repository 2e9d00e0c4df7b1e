"""The coarse loss: focal loss on the confidence of cells, in its 2 x 2 versions.

Let P be a cell's confidence. A match wants P near 1 and costs
``-alpha (1 - P)^gamma log P``; any other cell wants P near 0 and costs
``-alpha P^gamma log(1 - P)`` (LoFTR, section 3.5; focal loss, arXiv 1708.02002).

============  ======================  =========================================
supervision   dual-softmax (ds)       optimal transport (ot)
============  ======================  =========================================
``dense``     mean over matches       the same, on the cells of P; the dustbins
              + mean over all others  are not supervised
``sparse``    mean over matches       mean over matches + mean over the dustbin
                                      entries of rows and columns without one
============  ======================  =========================================

The paper describes ``sparse``; the released scripts train ``dense``, which scores
better. The released documentation has the flag the wrong way round: in the code
``SPARSE_SPVS = False``, which the ``*_dense`` configurations set, trains ``dense``.

Each mean is one pair's own, and over cells of the image only. The released code
takes them over the whole batch and counts padded cells in the denominator; here
neither the other pairs of a batch nor its padding changes a pair's loss.

Letters: B pairs, L and S coarse cells of image 0 and 1, M matches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .config import LossConfig
from .focal import matches_and_rest, positive_term

if TYPE_CHECKING:
    from ..model.coarse_matching import LogConfidence
    from ..supervision.coarse import CoarseSupervision


def coarse_loss(
    log_conf: LogConfidence, supervision: CoarseSupervision, config: LossConfig
) -> Tensor:
    """Coarse loss of each pair, (B,), in float32 (float64 for float64 input).

    Whether the matcher is dual-softmax or optimal transport shows in the
    dustbins of ``log_conf``: the latter has them.

    A pair without a match has exactly 0 from its matches: with dense
    supervision all its cells are others, with sparse dual-softmax nothing is
    left and its loss is an exact 0 that still carries a gradient (of 0).
    """
    with torch.autocast(log_conf.cells.device.type, enabled=False):
        cells = at_least_float32(log_conf.cells)
        if config.supervision == "dense":
            return _dense(cells, supervision, config)
        b, i, j = supervision.b, supervision.i, supervision.j
        terms = positive_term(cells[b, i, j], config)
        loss = mean_per_pair(terms, b, supervision.batch)
        if log_conf.dustbin0 is not None:
            loss = loss + _dustbins(log_conf, supervision, config)
        return loss


def _dense(cells: Tensor, spv: CoarseSupervision, config: LossConfig) -> Tensor:
    matches, rest = matches_and_rest(
        cells, (spv.b, spv.i, spv.j), (spv.mask0, spv.mask1), config
    )
    positives = mean_per_pair(positive_term(matches, config), spv.b, spv.batch)
    L, S = cells.shape[1:]
    # Counted in int64: a 640x480 pair has 2.3e7 cells, float32 is exact to 1.7e7.
    cells0 = L if spv.mask0 is None else spv.mask0.sum(1)
    cells1 = S if spv.mask1 is None else spv.mask1.sum(1)
    others = (cells0 * cells1 - spv.counts).clamp(min=1)
    return positives + rest / others.to(rest.dtype)


def _dustbins(
    log_conf: LogConfidence, spv: CoarseSupervision, config: LossConfig
) -> Tensor:
    """Mean over the dustbin entries of unmatched rows and columns, (B,).

    A dustbin entry is a positive: a cell without a match belongs there.
    """
    rows = _unmatched(log_conf.dustbin0, spv.b, spv.i, spv.mask0)
    columns = _unmatched(log_conf.dustbin1, spv.b, spv.j, spv.mask1)
    lonely = torch.cat([rows, columns], dim=1)
    log_p = at_least_float32(torch.cat([log_conf.dustbin0, log_conf.dustbin1], 1))
    terms = torch.where(lonely, positive_term(log_p, config), 0.0)
    return terms.sum(1) / lonely.sum(1).clamp(min=1)


def _unmatched(dustbin: Tensor, b: Tensor, cell: Tensor, mask: Tensor | None) -> Tensor:
    """(B, N) bool, True for cells of the image that have no match."""
    lonely = torch.ones_like(dustbin, dtype=torch.bool) if mask is None else mask
    lonely = lonely.clone()
    lonely[b, cell] = False
    return lonely


def mean_per_pair(values: Tensor, b: Tensor, batch: int) -> Tensor:
    """Mean of the (M,) values of each pair, (B,); exactly 0 for a pair of none.

    Args:
        values: (M,) finite. b: (M,) which pair each belongs to, in any order.
    """
    # A (B, M) comparison instead of index_add_: that adds in another order
    # every time on a GPU, and a resumed run would drift from the first one.
    own = b == torch.arange(batch, device=b.device)[:, None]
    return torch.where(own, values, 0.0).sum(1) / own.sum(1).clamp(min=1)


def at_least_float32(values: Tensor) -> Tensor:
    """float16 and bfloat16 become float32; float32 and float64 stay."""
    return values.float() if values.dtype.itemsize < 4 else values
