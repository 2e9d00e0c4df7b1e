"""From a coarse match to a point: windows of the fine map, and an expectation.

Around both cells of a match a small window of the fine map is cut out, the coarse
features are merged in, a transformer looks across, and the centre of window 0 is
compared with every place of window 1. The expectation of that heat map is the
point; its spread says how sure the network is. Source: LoFTR, section 3.4.

Letters: B pairs, M matches, W side of the window, C channels (fine).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..geometry import COARSE_STRIDE, FINE_STRIDE

FINE_PER_COARSE = COARSE_STRIDE // FINE_STRIDE
VARIANCE_FLOOR = 1e-10  # the slope of a square root at 0 is infinite


class FineOffsets(NamedTuple):
    """Where M matches land in image 1, relative to their coarse cells.

    offset: (M, 2) x and y in units of the window's radius, within [-1, 1].
    std: (M,) spread of the heat map in the same units, x plus y.
    """

    offset: Tensor
    std: Tensor


class FinePreprocess(nn.Module):
    """Cuts windows at matches and merges the coarse features into them."""

    def __init__(self, coarse_dim: int, fine_dim: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.down_proj = nn.Linear(coarse_dim, fine_dim)
        self.merge_feat = nn.Linear(2 * fine_dim, fine_dim)
        for layer in (self.down_proj, self.merge_feat):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(
        self, fine: Tensor, coarse: Tensor, grid: tuple[int, int], b: Tensor, i: Tensor
    ) -> Tensor:
        """Windows of one image.

        Args:
            fine: (B, C, 4h, 4w) fine map. coarse: (B, h * w, coarse_dim).
            grid: (h, w). b, i: (M,) pair and coarse cell.

        Returns:
            (M, W * W, C), row by row.
        """
        windows = gather_windows(fine, grid, b, i, self.window)
        context = self.down_proj(coarse[b, i])[:, None, :].expand_as(windows)
        return self.merge_feat(torch.cat([windows, context.to(windows.dtype)], -1))


def gather_windows(
    fine: Tensor, grid: tuple[int, int], b: Tensor, i: Tensor, window: int
) -> Tensor:
    """Windows of the fine map around the corners of coarse cells.

    Only the wanted windows are read: unfolding the whole map would make it
    ``window**2 / 16`` times larger. Places outside the map are 0.

    Returns:
        (M, window**2, C), row by row; its centre is the cell's corner.
    """
    B, C, H, W = fine.shape
    reach = torch.arange(window, device=fine.device) - window // 2
    y = (i // grid[1] * FINE_PER_COARSE)[:, None, None] + reach[:, None]
    x = (i % grid[1] * FINE_PER_COARSE)[:, None, None] + reach
    inside = (y >= 0) & (y < H) & (x >= 0) & (x < W)
    place = (b[:, None, None] * H + y.clamp(0, H - 1)) * W + x.clamp(0, W - 1)
    # One row of channels a place: reading rows, and adding gradients back to
    # them, is many times faster than indexing a (B, C, H, W) map.
    rows = fine.permute(0, 2, 3, 1).reshape(B * H * W, C)
    windows = rows.index_select(0, place.flatten()).reshape(-1, window**2, C)
    return torch.where(inside.flatten(1)[..., None], windows, 0.0)


def expected_offset(window0: Tensor, window1: Tensor) -> FineOffsets:
    """Expectation and spread of the centre of window 0 over window 1.

    Args:
        window0, window1: (M, W * W, C) after the fine transformer.

    Returns:
        float32 offsets and spreads (float64 for float64); M = 0 gives empty ones.
    """
    M, places, C = window1.shape
    with torch.autocast(window0.device.type, enabled=False):
        dtype = torch.promote_types(window0.dtype, torch.float32)
        centre = window0[:, places // 2].to(dtype)
        scores = (window1.to(dtype) @ centre[:, :, None])[..., 0]
        heat = (scores / C**0.5).softmax(dim=1)
        grid = window_grid(round(places**0.5), heat)
        offset = heat @ grid
        variance = heat @ grid**2 - offset**2
        std = variance.clamp(min=VARIANCE_FLOOR).sqrt().sum(dim=1)
    return FineOffsets(offset, std)


def window_grid(window: int, like: Tensor) -> Tensor:
    """(window**2, 2) x and y from -1 to 1, row by row, with dtype and device."""
    side = torch.linspace(-1, 1, window, device=like.device, dtype=like.dtype)
    y, x = torch.meshgrid(side, side, indexing="ij")
    return torch.stack([x, y], dim=-1).reshape(-1, 2)
