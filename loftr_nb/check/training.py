"""Verdicts of the exercises on plans, the focal loss and coarse accuracy.

As in :mod:`.supervision`: a known case, and the answers that usual mistakes give.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .verdict import Verdict, judge


def scaled_plan(answer: Callable) -> Verdict:
    """Exercise: ``answer(lr, warmup, processes, batch)`` scales a recipe.

    lr and warmup hold at 64 pairs a step. Returns the learning rate and the
    warm-up in whole steps.
    """
    lr, warmup, processes, batch = 6e-3, 4801, 3, 2
    s = processes * batch / 64

    def pair(rate: float, steps: float) -> Tensor:
        # The rate counted in its own unit: steps are a million times larger.
        return torch.tensor([rate / (lr * s), steps], dtype=torch.float64)

    right = math.floor(warmup / s)
    mistakes = {
        "the warm-up is multiplied by s: fewer pairs a step need more steps, so "
        "divide": pair(lr * s, math.floor(warmup * s)),
        "the rate is divided by s: fewer pairs a step need smaller steps, so "
        "multiply": pair(lr / s, right),
        "the rate is divided and the warm-up multiplied: it is the other way "
        "round": pair(lr / s, math.floor(warmup * s)),
        "the warm-up is not a whole number of steps: round it down": pair(
            lr * s, warmup / s
        ),
        "the warm-up is rounded up: round it down": pair(lr * s, right + 1),
        "the rate goes with the square root of s; these recipes scale linearly": pair(
            lr * math.sqrt(s), right
        ),
        "the batch is left out: s counts the pairs of a step, processes x batch / "
        "64": pair(lr * processes / 64, math.floor(warmup * 64 / processes)),
        "the processes are left out: s counts the pairs of a step, processes x "
        "batch / 64": pair(lr * batch / 64, math.floor(warmup * 64 / batch)),
        "nothing is scaled: the recipe's numbers hold at 64 pairs a step": pair(
            lr, warmup
        ),
    }
    return judge(
        lambda: pair(*answer(lr, warmup, processes, batch)),
        pair(lr * s, right),
        mistakes,
        f"3 processes with 2 pairs each: rate {lr * s:.4g}, {right:,} steps of warm-up",
    )


def focal_positive(answer: Callable) -> Verdict:
    """Exercise: ``answer(log_p, alpha, gamma)`` is the focal term of each match.

    log_p: (M,) float32, from -200 (where P itself is 0) to 0. Both the value and
    the gradient by log_p are judged.
    """
    alpha, gamma = 0.3, 3.0  # other than the defaults: both must be used
    log_p = torch.tensor([-200.0, -30.0, -3.0, -0.7, -0.01, 0.0])

    def run(term: Callable[[Tensor], Tensor]) -> Tensor:
        at = log_p.clone().requires_grad_()
        value = term(at)
        if value is None or value.shape != at.shape:
            return value
        (slope,) = torch.autograd.grad(value.sum(), at)
        return torch.stack([value.detach(), slope])

    def formula(x: Tensor, a: float = alpha, g: float = gamma) -> Tensor:
        return -a * (-torch.expm1(x)) ** g * x

    mistakes = {
        "the sign is turned: log P is negative and a loss is not": lambda x: (
            -formula(x)
        ),
        "alpha is missing": lambda x: formula(x, a=1.0),
        "alpha and gamma must be the ones that are handed in, not 0.25 and "
        "2": lambda x: formula(x, 0.25, 2.0),
        "gamma is missing: the factor is (1 - P) ** gamma": lambda x: formula(x, g=1.0),
        "the factor (1 - P) ** gamma is missing": lambda x: -alpha * x,
        "the factor is P ** gamma: that is the term of cells without a "
        "match": lambda x: -alpha * torch.exp(x) ** gamma * x,
        "P is clamped at 1e-6: matches below it get a gradient of exactly "
        "0": lambda x: formula(x.clamp(min=math.log(1e-6))),
        "the logarithm is taken of P: exp(-200) is 0 in float32, and log 0 is "
        "not finite. You have log P already": lambda x: (
            -alpha * (1 - x.exp()) ** gamma * x.exp().log()
        ),
        "P is taken to be what is handed in: it is log P": lambda x: (
            -alpha * (1 - x) ** gamma * x.log()
        ),
    }
    return judge(
        lambda: run(lambda x: answer(x, alpha, gamma)),
        run(formula),
        {words: run(term) for words, term in mistakes.items()},
        "value and gradient of 6 matches, from P = 1 down to a P of e^-200",
    )


def right_cells(answer: Callable) -> Verdict:
    """Exercise: ``answer(log_conf, i, j)`` is the share of true matches found.

    log_conf: (L, S); i, j: (M,) cells of the true matches. Returns a number from
    0 to 1, and 0 where there is no match.
    """
    log_conf = torch.tensor(
        [
            [-0.1, -3.0, -4.0, -9.0, -8.0],  # true 0: found
            [-2.5, -2.0, -0.4, -5.0, -7.0],  # true 1: column 1's best, not the row's
            [-6.0, -7.0, -6.5, -3.0, -5.0],  # true 3: found, though it is below 0.2
            [-4.0, -4.1, -4.2, -4.3, -4.4],  # no match: no matter what it says
            [-5.0, -2.2, -6.0, -1.0, -1.7],  # true 4: not found
        ]
    )
    i, j = torch.tensor([0, 1, 2, 4]), torch.tensor([0, 1, 3, 4])
    none = torch.empty(0, dtype=torch.long)
    best, true = log_conf.argmax(1), log_conf[i, j]

    def share(found: Tensor, of: int = 4) -> Tensor:
        return found.sum().double() / of

    mistakes = {
        "the best of each column is taken: ask each row i which cell it likes "
        "best": share(log_conf.argmax(0)[j] == i),
        "it is a share of the true matches, not of all rows": share(best[i] == j, 5),
        "it is a count: divide by the number of matches": share(best[i] == j, 1),
        "a threshold has come in: right is the row's best cell, however unsure "
        "it is": share(true > math.log(0.2)),
    }
    verdict = judge(
        lambda: torch.as_tensor(answer(log_conf, i, j)).double(),
        share(best[i] == j),
        mistakes,
    )
    if not verdict:
        return verdict
    empty = judge(
        lambda: torch.as_tensor(answer(log_conf, none, none)).double(),
        torch.tensor(0.0, dtype=torch.float64),
        {
            "a pair without a match gives NaN, which would spoil every average it "
            "is part of: give 0": torch.tensor(torch.nan, dtype=torch.float64)
        },
    )
    if not empty:
        return empty
    return Verdict(True, "2 of 4 true matches, and 0 for a pair without any")
