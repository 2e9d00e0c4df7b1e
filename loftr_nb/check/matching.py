"""Verdicts of the exercises on confidences, matches, heat maps and their weights.

As in :mod:`.supervision`: a known case, and the answers that usual mistakes give.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .verdict import Verdict, judge


def dual_softmax(answer: Callable) -> Verdict:
    """Exercise: ``answer(scores, temperature)`` is log P of the dual-softmax.

    scores: (L, S) float32, some of them far apart. Returns (L, S), all finite.
    """
    scores = torch.tensor([[2.0, 1.0, 0.5, 14.0], [1.8, 2.2, -20.0, 0.0], [0, 1, 2, 3]])
    T = 0.2

    def logs(rows: Tensor, columns: Tensor) -> Tensor:
        return rows.log_softmax(1) + columns.log_softmax(0)

    s = scores / T
    P = s.softmax(1) * s.softmax(0)
    mistakes = {
        "log of P: here P is 0 in float32 and log 0 is -inf. Add the two "
        "log_softmax instead": P.log(),
        "that is P: its logarithm is asked for, and for the smallest of them P is 0": P,
        "that is the softmax over each row: the columns ask as well": s.log_softmax(1),
        "that is the softmax over each column: the rows ask as well": s.log_softmax(0),
        "the scores are multiplied by the temperature: divide, a low temperature "
        "makes it sharper": logs(scores * T, scores * T),
        "the temperature is not used": logs(scores, scores),
        "the temperature divides in one direction only": logs(s, scores),
        "the temperature divides in one direction only, the columns": logs(scores, s),
        "the second softmax is taken of the first one's result: both are taken of "
        "the scores": s.log_softmax(1).log_softmax(0),
        "rows and columns are multiplied in log space: the logarithm of a product "
        "is a sum": s.log_softmax(1) * s.log_softmax(0),
        "it is divided by 2: P is the product, not the geometric mean": logs(s, s) / 2,
    }
    return judge(
        lambda: answer(scores.clone(), T),
        logs(s, s),
        mistakes,
        "12 entries, down to a P that float32 cannot hold",
    )


def sinkhorn(answer: Callable) -> Verdict:
    """Exercise: ``answer(z, log_mu, log_nu, iterations)`` is the log of the plan.

    z: (L + 1, S + 1) scores with their dustbins; log_mu: (L + 1,) and log_nu:
    (S + 1,) log masses. Rows are scaled first, then columns, ``iterations`` times.
    """
    z = torch.tensor(
        [[3.0, 0, 1, 1], [2.5, 0.5, 0, 1], [1, 1, 1, 1]], dtype=torch.float64
    )
    log_mu = torch.tensor([1.0, 1, 3], dtype=torch.float64).log()
    log_nu = torch.tensor([1.0, 1, 1, 2], dtype=torch.float64).log()

    def plan(times: int = 2, columns_first=False, forget=False, part="both") -> Tensor:
        u, v = torch.zeros_like(log_mu), torch.zeros_like(log_nu)
        for _ in range(times):
            if columns_first:
                v = log_nu - (z + u[:, None]).logsumexp(0)
            u = log_mu - (z + (0 if forget else v)).logsumexp(1)
            if not columns_first:
                v = log_nu - (z + (0 if forget else u[:, None])).logsumexp(0)
        if part == "rows":
            return z + u[:, None]
        return z + u[:, None] + v

    mistakes = {
        "that is the plan itself: its logarithm is asked for": plan().exp(),
        "the columns are scaled first: rows first, so that the columns' sums end "
        "exact": plan(columns_first=True),
        "u is computed without v, or v without u: each half step starts from what "
        "the other left, z + v and z + u": plan(forget=True),
        "one iteration only: the loop does not run": plan(1),
        "one iteration more than asked for": plan(3),
        "only u is added to z in the end: add u to the rows and v to the columns": plan(
            part="rows"
        ),
        "nothing is scaled: z comes back as it was": z,
    }
    return judge(
        lambda: answer(z.clone(), log_mu, log_nu, 2),
        plan(),
        mistakes,
        "two iterations on 2 x 3 cells with dustbins, 12 entries",
    )


def mutual_best(answer: Callable) -> Verdict:
    """Exercise: ``answer(log_p, threshold)`` gives cells i and j of the matches.

    log_p: (L, S); a match is its row's and its column's largest entry, with P
    above the threshold.
    """
    P = torch.tensor(
        [
            [0.70, 0.01, 0.02, 0.01, 0.01],  # a match
            [0.30, 0.05, 0.25, 0.02, 0.01],  # row's best is taken, second is not asked
            [0.01, 0.15, 0.02, 0.01, 0.02],  # mutual, but below the threshold
            [0.02, 0.02, 0.03, 0.04, 0.60],  # a match
            [0.01, 0.10, 0.02, 0.22, 0.02],  # a match, just above
        ]
    )
    log_p, threshold = P.log(), 0.2
    own = torch.arange(len(P))
    best, back = P.argmax(1), P.argmax(0)
    mutual, above = back[best] == own, P.amax(1) > threshold

    def cells(keep: Tensor) -> Tensor:
        return torch.stack([own[keep], best[keep]])

    both = cells(mutual & above)
    one_way = torch.stack([back[P.amax(0) > threshold], own[P.amax(0) > threshold]])
    mistakes = {
        "log P is compared with 0.2: a logarithm of a probability is never above "
        "0. Compare with math.log(threshold)": both[:, :0],
        "the threshold is not applied": cells(mutual),
        "one direction only: row i likes j best, but column j likes another row "
        "better": cells(above),
        "one direction only: column j likes i best, but row i likes another column "
        "better": one_way,
        "every entry above the threshold is taken: it must be the largest of its "
        "row and column as well": (P > threshold).nonzero().T,
        "i and j are swapped: rows are image 0": both.flip(0),
    }

    def run() -> Tensor:
        i, j = answer(log_p.clone(), threshold)
        return torch.stack([torch.as_tensor(i), torch.as_tensor(j)])

    return judge(
        run, both, mistakes, "3 of 5 rows: one is taken twice, one is too weak"
    )


def window_centre(answer: Callable) -> Verdict:
    """Exercise: ``answer(cell, grid)`` is (x, y) of its window's centre.

    cell: number of a coarse cell; grid: (rows, columns) of coarse cells. Returns
    columns and rows of the fine map, which has one place every 2 input pixels.
    """
    grid, cells = (6, 9), [0, 8, 23, 40, 53]

    def centres(step: float = 4, extra: float = 0, flip=False, by=grid[1]) -> Tensor:
        at = [[step * (c % by) + extra, step * (c // by) + extra] for c in cells]
        places = torch.tensor(at, dtype=torch.float64)
        return places.flip(1) if flip else places

    mistakes = {
        "these are input pixels: a fine place is 2 of them": centres(8),
        "these are coarse cells: one of them is 4 fine places": centres(1),
        "the middle of the cell is taken: a cell sits on its corner": centres(4, 2),
        "the window's own corner is taken: its centre lies on the cell's "
        "corner": centres(4, -2),
        "x and y are swapped: x is the column": centres(flip=True),
        "cells are counted by rows: divide by the number of columns, not of "
        "rows": centres(by=grid[0]),
    }
    return judge(
        lambda: torch.tensor([[float(n) for n in answer(c, grid)] for c in cells]),
        centres(),
        mistakes,
        "5 cells, the first and the last among them",
    )


def heat_moments(answer: Callable) -> Verdict:
    """Exercise: ``answer(heat)`` is a tensor of x, y and std, in radii.

    heat: (W, W) probabilities, row by row; x and y run from -1 to 1. std is the
    sum of the standard deviations in x and in y.
    """
    heat = torch.tensor(
        [
            [0.0, 0.0, 0.0, 0.0, 0.0],
            [0.0, 0.0, 0.1, 0.2, 0.0],
            [0.0, 0.0, 0.1, 0.4, 0.1],
            [0.0, 0.0, 0.0, 0.1, 0.0],
            [0.0, 0.0, 0.0, 0.0, 0.0],
        ],
        dtype=torch.float64,
    )

    def moments(side: Tensor, spread: str = "sum", swap=False) -> Tensor:
        px, py = heat.sum(0), heat.sum(1)
        x, y = px @ side, py @ side
        vx, vy = px @ side**2 - x**2, py @ side**2 - y**2
        std = {
            "sum": vx.sqrt() + vy.sqrt(),
            "variance": vx + vy,
            "norm": (vx + vy).sqrt(),
            "mean": (vx.sqrt() + vy.sqrt()) / 2,
            "raw": (px @ side**2).sqrt() + (py @ side**2).sqrt(),
        }[spread]
        return torch.stack([y, x, std] if swap else [x, y, std])

    side = torch.linspace(-1, 1, 5, dtype=torch.float64)
    right = moments(side)
    peak = torch.stack([side[3], side[2], right[2]])
    mistakes = {
        "x and y are swapped: x runs along a row": moments(side, swap=True),
        "the largest place is taken: the expectation weighs all of them": peak,
        "the unit is fine places: divide by 2, the radius of a 5x5 window": moments(
            2 * side
        ),
        "the unit is input pixels: divide by 4, the radius": moments(4 * side),
        "places are counted from 0: the centre of the window is 0": moments(
            torch.arange(5.0, dtype=torch.float64)
        ),
        "places run from 0 to 1: from -1 to 1, the centre is 0": moments(
            (side + 1) / 2
        ),
        "that is the variance: the std is its root, in x and in y": moments(
            side, "variance"
        ),
        "the root is taken of both variances together: root first, then sum": moments(
            side, "norm"
        ),
        "the mean of both spreads is taken: LoFTR takes their sum": moments(
            side, "mean"
        ),
        "the square of the expectation is not subtracted: E[x^2] - E[x]^2": moments(
            side, "raw"
        ),
    }
    return judge(
        lambda: answer(heat.clone()), right, mistakes, "x, y and std of a 5x5 heat map"
    )


def std_weights(answer: Callable) -> Verdict:
    """Exercise: ``answer(std, std_min)`` weighs the samples of one pair.

    std: (M,) with a gradient. Returns (M,) weights 1/std of mean 1, a std below
    ``std_min`` counted as that, and without a gradient.
    """
    std = torch.tensor([0.5, 0.8, 2e-5, 0.4, 1.0, 0.05])
    floor = 0.1

    def weights(low: float = floor, power: float = -1, scale: str = "mean") -> Tensor:
        w = std.clamp(min=low) ** power
        return w / {"mean": w.mean(), "sum": w.sum(), "none": 1.0}[scale]

    above = torch.where(std < floor, 0.0, 1 / std)
    mistakes = {
        "the floor is missing: one sample with std 2e-5 takes all weight": weights(
            1e-10
        ),
        "a std below the floor is thrown out: it counts as the floor": above
        / above.mean(),
        "the floor is added to all: clamp only those below it": (1 / (std + floor))
        / (1 / (std + floor)).mean(),
        "the weight is std: unsure samples would count more": weights(power=1),
        "the weight is 1/variance: it is 1/std": weights(power=-2),
        "the weights sum to 1: their mean should be 1, so that the loss keeps its "
        "scale": weights(scale="sum"),
        "the weights are not scaled: divide by their mean": weights(scale="none"),
    }
    leaf = std.clone().requires_grad_()
    kept: list[Tensor] = []

    def run() -> Tensor:
        # A notebook may have switched gradients off: here they are the question.
        with torch.enable_grad():
            kept.append(answer(leaf, floor))
        return kept[0].detach() if isinstance(kept[0], Tensor) else kept[0]

    verdict = judge(run, weights(), mistakes)
    if not verdict:
        return verdict
    if kept[0].requires_grad:
        return Verdict(
            False,
            "the numbers are right, but the weights carry a gradient: being unsure "
            "everywhere would lower the loss. Detach std",
        )
    return Verdict(True, "6 weights of mean 1, two of them at the floor, no gradient")
