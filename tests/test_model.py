"""The network against kornia's, and its parts against their definitions."""

from __future__ import annotations

import copy
import dataclasses
import math

import cv2
import kornia
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage import data as pictures
from torch import Tensor, nn

from loftr_nb.errors import ConfigError, DataError
from loftr_nb.model import LoFTR, LoFTRConfig
from loftr_nb.model.attention import full_attention, linear_attention
from loftr_nb.model.fine_matching import expected_offset, gather_windows
from loftr_nb.model.position import PositionEncoding

SMALL = LoFTRConfig(
    initial_dim=16,
    block_dims=(16, 24, 32),
    coarse_layers=2,
    coarse_heads=4,
    fine_heads=2,
    threshold=0.05,
    border=1,
)


def motorcycle(size0: tuple[int, int], size1: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The Middlebury pair, (1, 1, H, W) each; sizes are (w, h)."""
    left, right, _ = pictures.stereo_motorcycle()
    return _grey(left, size0), _grey(right, size1)


def _grey(image: np.ndarray, size: tuple[int, int]) -> Tensor:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return torch.from_numpy(grey).float()[None, None] / 255


def calibrated(config: LoFTRConfig, image: Tensor) -> LoFTR:
    """Random weights whose batch norm knows real images, so that matches come out."""
    model = LoFTR(config)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train().backbone(torch.cat([image, image.flip(-1)]))
    return model.eval()


def twin(model: LoFTR) -> nn.Module:
    """kornia's LoFTR with the same weights, in eval mode."""
    other = kornia.feature.LoFTR(None, model.config.to_kornia())
    other.load_state_dict(copy.deepcopy(model.state_dict()), strict=True)
    return other.to(next(model.parameters()).dtype).eval()


def of_kornia(other: nn.Module, **inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Its confidence matrix and its matches."""
    seen = {}
    hook = other.coarse_matching.register_forward_hook(
        lambda module, args, output: seen.update(args[2])
    )
    with torch.no_grad():
        found = other(inputs)
    hook.remove()
    return seen["conf_matrix"], found


@torch.no_grad()
def confidence(model: LoFTR, *inputs: Tensor | None) -> Tensor:
    f = model.features(*inputs)
    found = model.coarse_matching.log_confidence(f.coarse0, f.coarse1, f.mask0, f.mask1)
    return found.cells.exp()


def test_names_and_weights_go_both_ways():
    for config in (LoFTRConfig(), SMALL):
        ours, theirs = LoFTR(config), kornia.feature.LoFTR(None, config.to_kornia())
        before = {k: v.clone() for k, v in theirs.state_dict().items()}
        ours.load_state_dict(theirs.state_dict(), strict=True)
        fresh = kornia.feature.LoFTR(None, config.to_kornia())
        fresh.load_state_dict(ours.state_dict(), strict=True)
        for name, value in fresh.state_dict().items():
            assert torch.equal(value, before[name]), name
        assert list(ours.state_dict()) == list(before)


def test_the_papers_network_has_11_6_million_parameters():
    assert sum(p.numel() for p in LoFTR().parameters()) == 11_561_456
    with_dustbin = LoFTR(LoFTRConfig(matcher="ot"))
    assert "coarse_matching.bin_score" in with_dustbin.state_dict()
    assert sum(p.numel() for p in with_dustbin.parameters()) == 11_561_457


@pytest.mark.parametrize("size1", [(160, 120), (136, 104)])
def test_full_network_equals_kornia_in_float32(size1):
    torch.manual_seed(2)
    model = LoFTR(LoFTRConfig(threshold=0.03, border=1)).eval()
    image0, image1 = motorcycle((160, 120), size1)
    theirs, found = of_kornia(twin(model), image0=image0, image1=image1)
    ours = confidence(model, image0, image1)
    assert theirs.max() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    with torch.no_grad():
        same_matches(model(image0, image1), found, side=160, tolerance=1e-5)


def same_matches(ours, theirs, side: int, tolerance: float) -> None:
    """Equal pairs, points to ``tolerance`` of the image's side, confidences."""
    assert len(theirs["confidence"]) > 0
    assert torch.equal(ours.b, theirs["batch_indexes"])
    for name in ("keypoints0", "keypoints1"):
        torch.testing.assert_close(
            getattr(ours, name), theirs[name].to(ours.confidence.dtype),
            rtol=0, atol=tolerance * side, check_dtype=False,
        )  # fmt: skip
    torch.testing.assert_close(
        ours.confidence, theirs["confidence"], rtol=0, atol=tolerance
    )


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"position": "released"},
        {"attention": "full"},
        {"window": 7, "fine_layers": 2},
        {"temperature": 0.3, "border": 0},
    ],
)
def test_small_networks_equal_kornia_in_float64(change):
    """In float64 rounding is out of the way: what is left would be a real fault."""
    size1 = (104, 136) if change.get("window") else (160, 120)
    image0, image1 = (i.double() for i in motorcycle((160, 120), size1))
    config = dataclasses.replace(SMALL, **change)
    model = calibrated(config, image0.float()).double()
    theirs, found = of_kornia(twin(model), image0=image0, image1=image1)
    torch.testing.assert_close(
        confidence(model, image0, image1), theirs, rtol=0, atol=1e-10
    )
    with torch.no_grad():
        # Sines of the encoding are float32 in both: they are the same numbers.
        same_matches(model(image0, image1), found, side=160, tolerance=1e-9)


