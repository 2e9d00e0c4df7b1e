"""Attention weights written out are those that the layers use without writing."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from loftr_nb.evaluation import attention_weights, layer_names, looks, token_stages
from loftr_nb.model import LoFTR, LoFTRConfig

SMALL = LoFTRConfig(
    initial_dim=16, block_dims=(16, 16, 16), coarse_layers=2, coarse_heads=2,
    fine_heads=2,
)  # fmt: skip
IMAGES = torch.rand(2, 1, 24, 32), torch.rand(2, 1, 24, 32)


@pytest.mark.parametrize("kind", ["linear", "full"])
def test_weights_times_values_are_the_layers_message(kind):
    torch.manual_seed(0)
    model = LoFTR(dataclasses.replace(SMALL, attention=kind)).eval()
    layer = model.loftr_coarse.layers[0]
    x, source = torch.randn(2, 7, 16), torch.randn(2, 5, 16)
    weights = attention_weights(layer, x, source)
    assert weights.shape == (2, 2, 7, 5)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 2, 7))
    q, k, v = (
        project(tokens).unflatten(-1, (2, 8))
        for project, tokens in (
            (layer.q_proj, x), (layer.k_proj, source), (layer.v_proj, source),
        )
    )  # fmt: skip
    message = (weights @ v.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(layer.attend(q, k, v), message, atol=1e-5, rtol=1e-4)


def test_looks_come_in_order_and_leave_no_hook():
    torch.manual_seed(0)
    model = LoFTR(SMALL).train()
    seen = looks(model, *IMAGES)
    order = [(look.name, look.image) for look in seen]
    assert layer_names(model) == ["self 1", "cross 1", "self 2", "cross 2"]
    assert order == [(name, i) for name in layer_names(model) for i in (0, 1)]
    assert all(look.weights.shape == (2, 2, 12, 12) for look in seen)
    assert model.training
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in model.modules())


def test_stages_begin_with_the_backbone_and_end_with_the_features():
    torch.manual_seed(0)
    model = LoFTR(SMALL).eval()
    stages = token_stages(model, *IMAGES)
    assert list(stages) == ["backbone", "position", *layer_names(model)]
    with torch.no_grad():
        coarse = model.backbone(IMAGES[1])[0]
        f = model.features(*IMAGES)
    torch.testing.assert_close(
        stages["backbone"][1].transpose(1, 2).reshape(coarse.shape), coarse
    )
    assert torch.equal(stages["cross 2"][0], f.coarse0)
    assert torch.equal(stages["cross 2"][1], f.coarse1)


def test_a_cross_look_of_image_1_sees_what_image_0_has_become():
    torch.manual_seed(0)
    model = LoFTR(SMALL).eval()
    stages = token_stages(model, *IMAGES)
    layer = model.loftr_coarse.layers[1]
    expected = attention_weights(layer, stages["self 1"][1], stages["cross 1"][0])
    (look,) = [k for k in looks(model, *IMAGES) if k[:2] == ("cross 1", 1)]
    torch.testing.assert_close(look.weights, expected)
