"""Score the overlap of frames and write an index of pairs.

Frames with depth and pose, in any layout that is known here. What comes out trains:
  loftr-nb data index SCENES --out INDEX --histogram overlap.png
  loftr-nb train indoor_ds --data INDEX

All ranges that a run should see, near-identical pairs too, every third frame:
  loftr-nb data index SCENES --out INDEX --bins 0.1 0.4 0.7 1.0 --every 3

A MegaDepth index for other people's code, which expects a pickle named .npz:
  loftr-nb data index TREE --out INDEX --pickle

A run that was stopped goes on when it is started again with the same options.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ...indexing import build_index
from ...indexing.build import STYLES
from ...indexing.choose import BINS
from ...progress import StatusLine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``loftr-nb data index``."""
    add = parser.add_argument
    add("root", type=Path, metavar="DIR", help="folder of frames with depth and pose")
    add("--out", type=Path, help="folder of the index (default: DIR/index)")
    add("--style", choices=STYLES, default="auto", help="whose index (default: auto)")
    add(
        "--bins",
        type=float,
        nargs="+",
        default=list(BINS),
        metavar="EDGE",
        help="ranges of overlap (default: 0.1 0.3 0.5 0.7); a last edge of 1 takes "
        "near-identical pairs too",
    )
    add(
        "--per-bin",
        type=int,
        default=1000,
        metavar="N",
        help="pairs of a scene in each range at most (default: 1000; 0 takes all)",
    )
    add(
        "--split",
        type=float,
        default=0.1,
        metavar="SHARE",
        help="share of the scenes, or of one scene's frames, held out for tests "
        "(default: 0.1; 0 holds out none)",
    )
    add("--every", type=int, default=1, metavar="K", help="take every K-th frame")
    add(
        "--per-frame",
        type=int,
        default=120,
        metavar="N",
        help="pairs of a frame that are scored at most, in scenes of more than 200 "
        "frames (default: 120; 0 scores all that share a place)",
    )
    add("--seed", type=int, default=0, help="of every choice (default: 0)")
    add("--pickle", action="store_true", help="MegaDepth files as the released ones")
    add(
        "--device", help="where to score, such as cuda (default: a GPU if there is one)"
    )
    add("--workers", type=int, help="threads that read depth (default: one a core)")
    add("--force", action="store_true", help="replace what the index folder holds")
    add("--histogram", type=Path, metavar="PNG", help="draw overlaps and sample pairs")
    add("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> None:
    """Score and write the pairs, then say what was taken and what was not."""
    status = StatusLine(every=5, on=not args.json)
    report = build_index(
        args.root,
        args.out,
        style=args.style,
        bins=args.bins,
        per_bin=args.per_bin or None,
        split=args.split,
        every=args.every,
        per_frame=args.per_frame or None,
        seed=args.seed,
        as_pickle=args.pickle,
        device=args.device,
        workers=args.workers,
        force=args.force,
        progress=lambda scene, what, done, total: status.show(
            lambda: f"{scene}: {done:,} of {total:,} {what}", force=done == total
        ),
    )
    if args.histogram:
        # Drawing loads matplotlib, which costs more than a small index.
        from ...viz import save, show_index

        save(show_index(report.out, report.bins), args.histogram)
    if args.json:
        print(json.dumps(report.to_dict(), indent=1))
        return
    status.say(report.text())
    if args.histogram:
        status.say(f"{args.histogram}: overlaps and sample pairs")
    status.say(f"Next: loftr-nb train {_recipe(report.style)} --data {report.out}")


def _recipe(style: str) -> str:
    return "indoor_ds" if style == "scannet" else "outdoor_ds"