def test_masks_equal_kornia(shared_data):
    """A real pair of two sizes, padded to a square as MegaDepth's are."""
    paths = sorted((shared_data / "fountain").rglob("images/*.jpg"))[:2]
    image0, image1 = torch.zeros(2, 1, 128, 128), torch.zeros(2, 1, 128, 128)
    mask0 = torch.zeros(2, 128, 128, dtype=torch.bool)
    mask1 = torch.zeros_like(mask0)
    for row, (w0, w1) in enumerate(((128, 96), (112, 128))):
        for path, image, mask, w in zip(
            paths, (image0, image1), (mask0, mask1), (w0, w1), strict=True
        ):
            h = 80 if w == 128 else 128
            picture = cv2.imread(str(path))[..., ::-1].copy()
            image[row, :, :h, :w] = _grey(picture, (w, h))[0]
            mask[row, :h, :w] = True
    # kornia is not told where the padding starts when it strips the border.
    config = dataclasses.replace(SMALL, border=0)
    model = calibrated(config, image0).double()
    inputs = {"image0": image0.double(), "image1": image1.double()}
    theirs, found = of_kornia(twin(model), **inputs, mask0=mask0, mask1=mask1)
    cells0, cells1 = mask0[:, ::8, ::8], mask1[:, ::8, ::8]
    ours = confidence(model, *inputs.values(), cells0, cells1)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    with torch.no_grad():
        same_matches(model(*inputs.values(), cells0, cells1), found, 128, 1e-9)
    hidden = ~(cells0.flatten(1)[:, :, None] & cells1.flatten(1)[:, None, :])
    assert (ours[hidden] == 0).all()


def test_real_pair_of_hololens_equals_kornia_in_float32(shared_data):
    colour = shared_data / "hololens" / "scene9000_00" / "color"
    image0, image1 = (
        _grey(cv2.imread(str(colour / name))[..., ::-1].copy(), (160, 120))
        for name in ("106.jpg", "109.jpg")
    )
    model = calibrated(dataclasses.replace(SMALL, temperature=0.5), image0)
    theirs, found = of_kornia(twin(model), image0=image0, image1=image1)
    assert theirs.max() > 0.3
    ours = confidence(model, image0, image1)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5)
    # Both round; ours is at half of that from what neither rounds.
    exact = confidence(copy.deepcopy(model).double(), image0.double(), image1.double())
    torch.testing.assert_close(ours.double(), exact, rtol=0, atol=1e-5)
    with torch.no_grad():
        same_matches(model(image0, image1), found, side=160, tolerance=2e-5)


def test_a_batch_is_its_pairs_one_by_one():
    image0, image1 = motorcycle((96, 64), (96, 64))
    batch0, batch1 = torch.cat([image0, image1]), torch.cat([image1, image1.flip(-1)])
    model = calibrated(SMALL, image0)
    together = model(batch0, batch1)
    apart = [model(batch0[n : n + 1], batch1[n : n + 1]) for n in (0, 1)]
    assert len(together.b) == sum(len(a.b) for a in apart) > 0
    points = torch.cat([a.keypoints1 for a in apart])
    torch.testing.assert_close(together.keypoints1, points, rtol=0, atol=1e-2)


