"""Coarse supervision: which cell of image 0 matches which cell of image 1.

The corner of each cell is moved into the other image and rounded to the nearest
cell there. (i, j) is a match when i lands on j and j lands on i (LoFTR paper,
section 3.5; mutual nearest cells). Occlusion is not checked: the authors found
that a check of depth consistency makes results worse.

Letters: B pairs, L and S coarse cells of image 0 and 1, M matches.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..datasets.pair import Batch
from ..geometry import COARSE_STRIDE, Warp, cell_corners

NOWHERE = -1  # the cell of a corner without an answer; cell 0 is a real place


@dataclass
class CoarseSupervision:
    """The matching cells of a batch, and the warps they came from.

    b, i, j: (M,) int64: cell ``i[m]`` of image 0 and cell ``j[m]`` of image 1 of
        pair ``b[m]`` match. Sorted by b, then i. A cell is in one match at most.
    grid0, grid1: rows and columns of cells. batch: B.
    warped0: (B, L, 2) corners of image 0 in original pixels of image 1; NaN
        where unknown or padded. A known one may lie outside image 1.
    corners1: (B, S, 2) corners of image 1, original pixels.
    mask0, mask1: (B, L) and (B, S) bool, True = image; None = no padding.
    """

    b: Tensor
    i: Tensor
    j: Tensor
    grid0: tuple[int, int]
    grid1: tuple[int, int]
    batch: int
    warped0: Tensor
    corners1: Tensor
    mask0: Tensor | None = None
    mask1: Tensor | None = None

    def __len__(self) -> int:
        return self.b.shape[0]

    @property
    def counts(self) -> Tensor:
        """(B,) int64, matches of each pair."""
        zeros = torch.zeros(self.batch, dtype=torch.int64, device=self.b.device)
        return zeros.index_add_(0, self.b, torch.ones_like(self.b))

    def matrix(self) -> Tensor:
        """(B, L, S) float, 1 at the matches: to look at, and for small cases.

        92 MB a pair at 640x480. Losses read the indices instead.
        """
        L = self.grid0[0] * self.grid0[1]
        S = self.grid1[0] * self.grid1[1]
        full = self.warped0.new_zeros(self.batch, L, S)
        full[self.b, self.i, self.j] = 1
        return full


@torch.no_grad()
def coarse_supervision(
    warp: Warp,
    grid0: tuple[int, int],
    grid1: tuple[int, int],
    scale0: Tensor,
    scale1: Tensor,
    mask0: Tensor | None = None,
    mask1: Tensor | None = None,
) -> CoarseSupervision:
    """Find the mutual nearest cells of each pair.

    No match comes from a corner that is padded, has no depth, lies behind the
    other camera or lands outside the other image. Cell (0, 0) is a cell like
    any other. A pose that is not finite gives a pair without matches: readers
    refuse it by name, and a check here would make a GPU wait in every step.

    Args:
        warp: moves original pixels between the images; its tensors and the
            scales share one dtype (float32 or float64).
        grid0, grid1: rows and columns of coarse cells.
        scale0, scale1: (B, 2) original pixels per input pixel.
        mask0, mask1: (B, h, w) or (B, h * w) bool, True = image.
    """
    corners0, corners1 = cell_corners(grid0, scale0), cell_corners(grid1, scale1)
    mask0, mask1 = _flat(mask0), _flat(mask1)
    warped0 = _hide(warp.to1(corners0).points, mask0)
    warped1 = _hide(warp.to0(corners1).points, mask1)
    lands0 = _nearest_cell(warped0, grid1, scale1)  # (B, L) cells of image 1
    lands1 = _nearest_cell(warped1, grid0, scale0)  # (B, S) cells of image 0
    # A padded cell of image 1 has hidden its own answer: nobody comes back.
    back = lands1.gather(1, lands0.clamp(min=0))
    cells0 = torch.arange(lands0.shape[1], device=lands0.device)
    mutual = (lands0 != NOWHERE) & (back == cells0)
    b, i = mutual.nonzero(as_tuple=True)
    return CoarseSupervision(
        b=b,
        i=i,
        j=lands0[b, i],
        grid0=grid0,
        grid1=grid1,
        batch=scale0.shape[0],
        warped0=warped0,
        corners1=corners1,
        mask0=mask0,
        mask1=mask1,
    )


def supervise(batch: Batch) -> CoarseSupervision:
    """:func:`coarse_supervision` of a batch, by whatever warp its pairs carry."""
    return coarse_supervision(
        batch.warp(),
        batch.grid0,
        batch.grid1,
        batch.scale0,
        batch.scale1,
        batch.mask0,
        batch.mask1,
    )


def _nearest_cell(points: Tensor, grid: tuple[int, int], scale: Tensor) -> Tensor:
    """(B, N) number of the cell whose corner is nearest, NOWHERE outside."""
    h, w = grid
    cell = (points / (COARSE_STRIDE * scale[:, None])).round()
    x, y = cell.unbind(-1)
    inside = (x >= 0) & (x < w) & (y >= 0) & (y < h)  # False for NaN
    # To integers only where inside: a far point overflows, NaN is undefined.
    number = torch.where(inside, y * w + x, NOWHERE)
    return number.long()


def _hide(points: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return points
    return torch.where(mask[..., None], points, torch.nan)


def _flat(mask: Tensor | None) -> Tensor | None:
    return None if mask is None else mask.reshape(mask.shape[0], -1).bool()
