"""Streamed confidences against the matrix: values, gradients, matches, memory."""

from __future__ import annotations

import copy
import dataclasses
import platform
import subprocess
import sys
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from test_step import SEEDS, double, gradients, shifted, small
from torch import Tensor, nn

from loftr_nb.losses import LossConfig, coarse_loss, streamed_coarse_loss, training_step
from loftr_nb.model import CoarseMatching, LoFTR, LoFTRConfig
from loftr_nb.model import streaming as streaming_module
from loftr_nb.model.norm_conv import convolve_twice
from loftr_nb.supervision import CoarseSupervision

GRID0, GRID1 = (6, 8), (7, 9)
CASES = list(product(("ds", "ot"), ("dense", "sparse"), ("log", "released")))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch) -> None:
    """Five rows a block, so that a small case has many, the last one incomplete."""

    def row_blocks(rows: int, columns: int, like: Tensor):
        for start in range(0, rows, 5):
            yield slice(start, min(start + 5, rows))

    monkeypatch.setattr(streaming_module, "row_blocks", row_blocks)
    monkeypatch.setattr("loftr_nb.losses.streamed.row_blocks", row_blocks)


def features(spread: float = 1.0, B: int = 3) -> tuple[Tensor, Tensor]:
    """Two images of which the second repeats some cells of the first, with noise."""
    g = torch.Generator().manual_seed(5)
    L, S = GRID0[0] * GRID0[1], GRID1[0] * GRID1[1]
    f0, f1 = (torch.randn(B, n, 16, generator=g).double() for n in (L, S))
    f1[:, 5:35] = f0[:, 8:38] + 0.3 * f1[:, 5:35]
    return spread * f0, spread * f1


def masks(B: int = 3) -> tuple[Tensor, Tensor]:
    """The second pair is padded at the right and the bottom, as readers do."""
    mask0 = torch.ones(B, *GRID0, dtype=torch.bool)
    mask1 = torch.ones(B, *GRID1, dtype=torch.bool)
    mask0[1, :, 6:] = False
    mask1[1, 5:] = False
    return mask0.flatten(1), mask1.flatten(1)


def truth(masked: bool, B: int = 3) -> CoarseSupervision:
    """Right and wrong cells; the last pair has no match."""
    mask0, mask1 = masks(B) if masked else (None, None)
    rows = [(0, 8, 5), (0, 9, 6), (0, 20, 17), (0, 47, 62), (1, 8, 5), (1, 12, 40)]
    b, i, j = torch.tensor(rows).T.contiguous()
    L, S = GRID0[0] * GRID0[1], GRID1[0] * GRID1[1]
    corners = torch.zeros(B, L, 2), torch.zeros(B, S, 2)
    return CoarseSupervision(b, i, j, GRID0, GRID1, B, *corners, mask0, mask1)


def matching(matcher: str, **changes) -> CoarseMatching:
    config = LoFTRConfig(matcher=matcher, threshold=0.02, border=1, **changes)
    return CoarseMatching(config).double()


def both(
    found: CoarseMatching, spv: CoarseSupervision, config: LossConfig, inputs: tuple
) -> list[list[Tensor]]:
    """Loss and gradients, plain and streamed."""
    weights = torch.tensor([1.0, 3.0, 0.5]).to(inputs[0].dtype)
    results = []
    for streamed in (False, True):
        given = [x.detach().clone().requires_grad_() for x in inputs]
        if streamed:
            confidence = found.streamed(*given, spv.mask0, spv.mask1)
            loss = streamed_coarse_loss(confidence, spv, config)
        else:
            confidence = found.log_confidence(*given, spv.mask0, spv.mask1)
            loss = coarse_loss(confidence, spv, config)
        wanted = given + list(found.parameters())
        grads = torch.autograd.grad((loss * weights).sum(), wanted)
        results.append([loss.detach(), *grads])
    return results


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("matcher", "supervision", "clamp"), CASES)
def test_loss_and_gradient_equal_the_plain_ones(matcher, supervision, clamp, masked):
    """In float64, from even confidences to sure ones (0.3, 1 and 2)."""
    for spread in (0.3, 1.0, 2.0):
        config = LossConfig(supervision, clamp=clamp)
        plain, ours = both(matching(matcher), truth(masked), config, features(spread))
        for want, got in zip(plain, ours, strict=True):
            scale = want.abs().max().item()
            torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9 * scale)
        assert plain[0][0] > 0