def test_scales_bring_keypoints_to_original_pixels():
    image0, image1 = motorcycle((96, 64), (96, 64))
    model = calibrated(SMALL, image0)
    scale0, scale1 = torch.tensor([[2.0, 3.0]]), torch.tensor([[0.5, 1.25]])
    plain = model(image0, image1)
    scaled = model(image0, image1, scale0=scale0, scale1=scale1)
    torch.testing.assert_close(scaled.keypoints0, plain.keypoints0 * scale0)
    torch.testing.assert_close(scaled.keypoints1, plain.keypoints1 * scale1)
    cell = torch.stack([plain.i % 12, plain.i // 12], 1)
    assert torch.equal(plain.keypoints0, 8.0 * cell)


@pytest.mark.parametrize("size", [(8, 8), (8, 64), (40, 16)])
def test_small_images_run_in_both_modes(size):
    image = torch.rand(2, 1, *size)
    model = LoFTR(dataclasses.replace(SMALL, border=2))
    for mode in (True, False):
        found = model.train(mode)(image, image)
        assert found.keypoints1.shape == (0, 2)


@pytest.mark.parametrize("matcher", ["ds", "ot"])
def test_a_step_without_matches_touches_every_parameter(matcher):
    model = LoFTR(dataclasses.replace(SMALL, matcher=matcher))
    f = model.features(torch.rand(1, 1, 32, 32), torch.rand(1, 1, 32, 40))
    none = torch.zeros(0, dtype=torch.int64)
    offset, std = model.refine(f, none, none, none)
    cells = model.coarse_matching.log_confidence(f.coarse0, f.coarse1).cells
    (offset.sum() + std.sum() + cells.mean()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_half_precision_gives_float32_confidences():
    model = LoFTR(SMALL)
    image = torch.rand(1, 1, 32, 40)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        f = model.features(image, image)
        found = model.coarse_matching.log_confidence(f.coarse0, f.coarse1)
        index = torch.tensor([0])
        offsets = model.refine(f, index, index, index)
    assert f.coarse0.dtype != torch.float64
    assert found.cells.dtype == offsets.offset.dtype == torch.float32
    assert torch.isfinite(found.cells).all()


@pytest.mark.parametrize("version", ["fixed", "released"])
def test_position_encoding_equals_kornia_at_any_size(version):
    from kornia.feature.loftr.utils.position_encoding import PositionEncodingSine

    theirs = PositionEncodingSine(32, (300, 12), temp_bug_fix=version == "fixed")
    x = torch.rand(2, 32, 300, 12)  # 2,400 px, beyond the released table of 2,048
    torch.testing.assert_close(
        PositionEncoding(32, version)(x), theirs(x), rtol=0, atol=1e-6
    )
    ours = PositionEncoding(32, version)
    assert not ours.state_dict()
    half = ours.half()(torch.zeros(1, 32, 300, 12, dtype=torch.float16))
    want = theirs(torch.zeros(1, 32, 300, 12))
    torch.testing.assert_close(half.float(), want, rtol=0, atol=1e-3)


def test_linear_attention_is_its_definition():
    B, L, S, N, D = 2, 3, 5, 2, 4
    q, k, v = (torch.randn(B, n, N, D, dtype=torch.float64) for n in (L, S, S))
    mask = torch.tensor([[True] * 5, [True, True, False, True, False]])
    got = linear_attention(q, k, v, mask)
    for b in range(B):
        for n in range(N):
            for i in range(L):
                phi = [
                    float((F.elu(q[b, i, n]) + 1) @ (F.elu(k[b, s, n]) + 1))
                    for s in range(S)
                    if mask[b, s]
                ]
                seen = v[b, mask[b], n]
                want = sum(p * row for p, row in zip(phi, seen, strict=True)) / sum(phi)
                torch.testing.assert_close(got[b, i, n], want, rtol=1e-6, atol=1e-6)


def test_linear_attention_does_not_overflow_float16():
    q = torch.full((1, 1, 1, 8), 8.0, dtype=torch.float16)
    k = torch.full((1, 20_000, 1, 8), 8.0, dtype=torch.float16)
    assert 9.0 * 20_000 > torch.finfo(torch.float16).max
    got = linear_attention(q, k, k)
    assert got.dtype == torch.float16
    torch.testing.assert_close(got, q)


def test_full_attention_is_its_definition():
    q, k, v = (torch.randn(2, n, 2, 4, dtype=torch.float64) for n in (3, 5, 5))
    mask = torch.tensor([[True] * 5, [True, True, False, True, False]])
    got = full_attention(q, k, v, mask)
    scores = torch.einsum("blnd,bsnd->bnls", q, k) / 2
    scores = scores.masked_fill(~mask[:, None, None], -math.inf)
    want = torch.einsum("bnls,bsnd->blnd", scores.softmax(-1), v)
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize("attend", [linear_attention, full_attention])
def test_an_image_that_is_all_padding_stays_finite(attend):
    q, k, v = (torch.randn(1, n, 2, 4, requires_grad=True) for n in (3, 5, 5))
    got = attend(q, k, v, torch.zeros(1, 5, dtype=torch.bool))
    got.sum().backward()
    assert torch.isfinite(got).all()
    assert all(torch.isfinite(t.grad).all() for t in (q, k, v))


def test_windows_are_those_of_the_unfolded_map():
    fine, grid = torch.randn(2, 3, 16, 24), (4, 6)
    windows = F.unfold(fine, 5, stride=4, padding=2).unflatten(1, (3, 25))
    b = torch.arange(2).repeat_interleave(24)
    i = torch.arange(24).repeat(2)
    got = gather_windows(fine, grid, b, i, 5)
    assert torch.equal(got, windows[b, :, :, i].transpose(1, 2))


def test_offset_is_the_expectation_of_the_heat_map():
    torch.manual_seed(3)
    w0, w1 = torch.randn(4, 25, 8).double(), torch.randn(4, 25, 8).double()
    offset, std = expected_offset(w0, w1)
    for m in range(4):
        heat = (w1[m] @ w0[m, 12] / math.sqrt(8)).softmax(0).reshape(5, 5)
        step = torch.tensor([-1, -0.5, 0, 0.5, 1], dtype=torch.float64)
        mean = torch.stack([(heat.sum(0) * step).sum(), (heat.sum(1) * step).sum()])
        x2, y2 = (heat.sum(0) * step**2).sum(), (heat.sum(1) * step**2).sum()
        torch.testing.assert_close(offset[m], mean)
        want = (x2 - mean[0] ** 2).sqrt() + (y2 - mean[1] ** 2).sqrt()
        torch.testing.assert_close(std[m], want)


def test_a_sure_heat_map_has_a_finite_gradient():
    """All mass on one place: the variance is 0, where a square root is vertical."""
    w0, w1 = torch.zeros(1, 25, 4), torch.zeros(1, 25, 4)
    w0[:, 12] = w1[:, 3] = 100.0
    w1.requires_grad_()
    offset, std = expected_offset(w0, w1)
    assert torch.equal(offset, torch.tensor([[0.5, -1.0]]))  # place 3: row 0, column 3
    (offset.sum() + std.sum()).backward()
    assert torch.isfinite(w1.grad).all()


def test_wrong_shapes_are_named():
    model, image = LoFTR(SMALL), torch.rand(1, 1, 32, 40)
    with pytest.raises(DataError, match=r"image1 is 41x32 px.*divisible by 8"):
        model(image, torch.rand(1, 1, 32, 41))
    with pytest.raises(DataError, match=r"image0 has shape \(1, 3, 32, 40\)"):
        model(torch.rand(1, 3, 32, 40), image)
    with pytest.raises(DataError, match=r"needs \(1, 4, 5\)"):
        model(image, image, torch.ones(1, 32, 40, dtype=torch.bool))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"matcher": "dss"}, "did you mean 'ds'"),
        ({"position": "fix"}, "did you mean 'fixed'"),
        ({"initial_dim": 64}, r"must equal block_dims\[0\]=128"),
        ({"coarse_heads": 7}, "coarse_heads=7 does not divide"),
        ({"window": 4}, "window=4 must be odd"),
        ({"temperature": 0.0}, "temperature=0.0 must be above 0"),
        ({"coarse_layers": 0}, "coarse_layers=0 must be at least 1"),
        ({"block_dims": (128, 256)}, "must be three numbers"),
        ({"threshold": 1.5}, "threshold=1.5 is a probability"),
    ],
)
def test_impossible_configs_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        LoFTRConfig(**change)


def test_config_survives_plain_values():
    config = dataclasses.replace(SMALL, matcher="ot", position="released")
    assert LoFTRConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ConfigError, match="did you mean 'window'"):
        LoFTRConfig.from_dict({"windw": 5})
    with pytest.raises(ConfigError, match="kornia has no optimal transport"):
        config.to_kornia()
