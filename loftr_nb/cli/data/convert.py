"""Write an index as one flat file, or a flat file as npz files.

A flat index opens at once and costs next to no memory, however many pairs it has:
  loftr-nb data convert scene_data/train --out train.h5 --intrinsics intrinsics.npz
  loftr-nb data convert scene_info_0.1_0.7 --out train.h5
Training finds train.h5 and test.h5 in the index folder by itself. Back again, as
npz files or as the pickled dicts that the released MegaDepth code wants:
  loftr-nb data convert train.h5 --to npz --out scene_info
  loftr-nb data convert train.h5 --to pickle --out scene_info
Not kept: central_matches (one point a pair), images that no pair names, other keys.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ...datasets import convert_index, export_index
from ...errors import ConfigError
from ...progress import StatusLine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``loftr-nb data convert``."""
    parser.add_argument(
        "index", type=Path, nargs="+", help="index files, a text list or a folder"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="file (flat) or folder (npz, pickle)"
    )
    parser.add_argument(
        "--to", choices=("flat", "npz", "pickle"), default="flat", help="default: flat"
    )
    parser.add_argument(
        "--layout", choices=("scannet", "megadepth"), help="default: found out"
    )
    parser.add_argument(
        "--intrinsics",
        type=Path,
        help="ScanNet's K by scene: npz to put in, or with --to npz to write",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the flat file OUT"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> None:
    """Convert, and say what was written."""
    status = StatusLine(every=5, on=not args.json)

    def progress(done: int, total: int, text: str) -> None:
        status.show(lambda: f"{done}/{total}  {text}", force=done == total)

    index = args.index[0] if len(args.index) == 1 else args.index
    if args.to == "flat":
        written = convert_index(
            index, args.out, args.layout, args.intrinsics, progress, args.overwrite
        )
    elif args.overwrite:
        raise ConfigError("--overwrite is for a flat file: name a new folder instead")
    else:
        written = export_index(index, args.out, args.to, args.intrinsics, progress)
    print(json.dumps(written.to_dict())) if args.json else status.say(str(written))
