"""Is the memory of the host flat over a long training?

    python bench/host_memory.py --out DIR [--steps 5000] [--workers 4]

Trains a small network on the embedded data and reads, at even intervals, what the
training process and its loader workers hold: PSS, the resident pages with shared ones
divided by their sharers, so that a sum over processes counts each page once. Writes
memory.json and memory.png into DIR and prints the growth per 1,000 steps, fitted
to the second half.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import torch

from loftr_nb.progress import StatusLine
from loftr_nb.training import Trainer, get_recipe, override
from loftr_nb.training.distributed import Process
from loftr_nb.viz import save
from loftr_nb.viz.style import SERIES, Picture

MB = 2**20
SMALL = [
    "data.width=64",
    "data.height=48",
    "data.pairs_per_scene=20",
    "optim.batch=1",
    "model.initial_dim=16",
    "model.block_dims=16,16,16",
    "model.coarse_layers=1",
    "model.coarse_heads=2",
    "model.fine_heads=2",
    "log.validate_every=0",
    "log.checkpoint_every=500",
]


def held() -> tuple[float, float, int]:
    """MiB of this process, MiB of its workers, and how many these are."""
    me = psutil.Process()
    workers = []
    for child in me.children(recursive=True):
        try:
            workers.append(child.memory_full_info().pss / MB)
        except psutil.Error:  # an epoch has just ended
            continue
    return me.memory_full_info().pss / MB, sum(workers), len(workers)


def watch(
    trainer: Trainer, rows: list[dict], done: threading.Event, every: int
) -> None:
    due = every
    while not done.is_set():
        if trainer.step >= due:
            own, workers, count = held()
            rows.append(
                {"step": trainer.step, "own": own, "workers": workers, "count": count}
            )
            due = trainer.step + every
        time.sleep(0.05)


def slope(rows: list[dict], key: str) -> float:
    """MiB per 1,000 steps over the second half."""
    half = rows[len(rows) // 2 :]
    steps = [r["step"] / 1000 for r in half]
    return float(np.polyfit(steps, [r[key] for r in half], 1)[0])


def draw(rows: list[dict], title: str) -> Picture:
    picture = Picture(7, 3.2)
    axes = picture.add_subplot()
    for key, name, colour in zip(
        ("own", "workers"), ("training process", "loader workers"), SERIES, strict=False
    ):
        axes.plot(
            [r["step"] for r in rows], [r[key] for r in rows], color=colour, label=name
        )
    axes.set(xlabel="step", ylabel="memory (MiB, PSS)", ylim=(0, None), title=title)
    axes.legend()
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--data", type=Path, default=Path("data/mini"))
    args = parser.parse_args()
    recipe = override(get_recipe("mini_ds"), [*SMALL, f"data.workers={args.workers}"])
    trainer = Trainer(
        recipe,
        args.data,
        args.out / "run",
        Process(0, 1, torch.device("cpu")),
        steps=args.steps,
        status=StatusLine(on=True),
    )
    rows: list[dict] = []
    done = threading.Event()
    reader = threading.Thread(
        target=watch, args=(trainer, rows, done, max(args.steps // 100, 1))
    )
    reader.start()
    try:
        trainer.run()
    finally:
        done.set()
        reader.join()
    # Between two epochs workers come and go: those readings count no memory of them.
    full = [r for r in rows if r["count"] == args.workers]
    growth = {key: slope(full, key) for key in ("own", "workers")}
    result = {
        "steps": args.steps,
        "workers": args.workers,
        "first_mb": full[0],
        "last_mb": full[-1],
        "growth_mb_per_1000_steps": growth,
        "rows": rows,
    }
    (args.out / "memory.json").write_text(json.dumps(result, indent=2) + "\n")
    title = f"memory over {args.steps:,} steps with {args.workers} workers"
    save(draw(full, title), args.out / "memory.png")
    first, last = full[0], full[-1]
    for key, name in (("own", "training process"), ("workers", "loader workers")):
        print(
            f"{name:<18} {first[key]:6.0f} MiB at step {first['step']:,}, "
            f"{last[key]:6.0f} at {last['step']:,}; "
            f"{growth[key]:+.2f} MiB per 1,000 steps over the second half"
        )


if __name__ == "__main__":
    main()
