"""Losses against formulas written out in plain Python, gradients in float64."""

from __future__ import annotations

import math
from itertools import product

import kornia
import pytest
import torch
from torch import Tensor

from loftr_nb.datasets.middlebury import motorcycle
from loftr_nb.datasets.pair import collate
from loftr_nb.errors import ConfigError
from loftr_nb.losses import (
    LossConfig,
    choose_fine_samples,
    coarse_loss,
    fine_loss,
)
from loftr_nb.losses.focal import log1mexp, negative_term, positive_term
from loftr_nb.model import (
    CoarseMatches,
    CoarseMatching,
    FineOffsets,
    LoFTR,
    LoFTRConfig,
    LogConfidence,
)
from loftr_nb.supervision import CoarseSupervision, FineTargets, supervise

ALPHA, GAMMA = 0.25, 2.0
GRID0, GRID1 = (2, 3), (2, 4)  # L = 6, S = 8
BOTH = list(product(("ds", "ot"), ("dense", "sparse")))


def truth(
    matches: list[tuple[int, int, int]],
    batch: int,
    grid0: tuple[int, int] = GRID0,
    grid1: tuple[int, int] = GRID1,
    mask0: Tensor | None = None,
    mask1: Tensor | None = None,
) -> CoarseSupervision:
    b, i, j = torch.tensor(sorted(matches), dtype=torch.int64).reshape(-1, 3).unbind(1)
    L, S = grid0[0] * grid0[1], grid1[0] * grid1[1]
    nowhere = torch.full((batch, L, 2), torch.nan)
    corners1 = torch.zeros(batch, S, 2)
    return CoarseSupervision(
        b, i, j, grid0, grid1, batch, nowhere, corners1, mask0, mask1
    )


def case(matcher: str, masked: bool = True) -> tuple[LogConfidence, CoarseSupervision]:
    """Three pairs with 2, 3 and 0 matches; the second is padded.

    Padded cells have any P here, and not the matcher's 0: none may count.
    """
    g = torch.Generator().manual_seed(1)
    # From P = 1e-8, below the released clamp, to P = 0.95.
    cells, rows, columns = (
        -18.4 * torch.rand(shape, generator=g, dtype=torch.float64) ** 2 - 0.05
        for shape in ((3, 6, 8), (3, 6), (3, 8))
    )
    cells[0, 1, 2] = -18.0
    mask0 = mask1 = None
    if masked:
        mask0 = torch.ones(3, 6, dtype=torch.bool)
        mask1 = torch.ones(3, 8, dtype=torch.bool)
        mask0[1, 4:] = False
        mask1[1, [3, 7]] = False
    matches = [(0, 0, 5), (0, 1, 2), (1, 0, 0), (1, 2, 6), (1, 3, 1)]
    spv = truth(matches, 3, mask0=mask0, mask1=mask1)
    if matcher == "ds":
        return LogConfidence(cells), spv
    return LogConfidence(cells, rows, columns), spv


def naive(log_conf: LogConfidence, spv: CoarseSupervision, config: LossConfig) -> list:
    """The 2 x 2 of the paper, cell by cell."""

    def clamped(log_p: float) -> float:
        p = math.exp(log_p)
        return min(max(p, 1e-6), 1 - 1e-6) if config.clamp == "released" else p

    def positive(log_p: float) -> float:
        p = clamped(log_p)
        return -config.alpha * (1 - p) ** config.gamma * math.log(p)

    def negative(log_p: float) -> float:
        p = clamped(log_p)
        return -config.alpha * p**config.gamma * math.log1p(-p)

    def mean(terms: list[float]) -> float:
        return sum(terms) / len(terms) if terms else 0.0

    cells, dustbin0, dustbin1 = (None if x is None else x.tolist() for x in log_conf)
    matrix = spv.matrix().tolist()
    losses = []
    for n in range(spv.batch):
        rows = [i for i in range(6) if spv.mask0 is None or spv.mask0[n, i]]
        columns = [j for j in range(8) if spv.mask1 is None or spv.mask1[n, j]]
        right = [(i, j) for i in rows for j in columns if matrix[n][i][j]]
        wrong = [(i, j) for i in rows for j in columns if not matrix[n][i][j]]
        loss = mean([positive(cells[n][i][j]) for i, j in right])
        if config.supervision == "dense":
            loss += mean([negative(cells[n][i][j]) for i, j in wrong])
        elif dustbin0 is not None:
            busy0, busy1 = {i for i, _ in right}, {j for _, j in right}
            loss += mean(
                [positive(dustbin0[n][i]) for i in rows if i not in busy0]
                + [positive(dustbin1[n][j]) for j in columns if j not in busy1]
            )
        losses.append(loss)
    return losses


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("clamp", ["log", "released"])
@pytest.mark.parametrize(("matcher", "supervision"), BOTH)
def test_coarse_loss_is_the_formula(matcher, supervision, clamp, masked) -> None:
    log_conf, spv = case(matcher, masked)
    config = LossConfig(supervision, clamp=clamp)
    loss = coarse_loss(log_conf, spv, config)
    assert loss.dtype == torch.float64
    torch.testing.assert_close(
        loss,
        torch.tensor(naive(log_conf, spv, config), dtype=torch.float64),
        rtol=1e-12,
        atol=0,
    )


