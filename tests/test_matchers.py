"""Dual-softmax, Sinkhorn and the choice of matches, against brute force."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from loftr_nb.model import LOG_FLOOR, LoFTRConfig, LogConfidence, log_sinkhorn
from loftr_nb.model.coarse_matching import CoarseMatching

DS = LoFTRConfig(threshold=0.2, border=0)
OT = dataclasses.replace(DS, matcher="ot")


def brute_sinkhorn(scores: np.ndarray, dustbin: float, iterations: int) -> np.ndarray:
    """One pair, in probabilities, by plain loops: rows, then columns, in turn."""
    L, S = scores.shape
    kernel = np.full((L + 1, S + 1), math.exp(dustbin))
    kernel[:L, :S] = np.exp(scores)
    mass0 = [1 / (L + S)] * L + [S / (L + S)]
    mass1 = [1 / (L + S)] * S + [L / (L + S)]
    a, b = np.ones(L + 1), np.ones(S + 1)
    for _ in range(iterations):
        for i in range(L + 1):
            a[i] = mass0[i] / sum(kernel[i, j] * b[j] for j in range(S + 1))
        for j in range(S + 1):
            b[j] = mass1[j] / sum(kernel[i, j] * a[i] for i in range(L + 1))
    return a[:, None] * kernel * b[None, :] * (L + S)


@pytest.mark.parametrize("shape", [(4, 4), (3, 7), (6, 2), (1, 1)])
@pytest.mark.parametrize("iterations", [1, 3, 20])
def test_sinkhorn_equals_brute_force(shape, iterations):
    scores = 3 * torch.randn(2, *shape, dtype=torch.float64)
    dustbin = torch.tensor(0.7, dtype=torch.float64)
    got = log_sinkhorn(scores, dustbin, iterations).exp()
    for b in range(2):
        want = brute_sinkhorn(scores[b].numpy(), 0.7, iterations)
        np.testing.assert_allclose(got[b].numpy(), want, rtol=1e-10)


def test_sinkhorn_sees_only_what_is_not_padding():
    """A padded pair gives what the pair without its padding gives."""
    scores = 2 * torch.randn(3, 5, 6, dtype=torch.float64)
    mask0, mask1 = torch.zeros(3, 5).bool(), torch.zeros(3, 6).bool()
    sizes = [(5, 6), (3, 4), (2, 6)]
    for b, (rows, columns) in enumerate(sizes):
        mask0[b, :rows], mask1[b, :columns] = True, True
    dustbin = torch.tensor(-0.3, dtype=torch.float64)
    got = log_sinkhorn(scores, dustbin, 3, mask0, mask1).exp().numpy()
    for b, (n0, n1) in enumerate(sizes):
        want = brute_sinkhorn(scores[b, :n0, :n1].numpy(), -0.3, 3)
        rows, columns = [*range(n0), 5], [*range(n1), 6]
        np.testing.assert_allclose(got[b][np.ix_(rows, columns)], want, rtol=1e-9)
        outside = got[b].copy()
        outside[np.ix_(rows, columns)] = 0
        assert (outside == 0).all()


def test_sinkhorn_balances_masses():
    plan = log_sinkhorn(torch.randn(1, 8, 5), torch.tensor(1.0), 100)[0].exp()
    torch.testing.assert_close(plan.sum(0), torch.tensor([1.0] * 5 + [8.0]))
    torch.testing.assert_close(plan.sum(1), torch.tensor([1.0] * 8 + [5.0]))


def test_gradients_of_both_matchers():
    f0 = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    f1 = torch.randn(2, 4, 4, dtype=torch.float64, requires_grad=True)
    mask0 = torch.tensor([[True] * 3, [True, True, False]])
    mask1 = torch.tensor([[True] * 4, [True, False, False, False]])
    for config in (DS, OT):
        matching = CoarseMatching(config).double()

        def values(a: Tensor, b: Tensor, matching=matching) -> tuple[Tensor, ...]:
            found = matching.log_confidence(a, b, mask0, mask1)
            return tuple(t for t in found if t is not None)

        assert torch.autograd.gradcheck(values, (f0, f1))
    scores = torch.randn(1, 3, 2, dtype=torch.float64)
    dustbin = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda d: log_sinkhorn(scores, d, 3), dustbin)


def test_dual_softmax_is_its_formula():
    f0, f1 = torch.randn(2, 5, 16), torch.randn(2, 7, 16)
    found = CoarseMatching(DS).log_confidence(f0, f1)
    assert found.dustbin0 is None and found.dustbin1 is None
    for b in range(2):
        s = (f0[b].double().numpy() / 4) @ (f1[b].double().numpy() / 4).T / 0.1
        e = np.exp(s - s.max())
        want = e / e.sum(1, keepdims=True) * (e / e.sum(0, keepdims=True))
        np.testing.assert_allclose(found.cells[b].exp().numpy(), want, atol=1e-5)


def test_optimal_transport_divides_by_root_c_and_has_no_temperature():
    f0, f1 = torch.randn(1, 4, 16), torch.randn(1, 6, 16)
    found = CoarseMatching(OT).log_confidence(f0, f1)
    scores = (f0[0].double() / 4) @ (f1[0].double() / 4).T
    want = brute_sinkhorn(scores.numpy(), 1.0, 3)
    got = found.cells[0].detach().exp().numpy()
    np.testing.assert_allclose(got, want[:-1, :-1], rtol=1e-4)
    np.testing.assert_allclose(
        found.dustbin0[0].detach().exp().numpy(), want[:-1, -1], rtol=1e-4
    )
    np.testing.assert_allclose(
        found.dustbin1[0].detach().exp().numpy(), want[-1, :-1], rtol=1e-4
    )


@pytest.mark.parametrize("config", [DS, OT])
def test_padding_has_no_probability_and_no_nan(config):
    f0 = torch.randn(3, 4, 8, requires_grad=True)
    f1 = torch.randn(3, 5, 8, requires_grad=True)
    mask0 = torch.tensor([[True] * 4, [True, True, False, False], [False] * 4])
    mask1 = torch.tensor([[True] * 5, [False] * 5, [False] * 5])
    matching = CoarseMatching(config)
    found = matching.log_confidence(f0, f1, mask0, mask1)
    hidden = ~(mask0[:, :, None] & mask1[:, None, :])
    assert (found.cells[hidden] == LOG_FLOOR).all()
    assert all(torch.isfinite(t).all() for t in found if t is not None)
    sum(t.sum() for t in found if t is not None).backward()
    assert torch.isfinite(f0.grad).all() and torch.isfinite(f1.grad).all()
    assert (f0.grad[2] == 0).all() and (f0.grad[1, 2:] == 0).all()
    b = matching.predict(found, (2, 2), (1, 5), mask0, mask1).b
    assert (b == 0).all()


def test_padding_does_not_change_the_rest():
    f0, f1 = torch.randn(1, 4, 8), torch.randn(1, 5, 8)
    mask0 = torch.tensor([[True, True, False, False]])
    mask1 = torch.tensor([[True, True, True, False, False]])
    for config in (DS, OT):
        matching = CoarseMatching(config)
        padded = matching.log_confidence(f0, f1, mask0, mask1).cells
        alone = matching.log_confidence(f0[:, :2], f1[:, :3]).cells
        torch.testing.assert_close(padded[:, :2, :3], alone, rtol=1e-5, atol=1e-5)


def brute_predict(
    P: np.ndarray, grid0, grid1, size0, size1, threshold: float, border: int
) -> list[tuple[int, int]]:
    """One pair by loops; size0 and size1 are (h, w) of what is not padding."""

    def inner(cell: int, grid, size) -> bool:
        y, x = divmod(cell, grid[1])
        rows = border <= y < size[0] - border
        return rows and border <= x < size[1] - border

    found = []
    for i in range(P.shape[0]):
        j = next(j for j in range(P.shape[1]) if P[i, j] == P[i].max())
        first = next(k for k in range(P.shape[0]) if P[k, j] == P[:, j].max())
        if first == i and P[i, j] > threshold:
            if inner(i, grid0, size0) and inner(j, grid1, size1):
                found.append((i, j))
    return found


@pytest.mark.parametrize("border", [0, 1, 2])
@pytest.mark.parametrize("threshold", [0.0, 0.2])
def test_predicted_matches_equal_brute_force(border, threshold):
    config = dataclasses.replace(DS, border=border, threshold=threshold)
    grid0, grid1 = (6, 7), (8, 6)
    sizes0, sizes1 = [(6, 7), (5, 6)], [(8, 6), (6, 5)]
    # Coarse steps of probability, so that ties come up.
    P = torch.randint(0, 12, (2, 42, 48)).float() / 12
    y, x = torch.meshgrid(torch.arange(6), torch.arange(6), indexing="ij")
    P[:, (7 * y + x).flatten(), (6 * y + x).flatten()] += 1.0
    P /= 2.5
    mask0, mask1 = torch.zeros(2, *grid0).bool(), torch.zeros(2, *grid1).bool()
    for b in range(2):
        mask0[b, : sizes0[b][0], : sizes0[b][1]] = True
        mask1[b, : sizes1[b][0], : sizes1[b][1]] = True
    mask0, mask1 = mask0.flatten(1), mask1.flatten(1)
    P[~(mask0[:, :, None] & mask1[:, None, :])] = 0
    log_p = P.log().clamp(min=LOG_FLOOR)
    b, i, j, confidence = CoarseMatching(config).predict(
        log_p, grid0, grid1, mask0, mask1
    )
    want = [
        (n, *pair)
        for n in range(2)
        for pair in brute_predict(
            P[n].numpy(), grid0, grid1, sizes0[n], sizes1[n], threshold, border
        )
    ]
    assert len(want) > 0
    assert list(zip(b.tolist(), i.tolist(), j.tolist(), strict=True)) == want
    torch.testing.assert_close(confidence, P[b, i, j])


def test_equal_cells_give_the_first_and_one_match_a_cell():
    log_p = torch.full((1, 3, 3), math.log(0.25))
    b, i, j, _ = CoarseMatching(DS).predict(log_p, (1, 3), (1, 3))
    assert (b.tolist(), i.tolist(), j.tolist()) == ([0], [0], [0])


def test_border_is_longer_than_the_image():
    config = dataclasses.replace(DS, border=5)
    log_p = torch.zeros(1, 9, 9)
    assert len(CoarseMatching(config).predict(log_p, (3, 3), (3, 3)).b) == 0


def test_what_the_dustbin_takes_leaves_the_competition_in_eval_mode():
    # Row 0 and column 0: P = 0.4, but row 0's dustbin has 0.5. Row 1 is column 0's
    # second choice and wins it once row 0 is out.
    P = torch.tensor([[[0.4, 0.1], [0.3, 0.2]]])
    found = LogConfidence(
        P.log(), torch.tensor([[0.5, 0.1]]).log(), torch.tensor([[0.1, 0.1]]).log()
    )
    matching = CoarseMatching(OT)
    b, i, j, confidence = matching.eval().predict(found, (1, 2), (1, 2))
    assert (i.tolist(), j.tolist()) == ([1], [0])
    torch.testing.assert_close(confidence, torch.tensor([0.3]))
    b, i, j, _ = matching.train().predict(found, (1, 2), (1, 2))
    assert (i.tolist(), j.tolist()) == ([0], [0])


def test_predicting_builds_no_graph():
    f0 = torch.randn(1, 4, 8, requires_grad=True)
    matching = CoarseMatching(dataclasses.replace(DS, threshold=0.0))
    found = matching.log_confidence(f0, f0)
    assert not matching.predict(found, (2, 2), (2, 2)).confidence.requires_grad
