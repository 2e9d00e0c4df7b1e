"""Print what a recipe means on your number of GPUs, before anything runs.

True learning rate, warm-up in steps and epochs, milestones, pairs an epoch:
  loftr-nb plan indoor_ds --gpus 4 --batch 1
  loftr-nb plan outdoor_ds --gpus 8 data.longer_side=832 --json
"""

from __future__ import annotations

import argparse
import json

from ..training import get_recipe, make_plan, override


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``loftr-nb plan``."""
    parser.add_argument("recipe", help="name of a recipe, such as indoor_ds")
    parser.add_argument("overrides", nargs="*", help="field=value, changes the recipe")
    parser.add_argument("--gpus", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--batch", type=int, help="pairs per process")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Make the plan and print it."""
    recipe = override(get_recipe(args.recipe), args.overrides)
    plan = make_plan(recipe, args.gpus, args.batch)
    print(json.dumps(plan.to_dict(), indent=2) if args.json else plan.text())