@pytest.mark.parametrize("gamma", [0.0, 1.0, 3.0])
def test_other_alpha_and_gamma(gamma) -> None:
    log_conf, spv = case("ds")
    config = LossConfig(alpha=0.7, gamma=gamma)
    loss = coarse_loss(log_conf, spv, config)
    expected = torch.tensor(naive(log_conf, spv, config), dtype=torch.float64)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("clamp", ["log", "released"])
@pytest.mark.parametrize(("matcher", "supervision"), BOTH)
def test_coarse_gradient(matcher, supervision, clamp) -> None:
    log_conf, spv = case(matcher)
    inputs = [x.requires_grad_() for x in log_conf if x is not None]
    config = LossConfig(supervision, clamp=clamp)
    assert torch.autograd.gradcheck(
        lambda *x: coarse_loss(LogConfidence(*x), spv, config), inputs, atol=1e-9
    )


def test_blocks_of_rows_add_up() -> None:
    """A matrix of many blocks equals one masked sum, and its gradient too."""
    L, S = 700, 900  # 3 blocks of up to 291 rows
    g = torch.Generator().manual_seed(2)
    cells = -1 - 4 * torch.rand(2, L, S, generator=g, dtype=torch.float64)
    match = torch.randperm(S, generator=g)[:L]
    matches = [(n, i, int(match[i])) for n in range(2) for i in range(n, L, 7)]
    spv = truth(matches, 2, (L, 1), (S, 1))
    config = LossConfig()
    ours, plain = cells.clone().requires_grad_(), cells.clone().requires_grad_()
    loss = coarse_loss(LogConfidence(ours), spv, config)
    is_match = spv.matrix().bool()
    expected = torch.stack(
        [
            positive_term(p[m], config).mean() + negative_term(p[~m], config).mean()
            for p, m in zip(plain, is_match, strict=True)
        ]
    )
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    weights = torch.tensor([1.0, 3.0], dtype=torch.float64)
    (loss * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(ours.grad, plain.grad, rtol=1e-9, atol=1e-18)


def test_matches_do_not_cancel_the_rest() -> None:
    """Sure matches weigh 1e9 times the rest, and the rest keeps its digits."""
    cells = torch.full((1, 64, 64), math.log(1e-3))
    cells[0].fill_diagonal_(-1e-7)
    spv = truth([(0, n, n) for n in range(64)], 1, (8, 8), (8, 8))
    loss = coarse_loss(LogConfidence(cells), spv, LossConfig()).item()
    rest = -ALPHA * 1e-6 * math.log1p(-1e-3)
    assert loss == pytest.approx(rest, rel=1e-5)


def test_log1mexp_at_both_ends() -> None:
    x = torch.tensor([-1e-6, -1e-3, -0.5, -0.7, -20.0, -60.0])
    expected = [math.log(-math.expm1(v)) if v > -1 else 0 for v in x.tolist()]
    expected[-2:] = [-math.exp(-20.0), -math.exp(-60.0)]
    torch.testing.assert_close(log1mexp(x), torch.tensor(expected), rtol=2e-6, atol=0)


def test_log1mexp_has_a_slope_at_both_ends() -> None:
    """-1 / (e^-x - 1), also where e^x rounds to 1 and where it rounds to 0."""
    values = [-1e-9, -1e-4, math.log(0.5), -5.0, -80.0]
    x = torch.tensor(values).requires_grad_()
    log1mexp(x).sum().backward()
    expected = torch.tensor([-1 / math.expm1(-v) for v in values])
    torch.testing.assert_close(x.grad, expected, rtol=1e-5, atol=0)


def test_the_released_clamp_silences_and_log_space_does_not() -> None:
    log_p = torch.tensor([1e-30, 1e-9, 0.9e-6, 1.1e-6, 0.5]).log().requires_grad_()
    gradients = {}
    for clamp in ("released", "log"):
        term = positive_term(log_p, LossConfig(clamp=clamp)).sum()
        (gradients[clamp],) = torch.autograd.grad(term, log_p)
    assert gradients["released"][:3].tolist() == [0, 0, 0]
    assert (gradients["released"][3:] < 0).all()
    # Towards P = 0 the slope by log P is -alpha.
    torch.testing.assert_close(gradients["log"][:2], torch.tensor([-ALPHA, -ALPHA]))
    assert (gradients["log"] < 0).all()


@pytest.mark.parametrize("score", [5.0, 8.0, 12.0, 16.0, 500.0])
def test_a_sure_mistake(score) -> None:
    """A wrong cell with P up to 1 in float32: finite, and the gradient as it is.

    The derivative by the score, worked out on paper: with softmaxes r and c,
    slope = alpha P^2 (P / (1-P) - 2 log(1-P)) times (1-r) + (1-c).
    """
    scores = torch.zeros(1, 4, 4)
    scores[0, 1, 2] = score
    scores.requires_grad_()
    cells = scores.log_softmax(1) + scores.log_softmax(2)
    spv = truth([(0, 0, 0)], 1, (2, 2), (2, 2))
    gradients = {}
    for clamp in ("log", "released"):
        loss = coarse_loss(LogConfidence(cells), spv, LossConfig(clamp=clamp))
        assert math.isfinite(loss.item())
        (g,) = torch.autograd.grad(loss.sum(), scores, retain_graph=True)
        assert torch.isfinite(g).all()
        gradients[clamp] = g[0, 1, 2].item() * 15
    off = 3 / (math.exp(score) + 3)  # 1 - r
    P = (1 - off) ** 2
    miss = off * (2 - off)
    slope = ALPHA * P**2 * (P / miss - GAMMA * math.log(miss))
    others = 1e-4 * 15  # what the other cells and the match add
    if miss > 1e-6:
        exact = slope * 2 * off
        assert gradients["log"] == pytest.approx(exact, rel=0.05, abs=others)
        assert gradients["released"] == pytest.approx(exact, rel=0.05, abs=others)
    else:
        assert gradients["released"] == pytest.approx(0, abs=1e-6)
        assert 0 <= gradients["log"] < 2 * ALPHA
    if score == 16.0:  # P = 1 - 6.8e-7: released is silent, log is not
        assert gradients["log"] > 0.1


@pytest.mark.parametrize(("matcher", "supervision"), BOTH)
def test_a_pair_alone_or_in_a_batch(matcher, supervision) -> None:
    """To the last bit in float32: nothing of one pair reaches another."""
    log_conf, spv = case(matcher)
    log_conf = LogConfidence(*(x if x is None else x.float() for x in log_conf))
    config = LossConfig(supervision)
    together = coarse_loss(log_conf, spv, config)
    for n in range(3):
        own = spv.b == n
        alone = truth(
            [(0, i, j) for i, j in zip(spv.i[own], spv.j[own], strict=True)],
            1,
            mask0=spv.mask0[n : n + 1],
            mask1=spv.mask1[n : n + 1],
        )
        one = LogConfidence(*(x if x is None else x[n : n + 1] for x in log_conf))
        assert coarse_loss(one, alone, config).item() == pytest.approx(
            together[n].item(), rel=2e-7
        )


@pytest.mark.parametrize(("matcher", "supervision"), BOTH)
def test_padding_changes_nothing(matcher, supervision) -> None:
    """From features: the loss of a padded pair is that of the unpadded one."""
    matching = CoarseMatching(LoFTRConfig(matcher=matcher)).double()
    f0, f1 = torch.randn(1, 6, 16).double(), torch.randn(1, 8, 16).double()
    matches = [(0, 0, 3), (0, 4, 7)]
    config = LossConfig(supervision)
    bare = coarse_loss(matching.log_confidence(f0, f1), truth(matches, 1), config)
    wide0, wide1 = torch.randn(1, 9, 16).double(), torch.randn(1, 12, 16).double()
    wide0[:, :6], wide1[:, :8] = f0, f1
    mask0, mask1 = torch.arange(9)[None] < 6, torch.arange(12)[None] < 8
    spv = truth(matches, 1, (3, 3), (3, 4), mask0, mask1)
    log_conf = matching.log_confidence(wide0, wide1, mask0, mask1)
    padded = coarse_loss(log_conf, spv, config)
    torch.testing.assert_close(padded, bare, rtol=1e-10, atol=0)


@pytest.mark.parametrize("clamp", ["log", "released"])
@pytest.mark.parametrize(("matcher", "supervision"), BOTH)
def test_a_pair_without_any_match(matcher, supervision, clamp) -> None:
    log_conf, spv = case(matcher)
    inputs = [x.float().requires_grad_() for x in log_conf if x is not None]
    none = truth([], 3, mask0=spv.mask0, mask1=spv.mask1)
    config = LossConfig(supervision, clamp=clamp)
    loss = coarse_loss(LogConfidence(*inputs), none, config)
    expected = naive(log_conf, none, config)
    torch.testing.assert_close(loss, torch.tensor(expected), rtol=1e-5, atol=0)
    if (matcher, supervision) == ("ds", "sparse"):
        assert loss.tolist() == [0, 0, 0]
    loss.sum().backward()
    assert torch.isfinite(inputs[0].grad).all()


def test_half_precision_comes_out_as_float32() -> None:
    log_conf, spv = case("ds", masked=False)
    half = LogConfidence(log_conf.cells.bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        loss = coarse_loss(half, spv, LossConfig())
    assert loss.dtype == torch.float32
    exact = LogConfidence(half.cells.double())
    torch.testing.assert_close(
        loss.double(), coarse_loss(exact, spv, LossConfig()), rtol=1e-5, atol=0
    )


@pytest.fixture(scope="module")
def kornia_case() -> tuple[Tensor, LogConfidence, CoarseSupervision]:
    """The motorcycle pair through kornia's LoFTR and through ours."""
    torch.manual_seed(3)
    config = LoFTRConfig()
    theirs = kornia.feature.LoFTR(None, config.to_kornia()).eval()
    ours = LoFTR(config).eval()
    ours.load_state_dict(theirs.state_dict())
    batch = collate([motorcycle((320, 240))])
    seen = {}
    theirs.coarse_matching.register_forward_hook(
        lambda module, args, out: seen.update(args[2])
    )
    with torch.no_grad():
        theirs({"image0": batch.image0, "image1": batch.image1})
        f = ours.features(batch.image0, batch.image1)
        log_conf = ours.coarse_matching.log_confidence(f.coarse0, f.coarse1)
    return seen["conf_matrix"], log_conf, supervise(batch)


@pytest.mark.parametrize("supervision", ["dense", "sparse"])
@pytest.mark.parametrize("clamp", ["released", "log"])
def test_equal_to_kornia_on_a_real_pair(kornia_case, supervision, clamp) -> None:
    """kornia's confidences under the plain formula, and ours from features on."""
    conf, log_conf, spv = kornia_case
    p = conf.double()
    if clamp == "released":
        p = p.clamp(1e-6, 1 - 1e-6)
    is_match = spv.matrix().bool()
    assert is_match.sum() > 300
    positives = -ALPHA * (1 - p[is_match]) ** GAMMA * p[is_match].log()
    negatives = -ALPHA * p[~is_match] ** GAMMA * torch.log1p(-p[~is_match])
    expected = positives.mean()
    if supervision == "dense":
        expected = expected + negatives.mean()
    loss = coarse_loss(log_conf, spv, LossConfig(supervision, clamp=clamp))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("clamp", ["released", "log"])
def test_negatives_equal_to_kornia_on_a_real_pair(kornia_case, clamp) -> None:
    """By themselves: in the sum they are 1e-9 of it with random weights."""
    conf, log_conf, spv = kornia_case
    p = conf.double()
    if clamp == "released":
        p = p.clamp(1e-6, 1 - 1e-6)
    p = p[~spv.matrix().bool()]
    expected = (-ALPHA * p**GAMMA * torch.log1p(-p)).mean().item()
    wide = LogConfidence(log_conf.cells.double())
    dense, sparse = (
        coarse_loss(wide, spv, LossConfig(kind, clamp=clamp)).item()
        for kind in ("dense", "sparse")
    )
    assert dense - sparse == pytest.approx(expected, rel=1e-5)


def fine_case() -> tuple[FineOffsets, FineTargets, Tensor]:
    """Three pairs with 5, 3 and 2 samples; of the last none is inside."""
    g = torch.Generator().manual_seed(4)
    offset = torch.rand(10, 2, generator=g, dtype=torch.float64) * 2 - 1
    std = torch.rand(10, generator=g, dtype=torch.float64) + 0.1
    target = torch.rand(10, 2, generator=g, dtype=torch.float64) * 2.4 - 1.2
    b = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 2, 2])
    inside = torch.tensor([1, 1, 0, 1, 1, 1, 0, 1, 0, 0], dtype=torch.bool)
    target[2] = torch.nan  # nothing may read it
    return FineOffsets(offset, std), FineTargets(target, inside), b


