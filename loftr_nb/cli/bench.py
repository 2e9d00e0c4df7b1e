"""Measure time and memory beside kornia's LoFTR, on this machine.

One training step, or matching one pair, on a photographed pair with depth:
  loftr-nb bench step --size 640x480
  loftr-nb bench step --size 640x480 --precision bf16 --json
  loftr-nb bench step --match ot            # beside ours with the whole matrix
  loftr-nb bench match --size 640x480
Time and memory against image size, as a table and a picture:
  loftr-nb bench memory --sizes 320x240 640x480 832x832 --out growth.png
Both sides have the same weights, pair, loss and update, run in turns, each in
processes of its own, and the ratio of their medians is what counts: a machine that
is busy with something else slows both.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ..benchmarks import Comparison, compare, growth_picture
from ..benchmarks.order import Order
from ..errors import ConfigError
from ..viz import save

SIZES = ("320x240", "480x360", "640x480", "832x832", "1216x1216", "1600x1200")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``loftr-nb bench``."""
    parser.add_argument("what", choices=("step", "match", "memory"))
    parser.add_argument("--size", default="640x480", help="WxH (default 640x480)")
    parser.add_argument(
        "--sizes", nargs="+", default=SIZES, help="of memory: WxH of each point"
    )
    parser.add_argument("--match", choices=("ds", "ot"), default="ds")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument(
        "--against",
        choices=("kornia", "plain"),
        help="kornia, or ours with the whole matrix (default for --match ot)",
    )
    parser.add_argument("--repeats", type=int, help="timed runs (3; memory 1)")
    parser.add_argument("--rounds", type=int, help="processes a side (2; memory 1)")
    parser.add_argument("--device", help="cpu or cuda (default: a GPU if there is one)")
    parser.add_argument("--compile", action="store_true", help="torch.compile ours")
    parser.add_argument("--out", type=Path, help="picture of memory (.png)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Compare, and print."""
    against = args.against or ("plain" if args.match == "ot" else "kornia")
    if args.what == "memory":
        _memory(args, against)
        return
    found = _compare(args, args.size, against, args.repeats or 3, args.rounds or 2)
    print(json.dumps(found.to_dict(), indent=2) if args.json else found.text())


def _memory(args: argparse.Namespace, against: str) -> None:
    rows = [
        _compare(args, size, against, args.repeats or 1, args.rounds or 1)
        for size in args.sizes
    ]
    if args.json:
        print(json.dumps([row.to_dict() for row in rows], indent=2))
    else:
        print("\n\n".join(row.text() for row in rows))
    if args.out:
        title = f"A training step, {args.match}, {args.precision}, {rows[0].device}"
        save(growth_picture(rows, title), args.out)
        print(f"picture {args.out}", file=sys.stderr)


def _compare(
    args: argparse.Namespace, size: str, against: str, repeats: int, rounds: int
) -> Comparison:
    width, height = _size(size)
    order = Order(
        "match" if args.what == "match" else "step",
        "ours",
        width,
        height,
        args.match,
        args.precision,
        repeats,
        args.device or _device(),
        compile=args.compile,
    )
    return compare(order, against, rounds, lambda text: print(text, file=sys.stderr))


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _size(text: str) -> tuple[int, int]:
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(p.isdigit() for p in parts):
        raise ConfigError(f"size {text!r}: write WIDTHxHEIGHT, such as 640x480")
    return int(parts[0]), int(parts[1])
