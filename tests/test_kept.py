"""Bytes kept for the backward pass: a layer by hand, and pairs that add up."""

from __future__ import annotations

import torch
from torch import nn

from loftr_nb.datasets import collate, motorcycle
from loftr_nb.losses import LossConfig, TrainingStep
from loftr_nb.model import LoFTR, LoFTRConfig
from loftr_nb.training.kept import kept_bytes


class Squares(nn.Module):
    """Keeps its input once, though it is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(100))

    def forward(self, x, seeds):
        y = x * self.weight  # keeps x (and the weight, which is no news)
        return (y * y).sum()  # keeps y, for both factors


def test_a_layer_by_hand() -> None:
    x = torch.rand(100)
    assert kept_bytes(Squares(), x, []) == 2 * 100 * 4


def test_pairs_add_up() -> None:
    """Twice the pairs keep nearly twice as much: that is why parts save memory."""
    pair = motorcycle(size=(64, 48))
    config = LoFTRConfig(
        initial_dim=16,
        block_dims=(16, 16, 16),
        coarse_layers=1,
        coarse_heads=2,
        fine_heads=2,
    )
    torch.manual_seed(0)
    step = TrainingStep(LoFTR(config).train(), LossConfig())
    one, two = (kept_bytes(step, collate([pair] * n), range(n)) for n in (1, 2))
    assert one > 4 * pair.view0.image.numel()
    assert 1.9 * one < two < 2.1 * one
