"""The learning rate at every step: linear warm-up, then halved at milestones."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Learning rate as a function of the step alone, so that resuming is exact.

    peak: rate after warm-up.
    warmup_steps: steps from ``warmup_start * peak`` to ``peak``.
    milestones: steps after which the rate is multiplied by ``decay`` again.
    """

    peak: float
    warmup_steps: int
    warmup_start: float
    milestones: tuple[int, ...]
    decay: float

    def at(self, step: int) -> float:
        """Rate used by step ``step``, counted from 0.

        Milestones also count during warm-up: a run so short that both meet
        keeps its shape.
        """
        rate = self.peak * self.decay ** sum(step >= m for m in self.milestones)
        if step < self.warmup_steps:
            share = step / self.warmup_steps
            rate *= self.warmup_start + (1 - self.warmup_start) * share
        return rate
