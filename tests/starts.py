"""Trainings in processes of their own, to be waited for, signalled and killed.

Tests of several processes and ``bench/kill_resume.py`` start them in the same way.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import torch

from loftr_nb.training import RunFolder, load_checkpoint
from loftr_nb.viz import read_metrics

LIMIT = 180  # seconds after which a start hangs, and is ended with all its processes
TIMES = {"pairs_per_s", "data_wait", "peak_mb"}  # of a row, not of the training
SMALL = [
    "data.width=64",
    "data.height=48",
    "data.workers=0",
    "data.pairs_per_scene=4",
    "data.holdout_scenes=0",
    # Multiples of 16: with 8 channels, oneDNN's AVX-512 kernel for the gradient of
    # 1x1 convolutions writes out of bounds on some processors (torch 2.13).
    "model.initial_dim=16",
    "model.block_dims=16,16,16",
    "model.coarse_layers=1",
    "model.coarse_heads=2",
    "model.fine_heads=2",
    "log.validate_every=0",
    "evaluation.max_pairs=1",
]


def training(
    data: Path, out: Path, *words: str, steps: int, torchrun: Sequence[str] = ()
) -> list[str]:
    """The line that trains a tiny network; ``torchrun``: its options, if it is used."""
    line = [sys.executable, "-m"]
    if torchrun:
        line += ["torch.distributed.run", *torchrun, "-m"]
    line += ["loftr_nb.training", "mini_ds", *SMALL, *words]
    return [*line, "--data", str(data), "--out", str(out), "--steps", str(steps)]


def here(processes: int, restarts: int = 0) -> list[str]:
    """torchrun's options for so many processes on this machine; none for one alone."""
    if processes == 1:
        return []
    return ["--standalone", "--max-restarts", str(restarts)] + [
        "--nproc-per-node",
        str(processes),
    ]


def start(words: Sequence[str]) -> subprocess.Popen:
    """In a session of its own: a kill must reach all processes and not this one."""
    return subprocess.Popen(
        words,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def end(process: subprocess.Popen) -> str:
    """Kill a start and all that it started; torchrun's have sessions of their own."""
    with contextlib.suppress(psutil.NoSuchProcess):
        agent = psutil.Process(process.pid)
        for one in [*agent.children(recursive=True), agent]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGKILL)
    return process.communicate()[0]


def end_of(process: subprocess.Popen) -> str:
    """What a start said until it ended by itself.

    Raises:
        AssertionError: it hung, and was ended.
    """
    try:
        return process.communicate(timeout=LIMIT)[0]
    except subprocess.TimeoutExpired:
        text = end(process)
    raise AssertionError(f"did not end within {LIMIT} s:\n{text[-3000:]}")


def finish(words: Sequence[str]) -> str:
    """Run to the end; what was said."""
    return finished(start(words))


def finished(process: subprocess.Popen) -> str:
    """What a start said, which has to succeed."""
    text = end_of(process)
    assert process.returncode == 0, text[-3000:]
    return text


def last_step(out: Path) -> int:
    """The last step of which there is a row."""
    try:
        rows = read_metrics(out) if (out / "metrics.jsonl").exists() else []
    except ValueError:  # a row is being written
        rows = []
    return rows[-1]["step"] if rows else 0


def wait_for_step(process: subprocess.Popen, out: Path, step: int) -> None:
    """Until a row of that step is written."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline and process.poll() is None:
        if last_step(out) >= step:
            return
        time.sleep(0.01)
    raise AssertionError(f"step {step} was not reached:\n{end(process)[-3000:]}")


def wait_for_a_write(process: subprocess.Popen, out: Path) -> bool:
    """Until a checkpoint is being written, if it can be caught in the act."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and process.poll() is None:
        if any((out / "checkpoints").glob(".*.partial")):
            return True
    return False


def rank_of(process: subprocess.Popen, rank: int) -> psutil.Process:
    """One of the training processes of a torchrun."""
    for child in psutil.Process(process.pid).children():
        with contextlib.suppress(psutil.Error):
            if child.environ().get("RANK") == str(rank):
                return child
    raise AssertionError(f"rank {rank} is not there:\n{end(process)[-3000:]}")


def weights(out: Path) -> torch.Tensor:
    """All weights of the last checkpoint, one after another."""
    state = load_checkpoint(RunFolder(out).last).weights
    return torch.cat([v.flatten().double() for v in state.values()])


def rows_of(out: Path) -> list[dict]:
    """Rows without their times."""
    return [
        {k: v for k, v in row.items() if k not in TIMES} for row in read_metrics(out)
    ]


def same(out: Path, other: Path) -> bool:
    """Weights, rows and test score of two runs, bit for bit."""
    scores = [RunFolder(p).read_summary()["auc10"] for p in (out, other)]
    return (
        torch.equal(weights(out), weights(other))
        and rows_of(out) == rows_of(other)
        and scores[0] == scores[1]
    )