def test_fine_loss_is_the_formula() -> None:
    offsets, targets, b = fine_case()
    expected = []
    error = (offsets.offset - targets.offset).tolist()
    for pair in range(3):
        own = [m for m in range(10) if b[m] == pair]
        inverse = {m: 1 / offsets.std[m].item() for m in own}
        mean = sum(inverse.values()) / len(own)
        terms = [
            inverse[m] / mean * (error[m][0] ** 2 + error[m][1] ** 2)
            for m in own
            if targets.inside[m]
        ]
        expected.append(sum(terms) / len(terms) if terms else 0.0)
    loss = fine_loss(offsets, targets, b, 3)
    assert loss[2] == 0
    torch.testing.assert_close(loss, torch.tensor(expected, dtype=torch.float64))


def test_fine_gradient() -> None:
    offsets, targets, b = fine_case()
    offset, std = offsets.offset.requires_grad_(), offsets.std.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: fine_loss(FineOffsets(x, std), targets, b, 3), [offset]
    )
    # The spread only weighs: it cannot be raised to lower the loss.
    loss = fine_loss(FineOffsets(offset, std), targets, b, 3).sum()
    assert torch.autograd.grad(loss, std, allow_unused=True) == (None,)


def test_one_sure_sample_and_the_least_std() -> None:
    """Errors 1 and 2 (squared 1 and 4), spreads 1e-5 and 1."""
    offset = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    offsets = FineOffsets(offset, torch.tensor([1e-5, 1.0]))
    targets = FineTargets(torch.zeros(2, 2), torch.ones(2, dtype=torch.bool))
    b = torch.zeros(2, dtype=torch.int64)
    # Weights 2 and 0 as released; 10 : 1, so 20/11 and 2/11, from 0.1 on.
    assert fine_loss(offsets, targets, b, 1).item() == pytest.approx(1, rel=1e-4)
    held = fine_loss(offsets, targets, b, 1, std_min=0.1).item()
    assert held == pytest.approx((20 / 11 * 1 + 2 / 11 * 4) / 2)


