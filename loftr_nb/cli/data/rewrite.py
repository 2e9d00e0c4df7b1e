"""Rewrite MegaDepth's index to the images that are really there.

The released index names D2-Net's images, which can no longer be downloaded. With
the images of MegaDepth_v1 (any of jpg, JPG, png ...) below DIR/phoenix:
  loftr-nb data rewrite scene_info_0.1_0.7 --images DIR --out scene_info_v1
  loftr-nb data rewrite 0015_0.1_0.3.npz --images DIR --out new.npz --pickle
  loftr-nb data rewrite train.h5 --images DIR --out train_v1.h5
Readers here find such images without it; the released code does not, and needs
--pickle too. Ends with a proof: real correspondences of image pairs against depth,
pose and K. Exit status 1 if images are missing or do not fit.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ...progress import StatusLine
from ...setup.rewrite import rewrite_image_paths


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``loftr-nb data rewrite``."""
    parser.add_argument(
        "index", type=Path, nargs="+", help="index files, a text list or a folder"
    )
    parser.add_argument(
        "--images", type=Path, required=True, help="folder that paths start from"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="new file; a folder for several files"
    )
    parser.add_argument(
        "--drop-missing", action="store_true", help="leave out pairs without images"
    )
    parser.add_argument(
        "--pickle",
        action="store_true",
        help="pickled dicts named .npz, as the released code needs them",
    )
    parser.add_argument(
        "--pairs", type=int, default=24, help="to prove it on; 0: none (default 24)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the choice of pairs")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Rewrite and report; 1 if images are missing or do not fit."""
    status = StatusLine(every=5, on=not args.json)

    def progress(done: int, total: int, text: str) -> None:
        status.show(lambda: f"{done}/{total}  {text}", force=done == total)

    done = rewrite_image_paths(
        args.index[0] if len(args.index) == 1 else args.index,
        args.images,
        args.out,
        drop_missing=args.drop_missing,
        pickled=args.pickle,
        pairs=args.pairs,
        seed=args.seed,
        progress=progress,
    )
    if args.json:
        print(json.dumps(done.to_dict()))
    else:
        status.say(done.text())
    return 0 if done.ok else 1
