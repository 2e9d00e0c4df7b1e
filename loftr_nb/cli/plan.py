"""Print what a recipe means on your number of GPUs, before anything runs.

True learning rate, warm-up in steps and epochs, milestones, pairs an epoch:
  loftr-nb plan indoor_ds --gpus 4 --batch 1
  loftr-nb plan indoor_ds --gpus 4 --batch 2 --global-batch 64
  loftr-nb plan outdoor_ds --gpus 8 data.longer_side=832 --json
Does it fit, and how long will it take? Some steps on this machine, in a process of
their own; what cannot fit is said and not tried. No data is needed:
  loftr-nb plan outdoor_ds --gpus 4 --size 840
  loftr-nb plan mini_ds --data data/mini --steps 20

--size, --data, --device, --steps and --measure measure; otherwise the plan is only
computed. The exit status is 1 where a measured plan does not fit.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ..errors import ConfigError
from ..progress import StatusLine
from ..training import get_recipe, make_plan, override
from ..training.command import add_batch_arguments, batch_changes
from ..training.fit import judge
from ..training.measure import measure
from ..training.plan import size_changes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``loftr-nb plan``."""
    add = parser.add_argument
    add("recipe", help="name of a recipe, such as indoor_ds")
    add("overrides", nargs="*", help="field=value, changes the recipe")
    add("--gpus", type=int, default=1, help="processes (default 1)")
    add_batch_arguments(parser)
    add("--size", help="input: the longer side, or WxH for ScanNet; measures")
    add("--data", type=Path, help="measure with this data, and not with a made pair")
    add("--device", help="measure on cpu or cuda (default: a GPU if there is one)")
    add("--steps", type=int, help="steps to measure (default 20)")
    add(
        "--measure",
        action=argparse.BooleanOptionalAction,
        help="measure, or do not, whatever other options say",
    )
    add("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make the plan, measure if asked to, and print both."""
    recipe = override(get_recipe(args.recipe), args.overrides)
    changes = batch_changes(args, recipe, args.gpus)
    if args.size is not None:
        changes += size_changes(recipe, args.size)
    recipe = override(recipe, changes)
    if args.data is not None and not args.data.is_dir():
        raise ConfigError(f"--data {args.data}: there is no such folder")
    plan = make_plan(recipe, args.gpus)
    asked = (args.size, args.data, args.device, args.steps)
    wanted = any(a is not None for a in asked) if args.measure is None else args.measure
    if not wanted:
        print(json.dumps(plan.to_dict(), indent=2) if args.json else plan.text())
        return 0
    if not args.json:
        print(plan.text() + "\n", flush=True)
    status = StatusLine(sys.stderr)
    steps = 20 if args.steps is None else args.steps
    found = measure(recipe, args.gpus, args.device, steps, args.data, status)
    status.say("") if status.tty else None
    fit = judge(plan, found)
    if args.json:
        print(json.dumps(plan.to_dict() | {"measurement": fit.to_dict()}, indent=2))
    else:
        print(fit.text())
    return 0 if fit.fits else 1