def test_fine_loss_without_samples() -> None:
    offset = torch.zeros(0, 2, requires_grad=True)
    offsets = FineOffsets(offset, torch.zeros(0))
    targets = FineTargets(torch.zeros(0, 2), torch.zeros(0, dtype=torch.bool))
    loss = fine_loss(offsets, targets, torch.zeros(0, dtype=torch.int64), 2)
    assert loss.tolist() == [0, 0]
    loss.sum().backward()


def drawn(
    n_predicted: int, n_true: int, config: LossConfig, seed: int = 0, cells: int = 100
) -> tuple[list[int], list[int]]:
    """Cells of image 0 drawn from predictions, which are even, and truth, odd."""
    spv = truth([(0, 2 * n + 1, 0) for n in range(n_true)], 1, (cells, 1), (50, 1))
    i = 2 * torch.arange(n_predicted)
    zeros = torch.zeros_like(i)
    predicted = CoarseMatches(zeros, i, zeros, torch.ones(n_predicted))
    samples = choose_fine_samples(predicted, spv, config, [seed])
    cells0 = samples.i.tolist()
    return [c for c in cells0 if c % 2 == 0], [c for c in cells0 if c % 2]


@pytest.mark.parametrize(
    ("n_predicted", "n_true", "expected"),
    [
        (1000, 1000, (75, 25)),  # both plenty: 25 of 100 kept for the truth
        (1000, 10, (90, 10)),  # truth runs short: predictions take its place
        (10, 1000, (10, 90)),  # few predictions: truth fills up
        (10, 20, (10, 20)),  # both run short: all of them, once
        (0, 1000, (0, 100)),
        (1000, 0, (100, 0)),
        (0, 0, (0, 0)),
    ],
)
def test_budget_of_fine_samples(n_predicted, n_true, expected) -> None:
    config = LossConfig(fine_share=0.05, fine_min_gt=25)  # 5 % of 2,000 cells
    predicted, true = drawn(n_predicted, n_true, config, cells=2000)
    assert (len(predicted), len(true)) == expected
    assert len(set(predicted)) == len(predicted) and len(set(true)) == len(true)


