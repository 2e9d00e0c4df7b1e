"""Time and memory of sampling the released ScanNet index's size of pairs.

    nice python bench/flat_index.py                           # 230 million pairs
    nice python bench/flat_index.py --scenes 100 --pairs 2e6  # a minute

Makes a synthetic index, 1,513 scenes and 230 million pairs, as one npz a scene and,
by `loftr-nb data convert`'s own function, as one flat file. Then, each in a process
of its own, opens either with a minimum overlap of 0.4 and draws scene-balanced
batches from it: once in the process itself, once through DataLoader workers. Images
are not read: what is measured is the index.

Memory is what the process has more than before it opened the index, with torch and
this package already imported: RSS (counts pages shared with other processes), USS
(its own pages) and PSS (shared pages divided among the sharers), in MB of 1e6 bytes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

PER_SCENE, BATCH, MIN_OVERLAP, WORKERS = 200, 64, 0.4, 4


def make_npz(folder: Path, scenes: int, pairs: int) -> None:
    """Scenes of unequal length; frame numbers and overlap like those of videos."""
    rng = np.random.default_rng(0)
    share = rng.gamma(1.2, size=scenes)
    counts = np.maximum((share / share.sum() * pairs).astype(int), 20)
    counts[-1] += max(pairs - counts.sum(), 0)
    folder.mkdir(parents=True)
    for scene, count in enumerate(counts.tolist()):
        frames = max(int(np.sqrt(count) * 3), 50)
        name = np.empty((count, 4), np.uint16)
        name[:, 0], name[:, 1] = divmod(scene, 2)
        name[:, 2] = rng.integers(0, min(frames, 60_000), count, dtype=np.uint16)
        name[:, 3] = name[:, 2] + rng.integers(1, 500, count, dtype=np.uint16)
        score = rng.beta(1.6, 2.2, count).astype(np.float32)
        np.savez(
            folder / f"scene{scene // 2:04d}_{scene % 2:02d}", name=name, score=score
        )


def make_flat(npz: Path, out: Path) -> None:
    """The same pairs in one file."""
    from loftr_nb.datasets import convert_index

    convert_index(npz, out)


class Rows:
    """What a dataset asks of its index for one pair, and nothing else."""

    def __init__(self, table) -> None:
        self.table = table

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, i: int) -> tuple[int, int, int, float]:
        t = self.table
        return int(t.scene[i]), int(t.frame0[i]), int(t.frame1[i]), float(t.overlap[i])


def memory(process=None) -> dict[str, float]:
    """RSS, USS and PSS in MB, of this process or another."""
    import psutil

    info = (process or psutil.Process()).memory_full_info()
    return {k: getattr(info, k) / 1e6 for k in ("rss", "uss", "pss")}


def peak_rss() -> float:
    """The most RSS so far, MB."""
    from loftr_nb.files.memory import peak_resident_mb

    return peak_resident_mb() * 2**20 / 1e6


def measure(index: Path, batches: int, workers: int) -> dict:
    """Open, sample, and report; runs in a fresh process."""
    import psutil
    import torch
    from torch.utils.data import DataLoader

    from loftr_nb.datasets import SceneBalancedSampler, load_scannet_pairs

    torch.set_num_threads(1)
    before = memory()
    start = time.perf_counter()
    table = load_scannet_pairs(index, MIN_OVERLAP)
    opened = time.perf_counter() - start
    sampler = SceneBalancedSampler(table.groups(), PER_SCENE, seed=66)
    ready = time.perf_counter() - start
    loader = DataLoader(
        Rows(table), BATCH, sampler=sampler, num_workers=workers, drop_last=True
    )
    highest, of_workers, done = memory(), [], 0
    start = time.perf_counter()
    epoch = 0
    while done < batches:
        sampler.set_epoch(epoch)
        for _ in loader:
            done += 1
            if done % 250 == 0:
                now = memory()
                highest = {k: max(v, highest[k]) for k, v in now.items()}
                children = psutil.Process().children()
                of_workers += [memory(c) for c in children]
            if done == batches:
                break
        epoch += 1
    seconds = time.perf_counter() - start
    return {
        "pairs": len(table),
        "open_s": opened,
        "ready_s": ready,
        "batches": done,
        "pairs_per_s": done * BATCH / seconds,
        "before": before,
        "highest": highest,
        "peak_rss": peak_rss(),
        "worker": {
            k: max((w[k] for w in of_workers), default=0.0)
            for k in ("rss", "uss", "pss")
        },
    }


def drop_from_cache(path: Path) -> None:
    """Let the next process read the file from disk, not from memory."""
    import os

    files = [path] if path.is_file() else sorted(path.iterdir())
    for file in files:
        fd = os.open(file, os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def in_fresh_process(what: str, *words: object) -> dict:
    """Run one step of this script by itself and read what it prints."""
    command = [sys.executable, __file__, "--step", what, *map(str, words)]
    start = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    lines = done.stdout.strip().splitlines()
    result = json.loads(lines[-1]) if lines else {}
    return {"wall_s": time.perf_counter() - start, **result}


def report(name: str, r: dict) -> None:
    more = {k: r["highest"][k] - r["before"][k] for k in r["highest"]}
    print(
        f"| {name} | {r['open_s']:.2f} s | {r['ready_s']:.2f} s "
        f"| {more['rss']:.0f} / {more['uss']:.0f} / {more['pss']:.0f} "
        f"| {r['highest']['rss']:.0f} (before: {r['before']['rss']:.0f}; "
        f"peak {r['peak_rss']:.0f}) "
        f"| {r['worker']['rss']:.0f} / {r['worker']['uss']:.0f} / "
        f"{r['worker']['pss']:.0f} | {r['pairs_per_s']:,.0f} |",
        flush=True,
    )


def main(args: argparse.Namespace) -> None:
    work = Path(args.work or tempfile.mkdtemp(prefix="flat-index-"))
    npz, flat = work / "npz", work / "train.h5"
    try:
        if not npz.is_dir():
            made = in_fresh_process("npz", npz, args.scenes, int(args.pairs))
            size = sum(f.stat().st_size for f in npz.iterdir())
            print(f"npz files: {size / 1e9:.2f} GB, made in {made['wall_s']:.0f} s")
        if not flat.is_file():
            made = in_fresh_process("flat", npz, flat)
            print(
                f"flat file: {flat.stat().st_size / 1e9:.2f} GB, converted in "
                f"{made['wall_s']:.0f} s, peak RSS {made['peak_rss']:.0f} MB"
            )
        print(
            "\n| index, workers | opened | ready to sample | more RSS/USS/PSS, MB "
            "| RSS, MB | worker RSS/USS/PSS, MB | pairs/s |\n" + 7 * "|---" + "|"
        )
        results = {}
        for kind, path in (("flat", flat), ("npz", npz)):
            for workers in (0, WORKERS):
                for cold in (
                    (True, False) if kind == "flat" and not workers else (False,)
                ):
                    if cold:
                        drop_from_cache(path)
                    r = in_fresh_process("measure", path, args.batches, workers)
                    name = f"{kind}, {workers}{', from disk' if cold else ''}"
                    results[name] = r
                    report(name, r)
        a, b = results["flat, 0"], results["npz, 0"]
        assert a["pairs"] == b["pairs"], "both must choose the same pairs"
        grown = [r["highest"]["uss"] - r["before"]["uss"] for r in (a, b)]
        print(
            f"\n{a['pairs']:,} pairs overlap by {MIN_OVERLAP}. npz / flat: opened in "
            f"{b['open_s'] / a['open_s']:,.0f} times the time, "
            f"{grown[1] / max(grown[0], 0.1):,.0f} times the memory (USS), "
            f"{b['pairs_per_s'] / a['pairs_per_s']:.2f} times the pairs a second"
        )
        if args.json:
            Path(args.json).write_text(json.dumps(results, indent=1))
    finally:
        if not args.work:
            shutil.rmtree(work, ignore_errors=True)


def step(what: str, words: list[str]) -> None:
    if what == "npz":
        make_npz(Path(words[0]), int(words[1]), int(words[2]))
    elif what == "flat":
        make_flat(Path(words[0]), Path(words[1]))
        print(json.dumps({"peak_rss": peak_rss()}))
    else:
        print(json.dumps(measure(Path(words[0]), int(words[1]), int(words[2]))))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=1513)
    parser.add_argument("--pairs", type=float, default=230e6)
    parser.add_argument("--batches", type=int, default=3000, help="of 64 pairs")
    parser.add_argument("--work", help="keep and reuse the files in this folder")
    parser.add_argument("--json", help="write all numbers to this file too")
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    parsed = parser.parse_args()
    if parsed.step:
        step(parsed.step[0], parsed.step[1:])
    else:
        main(parsed)
