"""Coarse cells and where they sit.

Letters: B pairs, h and w rows and columns of cells, L = h * w cells.
"""

from __future__ import annotations

import torch
from torch import Tensor

COARSE_STRIDE = 8  # input pixels from one coarse cell to the next
FINE_STRIDE = 2  # input pixels from one fine cell to the next


def cell_corners(grid: tuple[int, int], scale: Tensor) -> Tensor:
    """Corners of all coarse cells, in pixels of the original image.

    A cell sits on its top-left corner, input pixel (8x, 8y), not on its centre:
    the backbone's strided convolutions are centred there.

    Args:
        grid: (h, w), rows and columns of cells.
        scale: (B, 2) original pixels per input pixel, x then y.

    Returns:
        (B, h * w, 2) x and y, row by row.
    """
    h, w = grid
    y, x = torch.meshgrid(
        torch.arange(h, device=scale.device, dtype=scale.dtype),
        torch.arange(w, device=scale.device, dtype=scale.dtype),
        indexing="ij",
    )
    cells = torch.stack([x, y], dim=-1).reshape(1, h * w, 2)
    return cells * (COARSE_STRIDE * scale[:, None])
