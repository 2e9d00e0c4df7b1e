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


def frequencies(channels: int, version: str) -> Tensor:
    """(channels / 4,) radians per cell, from fast to slow; ``fixed`` or ``released``.

    Every position encoding of ``released`` ends at practically zero frequency
    (e^-2, e^-4, ...): most of its channels say nothing of where a cell lies.
    """
    steps = torch.arange(0, channels // 2, 2, dtype=torch.float32)
    if version == "released":
        return torch.exp(steps * float(-math.log(1e4) / channels // 2))
    return torch.exp(steps * (-math.log(1e4) / (channels // 2)))


class PositionEncoding(nn.Module):
    """Adds the encoding to a map of any size; nothing of it is saved.

    Args:
        channels: of the map, divisible by 4.
        version: ``fixed`` or ``released``, see the top of this file.
    """

    def __init__(self, channels: int, version: str) -> None:
        super().__init__()
        self.version = version
        self.register_buffer(
            "frequencies", frequencies(channels, version), persistent=False
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to the same shape, in the same dtype."""
        return x + self.encoding(x.shape[-2], x.shape[-1]).to(x.dtype)

    def encoding(self, h: int, w: int) -> Tensor:
        """(C, h, w). Channel 4k is sin x, then cos x, sin y, cos y; cells from 1."""
        # A model cast to half precision must not round the angles: cell 200 at
        # full frequency needs more than the 11 bits of float16.
        rate = self.frequencies.float()[:, None]
        ax = rate * torch.arange(1, w + 1, device=rate.device)
        ay = rate * torch.arange(1, h + 1, device=rate.device)
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
