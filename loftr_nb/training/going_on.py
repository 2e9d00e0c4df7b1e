"""Going on from a checkpoint with other processes, or another recipe, than wrote it."""

from __future__ import annotations

import torch

from ..errors import RunError
from ..model import LoFTR
from .checkpoint import Checkpoint
from .config import Recipe
from .distributed import Process
from .parts import parameter_names
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


def restore_optimizer(
    optimizer: torch.optim.Optimizer, state: Checkpoint, recipe: Recipe, model: LoFTR
) -> None:
    """Give the optimiser the moments of a checkpoint, each parameter its own.

    The recipe may have changed since. Parameters that were frozen then start without
    moments, as at the beginning of a run; those that are frozen now are left out. How
    fast a group learns and decays is the recipe's of now, never the file's.
    """
    saved = state.optimizer["state"]
    before = parameter_names(model, state.recipe.optim)
    moments = {name: saved[k] for k, name in enumerate(before) if k in saved}
    now = parameter_names(model, recipe.optim)
    carried = {k: moments[name] for k, name in enumerate(now) if name in moments}
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": carried, "param_groups": groups})
