"""Learning rates of planned runs, before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes

from .style import SERIES, Picture, heading, legend

POINTS = 2000  # a whole run, however many steps it has


class Planned(Protocol):
    """What is drawn of a plan; ``loftr_nb.training.Plan`` is one."""

    total_steps: int
    steps_per_epoch: int

    def schedule(self) -> object:
        """Something with ``at(step)``, the rate of a step."""


def learning_rates(plans: Mapping[str, Planned], title: str | None = None) -> Picture:
    """The rate over a whole run, once by step and once by epoch.

    Runs on different numbers of GPUs differ in steps and in height. By epoch, as
    shares of their own peak, they lie on one another: that is what linear
    scaling keeps.

    Args:
        plans: name of each line to its plan.
    """
    picture = Picture(9.2, 3.2)
    by_step, by_epoch = picture.subplots(1, 2)
    for n, (name, plan) in enumerate(plans.items()):
        at = plan.schedule().at
        # Thinner from line to line: where they coincide, all stay visible.
        look = {"color": SERIES[n % len(SERIES)], "lw": max(0.8, 4.4 - 1.4 * n)}
        steps = np.unique(np.geomspace(1, plan.total_steps, POINTS).astype(int))
        by_step.plot(steps, _rates(at, steps), label=name, **look)
        steps = np.linspace(1, plan.total_steps, POINTS).astype(int)
        rates = _rates(at, steps)
        by_epoch.plot(steps / plan.steps_per_epoch, rates / np.nanmax(rates), **look)
    by_step.set_xscale("log")
    by_step.set_yscale("log")
    _finish(by_step, "By step: more GPUs, fewer and larger steps", "learning rate")
    by_step.set_xlabel("step (log scale)", fontsize=9)
    legend(by_step, loc="best")
    _finish(by_epoch, "By epoch: one and the same shape", "share of the peak")
    by_epoch.set_xlabel("epoch", fontsize=9)
    return picture.titled(title)


def _rates(at: Callable[[int], float], steps: np.ndarray) -> np.ndarray:
    """Rates of steps counted from 1; NaN for 0, which a log scale cannot show."""
    rates = np.array([at(step - 1) for step in steps.tolist()])
    return np.where(rates > 0, rates, np.nan)


def _finish(ax: Axes, head: str, unit: str) -> None:
    heading(ax, head, "", unit)
    ax.grid(alpha=0.25)
