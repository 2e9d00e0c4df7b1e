"""Where a cell lies, added to what it shows: sines and cosines of x and y.

Two versions exist. The released code writes the frequency exponent as
``-ln(1e4) / d // 2``, which Python reads as ``(-ln(1e4) / d) // 2`` and floors to
-1; ``-ln(1e4) / (d // 2)`` is meant. The published indoor_ds, indoor_ot,
outdoor_ds and outdoor_ot weights are trained with the slip and need it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def frequencies(
    channels: int, version: str, device: torch.device | None = None
) -> Tensor:
    """(channels / 4,) radians per cell, from fast to slow; ``fixed`` or ``released``.

    Those of ``released`` fall by e^-2 each: after a few channels hardly anything of
    the position is left.
    """
    steps = torch.arange(0, channels // 2, 2, dtype=torch.float32, device=device)
    if version == "released":
        return torch.exp(steps * float(-math.log(1e4) / channels // 2))
    return torch.exp(steps * (-math.log(1e4) / (channels // 2)))


class PositionEncoding(nn.Module):
    """Adds the encoding to a map of any size.

    It has neither weights nor buffers: it is computed in float32 at every call, so
    that a model cast to half precision does not round its angles (cell 200 at full
    frequency needs more than the 11 bits of float16).

    Args:
        channels: of the map, divisible by 4.
        version: ``fixed`` or ``released``, see the top of this file.
    """

    def __init__(self, channels: int, version: str) -> None:
        super().__init__()
        self.channels = channels
        self.version = version

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to the same shape, in the same dtype."""
        h, w = x.shape[-2:]
        return x + self.encoding(h, w, x.device).to(x.dtype)

    def encoding(self, h: int, w: int, device: torch.device | None = None) -> Tensor:
        """(C, h, w). Channel 4k is sin x, then cos x, sin y, cos y; cells from 1."""
        rate = frequencies(self.channels, self.version, device)[:, None]
        ax = rate * torch.arange(1, w + 1, device=device)
        ay = rate * torch.arange(1, h + 1, device=device)
        four = torch.stack(
            [
                ax.sin()[:, None, :].expand(-1, h, w),
                ax.cos()[:, None, :].expand(-1, h, w),
                ay.sin()[:, :, None].expand(-1, h, w),
                ay.cos()[:, :, None].expand(-1, h, w),
            ],
            dim=1,
        )
        return four.flatten(0, 1)
