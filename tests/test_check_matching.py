"""Verdicts on matching and refining: right answers pass, mistakes are named."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from loftr_nb import check
from loftr_nb.losses.fine import fine_loss
from loftr_nb.model import CoarseMatching, LoFTRConfig, log_sinkhorn
from loftr_nb.model.fine_matching import FineOffsets, expected_offset
from loftr_nb.supervision.fine import FineTargets


def named(judge, mistake, words):
    verdict = judge(mistake)
    assert not verdict and words in repr(verdict), verdict


def softmax_by_package(scores, temperature):
    """Through the module: features whose products are the scores."""
    L = len(scores)
    matcher = CoarseMatching(LoFTRConfig(temperature=temperature))
    feat0 = torch.eye(L)[None] * L
    return matcher.log_confidence(feat0, scores.T[None].contiguous()).cells[0]


def softmax_by_loops(scores, temperature):
    s = scores.double().numpy() / temperature
    out = np.empty_like(s)
    for i, j in np.ndindex(*s.shape):
        row = np.logaddexp.reduce(s[i])
        out[i, j] = 2 * s[i, j] - row - np.logaddexp.reduce(s[:, j])
    return torch.from_numpy(out)


@pytest.mark.parametrize("answer", [softmax_by_package, softmax_by_loops])
def test_dual_softmax_is_judged_by_others(answer):
    assert check.dual_softmax(answer)


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda s, T: ((s / T).softmax(1) * (s / T).softmax(0)).log(), "log 0 is"),
        (lambda s, T: (s / T).softmax(1) * (s / T).softmax(0), "that is P"),
        (lambda s, T: (s / T).log_softmax(-1), "over each row"),
        (lambda s, T: (s / T).log_softmax(0), "over each column"),
        (lambda s, T: softmax_by_loops(s, 1 / T), "multiplied by the temperature"),
        (lambda s, T: softmax_by_loops(s, 1.0), "not used"),
        (lambda s, T: (s / T).log_softmax(1).log_softmax(0), "first one's result"),
        (lambda s, T: (s / T).log_softmax(1) * (s / T).log_softmax(0), "a sum"),
        (lambda s, T: softmax_by_loops(s, T)[0], "shape"),
    ],
)
def test_dual_softmax_mistakes_are_named(mistake, words):
    named(check.dual_softmax, mistake, words)


def plan_by_scaling(z, log_mu, log_nu, iterations, dims=(1, 0)):
    """The matrix itself in float64, its rows and columns scaled to their masses."""
    plan, masses = z.double().exp(), {1: log_mu.exp(), 0: log_nu.exp()}
    for _ in range(iterations):
        for dim in dims:
            factor = masses[dim] / plan.sum(dim)
            plan = plan * factor.unsqueeze(dim)
    return plan.log()


def test_sinkhorn_is_judged_by_scaling_the_plan_itself():
    assert check.sinkhorn(plan_by_scaling)


def test_sinkhorn_of_the_exercise_is_that_of_the_package():
    torch.manual_seed(0)
    scores, dustbin = torch.randn(1, 4, 6, dtype=torch.float64), torch.tensor(0.7)
    z = torch.nn.functional.pad(scores[0], (0, 1, 0, 1), value=0.7)
    log_mu = torch.tensor([1.0, 1, 1, 1, 6], dtype=torch.float64).log()
    log_nu = torch.tensor([1.0, 1, 1, 1, 1, 1, 4], dtype=torch.float64).log()
    ours = log_sinkhorn(scores, dustbin.double(), 3)[0]
    assert torch.allclose(plan_by_scaling(z, log_mu, log_nu, 3), ours, atol=1e-6)


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda *a: plan_by_scaling(*a).exp(), "its logarithm is asked for"),
        (lambda *a: plan_by_scaling(*a, dims=(0, 1)), "columns are scaled first"),
        (lambda z, m, n, t: plan_by_scaling(z, m, n, 1), "one iteration only"),
        (lambda z, m, n, t: plan_by_scaling(z, m, n, t + 1), "more than asked"),
        (
            lambda z, m, n, t: (
                z + (m - z.logsumexp(1))[:, None] + (n - z.logsumexp(0))[None]
            ),
            "without v",
        ),
        (lambda z, m, n, t: z, "nothing is scaled"),
        (lambda *a: plan_by_scaling(*a)[:-1, :-1], "shape"),
    ],
)
def test_sinkhorn_mistakes_are_named(mistake, words):
    named(check.sinkhorn, mistake, words)


def mutual_by_loops(log_p, threshold, both=True, cut=True):
    P = log_p.exp().tolist()
    found = []
    for i, row in enumerate(P):
        for j, p in enumerate(row):
            best = p == max(row) and (not both or p == max(r[j] for r in P))
            if best and (not cut or p > threshold):
                found.append((i, j))
    return tuple(torch.tensor(found).T)


def mutual_by_package(log_p, threshold):
    config = LoFTRConfig(threshold=threshold, border=0)
    L, S = log_p.shape
    found = CoarseMatching(config).predict(log_p[None], (1, L), (1, S))
    return found.i, found.j


@pytest.mark.parametrize("answer", [mutual_by_loops, mutual_by_package])
def test_matches_are_judged_by_others(answer):
    assert check.mutual_best(answer)


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda p, t: mutual_by_loops(p, 0.5), "shape"),
        (lambda p, t: (p > t).nonzero().T, "log P is compared"),
        (lambda p, t: mutual_by_loops(p, t, cut=False), "threshold is not applied"),
        (lambda p, t: mutual_by_loops(p, t, both=False), "row i likes j best"),
        (lambda p, t: mutual_by_loops(p.T, t, both=False)[::-1], "column j likes i"),
        (lambda p, t: (p.exp() > t).nonzero().T, "every entry above"),
        (lambda p, t: mutual_by_loops(p, t)[::-1], "swapped"),
        (lambda p, t: None, "raises TypeError"),
    ],
)
def test_match_mistakes_are_named(mistake, words):
    named(check.mutual_best, mistake, words)


def centre_by_search(cell, grid):
    """The fine place that lies on the input pixel of the cell's corner."""
    corners = [(8 * x, 8 * y) for y in range(grid[0]) for x in range(grid[1])]
    x, y = corners[cell]
    return next(
        (u, v) for u in range(99) for v in range(99) if (2 * u, 2 * v) == (x, y)
    )


