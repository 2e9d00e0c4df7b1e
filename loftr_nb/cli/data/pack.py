"""Pack what training reads, at its size, into one file a scene.

Grey images at the network's size and depth at cell corners: samples are the plain
reader's bit for bit, and are read faster. Training takes the pack as --data:
  loftr-nb data pack data/scannet --out packed/scannet --min-overlap 0.4 --dry-run
  loftr-nb data pack data/scannet --out packed/scannet --min-overlap 0.4
  loftr-nb data pack data/megadepth --out packed/megadepth --size 840
  loftr-nb train indoor_ds --data packed/scannet --out runs/indoor

It says how many GB before it starts, and stops where the disk has less. Run again
after a kill, a repaired file or another index: scenes that are right are kept.
Checks and reports read the data itself and not its pack.

Exit status: 0 complete, 1 some scenes have faulty files, 2 nothing could be packed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ...errors import ConfigError
from ...progress import StatusLine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``loftr-nb data pack``."""
    add = parser.add_argument
    add("data", type=Path, metavar="DIR", help="folder of the data")
    add("--out", type=Path, required=True, metavar="PACK", help="folder of the pack")
    add(
        "--size",
        default="default",
        help="640x480 (ScanNet), 640 (MegaDepth's longer side), or stored",
    )
    add("--layout", choices=("scannet", "megadepth"), help="default: found out")
    add("--split", choices=("both", "train", "test"), default="both", help="pairs of")
    add(
        "--min-overlap",
        type=float,
        default=0.0,
        metavar="X",
        help="leave out training pairs below it (the indoor recipes take 0.4)",
    )
    add("--compress", action="store_true", help="images as PNG: smaller, slower")
    add("--workers", type=int, help="threads (default: as many as cores)")
    add("--dry-run", action="store_true", help="say how many GB, write nothing")
    add("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Pack, and say what was packed."""
    from ...datasets import pack_dataset  # loads OpenCV and torch

    status = StatusLine(every=5, on=not args.json)

    def progress(done: int, total: int, text: str) -> None:
        status.show(lambda: f"packing {done:,}/{total:,} {text}", force=done == total)

    report = pack_dataset(
        args.data,
        args.out,
        size=_size(args.size),
        layout=args.layout,
        split=args.split,
        min_overlap=args.min_overlap,
        compress=args.compress,
        workers=args.workers,
        dry_run=args.dry_run,
        progress=progress,
        started=None if args.dry_run else lambda plan: status.say(plan.plan()),
    )
    print(json.dumps(report.to_dict())) if args.json else status.say(str(report))
    return 0 if report.ok else 1


def _size(text: str) -> tuple[int, int] | int | None | str:
    if text in ("default", "stored"):
        return None if text == "stored" else text
    parts = text.lower().split("x")
    if not all(p.isdecimal() for p in parts) or len(parts) > 2:
        raise ConfigError(f"--size is {text!r}; it is 640x480, 640 or stored")
    numbers = tuple(map(int, parts))
    return numbers if len(numbers) == 2 else numbers[0]