@pytest.mark.parametrize(("matcher", "supervision", "clamp"), CASES)
def test_float32_equals_plain_to_rounding(matcher, supervision, clamp):
    config = LossConfig(supervision, clamp=clamp)
    inputs = tuple(f.float() for f in features())
    plain, ours = both(matching(matcher).float(), truth(True), config, inputs)
    exact, _ = both(matching(matcher), truth(True), config, features())
    for want, got, true in zip(plain, ours, exact, strict=True):
        assert got.dtype == torch.float32
        off, allowed = ((x - true).abs().max() for x in (got, want))
        # As far from float64 as the matrix is, or a rounding of sums.
        assert off <= 3 * allowed + 1e-5 * true.abs().max()


@pytest.mark.parametrize("gamma", [0.0, 1.0, 3.0])
def test_other_gammas(gamma):
    config = LossConfig(gamma=gamma, alpha=0.7)
    for want, got in zip(
        *both(matching("ds"), truth(True), config, features()), strict=True
    ):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("matcher", "supervision"), list(product(("ds", "ot"), ("dense", "sparse")))
)
def test_gradient_by_finite_differences(matcher, supervision):
    """Independent of the plain form: float64 gradcheck from the features on."""
    found, config = matching(matcher), LossConfig(supervision)
    spv = truth(True)
    f0, f1 = (f[..., :3].clone().requires_grad_() for f in features(0.5))
    parameters = list(found.parameters())

    def loss(a: Tensor, b: Tensor, *rest: Tensor) -> Tensor:
        confidence = found.streamed(a, b, spv.mask0, spv.mask1)
        return streamed_coarse_loss(confidence, spv, config)

    assert torch.autograd.gradcheck(loss, (f0, f1, *parameters), fast_mode=True)


@pytest.mark.parametrize("matcher", ["ds", "ot"])
def test_log_confidence_of_every_cell(matcher):
    """Cells and dustbins, against the matrix, padding left out."""
    found, inputs = matching(matcher), features()
    plain = found.log_confidence(*inputs, *masks())
    for n, pair in enumerate(found.streamed(*inputs, *masks()).pairs):
        want = plain.cells[n][pair.cells0][:, pair.cells1]
        torch.testing.assert_close(pair.block(slice(None)), want)
        i, j = torch.tensor([0, 7]), torch.tensor([3, 30])
        torch.testing.assert_close(pair.at(i, j), want[i, j])
        assert len(pair.cells0) == (36 if n == 1 else 48)
        if matcher == "ot":
            torch.testing.assert_close(pair.dustbin0, plain.dustbin0[n][pair.cells0])
            torch.testing.assert_close(pair.dustbin1, plain.dustbin1[n][pair.cells1])


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("matcher", ["ds", "ot"])
def test_the_same_matches(matcher, masked, training):
    found = matching(matcher).train(training)
    inputs = features(2.0 if matcher == "ot" else 1.0)
    hidden = masks() if masked else (None, None)
    plain = found.predict(found.log_confidence(*inputs, *hidden), GRID0, GRID1, *hidden)
    ours = found.predict(found.streamed(*inputs, *hidden), GRID0, GRID1, *hidden)
    assert len(plain.b) > 3  # in eval mode the dustbin takes most
    for name in ("b", "i", "j"):
        assert torch.equal(getattr(ours, name), getattr(plain, name)), name
    torch.testing.assert_close(ours.confidence, plain.confidence)


def test_of_equal_cells_the_first_one_wins():
    """In both forms; equal cells lie in different blocks."""
    found = CoarseMatching(LoFTRConfig(threshold=0.0, border=0))
    f0, f1 = torch.zeros(1, 12, 16), torch.zeros(1, 12, 16)
    f0[0, 2, 0] = f0[0, 9, 0] = f1[0, 4, 0] = f1[0, 7, 0] = 4.0
    plain = found.predict(found.log_confidence(f0, f1), (3, 4), (3, 4))
    ours = found.predict(found.streamed(f0, f1), (3, 4), (3, 4))
    assert (2, 4) in zip(ours.i.tolist(), ours.j.tolist(), strict=True)
    for want, got in zip(plain[:3], ours[:3], strict=True):
        assert torch.equal(got, want)


