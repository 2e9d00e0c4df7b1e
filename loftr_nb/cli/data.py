"""Make and prepare data.

loftr-nb data mini                    render the embedded data into data/mini
loftr-nb data index SCENES --out DIR  pairs of ScanNet scenes without an index
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ..datasets import build_scannet_index
from ..synthetic import make_mini, read_manifest
from ..training import StatusLine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``loftr-nb data``."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    mini = actions.add_parser(
        "mini",
        help="render the embedded data; reuses what is complete",
        description="Render rooms with exact depth and pose in both real layouts.",
    )
    mini.add_argument("--out", type=Path, default=Path("data/mini"), help="folder")
    mini.add_argument("--seed", type=int, default=0, help="other scenes (default 0)")
    mini.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    mini.add_argument("--json", action="store_true", help="print JSON")
    mini.set_defaults(run=run_mini)
    index = actions.add_parser(
        "index",
        help="write an index for a folder of ScanNet scenes that has none",
        description="Score the overlap of frame pairs from depth and pose.",
    )
    index.add_argument("root", type=Path, help="folder that holds sceneXXXX_YY")
    index.add_argument("--out", type=Path, required=True, help="folder of the index")
    index.add_argument("--max-gap", type=int, default=30, help="frames apart at most")
    index.add_argument("--min-overlap", type=float, default=0.1, help="score at least")
    index.add_argument("--json", action="store_true", help="print JSON")
    index.set_defaults(run=run_index)


def run_mini(args: argparse.Namespace) -> None:
    """Render data/mini, or say that it is there."""
    status = StatusLine(every=5, on=not args.json)

    def progress(done: int, total: int, text: str) -> None:
        status.show(lambda: f"rendering {done}/{total}  {text}", force=done == total)

    make_mini(args.out, seed=args.seed, workers=args.workers, progress=progress)
    manifest = read_manifest(args.out)
    if args.json:
        print(json.dumps({"path": str(args.out), **manifest}, indent=2))
        return
    for name, counts in manifest["counts"].items():
        status.say(
            f"{args.out}/{name}: {counts['scenes']} scenes, "
            f"{counts['frames']} images, {counts['pairs']:,} pairs"
        )


def run_index(args: argparse.Namespace) -> None:
    """Score and write the pairs."""
    status = StatusLine(every=5, on=not args.json)

    path = build_scannet_index(
        args.root,
        args.out,
        max_gap=args.max_gap,
        min_overlap=args.min_overlap,
        progress=lambda report: status.say(str(report)),
    )
    if args.json:
        print(json.dumps({"index": str(path)}))
    else:
        status.say(f"index written to {path}")