def test_centres_are_judged_by_search():
    assert check.window_centre(centre_by_search)


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda c, g: (c % g[1] * 8, c // g[1] * 8), "input pixels"),
        (lambda c, g: (c % g[1], c // g[1]), "coarse cells"),
        (lambda c, g: (c % g[1] * 4 + 2, c // g[1] * 4 + 2), "middle of the cell"),
        (lambda c, g: (c % g[1] * 4 - 2, c // g[1] * 4 - 2), "own corner"),
        (lambda c, g: (c // g[1] * 4, c % g[1] * 4), "swapped"),
        (lambda c, g: (c % g[0] * 4, c // g[0] * 4), "not of rows"),
    ],
)
def test_centre_mistakes_are_named(mistake, words):
    named(check.window_centre, mistake, words)


def moments_by_package(heat):
    """A window whose products with the centre give this heat map."""
    places = heat.numel()
    scores = heat.reshape(-1).clamp(min=1e-30).log()
    window0 = torch.zeros(1, places, 1, dtype=heat.dtype)
    window0[0, places // 2] = 1
    found = expected_offset(window0, scores.reshape(1, places, 1))
    return torch.cat([found.offset[0], found.std])


def moments_by_loop(heat, unit=1.0, root=math.sqrt):
    side = [unit * (n - 2) / 2 for n in range(5)]
    cells = [(side[c], side[r], float(heat[r, c])) for r in range(5) for c in range(5)]
    x, y = sum(p * u for u, _, p in cells), sum(p * v for _, v, p in cells)
    vx = sum(p * (u - x) ** 2 for u, _, p in cells)
    vy = sum(p * (v - y) ** 2 for _, v, p in cells)
    return torch.tensor([x, y, root(vx) + root(vy)])


@pytest.mark.parametrize("answer", [moments_by_package, moments_by_loop])
def test_moments_are_judged_by_others(answer):
    assert check.heat_moments(answer)


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda h: moments_by_loop(h.T), "swapped"),
        (lambda h: moments_by_loop(h, 2.0), "fine places"),
        (lambda h: moments_by_loop(h, 4.0), "input pixels"),
        (lambda h: moments_by_loop(h, root=float), "variance"),
        (
            lambda h: torch.cat(
                [torch.tensor([0.5, 0.0]), moments_by_loop(h)[2:].float()]
            ),
            "largest place",
        ),
        (lambda h: moments_by_loop(h)[:2], "shape"),
    ],
)
def test_moment_mistakes_are_named(mistake, words):
    named(check.heat_moments, mistake, words)


def weights_by_loss(std, std_min):
    """The package's weight of sample m: the loss when only m is wrong, times M."""
    M = len(std)
    answer = []
    for m in range(M):
        offset = torch.zeros(M, 2)
        offset[m, 0] = 1.0
        offsets = FineOffsets(offset, std)
        targets = FineTargets(torch.zeros(M, 2), torch.ones(M, dtype=torch.bool))
        b = torch.zeros(M, dtype=torch.long)
        answer.append(M * fine_loss(offsets, targets, b, 1, std_min)[0])
    return torch.stack(answer)


def test_weights_are_judged_by_the_loss():
    assert check.std_weights(weights_by_loss)


def normal(w):
    return w / w.mean()


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda s, low: normal(1 / s.detach()), "floor is missing"),
        (lambda s, low: normal(1 / (s.detach() + low)), "added to all"),
        (lambda s, low: normal(s.detach().clamp(min=low)), "weight is std"),
        (lambda s, low: normal(s.detach().clamp(min=low) ** -2), "1/variance"),
        (lambda s, low: 1 / s.detach().clamp(min=low), "not scaled"),
        (
            lambda s, low: normal(1 / s.detach().clamp(min=low)) / len(s),
            "weights sum to 1",
        ),
        (lambda s, low: normal(1 / s.clamp(min=low)), "carry a gradient"),
        (
            lambda s, low: normal((1 / s.detach()) * (s.detach() > low)),
            "thrown out",
        ),
    ],
)
def test_weight_mistakes_are_named(mistake, words):
    named(check.std_weights, mistake, words)


def test_an_empty_stub_is_not_an_error():
    def stub(*_):
        raise NotImplementedError

    for judge in (
        check.dual_softmax,
        check.sinkhorn,
        check.mutual_best,
        check.window_centre,
        check.heat_moments,
        check.std_weights,
    ):
        assert repr(judge(stub)).startswith("not yet: still the stub")
