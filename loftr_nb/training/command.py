"""The training command, shared by ``loftr-nb train`` and ``torchrun``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ..progress import StatusLine
from .config import Recipe
from .finish import print_summary
from .overrides import override
from .recipes import get_recipe
from .run import train


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
    summary = train(
        recipe,
        args.data,
        out,
        args.steps,
        args.resume,
        args.device,
        status=StatusLine(on=False) if args.json else None,
    )
    if summary is not None:
        folder = Path(summary.pop("run"))
        if args.json:
            print(json.dumps(summary, indent=2))
        else:
            print_summary(folder, summary)
    return 0
