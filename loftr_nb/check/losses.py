"""Verdicts of the exercises on the coarse loss: its terms, its means, its blocks.

As in :mod:`.supervision`: a known case, and the answers that usual mistakes give.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .verdict import Verdict, judge


def focal_negative(answer: Callable) -> Verdict:
    """Exercise: ``answer(log_p, alpha, gamma)`` is the focal term of other cells.

    log_p: (M,) float32, from -200 (where P itself is 0) to -1e-9 (where P is rounded
    to 1). The values are judged, and that the gradient by log_p is finite.
    """
    alpha, gamma = 0.3, 3.0  # other than the defaults: both must be used
    log_p = torch.tensor([-200.0, -30.0, -3.0, -0.7, -0.01, -1e-9])

    def term(x: Tensor, a: float = alpha, g: float = gamma) -> Tensor:
        return -a * torch.exp(g * x) * torch.log(-torch.expm1(x))

    P = log_p.exp()
    held = log_p.clamp(max=-1e-6)
    mistakes = {
        "1 - P is 0 where P is rounded to 1, and log 0 is not finite: "
        "-torch.expm1(log_p) is 1 - P without the rounding": (
            -alpha * P**gamma * (1 - P).log()
        ),
        "the sign is turned: log(1 - P) is negative and a loss is not": -term(log_p),
        "that is the term of a match: another cell wants P near 0, so its cost is "
        "log(1 - P) and its factor P ** gamma": -alpha * (1 - P) ** gamma * log_p,
        "the factor is (1 - P) ** gamma: that turns down the mistakes. Here P itself "
        "is what is wrong": -alpha * (1 - P) ** gamma * torch.log(-torch.expm1(log_p)),
        "the logarithm is that of P: another cell wants log(1 - P)": (
            -alpha * P**gamma * log_p
        ),
        "the factor P ** gamma is missing": -alpha * torch.log(-torch.expm1(log_p)),
        "alpha is missing": term(log_p, a=1.0),
        "matches have alpha and others 1 - alpha in some focal losses; LoFTR has "
        "alpha for both": term(log_p, a=1 - alpha),
        "gamma is missing: the factor is P ** gamma": term(log_p, g=1.0),
        "alpha and gamma must be the ones that are handed in, not 0.25 and 2": term(
            log_p, 0.25, 2.0
        ),
        "P is clamped at 1 - 1e-6: the surest mistake then costs as much as a less "
        "sure one, and has no gradient": term(held),
    }
    leaf = log_p.clone().requires_grad_()
    kept: list[Tensor] = []

    def run() -> Tensor:
        # A notebook may have switched gradients off: here they are the question.
        with torch.enable_grad():
            kept.append(answer(leaf, alpha, gamma))
        return kept[0].detach() if isinstance(kept[0], Tensor) else kept[0]

    verdict = judge(run, term(log_p), mistakes)
    if not verdict:
        return verdict
    if not kept[0].requires_grad:
        return Verdict(
            False, "the values are right, but no gradient reaches log_p: do not detach"
        )
    (slope,) = torch.autograd.grad(kept[0].sum(), leaf)
    if not slope.isfinite().all():
        bad = log_p[~slope.isfinite()].tolist()
        return Verdict(
            False,
            f"the values are right, but the gradient is not finite at log P = {bad}: "
            "torch.where hides a value and not its gradient",
        )
    return Verdict(True, "6 cells, from a P of e^-200 to one that float32 rounds to 1")


def pair_means(answer: Callable) -> Verdict:
    """Exercise: ``answer(values, b, batch)`` is the mean of each pair's values.

    values: (M,) with a gradient; b: (M,) the pair of each. Returns (batch,), an exact
    0 for a pair without any, and carries a gradient even if there are no values.
    """
    values = torch.tensor([2.0, 4.0, 9.0, 1.0, 1.5, 3.5])
    b, batch = torch.tensor([0, 0, 0, 2, 2, 2]), 5
    sums = torch.stack([values[b == n].sum() for n in range(batch)])
    counts = torch.tensor([3.0, 0, 3, 0, 0])
    right = sums / counts.clamp(min=1)
    present = right[[0, 2]]
    mistakes = {
        "a pair without values gives NaN, and a NaN in one pair is a NaN in the "
        "batch: divide a sum by max(1, count)": sums / counts,
        "it is the sum: divide by the pair's own number of values": sums,
        "that is the mean over the whole batch: a pair with many matches would speak "
        "for the others": values.mean().expand(batch),
        "it is one number, the mean over the whole batch: one for each pair is asked "
        "for": values.mean(),
        "the sum of each pair is divided by all values of the batch: by its own "
        "ones": sums / len(values),
        "the sum of each pair is divided by the number of pairs: by its own "
        "values": sums / batch,
        "pairs without values are left out: each of the batch has its number, 0 "
        "there": present,
        "1 is added to the count: max(1, count) changes only a count of 0": sums
        / (counts + 1),
    }
    kept: list[Tensor] = []

    def run(given: Tensor, of: Tensor, pairs: int) -> Tensor:
        kept.clear()
        with torch.enable_grad():
            kept.append(answer(given, of, pairs))
        return kept[0].detach() if isinstance(kept[0], Tensor) else kept[0]

    leaf = values.clone().requires_grad_()
    verdict = judge(lambda: run(leaf, b, batch), right, mistakes)
    if not verdict:
        return verdict
    if not isinstance(kept[0], Tensor) or not kept[0].requires_grad:
        return Verdict(
            False,
            "the means are right, but carry no gradient: nothing would be learnt. "
            "Compute with tensors, without detach, item or tolist",
        )
    none = values[:0].clone().requires_grad_()
    nothing = {
        "without any value the answer is NaN: give 0": torch.full((2,), torch.nan)
    }
    verdict = judge(
        lambda: run(none, b[:0], 2), torch.zeros(2), nothing, "a batch of nothing"
    )
    if not verdict:
        return verdict
    if not isinstance(kept[0], Tensor) or not kept[0].requires_grad:
        return Verdict(
            False,
            "the means are right, but for a batch without any value the zeros have no "
            "graph: backward would raise on this rank, and its peers would wait. Let "
            "them be sums over nothing, not constants",
        )
    return Verdict(True, "5 pairs, three of them empty, and a batch of nothing at all")


def summed_rest(answer: Callable) -> Verdict:
    """Exercise: ``answer(block, L, i, j, term, step)`` sums over all other cells.

    block: ``block(start, stop)`` makes rows of log P, (stop - start, S), at most
    ``step`` of them. i, j: (M,) matches, sorted by i. term: the cost of cells that
    are no match. Returns the sum over all L x S cells but the matches.
    """
    L, S, step = 11, 6, 4
    own = torch.Generator().manual_seed(3)
    log_p = -3 - torch.rand(L, S, generator=own)
    i, j = torch.tensor([0, 3, 4, 6, 10]), torch.tensor([2, 5, 0, 0, 3])
    # As others, these would cost 50,000 times what the rest does together.
    log_p[i, j] = -1e-7

    def term(x: Tensor) -> Tensor:
        return -torch.exp(2 * x) * torch.log(-torch.expm1(x))

    others = torch.ones(L, S, dtype=torch.bool)
    others[i, j] = False
    all_terms = term(log_p)
    total = all_terms[others].sum()
    whole = L - L % step  # rows of complete blocks
    mistakes = {
        "the matches are summed as others: take them out of their block before "
        "summing": all_terms.sum(),
        "the last rows are missing: L need not be a multiple of step": all_terms[
            :whole
        ][others[:whole]].sum(),
        "that is the mean: the sum is asked for, a block does not know how many "
        "others there are": total / others.sum(),
        "whole rows of matches are left out: only the match itself is no other "
        "cell": _without_rows(all_terms, i).sum(),
        "the sum of each block is divided by its cells": sum(
            part[keep].sum() / part.numel()
            for part, keep in zip(
                all_terms.split(step), others.split(step), strict=True
            )
        ),
    }
    most = [0]

    def block(start: int, stop: int) -> Tensor:
        most[0] = max(most[0], stop - start)
        return log_p[start:stop].clone()

    got: list[Tensor] = []

    def run() -> Tensor:
        found = answer(block, L, i, j, term, step)
        if found is None or found is Ellipsis:
            return found
        # As a share of the right sum: a small difference of large sums shows.
        got.append(torch.as_tensor(found) / total)
        return got[0]

    verdict = judge(
        run,
        torch.tensor(1.0),
        {words: wrong / total for words, wrong in mistakes.items()},
    )
    if not verdict:
        if got and got[0].numel() == 1 and abs(got[0].item() - 1) < 0.05:
            return Verdict(
                False,
                f"nearly, {got[0].item():.4f} of the sum: the matches were added and "
                "subtracted again, and the digits of the rest went with them. Take "
                "them out before summing",
            )
        return verdict
    if most[0] > step:
        return Verdict(
            False,
            f"the sum is right, but {most[0]} rows were asked for at once and "
            f"{step} are allowed: this is the matrix that streaming avoids",
        )
    return Verdict(True, "11 rows in blocks of 4, 5 matches left out of 66 cells")


def _without_rows(terms: Tensor, i: Tensor) -> Tensor:
    keep = torch.ones(len(terms), dtype=torch.bool)
    keep[i] = False
    return terms[keep]
