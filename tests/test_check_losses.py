"""Verdicts on the coarse loss: right answers pass, mistakes are named."""

from __future__ import annotations

import math

import pytest
import torch

from loftr_nb import check
from loftr_nb.losses import LossConfig
from loftr_nb.losses.coarse import mean_per_pair
from loftr_nb.losses.focal import log1mexp, matches_and_rest


def named(judge, mistake, words):
    verdict = judge(mistake)
    assert not verdict and words in repr(verdict), verdict


def negative_by_package(log_p, alpha, gamma):
    return -alpha * torch.exp(gamma * log_p) * log1mexp(log_p)


def negative_in_double(log_p, alpha, gamma):
    x = log_p.double()
    return (-alpha * x.exp() ** gamma * torch.log(-torch.expm1(x))).float()


def negative_by_where(log_p, alpha, gamma):
    """Both forms of log(1 - P), and the NaN of the one that is not chosen."""
    near, far = torch.log(-torch.expm1(log_p)), torch.log1p(-torch.exp(log_p))
    return -alpha * torch.exp(gamma * log_p) * torch.where(log_p > -0.7, near, far)


@pytest.mark.parametrize("answer", [negative_in_double, negative_by_package])
def test_negative_terms_are_judged_by_others(answer):
    assert check.focal_negative(answer)


def test_negative_terms_of_the_exercise_are_those_of_the_package():
    x = torch.tensor([-60.0, -5.0, -0.3, -1e-4])
    ours = negative_in_double(x, 0.25, 2.0)
    torch.testing.assert_close(ours, negative_by_package(x, 0.25, 2.0))


def log_miss(x):
    return torch.log(-torch.expm1(x))


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda x, a, g: -a * x.exp() ** g * (1 - x.exp()).log(), "rounded to 1"),
        (lambda x, a, g: -negative_in_double(x, a, g), "sign is turned"),
        (lambda x, a, g: -a * (1 - x.exp()) ** g * x, "term of a match"),
        (lambda x, a, g: -a * (1 - x.exp()) ** g * log_miss(x), "turns down"),
        (lambda x, a, g: -a * x.exp() ** g * x, "logarithm is that of P"),
        (lambda x, a, g: -a * log_miss(x), "factor P ** gamma is missing"),
        (lambda x, a, g: negative_in_double(x, 1.0, g), "alpha is missing"),
        (lambda x, a, g: negative_in_double(x, 1 - a, g), "alpha for both"),
        (lambda x, a, g: negative_in_double(x, a, 1.0), "gamma is missing"),
        (lambda x, a, g: negative_in_double(x, 0.25, 2.0), "handed in"),
        (lambda x, a, g: negative_in_double(x.clamp(max=-1e-6), a, g), "clamped"),
        (lambda x, a, g: negative_in_double(x.detach(), a, g), "no gradient reaches"),
        (lambda x, a, g: negative_by_where(x, a, g), "not finite at log P"),
        (lambda x, a, g: negative_in_double(x, a, g).mean(), "shape"),
    ],
)
def test_negative_mistakes_are_named(mistake, words):
    named(check.focal_negative, mistake, words)


def means_by_loop(values, b, batch):
    own = [values[b == n] for n in range(batch)]
    return torch.stack([v.sum() / max(1, len(v)) for v in own])


@pytest.mark.parametrize("answer", [mean_per_pair, means_by_loop])
def test_means_are_judged_by_others(answer):
    assert check.pair_means(answer)


def plain_means(v, b, batch):
    return torch.stack([v[b == n].mean() for n in range(batch)])


def sums(v, b, batch):
    return torch.stack([v[b == n].sum() for n in range(batch)])


def constant_if_empty(v, b, batch):
    return means_by_loop(v, b, batch) if len(v) else torch.zeros(batch)


