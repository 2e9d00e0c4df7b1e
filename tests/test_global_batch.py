"""One global batch, however it is dealt out: the same weights and the same rows.

In float64 and with batch norm frozen nothing but the order of sums differs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_training import SMALL

from loftr_nb.training import RunFolder, load_checkpoint
from loftr_nb.viz import read_metrics

STEPS = 20
EXACT = [
    *SMALL,
    "precision=fp64",
    "optim.batch_norm=frozen",
    "optim.warmup_steps=5",
    "log.metrics_every=5",
    "data.pairs_per_scene=10",
]


def run(data: Path, out: Path, processes: int, batch: int, times: int) -> Path:
    command = [sys.executable, "-m", "loftr_nb.training"]
    if processes > 1:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += ["--nproc-per-node", str(processes), "-m", "loftr_nb.training"]
    command += ["mini_ds", *EXACT, f"optim.batch={batch}", f"optim.accumulate={times}"]
    command += ["--data", str(data), "--out", str(out), "--steps", str(STEPS)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return out


def weights(out: Path) -> torch.Tensor:
    state = load_checkpoint(RunFolder(out).last).weights
    return torch.cat([v.flatten().double() for v in state.values()])


@pytest.fixture(scope="module")
def whole(tiny_mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process with the whole batch of 4 at once."""
    return run(tiny_mini, tmp_path_factory.mktemp("whole") / "run", 1, 4, 1)


@pytest.mark.parametrize(
    ("processes", "batch", "times"),
    [(1, 1, 4), (2, 2, 1), (2, 1, 2), (4, 1, 1)],
    ids=["accumulated", "two", "two accumulated", "four"],
)
def test_weights_and_rows_do_not_depend_on_who_computes_what(
    tiny_mini: Path,
    tmp_path: Path,
    whole: Path,
    processes: int,
    batch: int,
    times: int,
) -> None:
    out = run(tiny_mini, tmp_path / "run", processes, batch, times)
    reference, found = weights(whole), weights(out)
    assert (reference - found).abs().max() < 1e-9
    kept = ("step", "loss", "coarse_accuracy", "fine_error_px", "few_matches")
    rows, others = (
        [[r[name] for name in kept] for r in read_metrics(p) if r["event"] == "train"]
        for p in (whole, out)
    )
    assert len(rows) == STEPS // 5
    for row, other in zip(rows, others, strict=True):
        assert row == pytest.approx(other, rel=1e-5)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["pairs_seen"] == 4 * STEPS


def test_the_weights_did_move(whole: Path) -> None:
    """Or else anything would have been equal."""
    rows = [r for r in read_metrics(whole) if r["event"] == "train"]
    assert rows[-1]["loss"] < 0.9 * rows[0]["loss"]
    assert weights(whole).isfinite().all()
