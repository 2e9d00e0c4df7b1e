"""Score the overlap of frames and write an index of pairs.

  loftr-nb data index SCENES --out INDEX
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ...indexing import build_scannet_index
from ...progress import StatusLine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``loftr-nb data index``."""
    parser.add_argument("root", type=Path, help="folder that holds sceneXXXX_YY")
    parser.add_argument("--out", type=Path, required=True, help="folder of the index")
    parser.add_argument("--max-gap", type=int, default=30, help="frames apart at most")
    parser.add_argument("--min-overlap", type=float, default=0.1, help="score at least")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> None:
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