def nan_if_empty(v, b, batch):
    return means_by_loop(v, b, batch) + (0 if len(v) else v.mean())


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (plain_means, "gives NaN"),
        (sums, "it is the sum"),
        (lambda v, b, n: v.mean().expand(n), "over the whole batch: a pair with"),
        (lambda v, b, n: v.mean(), "one number"),
        (lambda v, b, n: sums(v, b, n) / len(v), "all values of the batch"),
        (lambda v, b, n: sums(v, b, n) / n, "number of pairs"),
        (
            lambda v, b, n: torch.stack([v[b == k].mean() for k in b.unique()]),
            "left out",
        ),
        (
            lambda v, b, n: sums(v, b, n) / (torch.bincount(b, minlength=n) + 1),
            "1 is added",
        ),
        (lambda v, b, n: means_by_loop(v.detach(), b, n), "carry no gradient"),
        (lambda v, b, n: means_by_loop(v, b, n).tolist(), "carry no gradient"),
        (constant_if_empty, "no graph"),
        (nan_if_empty, "without any value the answer is NaN"),
    ],
)
def test_mean_mistakes_are_named(mistake, words):
    named(check.pair_means, mistake, words)


def rest_by_blocks(block, L, i, j, term, step, shift=0):
    total = 0.0
    for start in range(0, L, step):
        terms = term(block(start, min(start + step, L)))
        here = (i >= start) & (i < start + step)
        terms[i[here] - start, j[here] - shift] = 0
        total = total + terms.sum()
    return total


def rest_by_cells(block, L, i, j, term, step):
    """One row at a time, one cell at a time, in float64."""
    matches = set(zip(i.tolist(), j.tolist(), strict=True))
    total = 0.0
    for row in range(L):
        for column, cost in enumerate(term(block(row, row + 1).double())[0].tolist()):
            total += 0.0 if (row, column) in matches else cost
    return total


@pytest.mark.parametrize("answer", [rest_by_blocks, rest_by_cells])
def test_rest_is_judged_by_others(answer):
    assert check.summed_rest(answer)


def test_rest_of_the_exercise_is_that_of_the_package():
    torch.manual_seed(0)
    cells = -4 * torch.rand(1, 7, 5, dtype=torch.float64) - 0.1
    b, i, j = torch.tensor([[0, 0, 0], [1, 2, 6], [4, 0, 3]])
    config = LossConfig()

    def term(x):
        return -config.alpha * torch.exp(config.gamma * x) * log1mexp(x)

    ours = rest_by_blocks(lambda p, q: cells[0, p:q].clone(), 7, i, j, term, 3)
    _, rest = matches_and_rest(cells, (b, i, j), (None, None), config)
    assert math.isclose(ours.item(), rest.item(), rel_tol=1e-12)


def whole_matrix(block, L, i, j, term, step):
    terms = term(block(0, L))
    terms[i, j] = 0
    return terms.sum()


def all_cells(block, L, i, j, term, step):
    parts = [term(block(n, min(n + step, L))).sum() for n in range(0, L, step)]
    return sum(parts)


def subtracted(block, L, i, j, term, step):
    own = [term(block(int(a), int(a) + 1))[0, b] for a, b in zip(i, j, strict=True)]
    return all_cells(block, L, i, j, term, step) - sum(own)


def no_rows_of_matches(block, L, i, j, term, step):
    return sum(term(block(n, n + 1)).sum() for n in range(L) if n not in i.tolist())


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (all_cells, "summed as others"),
        (subtracted, "subtracted again"),
        (whole_matrix, "11 rows were asked for at once"),
        (lambda b, L, i, j, t, s: rest_by_blocks(b, 8, i, j, t, s), "last rows"),
        (lambda b, L, *a: rest_by_blocks(b, L, *a) / 61, "that is the mean"),
        (no_rows_of_matches, "whole rows of matches"),
        (lambda *a: None, "returns nothing"),
        (lambda *a: rest_by_blocks(*a, shift=1), "summed as others"),
        (lambda *a: 2 * rest_by_blocks(*a), "for one case the answer is"),
    ],
)
def test_rest_mistakes_are_named(mistake, words):
    named(check.summed_rest, mistake, words)


def test_an_empty_stub_is_not_an_error():
    def stub(*_):
        raise NotImplementedError

    for judge in (check.focal_negative, check.pair_means, check.summed_rest):
        assert repr(judge(stub)).startswith("not yet: still the stub")
