"""Is the memory of the host flat over a long training?

    nice python bench/host_memory.py --out DIR [--steps 5000] [--workers 4]

Trains a small network on the embedded data, validates and saves on the way as a real
run does, and reads at even intervals what the training process and its loader
workers hold:

- RSS: resident pages, shared ones counted in each process that has them, those of
  libraries too;
- held: pages that no file backs, shared ones divided by their sharers (Linux's
  Pss_Anon and Pss_Shmem). A sum over processes counts each page once, and programs
  that come and go beside the run do not change it, as they change PSS and USS, which
  divide the pages of libraries by all who have them.

A page of the training process counts for its forked workers too, until it is written
to: only the sum of all is bound to be flat.

An epoch lasts half the run: workers live through 2,500 steps, and are started anew
once. Each reading is a line of readings.jsonl in DIR as soon as it is made; memory.json
and memory.png are there at the end. Growth is the slope of a line through the second
half of each epoch, in MiB per 1,000 steps.

--draw reads a finished readings.jsonl again, without training.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
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
from loftr_nb.training.finish import validation
from loftr_nb.viz import save
from loftr_nb.viz.style import SERIES, Picture

KINDS = ("rss", "held")
WHO = {
    "together": "together",
    "own": "training process",
    "workers": "loader workers, all",
}
SMALL = [
    "data.width=64",
    "data.height=48",
    "optim.batch=1",
    "model.initial_dim=16",
    "model.block_dims=16,16,16",
    "model.coarse_layers=1",
    "model.coarse_heads=2",
    "model.fine_heads=2",
    "log.validate_pairs=20",
]


def main() -> None:
    """Train and read, draw, and print the growth."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--data", type=Path, default=Path("data/mini"))
    parser.add_argument("--draw", action="store_true", help="only draw again")
    args = parser.parse_args()
    readings = args.out / "readings.jsonl"
    if not args.draw:
        train_and_read(args, readings)
    rows = [json.loads(line) for line in readings.read_text().splitlines()]
    # Between two epochs workers come and go: those readings miss some of them.
    full = [r for r in rows if r["count"] == args.workers]
    if len(full) < 8:
        raise SystemExit(f"{readings} has {len(full)} readings: too few to judge by")
    growths = growth(full, args.steps // 2)
    result = {"steps": args.steps, "workers": args.workers, "growth": growths}
    result |= {"first": full[0], "last": full[-1], "rows": rows}
    (args.out / "memory.json").write_text(json.dumps(result, indent=2) + "\n")
    save(draw(full, args), args.out / "memory.png")
    print(table(full, growths))


def train_and_read(args: argparse.Namespace, readings: Path) -> None:
    """The run, with a thread beside it that reads."""
    trainer = make_trainer(args)
    readings.write_text("")
    done = threading.Event()
    every = max(args.steps // 100, 1)
    reader = threading.Thread(target=watch, args=(trainer, readings, done, every))
    reader.start()
    try:
        trainer.run(validation(trainer))
    finally:
        done.set()
        reader.join()


def make_trainer(args: argparse.Namespace) -> Trainer:
    """Two epochs make the whole run; five validations and ten checkpoints."""
    changes = [*SMALL, f"data.workers={args.workers}"]
    changes += [f"log.validate_every={max(args.steps // 5, 1)}"]
    changes += [f"log.checkpoint_every={max(args.steps // 10, 1)}"]
    if importlib.util.find_spec("tensorboard"):
        changes.append("log.tensorboard=true")
    recipe = override(get_recipe("mini_ds"), changes)
    index = args.data / "scannet" / "train"
    scenes = sum(1 for _ in index.glob("scene*")) - recipe.data.holdout_scenes
    pairs = -(-args.steps // 2 // scenes)
    recipe = override(recipe, [f"data.pairs_per_scene={pairs}"])
    process = Process(0, 1, torch.device("cpu"))
    status = StatusLine(on=True)
    out = args.out / "run"
    return Trainer(recipe, args.data, out, process, steps=args.steps, status=status)


def watch(trainer: Trainer, out: Path, done: threading.Event, every: int) -> None:
    """A line in ``out`` each time ``every`` more steps are taken."""
    due, began = every, time.monotonic()
    while not done.wait(0.05):
        if trainer.step < due:
            continue
        row = {"step": trainer.step, "seconds": round(time.monotonic() - began, 1)}
        with open(out, "a") as file:
            file.write(json.dumps(row | held()) + "\n")
        due = trainer.step + every


def held() -> dict:
    """MiB of this process and of all its workers, and how many these are."""
    me = psutil.Process()
    own, workers = reading(me.pid), []
    for child in me.children(recursive=True):
        with contextlib.suppress(OSError):  # an epoch has just ended
            workers.append(reading(child.pid))
    total = {kind: sum(w[kind] for w in workers) for kind in KINDS}
    together = {kind: own[kind] + total[kind] for kind in KINDS}
    return {
        "own": own,
        "workers": total,
        "together": together,
        "count": len(workers),
    }


def reading(pid: int) -> dict[str, float]:
    """MiB of one process; OSError where it is gone, or the system is not Linux."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    held = kib["Pss_Anon"] + kib["Pss_Shmem"]
    return {"rss": kib["Rss"] / 1024, "held": held / 1024}


def growth(rows: list[dict], epoch: int) -> dict[str, list[dict[str, float]]]:
    """MiB per 1,000 steps in the second half of each epoch of the run."""
    slopes: dict[str, list[dict[str, float]]] = {who: [] for who in WHO}
    for first in range(0, rows[-1]["step"], epoch):
        half = [r for r in rows if first + epoch / 2 < r["step"] <= first + epoch]
        if len(half) < 3:
            continue
        steps = [r["step"] / 1000 for r in half]
        for who in WHO:
            slopes[who].append(
                {
                    kind: float(np.polyfit(steps, [r[who][kind] for r in half], 1)[0])
                    for kind in KINDS
                }
            )
    return slopes


def draw(rows: list[dict], args: argparse.Namespace) -> Picture:
    """What is held over the steps, by whom, and the RSS of the training process."""
    picture = Picture(7, 3.2)
    axes = picture.add_subplot()
    steps = [r["step"] for r in rows]
    for (who, name), colour in zip(WHO.items(), SERIES, strict=False):
        values = [r[who]["held"] for r in rows]
        axes.plot(steps, values, color=colour, label=f"held, {name}")
    values = [r["own"]["rss"] for r in rows]
    axes.plot(steps, values, ":", color=SERIES[1], label="RSS, training process")
    title = f"Memory of the host over {args.steps:,} steps, {args.workers} workers"
    axes.set(xlabel="step", ylabel="memory (MiB)", ylim=(0, None), title=title)
    axes.legend(ncols=2, fontsize="small", loc="lower right")
    return picture


def table(rows: list[dict], growths: dict) -> str:
    """First, last, smallest and largest reading of each, and the growth."""
    lines = [
        "| MiB | first | last | smallest | largest | growth per 1,000 steps |",
        "|---|---|---|---|---|---|",
    ]
    for who, name in WHO.items():
        for kind in KINDS:
            if (who, kind) == ("together", "rss"):
                continue  # it counts a shared page five times
            values = [r[who][kind] for r in rows]
            found = (values[0], values[-1], min(values), max(values))
            slopes = ", ".join(f"{g[kind]:+.2f}" for g in growths[who])
            numbers = " | ".join(f"{v:.0f}" for v in found)
            lines.append(f"| {name}, {kind} | {numbers} | {slopes} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
