"""The training step: splitting a batch, empty pairs, half precision, processes."""

from __future__ import annotations

import dataclasses
import math
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch import multiprocessing as mp

from loftr_nb.datasets.middlebury import motorcycle
from loftr_nb.datasets.pair import Batch, collate
from loftr_nb.losses import LossConfig, StepOutput, TrainingStep, training_step
from loftr_nb.model import LoFTR, LoFTRConfig
from loftr_nb.supervision import CoarseSupervision, supervise

SEEDS = [21, 22]


def small(matcher: str = "ds", seed: int = 0) -> LoFTR:
    torch.manual_seed(seed)
    config = LoFTRConfig(
        initial_dim=16,
        block_dims=(16, 24, 32),
        coarse_layers=1,
        coarse_heads=4,
        fine_heads=4,
        matcher=matcher,
        threshold=1e-5,
    )
    model = LoFTR(config).eval()
    # So that random weights predict matches: here the dustbin has no say yet.
    model.coarse_matching.train()
    return model


def silent(model: LoFTR) -> LoFTR:
    """The same model, with a border so wide that it predicts nothing."""
    matching = model.coarse_matching
    matching.config = dataclasses.replace(matching.config, border=100)
    return model


def shifted(B: int = 2, side: tuple[int, int] = (64, 96)) -> Batch:
    """Pairs of noise that a shift of a few pixels relates, another one each."""
    H, W = side
    g = torch.Generator().manual_seed(9)
    h, w = H // 8, W // 8
    eye = torch.eye(3).expand(B, 3, 3)
    shift = eye.clone()
    shift[:, 0, 2] = torch.arange(B) * 8 + 9.0
    shift[:, 1, 2] = torch.arange(B) * -8 - 6.0
    names = tuple("ab"[n % 2] for n in range(B))
    return Batch(
        image0=torch.rand(B, 1, H, W, generator=g),
        image1=torch.rand(B, 1, H, W, generator=g),
        cell_depth0=torch.ones(B, h * w),
        cell_depth1=torch.ones(B, h * w),
        K0=eye,
        K1=eye,
        T_0to1=torch.eye(4).expand(B, 4, 4),
        scale0=torch.ones(B, 2),
        scale1=torch.ones(B, 2),
        mask0=torch.ones(B, h, w, dtype=torch.bool),
        mask1=torch.ones(B, h, w, dtype=torch.bool),
        names0=names,
        names1=names,
        scenes=names,
        overlap=torch.ones(B),
        H_0to1=shift,
    )


def double(batch: Batch) -> Batch:
    """In float64: fp32 kernels round by batch size, up to 4e-5 on some processors."""
    moved = {
        f.name: value.double()
        for f in dataclasses.fields(batch)
        if isinstance(value := getattr(batch, f.name), Tensor)
        and value.is_floating_point()
    }
    return dataclasses.replace(batch, **moved)


def without_overlap(batch: Batch) -> Batch:
    """The same images, moved so far that nothing is seen twice."""
    batch = batch.rows(slice(None))
    batch.H_0to1 = batch.H_0to1.clone()
    batch.H_0to1[:, 0, 2] = 1e4
    return batch


def gradients(model: nn.Module) -> dict[str, Tensor]:
    found = {name: p.grad for name, p in model.named_parameters()}
    missing = [name for name, g in found.items() if g is None]
    assert not missing, f"no gradient: {missing}"
    return {name: g.clone() for name, g in found.items()}


@pytest.mark.parametrize("supervision", ["dense", "sparse"])
@pytest.mark.parametrize("matcher", ["ds", "ot"])
def test_step(matcher, supervision) -> None:
    model, batch = small(matcher).train(), shifted()
    out = training_step(model, batch, LossConfig(supervision), SEEDS)
    assert isinstance(out, StepOutput)
    out.loss.backward()
    assert all(torch.isfinite(g).all() for g in gradients(model).values())
    # 96 cells, less the row and the column (then two) that the shift pushes out.
    assert out.matches_gt.tolist() == [7 * 11, 6 * 10]
    assert (out.fine_samples > 0).all() and (out.fine_inside > 0).all()
    assert out.loss.item() == pytest.approx(
        (out.coarse + out.fine).mean().item(), rel=1e-6
    )
    scalars = out.scalars()
    assert all(math.isfinite(v) for v in scalars.values())
    assert scalars["loss"] == out.loss.item()


