"""Verdicts of the exercises on several processes: shares, joint gradients, days.

As in :mod:`.training`: a known case, and the answers that usual mistakes give.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .verdict import Verdict, judge


def dealt_in_turns(answer: Callable) -> Verdict:
    """Exercise: ``answer(order, rank, world)`` is what a process holds.

    order: (steps, global batch) pairs of an epoch. Returns the share of ``rank``,
    (steps, global batch / world), dealt in turns.
    """
    order = torch.arange(100, 124).reshape(3, 8)[
        :, torch.tensor([5, 2, 7, 0, 6, 1, 4, 3])
    ]
    world, rank = 4, 1
    block = order.shape[1] // world
    flat = order.flatten()
    mistakes = {
        "the batch is cut into blocks: ranks take turns, rank r gets places r, r + "
        "world, ...": order[:, rank * block : (rank + 1) * block],
        "the steps are dealt and not the pairs of a step: every rank takes part in "
        "every step": order[rank::world],
        "the epoch is cut into one part for each rank: then a step of all ranks is "
        "not the global batch": flat[
            rank * len(flat) // world : (rank + 1) * len(flat) // world
        ].reshape(3, -1),
        "counting starts at the wrong place: rank r begins at place r": order[
            :, rank + 1 :: world
        ],
        "every rank holds the whole batch: the step would take as long as on one "
        "GPU": order,
        "rank and world are the wrong way round: begin at rank, go in strides of "
        "world": order[:, world::rank],
    }
    return judge(
        lambda: answer(order, rank, world),
        order[:, rank::world],
        mistakes,
        "rank 1 of 4 holds places 1 and 5 of every step",
    )


def joined_gradient(answer: Callable) -> Verdict:
    """Exercise: ``answer(gradients, pairs)`` is the gradient of all pairs together.

    gradients: (parts, weights), each of the mean loss of its part; pairs: (parts,)
    pairs of each. Returns (weights,), of the mean loss of all pairs.
    """
    gradients = torch.tensor([[1.0, -2.0, 4.0], [5.0, 6.0, 0.0], [-3.0, 2.0, 8.0]])
    pairs = torch.tensor([4, 1, 3])
    weights = pairs / pairs.sum()

    def weighted(w: Tensor) -> Tensor:
        return (w[:, None] * gradients).sum(0)

    mistakes = {
        "the plain mean is right for parts of equal size: here a pair in the small "
        "part counts four times as much": gradients.mean(0),
        "the gradients are added up: divide by the pairs, or the rate grows with the "
        "number of parts": gradients.sum(0),
        "weighted by the pairs, but not divided by all of them": weighted(
            pairs.float()
        ),
        "divided by the number of parts: divide by the number of pairs": weighted(
            pairs / len(pairs)
        ),
        "the weights are turned round: a part with more pairs counts more": weighted(
            (1 / pairs) / (1 / pairs).sum()
        ),
        "only the largest part counts: the others have seen pairs too": gradients[0],
    }
    return judge(
        lambda: answer(gradients, pairs),
        weighted(weights),
        mistakes,
        "parts of 4, 1 and 3 pairs: every pair counts the same",
    )


def run_days(answer: Callable) -> Verdict:
    """Exercise: ``answer(pairs, processes, batch, seconds)`` is a run's days.

    pairs: of the whole run. seconds: of a step, in which each process takes
    ``batch`` pairs.
    """
    pairs, processes, batch, seconds = 9_078_000, 4, 2, 1.25
    steps = pairs / (processes * batch)

    def days(value: float) -> Tensor:
        return torch.tensor(value, dtype=torch.float64)

    day = 24 * 3600
    mistakes = {
        "the processes are left out: a step takes the pairs of all of them": days(
            pairs / batch * seconds / day
        ),
        "the batch is left out: a step takes that many pairs on each process": days(
            pairs / processes * seconds / day
        ),
        "neither processes nor batch: that many steps it would be with one pair a "
        "step": days(pairs * seconds / day),
        "it is in hours: a day has 24": days(steps * seconds / 3600),
        "it is in seconds: a day has 86,400": days(steps * seconds),
        "that is the number of steps: times the seconds of one, in days": days(steps),
        "multiplied where to divide: more seconds a step are more days": days(
            steps / seconds / day
        ),
    }
    return judge(
        lambda: answer(pairs, processes, batch, seconds),
        days(steps * seconds / day),
        mistakes,
        f"4 processes with 2 pairs each: {steps * seconds / day:.1f} days",
    )
