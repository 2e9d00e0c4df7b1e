"""A whole run in one call: train, evaluate, draw, and say where everything is.

    from loftr_nb.training import train
    summary = train("mini_ds", out="runs/first", steps=200)

``loftr-nb train`` is this function with a command line.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path
from typing import Any

from ..errors import RunError
from ..progress import StatusLine, duration, status_line
from .board import require_tensorboard
from .config import Recipe
from .distributed import PATIENCE, start, stop
from .finish import finish, validation
from .leave import leave, ready
from .recipes import get_recipe
from .run_folder import RunFolder
from .start import pin_start
from .trainer import Trainer

QUICK = "LOFTR_NB_QUICK"  # set by `make test`: every run is cut to a taste
QUICK_STEPS, QUICK_PAIRS = 12, 6


def train(
    recipe: Recipe | str,
    data: Path | str | None = None,
    out: Path | str | None = None,
    steps: int | None = None,
    resume: bool = False,
    device: str | None = None,
    status: StatusLine | None = None,
    allow_changes: bool = False,
    patience: float = PATIENCE,
) -> dict[str, Any] | None:
    """Train a recipe to its end, evaluate it beside SIFT, write everything.

    Args:
        recipe: a recipe, or the name of one.
        data: folder of the data; the recipe's own by default.
        out: folder of the run; ``runs/RECIPE`` by default.
        steps: stop after so many instead of the recipe's epochs.
        resume: go on with the run in ``out`` if there is one. A complete run is
            not trained again.
        device: ``cpu`` or ``cuda``; by default a GPU where there is one.
        status: where to speak; by default standard output, or one place that is
            rewritten where this runs in a notebook.
        allow_changes: go on although the recipe is another one than before.
        patience: seconds that a process waits for the others before it gives up.

    Returns:
        What ``summary.json`` holds, and under ``run`` the folder of the run; None
        on all processes but the first.

    Raises:
        Stopped: a signal asked for it; the run is saved and can be resumed.
        LoftrNbError: data, recipe, folder or checkpoint do not fit together.
    """
    recipe = get_recipe(recipe) if isinstance(recipe, str) else recipe
    out = Path(out) if out is not None else Path("runs") / recipe.name
    recipe, out, steps = _quick(recipe, out, steps, resume)
    folder = RunFolder(out)
    require_tensorboard(recipe)
    recipe = pin_start(recipe, folder)
    process = start(device, patience)
    ready(process, folder)
    # torchrun --max-restarts starts all processes anew after one has died.
    resume = resume or process.restarted
    status = status or status_line(on=process.is_main)
    try:
        done = folder.read_summary()
        if done and resume and _is_complete(folder, recipe, steps, done, allow_changes):
            status.say(f"{folder.path} is complete")
            return done | {"run": str(out)} if process.is_main else None
        data = Path(data) if data is not None else Path(recipe.data.path)
        trainer = Trainer(
            recipe, data, out, process, steps, resume, status, allow_changes
        )
        status.say(trainer.plan.text())
        seconds = trainer.run(validation(trainer))
        status.say(f"trained in {duration(seconds)}, evaluating")
        trainer.heartbeat.beat("evaluating", step=trainer.step, eta_s=None)
        trainer.share_buffers()
        summary = finish(trainer, seconds)
        trainer.heartbeat.beat("finished")
        # All leave together, and nothing holds the group when it is closed: a
        # process that goes while another one still draws, or a wrapper that
        # outlives the group, can end in an abort of the communication threads.
        process.wait()
        trainer.update.module = trainer.model
        if summary is None:
            return None
        # Read back: a run just made and one found complete then give the same.
        return (folder.read_summary() or {}) | {"run": str(out)}
    except Exception as error:
        leave(error, process, folder)
        raise
    finally:
        stop(process)


def _is_complete(
    folder: RunFolder,
    recipe: Recipe,
    steps: int | None,
    done: dict[str, Any],
    allow_changes: bool,
) -> bool:
    if folder.changes(recipe, allow_changes):
        return False  # there may be more to train, and there is more to evaluate
    if steps is not None and steps < done["steps"]:
        raise RunError(
            f"{folder.path} has already taken {done['steps']:,} steps, more than the "
            f"{steps:,} asked for: give another folder"
        )
    return steps is None or steps == done["steps"]


def _quick(
    recipe: Recipe, out: Path, steps: int | None, resume: bool
) -> tuple[Recipe, Path, int | None]:
    """Cut the run to a taste where ``LOFTR_NB_QUICK`` is set.

    A taste has a folder of its own beside the real one, made anew each time: but for
    a run of so many steps that is resumed, which a notebook shows.
    """
    if not os.environ.get(QUICK):
        return recipe, out, steps
    protocol = dataclasses.replace(recipe.evaluation, max_pairs=QUICK_PAIRS)
    log = dataclasses.replace(recipe.log, metrics_every=1, validate_every=0)
    recipe = dataclasses.replace(recipe, evaluation=protocol, log=log)
    out = out.with_name(out.name + "-quick")
    if (out / "config.json").exists() and not is_resumed_taste(steps, resume):
        shutil.rmtree(out)
    return recipe, out, min(steps or QUICK_STEPS, QUICK_STEPS)


def is_resumed_taste(steps: int | None, resume: bool) -> bool:
    """Whether a taste goes on where one left off, rather than being made anew."""
    return resume and steps is not None