def test_counts_against_the_stages_by_hand() -> None:
    """Accuracy and fine error, from the model's stages called one by one."""
    model, batch, config = small(), shifted(), LossConfig(fine_share=1.0)
    out = training_step(model, batch, config, SEEDS)
    spv = supervise(batch)
    f = model.features(batch.image0, batch.image1)
    cells = model.coarse_matching.log_confidence(f.coarse0, f.coarse1).cells
    best = cells.argmax(2)
    right = [0, 0]
    for b, i, j in zip(spv.b.tolist(), spv.i.tolist(), spv.j.tolist(), strict=True):
        right[b] += int(best[b, i] == j)
    assert out.coarse_right.tolist() == right
    assert out.coarse_accuracy.item() == pytest.approx(sum(right) / len(spv))
    # Ground truth alone: the shift is (9, -6), the cell (1, -1): (+1, +2) px.
    config = LossConfig(fine_share=1.0, fine_min_gt=200)
    out = training_step(silent(model), batch, config, SEEDS)
    assert out.matches_pred.tolist() == [0, 0]
    assert out.fine_samples.tolist() == out.matches_gt.tolist()
    offset = model.refine(f, spv.b, spv.i, spv.j).offset * 4
    error = (offset - torch.tensor([1.0, 2.0])).norm(dim=1)
    # The second pair's shift, (17, -14), leaves the same remainder.
    expected = [error[spv.b == n].mean() for n in range(2)]
    torch.testing.assert_close(out.fine_error_px, torch.stack(expected))


@pytest.mark.parametrize("matcher", ["ds", "ot"])
def test_a_batch_is_the_mean_of_its_pairs(matcher) -> None:
    model, batch = small(matcher).double(), double(shifted())
    config = LossConfig(fine_share=0.1)
    together = training_step(model, batch, config, SEEDS)
    together.loss.backward()
    joint = gradients(model)
    model.zero_grad()
    alone = []
    for n in range(2):
        rows = batch.rows(slice(n, n + 1))
        alone.append(training_step(model, rows, config, SEEDS[n : n + 1]))
        (alone[-1].loss / 2).backward()
    assert (together.matches_pred > 0).all()
    for field in ("coarse", "fine", "fine_error_px", "fine_inside", "coarse_right"):
        split = torch.cat([getattr(out, field) for out in alone])
        torch.testing.assert_close(getattr(together, field), split, msg=field)
    for name, g in gradients(model).items():
        assert (g - joint[name]).abs().max() <= 1e-10 * joint[name].abs().max(), name


@pytest.mark.parametrize("supervision", ["dense", "sparse"])
@pytest.mark.parametrize("matcher", ["ds", "ot"])
def test_nothing_matches(matcher, supervision) -> None:
    """No true match, no predicted one, no fine sample: a gradient everywhere."""
    model = silent(small(matcher)).train()
    out = training_step(
        model, without_overlap(shifted()), LossConfig(supervision), SEEDS
    )
    assert out.matches_gt.tolist() == out.fine_samples.tolist() == [0, 0]
    assert out.fine.tolist() == [0, 0]
    assert all(math.isfinite(v) for v in out.scalars().values())
    out.loss.backward()
    found = gradients(model)
    assert all(torch.isfinite(g).all() for g in found.values())
    fine = [g for name, g in found.items() if "fine" in name]
    assert all((g == 0).all() for g in fine)
    if (matcher, supervision) == ("ds", "sparse"):
        assert out.loss.item() == 0
        assert all((g == 0).all() for g in found.values())


def test_a_pair_without_overlap_leaves_the_other_alone() -> None:
    model, batch, config = small(), shifted(), LossConfig("sparse")
    batch.H_0to1[1, 0, 2] = 1e4
    out = training_step(model, batch, config, SEEDS)
    alone = training_step(model, batch.rows(slice(0, 1)), config, SEEDS[:1])
    assert out.coarse[1] == 0
    torch.testing.assert_close(out.coarse[:1], alone.coarse)
    torch.testing.assert_close(2 * out.loss, alone.loss + out.fine[1])


