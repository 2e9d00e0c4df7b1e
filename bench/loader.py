"""Pairs a second of the loader, from files and from packs of the same files.

  nice python bench/loader.py --scannet DIR --megadepth DIR [--workers 0 1 2]

DIR: data in either layout, or bare ScanNet scenes. Each is packed as it is read
(640x480; longer side 640), with images as bytes and as PNG. First every sample is
compared with the plain reader's. Then the same pairs in the same order go through
a DataLoader, in turns: files, pack, compressed pack, files, ... What is printed is
the median of the rounds and of the ratios within each round. Files are in the disk
cache in all of them: on a slow or shared disk the bytes a pair count, too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import cv2
import torch
from torch.utils.data import DataLoader

from loftr_nb.datasets import PosedPairs, collate, open_dataset, pack_dataset

LABELS = ("files", "pack", "pack --compress")


def one_thread(worker: int) -> None:
    """As the trainer's loader processes."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


def rate(dataset: PosedPairs, rows: list[int], workers: int) -> float:
    """Pairs a second, start of the processes left out."""
    loader = DataLoader(
        dataset,
        batch_size=1,
        sampler=[rows[0]] * max(workers, 1) * 4 + rows,
        num_workers=workers,
        collate_fn=collate,
        prefetch_factor=4 if workers else None,
        worker_init_fn=one_thread,
    )
    batches = iter(loader)
    for _ in range(max(workers, 1) * 4):
        next(batches)
    began = time.perf_counter()
    count = sum(1 for _ in batches)
    return count / (time.perf_counter() - began)


def same(one: PosedPairs, other: PosedPairs, rows: list[int]) -> int:
    """Compares samples bit by bit; returns how many."""
    for i in rows:
        a, b = collate([one[i]]), collate([other[i]])
        for name, value in vars(a).items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(value, getattr(b, name)), (i, name)
    return len(rows)


def size_of(folder: Path, dataset: PosedPairs) -> tuple[int, int]:
    """Bytes of the plain files that the pairs need, and how many frames."""
    files = {}
    for i in range(len(dataset)):
        for side in (0, 1):
            found = [p for p in dataset.files(i, side) if p is not None]
            files[found[0]] = sum(p.stat().st_size for p in found)
    return sum(files.values()), len(files)


def measure(data: Path, work: Path, args: argparse.Namespace) -> dict:
    """One dataset: sizes, equality, rates."""
    cache = work / "cache"
    plain = open_dataset(data, "train", cache=cache)
    sets, made = [plain], []
    for name, compress in (("pack", False), ("png", True)):
        out = work / f"{data.name}_{name}"
        report = pack_dataset(data, out, split="train", compress=compress)
        made.append(report)
        sets.append(open_dataset(out, "train"))
    chosen = torch.randperm(
        len(plain), generator=torch.Generator().manual_seed(0)
    ).tolist()
    rows = (chosen * (args.pairs // len(chosen) + 1))[: args.pairs]
    compared = [same(plain, packed, chosen[:100]) for packed in sets[1:]]
    source, frames = size_of(data, plain)
    print(
        f"{data.name}: {frames} frames, {len(plain)} pairs; files {source / 1e6:.1f} "
        f"MB, packs {made[0].bytes / 1e6:.1f} and {made[1].bytes / 1e6:.1f} MB, made "
        f"in {made[0].seconds:.1f} and {made[1].seconds:.1f} s; {compared} pairs "
        "the same",
        flush=True,
    )
    result = {"data": data.name, "frames": frames, "files_bytes": source}
    result |= {"pack_bytes": [m.bytes for m in made], "rates": {}}
    for workers in args.workers:
        rounds = [[rate(d, rows, workers) for d in sets] for _ in range(args.rounds)]
        medians = [statistics.median(r) for r in zip(*rounds, strict=True)]
        ratios = [
            statistics.median(r[k] / r[0] for r in rounds) for k in range(len(sets))
        ]
        shown = ", ".join(
            f"{label} {m:.0f} ({x:.2f}x)"
            for label, m, x in zip(LABELS, medians, ratios, strict=True)
        )
        print(f"  {workers} workers, pairs/s: {shown}", flush=True)
        result["rates"][workers] = {"pairs_s": medians, "ratios": ratios}
    return result


def main() -> None:
    """Pack, compare, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scannet", type=Path, action="append", default=[])
    parser.add_argument("--megadepth", type=Path, action="append", default=[])
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--pairs", type=int, default=300, help="of one measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print JSON last")
    args = parser.parse_args()
    one_thread(0)
    results = []
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name:
        for data in (*args.scannet, *args.megadepth):
            results.append(measure(data, Path(name), args))
    if args.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
