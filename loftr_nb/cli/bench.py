"""Measure time and memory beside a peer, on this machine.

One training step, or matching one pair, on a photographed pair with depth, beside
kornia's LoFTR:
  loftr-nb bench step --size 640x480
  loftr-nb bench step --size 640x480 --precision bf16 --json
  loftr-nb bench step --recompute all       # the least memory; none: the least time
  loftr-nb bench step --match ot            # beside ours with the whole matrix
  loftr-nb bench match --size 640x480
Time and memory against image size, as a table and a picture:
  loftr-nb bench memory --sizes 320x240 640x480 832x832 --out growth.png
  loftr-nb bench memory --json > growth.json   # 320x240 to 1600x1200: 20 minutes
Training pairs a second from files, from a pack of them, from a compressed pack:
  loftr-nb bench loader --data data/mini/scannet --workers 0 2
An index in one flat file, and in an npz file a scene (ScanNet's size: see below):
  loftr-nb bench index --scenes 100 --pairs 2e6
  loftr-nb bench index --scenes 1513 --pairs 230e6 --batches 3000 --workers 4
Both sides of a step have the same weights, pair, loss and update, run in turns, each
in processes of its own, and the ratio of their medians is what counts: a machine
that is busy with something else slows both.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Protocol

from ..benchmarks import (
    Comparison,
    compare,
    compare_indices,
    compare_loaders,
    growth_picture,
)
from ..benchmarks.order import Order
from ..errors import ConfigError
from ..viz import save

SIZES = ("320x240", "480x360", "640x480", "832x832", "1216x1216", "1600x1200")
MINI = Path("data/mini/scannet")


class Report(Protocol):
    """What every comparison returns."""

    def text(self) -> str:
        """Lines for a person."""

    def to_dict(self) -> dict:
        """For ``--json``."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``loftr-nb bench``."""
    parser.add_argument("what", choices=("step", "match", "memory", "loader", "index"))
    parser.add_argument("--json", action="store_true", help="print JSON")
    _of_steps(parser.add_argument_group("step, match and memory").add_argument)
    files = parser.add_argument_group("loader and index").add_argument
    files("--data", type=Path, help=f"loader: training pairs ({MINI})")
    files(
        "--workers",
        type=int,
        nargs="+",
        help="loader processes (loader: 0 1 2; index: 2)",
    )
    files("--pairs", type=float, help="loader: 300 a measurement; index: 2e6 in all")
    files("--scenes", type=int, default=100, help="of index (100)")
    files("--batches", type=int, default=1000, help="of index, 64 pairs each (1000)")
    files("--work", type=Path, help="folder for the files made (default: temporary)")
    parser.set_defaults(run=run)


def _of_steps(add) -> None:  # noqa: ANN001
    add("--size", default="640x480", help="WxH (default 640x480)")
    add("--sizes", nargs="+", default=SIZES, help="of memory: WxH of each point")
    add("--match", choices=("ds", "ot"), default="ds")
    add("--precision", choices=("fp32", "bf16"), default="fp32")
    add(
        "--recompute",
        choices=("none", "layers", "all"),
        default="layers",
        help="what ours makes a second time instead of keeping it",
    )
    add(
        "--against",
        choices=("kornia", "plain"),
        help="kornia, or ours with the whole matrix (default for --match ot)",
    )
    add("--repeats", type=int, help="timed runs of a process (3; memory 1)")
    add("--rounds", type=int, help="processes a side (2; memory 1; loader 5)")
    add("--device", help="cpu or cuda (default: a GPU if there is one)")
    add(
        "--keep", action="store_true", help="both sides keep freed memory, as eval does"
    )
    add("--compile", action="store_true", help="torch.compile ours")
    add("--out", type=Path, help="picture of memory (.png)")


def run(args: argparse.Namespace) -> None:
    """Compare, and print."""
    if args.what == "memory":
        _memory(args)
    elif args.what in ("loader", "index"):
        measure = _loader if args.what == "loader" else _index
        with _folder(args.work) as work:
            _print(measure(args, Path(work)), args)
    else:
        _print(_compare(args, args.size, args.repeats or 3, args.rounds or 2), args)


def _print(found: Report, args: argparse.Namespace) -> None:
    print(json.dumps(found.to_dict(), indent=2) if args.json else found.text())


def _memory(args: argparse.Namespace) -> None:
    rows = [
        _compare(args, size, args.repeats or 1, args.rounds or 1) for size in args.sizes
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
    args: argparse.Namespace, size: str, repeats: int, rounds: int
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
        recompute=args.recompute,
        keep=args.keep,
    )
    against = args.against or ("plain" if args.match == "ot" else "kornia")
    return compare(order, against, rounds, _say)


def _loader(args: argparse.Namespace, work: Path) -> Report:
    data = args.data or MINI
    if args.data is None and not MINI.is_dir():
        raise ConfigError(
            f"there is no {MINI} here: name a folder with --data, or make the embedded "
            "one with `loftr-nb data mini --out data/mini`"
        )
    workers = args.workers or (0, 1, 2)
    pairs, rounds = int(args.pairs or 300), args.rounds or 5
    return compare_loaders(data, work, workers, pairs, rounds, _say)


def _index(args: argparse.Namespace, work: Path) -> Report:
    workers = args.workers or [2]
    if len(workers) > 1:
        raise ConfigError("--workers of index is one number")
    pairs = int(args.pairs or 2e6)
    return compare_indices(work, args.scenes, pairs, args.batches, workers[0], _say)


def _folder(work: Path | None) -> tempfile.TemporaryDirectory:
    # Within the folder that was named: what lies there already is not touched.
    if work is not None:
        work.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix="loftr-nb-bench-", dir=work)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _size(text: str) -> tuple[int, int]:
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(p.isdigit() for p in parts):
        raise ConfigError(f"size {text!r}: write WIDTHxHEIGHT, such as 640x480")
    return int(parts[0]), int(parts[1])
