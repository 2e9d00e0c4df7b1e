"""Kill a training again and again, and compare it bit for bit with one left alone.

    nice python bench/kill_resume.py                  # 40 runs, some minutes
    nice python bench/kill_resume.py --kills 3 --json out.json

Each run takes 40 steps. It is killed with ``kill -9`` at a random moment, every third
one as soon as a checkpoint is being written, and started again with ``--resume``. With
``--max-restarts`` one of two processes is killed and nobody helps. Equal means:
every weight, every metrics row but for its times, and the test score.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from starts import (
    end,
    end_of,
    finish,
    here,
    last_step,
    rank_of,
    same,
    start,
    training,
    wait_for_a_write,
    wait_for_step,
)

from loftr_nb.synthetic import MiniOptions, make_mini
from loftr_nb.training import RunFolder
from loftr_nb.viz import read_metrics

STEPS = 40
# What is killed, and of how many processes.
KINDS = (("alone", 1), ("all of 2", 2), ("one of 2", 2))


@dataclass
class Try:
    """One run that was killed: when, and whether anything of it can be seen."""

    kind: str
    seed: int
    step: int
    in_write: bool
    came_back: bool
    equal: bool
    seconds: float


def main() -> None:
    """Run the campaign and the speeds; print tables, and JSON where asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10, help="of each kind")
    parser.add_argument("--work", type=Path, help="folder for the runs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--speed-steps", type=int, default=60, help="0: no speeds")
    parser.add_argument("--json", type=Path, help="file for all numbers")
    args = parser.parse_args()
    work = args.work or Path(tempfile.mkdtemp(prefix="kill_resume-"))
    work.mkdir(parents=True, exist_ok=True)
    data = mini(work / "mini")
    tries = campaign(data, work, args.kills, args.seed)
    print(kill_table(tries))
    speeds = processes_and_speed(data, work, args.speed_steps)
    print(speed_table(speeds))
    if args.json:
        content = {"tries": [asdict(t) for t in tries], "speeds": speeds}
        args.json.write_text(json.dumps(content, indent=2) + "\n")


def mini(out: Path) -> Path:
    """A few rendered frames."""
    if out.exists():
        return out
    options = MiniOptions(
        train_scenes=2,
        test_scenes=1,
        train_frames=5,
        test_frames=8,
        size=(96, 72),
        megadepth_train=1,
        megadepth_test=1,
        megadepth_images=4,
    )
    return make_mini(out, seed=3, options=options, workers=1)


def campaign(data: Path, work: Path, kills: int, seed: int) -> list[Try]:
    """All kinds of kills against the run left alone."""
    tries = []
    for kind, processes in KINDS:
        undisturbed = work / f"undisturbed-{processes}"
        if not RunFolder(undisturbed).summary.exists():
            finish(command(data, undisturbed, processes))
        for k in range(kills):
            out = work / f"{kind.replace(' ', '-')}-{seed + k}"
            one = disturb(kind, processes, data, out, undisturbed, seed + k)
            print(f"{one}", flush=True)
            tries.append(one)
    return tries


def disturb(
    kind: str, processes: int, data: Path, out: Path, undisturbed: Path, seed: int
) -> Try:
    """Kill one run at a random time and let it go on to its end."""
    chance, began = random.Random(seed), time.monotonic()
    restarts = 3 if kind.startswith("one") else 0
    at, in_write = chance.randrange(1, STEPS - 4), seed % 3 == 2
    process = start(command(data, out, processes, restarts))
    wait_for_step(process, out, at)
    if in_write:
        in_write = wait_for_a_write(process, out)
    else:
        time.sleep(chance.random() * 0.3)
    step = last_step(out)
    if restarts:
        rank_of(process, chance.randrange(processes)).kill()
    else:
        end(process)
        process = start(command(data, out, processes))
    try:
        text = end_of(process)
    except AssertionError as hung:
        text = str(hung)
    came_back = process.returncode == 0 and "going on from step" in text
    if not came_back:
        print(text[-4000:], file=sys.stderr)
    equal = came_back and same(out, undisturbed)
    seconds = round(time.monotonic() - began, 1)
    return Try(kind, seed, step, in_write, came_back, equal, seconds)


def command(
    data: Path,
    out: Path,
    processes: int,
    restarts: int = 0,
    steps: int = STEPS,
    changes: tuple[str, ...] = (),
) -> list[str]:
    """The same global batch of 4 pairs for any number of processes."""
    rows = ("log.metrics_every=3", "log.checkpoint_every=4")
    batch = f"optim.batch={4 // processes}"
    words = training(
        data,
        out,
        *(*rows, batch, *changes),
        steps=steps,
        torchrun=here(processes, restarts),
    )
    # Under --max-restarts nobody says --resume: it has to be known.
    return words if restarts else [*words, "--resume"]


def processes_and_speed(data: Path, work: Path, steps: int) -> list[dict]:
    """Steps a second of 1, 2 and 4 processes, at the same global batch."""
    speeds = []
    for processes in (1, 2, 4) if steps else ():
        out = work / f"speed-{processes}-{time.time_ns()}"
        words = command(
            data, out, processes, steps=steps, changes=("data.augment=false",)
        )
        finish(words)
        rows = [r for r in read_metrics(out) if r["event"] == "train"]
        later = sorted(r["pairs_per_s"] for r in rows[len(rows) // 4 :])
        pairs = later[len(later) // 2]
        speeds.append(
            {"processes": processes, "steps_per_s": pairs / 4, "pairs_per_s": pairs}
        )
    return speeds


def kill_table(tries: list[Try]) -> str:
    """Kills of each kind: how many came back, how many equal to the bit."""
    lines = [
        "| killed | kills | in a write | came back | equal |",
        "|---|---|---|---|---|",
    ]
    for kind in dict.fromkeys(t.kind for t in tries):
        these = [t for t in tries if t.kind == kind]
        counts = [
            sum(getattr(t, n) for t in these)
            for n in ("in_write", "came_back", "equal")
        ]
        lines.append(
            f"| {kind} | {len(these)} | " + " | ".join(map(str, counts)) + " |"
        )
    return "\n".join(lines)


def speed_table(speeds: list[dict]) -> str:
    """Processes against steps a second."""
    lines = [f"{os.cpu_count()} cores", "| processes | steps/s |", "|---|---|"]
    lines += [f"| {s['processes']} | {s['steps_per_s']:.1f} |" for s in speeds]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
