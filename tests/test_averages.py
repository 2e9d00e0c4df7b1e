"""Renewed averages of batch norm, and the count of right matches: by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from loftr_nb.datasets import collate, motorcycle
from loftr_nb.errors import DataError
from loftr_nb.evaluation import PairMatches, right_matches
from loftr_nb.model import LoFTR, LoFTRConfig
from loftr_nb.training import renewed_averages

TINY = LoFTRConfig(
    initial_dim=8,
    block_dims=(8, 12, 16),
    coarse_layers=1,
    coarse_heads=2,
    fine_heads=2,
)


@pytest.fixture(scope="module")
def batches():
    return [collate([motorcycle(size)]) for size in ((96, 64), (64, 96))]


def test_the_first_averages_by_hand(batches):
    model = LoFTR(TINY).eval()
    net = renewed_averages(model, batches)
    means, spreads = [], []
    with torch.no_grad():
        for batch in batches:
            x = model.backbone.conv1(torch.cat([batch.image0, batch.image1]))
            values = x.transpose(0, 1).flatten(1).double()
            means.append(values.mean(1))
            spreads.append(values.var(1))  # unbiased, as batch norm keeps it
    for got, want in (
        (net.backbone.bn1.running_mean, means),
        (net.backbone.bn1.running_var, spreads),
    ):
        torch.testing.assert_close(got.double(), sum(want) / 2, rtol=1e-4, atol=1e-6)


def test_nothing_else_moves_and_the_model_stays(batches):
    model = LoFTR(TINY).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    net = renewed_averages(model, batches)
    assert model.training and not net.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    changed = {k for k, v in net.state_dict().items() if not torch.equal(v, before[k])}
    averages = ("running_mean", "running_var", "num_batches_tracked")
    assert changed == {k for k in before if k.endswith(averages)}
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {norm.momentum for norm in norms} == {0.1}  # as it was
    with pytest.raises(DataError, match="no batch"):
        renewed_averages(model, [])


def test_images_of_two_sizes_are_averaged_apart(batches):
    other = collate([motorcycle((64, 96))])
    mixed = collate([motorcycle((96, 64))])
    mixed.image1 = other.image1
    net = renewed_averages(LoFTR(TINY), [mixed])
    assert net.backbone.bn1.num_batches_tracked == 2


def test_right_matches_are_counted_against_the_warp(batches):
    batch = batches[0]
    corners = torch.tensor([[[360.0, 250.0], [400.0, 250.0], [300.0, 300.0]]])
    there, known = batch.warp().to1(corners)
    assert known.all()
    k0, k1 = corners[0].numpy(), there[0].numpy()
    scale = batch.scale1[0].numpy()
    # 2 and 4 input pixels off; the fourth has no depth to tell.
    k1 = k1 + np.array([[0, 0], [2, 0], [0, 4]], np.float32) * scale
    k0 = np.concatenate([k0, [[-50.0, -50.0]]]).astype(np.float32)
    k1 = np.concatenate([k1, [[10.0, 10.0]]]).astype(np.float32)

    def matcher(batch):
        return [PairMatches(k0, k1, np.ones(4, np.float32))]

    assert right_matches(matcher, [batch]) == (4, 2)
    assert right_matches(matcher, [batch], limit=5) == (4, 3)

    def silent(batch):
        return [PairMatches.none()]

    assert right_matches(silent, [batch, batch]) == (0, 0)
    with pytest.raises(DataError, match="no pair"):
        right_matches(silent, [])
