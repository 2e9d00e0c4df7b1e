"""Averages of a stretch of steps over all pairs of all processes.

What is added up are sums and counts, never averages: a row of ``metrics.jsonl``
is then the same however the pairs were dealt to processes and to batches.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from ..losses import StepOutput
from .distributed import Process

# One number a step and process each. The first is the count the others of its
# kind are divided by.
NAMES = (
    "pairs",
    "loss",
    "loss_coarse",
    "loss_fine",
    "matches_gt",
    "matches_pred",
    "fine_samples",
    "few_matches",
    "coarse_right",
    "fine_inside",
    "fine_error",
)


def sums(output: StepOutput, few: int) -> Tensor:
    """(len(NAMES),) float64 sums over the pairs of one batch, on its device.

    Args:
        few: a pair with fewer true matches counts in ``few_matches``.
    """
    pairs = len(output.coarse)
    values = (
        torch.full_like(output.loss.detach(), pairs),
        output.loss.detach() * pairs,
        output.coarse.sum(),
        output.fine.sum(),
        output.matches_gt.sum(),
        output.matches_pred.sum(),
        output.fine_samples.sum(),
        (output.matches_gt < few).sum(),
        output.coarse_right.sum(),
        output.fine_inside.sum(),
        (output.fine_error_px * output.fine_inside).sum(),
    )
    return torch.stack([v.double() for v in values])


class Meter:
    """Sums of a stretch of steps, and the time spent waiting for data.

    The sums are this process's own and stay on its device; :meth:`means` puts
    those of all processes together.
    """

    def __init__(self, process: Process) -> None:
        self.process = process
        self.reset()

    def reset(self) -> None:
        """Begin a new stretch."""
        self.sums = torch.zeros(
            len(NAMES), dtype=torch.float64, device=self.process.device
        )
        self.steps, self.norm, self.rate = 0, 0.0, 0.0
        self.timed_pairs, self.waited = 0, 0.0
        self.began = time.perf_counter()

    def add(
        self, sums: Tensor, norm: float, rate: float, pairs: int, waited: float
    ) -> None:
        """Count one step.

        Args:
            sums: of this process, see :func:`sums`.
            norm: of the joint gradient. rate: learning rate.
            pairs: of all processes. waited: seconds this one waited for data.
        """
        self.sums += sums
        self.steps += 1
        self.norm += norm
        self.rate += rate
        self.timed_pairs += pairs
        self.waited += waited

    def pause(self, seconds: float) -> None:
        """Leave out that many seconds, spent on something else than steps."""
        self.began += seconds

    def state(self) -> dict[str, Any]:
        """This process's sums so far, for a checkpoint; times are not kept."""
        return {
            "sums": self.sums.tolist(),
            "steps": self.steps,
            "norm": self.norm,
            "rate": self.rate,
        }

    def restore(self, states: list[dict[str, Any]]) -> None:
        """Go on summing where a checkpoint was written.

        Args:
            states: of each process then. With another number of processes now, the
                first takes all that was summed.
        """
        self.reset()
        if not states or len(states[0].get("sums", ())) != len(NAMES):
            return
        self.steps, self.norm, self.rate = (
            states[0][name] for name in ("steps", "norm", "rate")
        )
        device = self.process.device
        all_sums = torch.tensor([s["sums"] for s in states], dtype=torch.float64)
        if len(states) == self.process.world:
            self.sums = all_sums[self.process.rank].to(device)
        elif self.process.is_main:
            self.sums = all_sums.sum(0).to(device)

    def own(self) -> dict[str, float]:
        """Means of this process's pairs, for a line on the screen."""
        return self._means(self.sums)

    def means(self) -> dict[str, float]:
        """Means over the pairs of all processes, which all call this together."""
        return self._means(self.process.sum(self.sums))

    def _means(self, sums: Tensor) -> dict[str, float]:
        s = dict(zip(NAMES, sums.tolist(), strict=True))
        seconds = max(time.perf_counter() - self.began, 1e-9)
        pairs, steps = max(s["pairs"], 1), max(self.steps, 1)
        per_pair = ("loss", "loss_coarse", "loss_fine")
        counts = ("matches_gt", "matches_pred", "fine_samples", "few_matches")
        return {
            **{name: s[name] / pairs for name in per_pair},
            "coarse_accuracy": s["coarse_right"] / max(s["matches_gt"], 1),
            "fine_error_px": s["fine_error"] / max(s["fine_inside"], 1),
            **{name: s[name] / pairs for name in counts},
            "grad_norm": self.norm / steps,
            "lr": self.rate / steps,
            "pairs_per_s": self.timed_pairs / seconds,
            "data_wait": self.waited / seconds,
        }
