"""One step of the comparison of indices, in a process of its own.

python -m loftr_nb.benchmarks.index_child npz|flat|measure WORDS...

Prints one line of JSON. Not for people: see `loftr-nb bench index`.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch.utils.data import DataLoader

from ..datasets import (
    SceneBalancedSampler,
    convert_index,
    load_scannet_pairs,
)
from ..training.log import peak_memory_mb
from .index import EVERY, KINDS, MIN_OVERLAP

PER_SCENE, BATCH = 200, 64


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
        file = folder / f"scene{scene // 2:04d}_{scene % 2:02d}"
        np.savez(file, name=name, score=score)


class Rows:
    """What a dataset asks of its index for one pair, and nothing else."""

    def __init__(self, table: Any) -> None:
        self.table = table

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, i: int) -> tuple[int, int, int, float]:
        t = self.table
        return int(t.scene[i]), int(t.frame0[i]), int(t.frame1[i]), float(t.overlap[i])


def memory(process: psutil.Process | None = None) -> dict[str, float]:
    """RSS, USS and PSS in MiB, of this process or another."""
    info = (process or psutil.Process()).memory_full_info()
    # PSS is Linux's; elsewhere a process's own pages come nearest.
    return {k: getattr(info, k, info.uss) / 2**20 for k in KINDS}


def measure(index: Path, batches: int, workers: int) -> dict[str, Any]:
    """Open an index, draw scene-balanced batches from it, and report."""
    torch.set_num_threads(1)
    before = memory()
    began = time.perf_counter()
    table = load_scannet_pairs(index, MIN_OVERLAP)
    opened = time.perf_counter() - began
    sampler = SceneBalancedSampler(table.groups(), PER_SCENE, seed=66)
    ready = time.perf_counter() - began
    loader = DataLoader(
        Rows(table), BATCH, sampler=sampler, num_workers=workers, drop_last=True
    )
    highest, of_workers, done, epoch = memory(), [], 0, 0
    began = time.perf_counter()
    while done < batches:
        sampler.set_epoch(epoch)
        for _ in loader:
            done += 1
            if done % EVERY == 0 or done == batches:
                highest = {k: max(v, highest[k]) for k, v in memory().items()}
                of_workers += [memory(c) for c in psutil.Process().children()]
            if done == batches:
                break
        epoch += 1
    seconds = time.perf_counter() - began
    return {
        "pairs": len(table),
        "open_s": opened,
        "ready_s": ready,
        "pairs_s": done * BATCH / seconds,
        "before_mb": before,
        "highest_mb": highest,
        "peak_mb": peak_memory_mb(torch.device("cpu")),
        "worker_mb": {k: max((w[k] for w in of_workers), default=0.0) for k in KINDS},
    }


def main() -> None:
    """Do what the command line says."""
    step, path, *words = sys.argv[1:]
    began = time.perf_counter()
    if step == "measure":
        result = measure(Path(path), *map(int, words))
    else:
        if step == "npz":
            make_npz(Path(path), *map(int, words))
        else:
            convert_index(Path(path), Path(words[0]))
        seconds = time.perf_counter() - began
        peak = peak_memory_mb(torch.device("cpu"))
        result = {"seconds": seconds, "peak_mb": peak}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
