"""Match two photos and draw what was found.

loftr-nb match a.jpg b.jpg --weights runs/mini_ds/weights.pt --out matches.png
loftr-nb match a.jpg b.jpg --weights outdoor_ds.ckpt --position released --max-size 840
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ..errors import LoftrNbError
from ..model import LoFTR
from ..model.images import read_image
from ..viz import save, show_matches

NAMES = ("outdoor", "indoor", "indoor_new")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``loftr-nb match``."""
    parser.add_argument("image0", type=Path)
    parser.add_argument("image1", type=Path)
    parser.add_argument(
        "--weights",
        required=True,
        help="file of weights, run folder, or outdoor, indoor, indoor_new",
    )
    parser.add_argument(
        "--position",
        choices=["fixed", "released"],
        help="position encoding of weights that do not carry it: released for "
        "outdoor_ds, indoor_ds and the _ot ones, fixed for indoor_ds_new",
    )
    parser.add_argument("--out", type=Path, help="picture to write")
    parser.add_argument("--max-size", type=int, help="shrink longer sides to this")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--json", action="store_true", help="print the matches as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Match, draw, report."""
    if args.weights in NAMES:
        model = LoFTR.pretrained(args.weights)
    else:
        path = Path(args.weights)
        path = path / "weights.pt" if path.is_dir() else path
        model = LoFTR.load(path, position=args.position)
    found = model.to(args.device).match(args.image0, args.image1, args.max_size)
    if args.out is not None:
        if args.out.exists() and args.out.is_dir():
            raise LoftrNbError(f"{args.out} is a folder: give a file such as m.png")
        picture = show_matches(
            read_image(args.image0),
            read_image(args.image1),
            found.keypoints0,
            found.keypoints1,
            confidence=found.confidence,
            title=f"{len(found)} matches",
        )
        save(picture, args.out)
    if args.json:
        rows = {
            "keypoints0": found.keypoints0.tolist(),
            "keypoints1": found.keypoints1.tolist(),
            "confidence": found.confidence.tolist(),
            "picture": str(args.out) if args.out else None,
        }
        print(json.dumps(rows))
        return
    print(f"{len(found)} matches")
    if args.out is not None:
        print(f"picture   {args.out}")