def test_parameters_beyond_float32_sums_are_touched_with_zero() -> None:
    """0 x the sum of a parameter would be 0 x inf = NaN here."""
    model = small()
    model.extra = nn.Parameter(torch.full((4,), 3e38))
    out = training_step(model, shifted(), LossConfig(), SEEDS)
    out.loss.backward()
    assert model.extra.grad.tolist() == [0, 0, 0, 0]
    assert math.isfinite(out.loss.item())


def test_a_pose_that_is_not_finite_gives_no_nan() -> None:
    """Readers refuse such a pose; a batch made by hand may still hold one."""
    model, batch = small(), shifted()
    batch.H_0to1 = None
    batch.T_0to1 = torch.eye(4).repeat(2, 1, 1)
    batch.T_0to1[0, :3] = -torch.inf
    out = training_step(model, batch, LossConfig(), SEEDS)
    out.loss.backward()
    assert out.matches_gt[0] == 0 and out.matches_gt[1] > 0
    assert all(torch.isfinite(g).all() for g in gradients(model).values())


@pytest.mark.parametrize("matcher", ["ds", "ot"])
def test_bfloat16_features_float32_losses(matcher, monkeypatch) -> None:
    """Supervision too: bfloat16 would move points by whole cells."""
    model, batch = small(matcher), collate([motorcycle((160, 128))])
    seen = []

    def watched(batch: Batch) -> CoarseSupervision:
        seen.append(supervise(batch))
        return seen[-1]

    monkeypatch.setattr("loftr_nb.losses.step.supervise", watched)
    exact = training_step(model, batch, LossConfig(), [1])
    with torch.autocast("cpu", torch.bfloat16):
        out = training_step(model, batch, LossConfig(), [1])
    assert {out.loss.dtype, out.coarse.dtype, out.fine.dtype} == {torch.float32}
    assert out.matches_gt.item() == exact.matches_gt.item() > 50
    torch.testing.assert_close(
        seen[1].warped0, seen[0].warped0, rtol=0, atol=0, equal_nan=True
    )
    assert out.coarse.item() == pytest.approx(exact.coarse.item(), rel=0.1)
    assert out.coarse.item() != exact.coarse.item()
    assert math.isfinite(out.fine.item())
    out.loss.backward()
    assert all(torch.isfinite(g).all() for g in gradients(model).values())


def test_a_few_steps_learn_the_pair() -> None:
    """The losses point the right way: one real pair, its cells come out right."""
    model, batch = small(seed=1).train(), collate([motorcycle((160, 128))])
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    outs = []
    for step in range(20):
        outs.append(training_step(model, batch, LossConfig(), [step]))
        optimizer.zero_grad()
        outs[-1].loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
    assert outs[0].coarse_accuracy < 0.1
    assert outs[-1].coarse_accuracy > 0.5
    assert outs[-1].coarse < 0.5 * outs[0].coarse


def two_pairs() -> Batch:
    """The first pair has matches, the second has none: another graph a rank."""
    batch = shifted()
    batch.H_0to1[1, 0, 2] = 1e4
    return batch


def one_rank(rank: int, store: str, out: str, config: LossConfig) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=2
    )
    model = silent(small()).double()
    module = nn.parallel.DistributedDataParallel(TrainingStep(model, config))
    rows = double(two_pairs()).rows(slice(rank, rank + 1))
    for _ in range(2):  # the second forward is where an unfinished first one shows
        module.zero_grad()
        result = module(rows, SEEDS[rank : rank + 1])
        result.loss.backward()
    state = {"gradients": gradients(model), "output": result.scalars()}
    torch.save(state, f"{out}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_have_the_joint_gradient(tmp_path: Path) -> None:
    config = LossConfig("sparse", fine_share=0.1)
    arguments = (str(tmp_path / "store"), str(tmp_path), config)
    mp.spawn(one_rank, arguments, nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert first["output"]["fine_samples"] > 0
    assert second["output"]["loss"] == second["output"]["fine_samples"] == 0
    model = silent(small()).double()
    out = training_step(model, double(two_pairs()), config, SEEDS)
    out.loss.backward()
    for name, joint in gradients(model).items():
        for state in (first, second):
            off = (state["gradients"][name] - joint).abs().max()
            assert off <= 1e-10 * joint.abs().max(), name
