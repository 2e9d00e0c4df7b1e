"""Write one page on a folder of data: checks, geometry, overlaps, pictures.

A single HTML file that opens anywhere, without a network:
  loftr-nb data report data/mini/scannet --out report.html
  loftr-nb data report photos --index my.npz --out report.html --pairs 40

A pack (`loftr-nb data pack`) is not reported on: give the data that it is made of.

Exit status: 0 all is well, 1 faults were found (the page says which), 2 there is
nothing to report on, or the file cannot be written.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ...progress import StatusLine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``loftr-nb data report``."""
    add = parser.add_argument
    add("root", type=Path, metavar="DIR", help="folder of the data")
    add("--out", type=Path, default=Path("report.html"), help="page to write")
    add("--index", type=Path, help="its index: file, text list or folder")
    add("--pairs", type=int, default=24, help="of the geometry check (default 24)")
    add("--samples", type=int, default=3, help="pairs to draw (default 3)")
    add("--quick", action="store_true", help="check headers only")
    add("--force", action="store_true", help="overwrite a file of another kind")
    add("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Check, draw and write."""
    from ...setup.report import build_report  # loads OpenCV and torch

    status = StatusLine(sys.stderr, every=5)

    def progress(done: int, total: int, text: str) -> None:
        status.show(lambda: f"{done:,}/{total:,} {text}")

    report = build_report(
        args.root,
        args.out,
        index=args.index,
        pairs=args.pairs,
        quick=args.quick,
        force=args.force,
        samples=args.samples,
        progress=progress,
    )
    if status.width:  # of a terminal: the line of progress makes room
        sys.stderr.write("\r" + " " * status.width + "\r")
    if args.json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        print(report.check.text())
        size = f"{report.bytes / 1e6:.1f} MB, {report.pictures} pictures"
        print(f"{report.path} is written ({size}): open it in a browser")
    return 0 if report.ok else 1
