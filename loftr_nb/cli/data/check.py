"""Check index, images, depths, poses, intrinsics and geometry, before training does.

Any layout that can be read is found out by itself, with or without an index:
  loftr-nb data check data/mini/scannet
  loftr-nb data check scans --quick            headers and end marks only: fast
  loftr-nb data check data/megadepth --fix     write a cleaned index beside the old
  loftr-nb data check photos --index my.npz    the index lies somewhere else

A pack (`loftr-nb data pack`) is not checked: check the data that it is made of.

Exit status: 0 all is well (warnings are allowed), 1 faults were found, 2 there is
nothing that could be checked. Ctrl-C ends with the table so far and status 130.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ...progress import StatusLine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``loftr-nb data check``."""
    add = parser.add_argument
    add("root", type=Path, metavar="DIR", help="folder of the data")
    add("--index", type=Path, help="its index: file, text list or folder")
    add("--layout", help="scannet, megadepth, ... (default: found out)")
    add("--quick", action="store_true", help="do not decode pixels")
    add("--workers", type=int, help="threads (default: as many as cores)")
    add("--pairs", type=int, default=24, help="of the geometry check (default 24)")
    add("--no-geometry", action="store_true", help="files only")
    add("--fix", action="store_true", help="write a cleaned index beside the old one")
    add("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Check, and print what was found."""
    from ...setup import check_data  # loads OpenCV and torch

    status = StatusLine(sys.stderr, every=5)

    def progress(done: int, total: int, text: str) -> None:
        status.show(lambda: f"checking {done:,}/{total:,} {text}")

    report = check_data(
        args.root,
        layout=args.layout,
        index=args.index,
        workers=args.workers,
        geometry=not args.no_geometry,
        pairs=args.pairs,
        progress=progress,
        quick=args.quick,
        fix=args.fix,
    )
    if status.width:  # of a terminal: the line of progress makes room
        sys.stderr.write("\r" + " " * status.width + "\r")
    print(json.dumps(report.to_dict(), indent=2) if args.json else report.text())
    if report.stopped:
        return 130
    return 0 if report.ok else 1
