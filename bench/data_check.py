"""Time and memory of ``loftr-nb data check``: quick and whole, threads and processes.

  python bench/data_check.py SCENE [--frames 3000] [--workers 2]

SCENE is a ScanNet scene folder. A tree of so many frames is made of links to its
files; nothing is copied. Everything runs in this one process, after a first pass
that fills the disk cache.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from loftr_nb.files.memory import peak_resident_mb
from loftr_nb.recordings import find_recording
from loftr_nb.recordings.scannet import ScanNetScene
from loftr_nb.setup import check_data
from loftr_nb.setup.check.frames import check_frames
from loftr_nb.setup.check.pool import CHUNK, in_parallel


def make_tree(scene: Path, root: Path, frames: int) -> None:
    """scene0000_00 in ``root`` with links to the files of ``scene``, over again."""
    numbers = find_recording(scene).scenes[0].frames
    for kind, suffix in (("color", ".jpg"), ("depth", ".png"), ("pose", ".txt")):
        folder = root / "scene0000_00" / kind
        folder.mkdir(parents=True)
        for n in range(frames):
            source = scene / kind / f"{numbers[n % len(numbers)]}{suffix}"
            os.symlink(source.resolve(), folder / f"{n}{suffix}")
    os.symlink((scene / "intrinsic").resolve(), root / "scene0000_00" / "intrinsic")


def chunk(folder: Path, start: int, stop: int) -> int:
    """Frames of one task, for either kind of pool."""
    scene = ScanNetScene(folder)
    return len(check_frames(scene, range(start, stop), "scannet", quick=False))


def timed(what: str, work) -> float:
    """Run and print seconds."""
    began = time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    print(f"{what:<34}{seconds:8.2f} s", flush=True)
    return seconds


def compare_pools(folder: Path, workers: int) -> None:
    """The same tasks in one thread, in threads and in processes, best of three.

    In turns: another program that takes a core for a while hits all three.
    """
    scene = ScanNetScene(folder)
    spans = [(a, min(a + CHUNK, len(scene))) for a in range(0, len(scene), CHUNK)]
    starts, stops = zip(*spans, strict=True)
    tasks = [
        lambda a=a, b=b: check_frames(scene, range(a, b), "scannet", quick=False)
        for a, b in spans
    ]
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(chunk, [folder] * workers, [0] * workers, [1] * workers))
        ways = {
            "one after the other": lambda: [task() for task in tasks],
            f"{workers} threads": lambda: list(in_parallel(tasks, workers)),
            f"{workers} processes": lambda: list(
                pool.map(chunk, [folder] * len(spans), starts, stops)
            ),
        }
        best = dict.fromkeys(ways, float("inf"))
        for _ in range(3):
            for what, work in ways.items():
                best[what] = min(best[what], timed(what, work))
    one, threads, processes = best.values()
    print(f"threads {one / threads:.2f}x, processes {one / processes:.2f}x of one")


def main() -> None:
    """Make the tree, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scene", type=Path)
    parser.add_argument("--frames", type=int, default=3000)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        make_tree(args.scene, root, args.frames)
        options = {"workers": args.workers, "geometry": False}
        check_data(root, quick=True, **options)
        print(f"{args.frames:,} frames, {args.workers} workers, {os.cpu_count()} cores")
        quick = timed("quick", lambda: check_data(root, quick=True, **options))
        whole = timed("whole", lambda: check_data(root, **options))
        print(f"whole / quick {whole / quick:.1f}, {args.frames / whole:.0f} frames/s")
        compare_pools(root / "scene0000_00", args.workers)
    print(f"peak memory {peak_resident_mb():,.0f} MiB")


if __name__ == "__main__":
    main()