@pytest.mark.parametrize("cells", [1, 2, 4, 9])
def test_small_images_have_fine_samples(cells) -> None:
    """The released code refuses images whose budget is below its minimum."""
    config = LossConfig(fine_share=0.2, fine_min_gt=200)
    spv = truth([(0, c, c) for c in range(cells)], 1, (cells, 1), (cells, 1))
    none = torch.zeros(0, dtype=torch.int64)
    samples = choose_fine_samples(
        CoarseMatches(none, none, none, none.float()), spv, config, [0]
    )
    assert len(samples.b) == max(1, int(0.2 * cells))


def test_padding_does_not_raise_the_budget() -> None:
    config = LossConfig(fine_share=0.5)
    mask = torch.arange(40)[None] < 20
    spv = truth([(0, n, n) for n in range(20)], 1, (40, 1), (40, 1), mask, mask)
    none = torch.zeros(0, dtype=torch.int64)
    samples = choose_fine_samples(
        CoarseMatches(none, none, none, none.float()), spv, config, [0]
    )
    assert len(samples.b) == 10


def test_draws_follow_the_seed_and_cover_everything() -> None:
    config = LossConfig(fine_share=0.1, fine_min_gt=5)
    assert drawn(40, 40, config, 7) == drawn(40, 40, config, 7)
    assert drawn(40, 40, config, 7) != drawn(40, 40, config, 8)
    seen = {c for seed in range(100) for c in sum(drawn(40, 40, config, seed), [])}
    assert len(seen) == 80


