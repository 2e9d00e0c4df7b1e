"""The training command, shared by ``loftr-nb train`` and ``torchrun``.

What changes a recipe from the command line is here too, for ``loftr-nb plan`` and
``loftr-nb slurm`` as well: all three speak of the same run.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..progress import StatusLine
from ..viz import read_metrics
from .config import Recipe
from .distributed import PATIENCE
from .finish import print_summary
from .overfit import Verdict, overfit_recipe, verdict
from .overrides import override
from .plan import accumulate_for
from .recipes import get_recipe
from .run import train

TORCHRUN = "TORCHELASTIC_RUN_ID"  # set by torchrun in the processes it starts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the training command."""
    add = parser.add_argument
    add("recipe", help="name of a recipe, such as mini_ds")
    add("overrides", nargs="*", help="field=value, such as loss.supervision=sparse")
    add("--data", type=Path, help="folder of the data")
    add("--out", type=Path, help="run folder (default runs/RECIPE)")
    add("--steps", type=int, help="stop after this many steps")
    add_batch_arguments(parser)
    add("--device", help="cpu or cuda (default: a GPU if there is one)")
    add(
        "--overfit",
        type=int,
        metavar="K",
        help="smoke test: learn K pairs by heart, and say whether it worked "
        "(default folder runs/RECIPE-overfit-K; exit status 1 if it did not)",
    )
    add("--start", help="weights to begin from: a file, or the folder of a run")
    add(
        "--start-position",
        choices=["fixed", "released"],
        help="position encoding of weights that do not carry it: released for "
        "outdoor_ds, indoor_ds and the _ot ones, fixed for indoor_ds_new",
    )
    add("--freeze", help="parts that do not learn, such as backbone,loftr_coarse")
    add("--backbone-rate", type=float, help="the backbone's share of the rate")
    add("--tensorboard", action="store_true", help="write RUN/tensorboard too")
    add("--resume", action="store_true", help="go on with the run in --out, if any")
    add(
        "--allow-changes",
        action="store_true",
        help="with --resume: go on although the recipe has changed (log.*, "
        "evaluation.*, data.workers and data.path may change without)",
    )
    add(
        "--patience",
        type=float,
        default=PATIENCE,
        metavar="SECONDS",
        help="how long a process waits for one that does not come or says nothing "
        "more (default %(default).0f); raise it where one alone makes an index or "
        "draws for longer",
    )
    add("--json", action="store_true", help="print summary.json last")


def add_batch_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that say how many pairs a step has, and who holds them."""
    add = parser.add_argument
    add("--batch", type=int, help="pairs a process holds at a time")
    add("--accumulate", type=int, help="times it does so before a step")
    add(
        "--global-batch",
        type=int,
        help="pairs of a step over all processes: sets --accumulate to reach it",
    )


def batch_changes(args: argparse.Namespace, recipe: Recipe, processes: int) -> list:
    """Overrides that ``--batch``, ``--accumulate`` and ``--global-batch`` mean.

    Raises:
        ConfigError: the last two together, or a global batch that cannot be.
    """
    changes = [] if args.batch is None else [f"optim.batch={args.batch}"]
    if args.global_batch is not None:
        if args.accumulate is not None:
            raise ConfigError(
                "--global-batch sets --accumulate: give one of the two, not both"
            )
        batch = recipe.optim.batch if args.batch is None else args.batch
        times = accumulate_for(args.global_batch, processes, batch)
        return [*changes, f"optim.accumulate={times}"]
    if args.accumulate is not None:
        changes.append(f"optim.accumulate={args.accumulate}")
    return changes


def recipe_from(args: argparse.Namespace) -> Recipe:
    """The recipe with the command line's changes.

    Raises:
        ConfigError: a name, a field or a value that cannot be.
    """
    base = get_recipe(args.recipe)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    # A batch may also come as field=value, and a global batch is divided by it.
    changed = override(base, args.overrides)
    changes = [*args.overrides, *batch_changes(args, changed, processes)]
    changes += _start_changes(args)
    if args.overfit is None:
        return override(base, changes)
    base = overfit_recipe(override(base, changes), args.overfit, args.steps)
    # What the user says holds, also against the smoke test's own settings.
    return override(base, changes)


def _start_changes(args: argparse.Namespace) -> list[str]:
    fields: dict[str, Any] = {
        "start": args.start,
        "start_position": args.start_position,
        "optim.freeze": args.freeze,
        "optim.backbone_rate": args.backbone_rate,
        "log.tensorboard": "true" if args.tensorboard else None,
    }
    return [f"{name}={value}" for name, value in fields.items() if value is not None]


def default_out(args: argparse.Namespace, recipe: Recipe) -> Path:
    """Where the run goes when nothing is said: a smoke test beside the real run."""
    test = "" if args.overfit is None else f"-overfit-{args.overfit}"
    return Path("runs") / (recipe.name + test)


def run(args: argparse.Namespace) -> int:
    """Train, evaluate, and print the table. Returns the exit status."""
    recipe = recipe_from(args)
    summary = train(
        recipe,
        args.data,
        args.out or default_out(args, recipe),
        args.steps,
        args.resume,
        args.device,
        status=StatusLine(on=False) if args.json else None,
        allow_changes=args.allow_changes,
        patience=args.patience,
    )
    if summary is None:
        return 0
    folder = Path(summary.pop("run"))
    judged = None
    if args.overfit is not None:
        judged = verdict(read_metrics(folder / "metrics.jsonl"), recipe.log.few_matches)
    _show(args, folder, summary, judged)
    # torchrun would take a status of 1 for a process that died, and start anew.
    return 1 if judged and not judged.learnt and TORCHRUN not in os.environ else 0


def _show(
    args: argparse.Namespace,
    folder: Path,
    summary: dict[str, Any],
    judged: Verdict | None,
) -> None:
    if args.json:
        more = {"learnt": judged.learnt, "verdict": judged.words} if judged else {}
        print(json.dumps(summary | more, indent=2))
        return
    print_summary(folder, summary)
    if judged:
        print(f"\n{judged.words}")
