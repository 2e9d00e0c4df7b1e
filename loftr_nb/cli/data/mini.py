"""Render the embedded data; reuses what is complete.

Rooms with exact depth and pose, in both real layouts:
  loftr-nb data mini --out data/mini
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ...progress import StatusLine
from ...synthetic import make_mini, read_manifest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``loftr-nb data mini``."""
    parser.add_argument("--out", type=Path, default=Path("data/mini"), help="folder")
    parser.add_argument("--seed", type=int, default=0, help="other scenes (default 0)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> None:
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
