"""Score a run or a checkpoint on test pairs, beside SIFT.

The table, then the protocol it was measured under:
  loftr-nb eval runs/mini_ds
  loftr-nb eval runs/mini_ds --solver lo-ransac --data /path/to/data
  loftr-nb eval weights.pt --recipe indoor_ds --data /path/to/data --json
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from ..errors import ConfigError
from ..evaluation import SOLVERS, LoFTRMatcher, SiftMatcher, evaluate, score_table
from ..model import LoFTR
from ..model.allocator import keep_freed_memory
from ..progress import StatusLine
from ..training import Recipe, RunFolder, get_recipe, override
from ..training.finish import protocol_of
from ..training.loaders import open_split


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``loftr-nb eval``."""
    parser.add_argument(
        "source", type=Path, metavar="RUN", help="run folder, or a file of weights"
    )
    parser.add_argument(
        "overrides", nargs="*", help="field=value, such as data.width=320"
    )
    parser.add_argument("--data", type=Path, help="folder of the data")
    parser.add_argument(
        "--recipe", help="recipe that weights belong to (sizes, layout)"
    )
    parser.add_argument(
        "--position", choices=["fixed", "released"], help="see loftr-nb match --help"
    )
    parser.add_argument("--solver", choices=sorted(SOLVERS), help="robust pose solver")
    parser.add_argument("--pairs", type=int, help="evaluate so many, evenly spread")
    parser.add_argument("--split", default="test", choices=["test", "train"])
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--no-sift", action="store_true", help="LoFTR alone")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Evaluate and print."""
    recipe, weights, data = _what(args)
    recipe = override(recipe, args.overrides)
    keep_freed_memory()
    model = LoFTR.load(weights, position=args.position).to(args.device)
    data = args.data or data
    cache = RunFolder(weights.parent if args.source.is_file() else args.source).cache
    dataset = open_split(recipe, data, args.split, cache)
    protocol = protocol_of(recipe, f"{args.split} pairs of {data}")
    changes = {"solver": args.solver, "max_pairs": args.pairs}
    protocol = dataclasses.replace(
        protocol, **{k: v for k, v in changes.items() if v is not None}
    )
    status = StatusLine(on=not args.json)
    matchers = {"LoFTR": LoFTRMatcher(model)}
    if not args.no_sift:
        matchers["SIFT"] = SiftMatcher()
    scores = {}
    for name, matcher in matchers.items():

        def progress(done: int, total: int, name: str = name) -> None:
            status.show(lambda: f"{name}: {done}/{total} pairs")

        scores[name] = evaluate(matcher, dataset, protocol, progress=progress)
    if args.json:
        found = {name: s.summary() for name, s in scores.items()}
        found["protocol"] = scores["LoFTR"].protocol.as_dict()
        print(json.dumps(found, indent=2))
    else:
        status.say(score_table(scores) + "\n\n" + scores["LoFTR"].card())


def _what(args: argparse.Namespace) -> tuple[Recipe, Path, Path]:
    """Recipe, file of weights and folder of data that the arguments name."""
    given = get_recipe(args.recipe) if args.recipe else None
    if args.source.is_dir():
        folder = RunFolder(args.source)
        recipe = given or folder.read_recipe()
        weights = folder.weights if folder.weights.exists() else folder.last
        return recipe, weights, folder.read_data()
    if given is None:
        raise ConfigError(
            f"{args.source} is a file of weights: say with --recipe which data and "
            "size it is for, such as --recipe indoor_ds"
        )
    return given, args.source, Path(given.data.path)