def test_draws_of_a_pair_do_not_depend_on_its_batch() -> None:
    g = torch.Generator().manual_seed(5)
    config = LossConfig(fine_share=0.2, fine_min_gt=6)
    n = 100
    j = [torch.randperm(n, generator=g).tolist() for _ in range(3)]
    matches = [(p, i, j[p][i]) for p in range(3) for i in range(0, n, p + 1)]
    spv = truth(matches, 3, (n, 1), (n, 1))
    b = torch.arange(3).repeat_interleave(torch.tensor([40, 3, 90]))
    i = torch.cat([torch.arange(k) for k in (40, 3, 90)])
    predicted = CoarseMatches(b, i, (i * 7) % n, torch.ones(133))
    together = choose_fine_samples(predicted, spv, config, [11, 12, 13])
    assert together.b.tolist() == sorted(together.b.tolist())
    for p in range(3):
        own = predicted.b == p
        alone = choose_fine_samples(
            CoarseMatches(*(x[own] for x in predicted))._replace(b=0 * b[own]),
            truth([(0, i, j) for q, i, j in matches if q == p], 1, (n, 1), (n, 1)),
            config,
            [11 + p],
        )
        here = together.b == p
        assert together.i[here].tolist() == alone.i.tolist()
        assert together.j[here].tolist() == alone.j.tolist()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"supervision": "dens"}, "did you mean 'dense'"),
        ({"clamp": "none"}, "released"),
        ({"fine_share": 0.0}, "fine_share is 0"),
        ({"fine_std_min": 0.0}, "fine_std_min is 0"),
        ({"gamma": 0.5}, "gamma is 0.5"),
        ({"alpha": -1.0}, "alpha is -1"),
    ],
)
def test_settings_that_cannot_be(change, says) -> None:
    with pytest.raises(ConfigError, match=says):
        LossConfig(**change)
