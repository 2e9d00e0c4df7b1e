"""Write a batch file for Slurm that trains on many nodes, requeues and resumes.

  loftr-nb slurm indoor_ds --nodes 2 --gpus 4 --data /path/to/data --out runs/indoor
  loftr-nb slurm indoor_ds --nodes 2 --gpus 4 --batch 2 --global-batch 64
  loftr-nb slurm outdoor_ds --gpus 8 --time 12:00:00 --account vision optim.batch=2
  sbatch runs/indoor.sbatch

Two minutes before the time limit the run is saved and the job goes back into the
queue; it comes back by itself until the run is complete. Files of --data and --out
have to be seen by all nodes under the same path.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..errors import ConfigError
from ..files import write_whole
from ..training import get_recipe, make_plan, override
from ..training.command import add_batch_arguments, batch_changes
from ..training.slurm import SlurmJob, sbatch_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``loftr-nb slurm``."""
    add = parser.add_argument
    add("recipe", help="name of a recipe, such as indoor_ds")
    add("overrides", nargs="*", help="field=value, changes the recipe")
    add("--nodes", type=int, default=1, help="machines (default 1)")
    add("--gpus", type=int, default=1, help="GPUs of each machine (default 1)")
    add_batch_arguments(parser)
    add("--data", type=Path, help="folder of the data")
    add("--out", type=Path, help="run folder (default runs/RECIPE)")
    add("--time", default="24:00:00", help="limit of one stay (default 24:00:00)")
    add("--account", help="whom Slurm charges")
    add("--partition", help="which machines")
    add("--cpus", type=int, help="cores of each machine (default: what loaders use)")
    add("--notice", type=int, default=120, help="seconds to save in (default 120)")
    add("--restarts", type=int, default=1, help="after a process died (default 1)")
    add("--port", type=int, default=29400, help="where processes meet (default 29400)")
    add("--python", default=sys.executable, help="interpreter on the nodes")
    add("--setup", action="append", default=[], help="shell line before training")
    add("--sbatch", action="append", default=[], help="more: --sbatch=--qos=long")
    add("--write", type=Path, help="the batch file (default OUT.sbatch)")
    add("--force", action="store_true", help="replace another batch file")
    add("--print", action="store_true", dest="show", help="print it, write nothing")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Write the batch file and say how to use it."""
    recipe = override(get_recipe(args.recipe), args.overrides)
    more = batch_changes(args, recipe, args.nodes * args.gpus)
    recipe = override(recipe, more)
    out = (args.out or Path("runs") / recipe.name).absolute()
    cpus = args.gpus * (recipe.data.workers + 1) if args.cpus is None else args.cpus
    words = [args.recipe, *args.overrides, *more]
    words += [] if args.data is None else ["--data", str(args.data.absolute())]
    job = SlurmJob(
        name=f"loftr-{recipe.name}",
        words=words,
        out=out,
        nodes=args.nodes,
        gpus=args.gpus,
        cpus=cpus,
        folder=Path.cwd(),
        time=args.time,
        account=args.account,
        partition=args.partition,
        notice=args.notice,
        restarts=args.restarts,
        port=args.port,
        python=args.python,
        setup=args.setup,
        sbatch=args.sbatch,
    )
    text = sbatch_text(job)
    if args.show:
        print(text, end="")
        return
    path = args.write or out.with_name(out.name + ".sbatch")
    _write(path, text, args.force)
    print(make_plan(recipe, args.nodes * args.gpus).text())
    print(f"\nbatch file         {path}\nlog                {out}.slurm-JOB.log")
    print(f"start it           sbatch {path}")


def _write(path: Path, text: str, force: bool) -> None:
    if path.exists() and not force and path.read_bytes() != text.encode():
        raise ConfigError(
            f"{path} exists and is another file: give --write, or --force to replace it"
        )
    # sbatch opens its log itself, and fails without a word where it has no folder.
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path.parent} cannot be made: {error}") from error
    write_whole(path, lambda file: file.write(text.encode()))
