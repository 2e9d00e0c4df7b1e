"""Encoder layers, and the alternation of self- and cross-attention.

Letters: B pairs, L and S tokens of image 0 and 1, C channels, N heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .attention import full_attention, linear_attention
from .recompute import recomputed


class EncoderLayer(nn.Module):
    """One look from ``x`` at ``source``, added to ``x``.

    The message from the source is normalised, put beside ``x``, sent through a
    two-layer network, normalised again and added. Source: LoFTR, figure 3.

    Args:
        channels: C, divisible by ``heads``.
        attention: ``linear`` or ``full``.
    """

    def __init__(self, channels: int, heads: int, attention: str) -> None:
        super().__init__()
        self.heads = heads
        self.attend = linear_attention if attention == "linear" else full_attention
        self.q_proj = nn.Linear(channels, channels, bias=False)
        self.k_proj = nn.Linear(channels, channels, bias=False)
        self.v_proj = nn.Linear(channels, channels, bias=False)
        self.merge = nn.Linear(channels, channels, bias=False)
        self.mlp = nn.Sequential(
            nn.Linear(2 * channels, 2 * channels, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(2 * channels, channels, bias=False),
        )
        self.norm1 = nn.LayerNorm(channels)
        self.norm2 = nn.LayerNorm(channels)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(
        self, x: Tensor, source: Tensor, source_mask: Tensor | None = None
    ) -> Tensor:
        """(B, L, C) and (B, S, C) to (B, L, C); source_mask (B, S), False = padding."""
        query, key, value = (
            project(tokens).unflatten(-1, (self.heads, -1))
            for project, tokens in (
                (self.q_proj, x),
                (self.k_proj, source),
                (self.v_proj, source),
            )
        )
        message = self.attend(query, key, value, source_mask).flatten(-2)
        message = self.norm1(self.merge(message))
        message = self.norm2(self.mlp(torch.cat([x, message], dim=-1)))
        return x + message


class Transformer(nn.Module):
    """``pairs`` times self-attention in each image, then attention across.

    Args:
        channels, heads, attention: as in :class:`EncoderLayer`.
        pairs: number of (self, cross) pairs; ``layers`` holds twice as many.
        recompute: keep each layer's input only, and make what lies within again
            in the backward pass: less memory for more time, see
            :class:`.LoFTRConfig`.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        pairs: int,
        attention: str,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.recompute = recompute
        self.layers = nn.ModuleList(
            EncoderLayer(channels, heads, attention) for _ in range(2 * pairs)
        )

    def forward(
        self,
        x0: Tensor,
        x1: Tensor,
        mask0: Tensor | None = None,
        mask1: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """(B, L, C) and (B, S, C) to the same shapes; masks (B, L) and (B, S)."""
        for own, across in zip(self.layers[::2], self.layers[1::2], strict=True):
            x0, x1 = self._look(own, x0, x0, mask0), self._look(own, x1, x1, mask1)
            # Image 1 looks at what image 0 has become, as in the released code:
            # looking at the old x0 would be another network.
            x0 = self._look(across, x0, x1, mask1)
            x1 = self._look(across, x1, x0, mask0)
        return x0, x1

    def _look(
        self, layer: EncoderLayer, x: Tensor, source: Tensor, mask: Tensor | None
    ) -> Tensor:
        if self.recompute:
            return recomputed(layer, layer, x, source, mask)
        return layer(x, source, mask)