@pytest.mark.parametrize(("matcher", "supervision", "clamp"), CASES)
def test_an_image_of_nothing_but_padding(matcher, supervision, clamp):
    found, inputs = matching(matcher), [f.requires_grad_() for f in features()]
    spv = truth(True)
    spv.mask0[2] = spv.mask1[2] = False
    confidence = found.streamed(*inputs, spv.mask0, spv.mask1)
    loss = streamed_coarse_loss(confidence, spv, LossConfig(supervision, clamp=clamp))
    assert loss[2] == 0 and torch.isfinite(loss).all()
    loss.sum().backward()
    for f in inputs:
        assert torch.isfinite(f.grad).all() and (f.grad[2] == 0).all()
    assert (found.predict(confidence, GRID0, GRID1, spv.mask0, spv.mask1).b < 2).all()


@pytest.mark.parametrize("score", [5.0, 16.0, 500.0])
def test_a_sure_mistake_in_float32(score):
    """P up to 1 in float32: finite, and the gradient of the plain form.

    A log-sum-exp of 16 is known to 2e-6 in float32, where the matrix keeps the
    largest score and the logarithm of the sum apart: P within 1e-6 of 1 is 1 here,
    and its mistake teaches nothing, as in the released form.
    """
    f0, f1 = torch.zeros(1, 4, 16), torch.zeros(1, 4, 16)
    f0[0, 1, 0] = f1[0, 2, 0] = (1.6 * score) ** 0.5
    zero = torch.zeros(1, dtype=torch.int64)
    corners = torch.zeros(1, 4, 2)
    spv = CoarseSupervision(zero, zero, zero, (2, 2), (2, 2), 1, corners, corners)
    found = CoarseMatching(LoFTRConfig())
    grads = []
    for form, loss_of in (
        ("log_confidence", coarse_loss),
        ("streamed", streamed_coarse_loss),
    ):
        x0, x1 = (f.clone().requires_grad_() for f in (f0, f1))
        loss = loss_of(getattr(found, form)(x0, x1), spv, LossConfig())
        grads.append([loss, *torch.autograd.grad(loss.sum(), (x0, x1))])
    for want, got in zip(*grads, strict=True):
        assert torch.isfinite(got).all()
        near = 0.04 if score == 16 else 1e-5
        torch.testing.assert_close(got, want, rtol=2e-2, atol=near)


def test_numbers_of_a_pair_do_not_depend_on_its_batch():
    """To the last bit, padding included."""
    found, inputs = matching("ds").float(), [f.float() for f in features()]
    together = found.streamed(*inputs, *masks()).pairs[1]
    mask0, mask1 = (m[1:2] for m in masks())
    alone = found.streamed(*(f[1:2] for f in inputs), mask0, mask1).pairs[0]
    assert torch.equal(together.a, alone.a) and torch.equal(together.b, alone.b)


@pytest.mark.parametrize("supervision", ["dense", "sparse"])
@pytest.mark.parametrize("matcher", ["ds", "ot"])
def test_a_step_is_the_same_in_both_forms(matcher, supervision):
    model, batch = small(matcher), shifted()
    outs, grads = [], []
    for matrix in ("plain", "streamed"):
        model.zero_grad()
        config = LossConfig(supervision, matrix=matrix)
        outs.append(training_step(model, batch, config, SEEDS))
        outs[-1].loss.backward()
        grads.append(gradients(model))
    plain, ours = outs
    for field in dataclasses.fields(plain):
        want, got = (getattr(out, field.name) for out in outs)
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6, msg=field.name)
    assert (plain.matches_pred > 0).all()
    largest = max(g.abs().max().item() for g in grads[0].values())
    for name, want in grads[0].items():
        torch.testing.assert_close(
            grads[1][name], want, rtol=1e-3, atol=1e-5 * largest, msg=name
        )


@pytest.mark.parametrize("matcher", ["ds", "ot"])
def test_nothing_of_the_matrix_is_kept(matcher):
    """Every tensor that is saved for the backward pass grows with L + S alone."""
    found, saved = matching(matcher), []
    inputs = [f.requires_grad_() for f in features()]

    def keep(t: Tensor) -> Tensor:
        saved.append(t.numel())
        return t

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        confidence = found.streamed(*inputs)
        loss = streamed_coarse_loss(confidence, truth(False), LossConfig())
    loss.sum().backward()
    L, S = (f.shape[1] for f in inputs)
    assert saved and max(saved) <= max(L, S) * 16 < L * S


