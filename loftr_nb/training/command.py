"""The training command, shared by ``loftr-nb train`` and ``torchrun``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ..errors import RunError
from .distributed import start, stop
from .finish import finish, print_summary, validation
from .log import StatusLine, duration
from .overrides import override
from .recipes import Recipe, get_recipe
from .run_folder import RunFolder
from .trainer import Trainer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the training command."""
    parser.add_argument("recipe", help="name of a recipe, such as mini_ds")
    parser.add_argument(
        "overrides", nargs="*", help="field=value, such as loss.supervision=sparse"
    )
    parser.add_argument("--data", type=Path, help="folder of the data")
    parser.add_argument("--out", type=Path, help="run folder (default runs/RECIPE)")
    parser.add_argument("--steps", type=int, help="stop after this many steps")
    parser.add_argument("--batch", type=int, help="pairs per process and step")
    parser.add_argument("--device", help="cpu or cuda (default: a GPU if there is one)")
    parser.add_argument(
        "--resume", action="store_true", help="go on with the run in --out, if any"
    )
    parser.add_argument("--json", action="store_true", help="print summary.json last")


def recipe_from(args: argparse.Namespace) -> Recipe:
    """The recipe with the command line's changes."""
    recipe = override(get_recipe(args.recipe), args.overrides)
    if args.batch is not None:
        recipe = override(recipe, [f"optim.batch={args.batch}"])
    return recipe


def run(args: argparse.Namespace) -> int:
    """Train, evaluate, and print the table. Returns the exit status."""
    recipe = recipe_from(args)
    out = args.out or Path("runs") / recipe.name
    data = args.data or Path(recipe.data.path)
    process = start(args.device)
    status = StatusLine(on=process.is_main and not args.json)
    try:
        done = RunFolder(out).read_summary()
        if done and args.resume and _same_run(RunFolder(out), recipe, args.steps, done):
            status.say(f"{out} is complete")
        else:
            trainer = Trainer(
                recipe, data, out, process, args.steps, args.resume, status
            )
            status.say(trainer.plan.text())
            seconds = trainer.run(validation(trainer))
            status.say(f"trained in {duration(seconds)}, evaluating")
            done = finish(trainer, seconds)
        if process.is_main:
            print(json.dumps(done, indent=2)) if args.json else print_summary(out, done)
    finally:
        stop()
    return 0


def _same_run(folder: RunFolder, recipe: Recipe, steps: int | None, done: dict) -> bool:
    if folder.read_recipe() != recipe:
        folder.claim(recipe, Path(), resume=True)  # raises, naming the difference
    if steps is not None and steps < done["steps"]:
        raise RunError(
            f"{folder.path} has already taken {done['steps']:,} steps, more than the "
            f"{steps:,} asked for: give another --out"
        )
    return steps is None or steps == done["steps"]
