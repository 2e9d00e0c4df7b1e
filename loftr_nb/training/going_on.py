"""Going on from a checkpoint with processes that are not those that wrote it."""

from __future__ import annotations

from ..errors import RunError
from .checkpoint import Checkpoint
from .config import Recipe
from .distributed import Process
from .run_folder import RunFolder


def agree_on_step(process: Process, step: int, folder: RunFolder) -> None:
    """Make sure that all processes go on from the same step.

    Raises:
        RunError: they do not, because a machine does not see the run's folder.
    """
    steps = process.gather(step)
    wrong = [rank for rank, other in enumerate(steps) if other != steps[0]]
    if wrong:
        raise RunError(
            f"rank {wrong[0]} would go on from step {steps[wrong[0]]:,} and rank 0 "
            f"from step {steps[0]:,}: all machines must see one and "
            f"the same {folder.path}. Put --out on storage that they share"
        )


def other_processes(state: Checkpoint, recipe: Recipe, process: Process) -> str | None:
    """What another number of processes means for the run, None for the same."""
    before, now = len(state.rng), process.world
    if before == now:
        return None
    old = before * state.recipe.optim.batch * state.recipe.optim.accumulate
    new = now * recipe.optim.batch * recipe.optim.accumulate
    said = f"{before} process(es) wrote the checkpoint, and {now} go on from it. "
    if old == new:
        return said + (
            f"A step has {new} pairs as before: the same global batches, so the same "
            "run up to rounding, where batch norm is frozen"
        )
    return said + (
        f"A step has {new} pairs now instead of {old}: learning rate, warm-up and the "
        "place in the epoch follow the new size. --global-batch "
        f"{old} keeps the old one"
    )