def train_once(recompute: str, attention: str = "linear"):
    """Loss, gradients and batch-norm averages of one step in float64."""
    model, batch = small().double(), double(shifted())
    config = dataclasses.replace(model.config, recompute=recompute, attention=attention)
    again = LoFTR(config).double().train()
    again.load_state_dict(model.state_dict())
    out = training_step(again, batch, LossConfig(), SEEDS)
    out.loss.backward()
    return out.loss.detach(), gradients(again), dict(again.named_buffers())


@pytest.mark.parametrize("recompute", ["layers", "all"])
def test_made_again_is_the_same(recompute):
    """And a batch norm that is made again counts its batch once."""
    loss, grads, buffers = train_once("none")
    other_loss, other_grads, other_buffers = train_once(recompute)
    assert torch.equal(loss, other_loss)
    for name, want in grads.items():
        assert torch.equal(other_grads[name], want), name
    for name, want in buffers.items():
        assert torch.equal(other_buffers[name], want), name
    assert other_buffers["backbone.bn1.num_batches_tracked"] == 1


@pytest.mark.parametrize("slope", [0.0, 0.01])
@pytest.mark.parametrize("training", [True, False])
def test_norm_between_convolutions_equals_the_plain_layers(training, slope):
    """Values, gradients and averages; frozen averages too."""
    first, second = nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)
    first.bias = second.bias = None
    norm = nn.BatchNorm2d(16).train(training)
    nn.init.uniform_(norm.weight), nn.init.uniform_(norm.bias)
    norm.running_var.fill_(2.0)
    layers = nn.ModuleList([first, norm, second]).double()
    twin = copy.deepcopy(layers)
    x = torch.randn(2, 16, 9, 7).double().requires_grad_()
    y = x.detach().clone().requires_grad_()
    got = convolve_twice(x, first, norm, second, slope)
    want = twin[2](F.leaky_relu(twin[1](twin[0](y)), slope))
    torch.testing.assert_close(got, want)
    weight = torch.randn_like(want)
    (got * weight).sum().backward()
    (want * weight).sum().backward()
    torch.testing.assert_close(x.grad, y.grad)
    for ours, theirs in zip(layers.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    for ours, theirs in zip(layers.buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs)
    if not training:
        with torch.no_grad():
            torch.testing.assert_close(
                convolve_twice(x, first, norm, second, slope), want
            )


def test_norm_between_convolutions_keeps_one_map():
    """The convolution's input is not among what is saved."""
    first, second = (nn.Conv2d(16, 16, 3, padding=1, bias=False) for _ in range(2))
    saved = []

    def keep(t: Tensor) -> Tensor:
        saved.append(t)
        return t

    x = torch.randn(1, 16, 20, 20)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        convolve_twice(x, first, nn.BatchNorm2d(16), second)
    maps = {t.data_ptr() for t in saved if t.numel() == x.numel()}
    assert len(maps) == 2  # x itself, and what the first convolution gives


HEAP = """
import torch
from loftr_nb.model.allocator import return_freed_memory
def resident():
    text = open("/proc/self/statm").read()
    return int(text.split()[1]) * 4096
torch.ones(7_000_000)
assert return_freed_memory()
before = resident()
held = [torch.ones(1_500_000) for _ in range(80)]
wall = torch.ones(1000)  # lies above them in the heap
grown = resident() - before
del held
print(grown, resident() - before)
"""


glibc_only = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt"
)


@glibc_only
def test_freed_memory_goes_back_to_the_system():
    """80 blocks of 6 MB, below the limit that freeing one of 28 MB has set."""
    found = subprocess.run(
        [sys.executable, "-c", HEAP], check=True, capture_output=True, text=True
    )
    grown, left = map(int, found.stdout.split())
    assert grown > 400e6 and left < 0.1 * grown


KEPT = """
import resource, sys, torch
from loftr_nb.model.allocator import keep_freed_memory
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
if sys.argv[1] == "keep":
    assert keep_freed_memory()
for _ in range(20):  # until the heap has grown around what lies in it already
    torch.ones(20_000_000)
before = faults()
for _ in range(10):
    torch.ones(20_000_000)
print(faults() - before)
"""


@glibc_only
def test_freed_memory_is_kept_and_used_again():
    """Ten maps of 80 MB, one after the other, on pages that are there or new."""
    faults = [
        int(subprocess.check_output([sys.executable, "-c", KEPT, word], text=True))
        for word in ("leave", "keep")
    ]
    assert faults[0] > 10_000 and faults[1] < 0.05 * faults[0]
