"""Loader processes of a training that a scheduler signals as a whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from test_training import SMALL

from loftr_nb.training import RunFolder, load_checkpoint
from loftr_nb.viz import read_metrics


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_signal_to_all_processes_still_saves(
    tiny_mini: Path, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "run"
    changes = [*SMALL, "data.workers=2", "data.pairs_per_scene=400"]
    command = [sys.executable, "-m", "loftr_nb.training", "mini_ds", *changes]
    command += ["--data", str(tiny_mini), "--out", str(out)]
    process = subprocess.Popen(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        metrics = out / "metrics.jsonl"
        while not (metrics.exists() and len(read_metrics(out)) >= 3):
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.02)
        workers = psutil.Process(process.pid).children()
        assert len(workers) >= 2
        for one in [*workers, process]:  # workers first: the worst order
            os.kill(one.pid, getattr(signal, name))
        said, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 75, said
    saved = load_checkpoint(RunFolder(out).last)
    assert f"{name}: step {saved.step:,} of " in said
    assert not any(psutil.pid_exists(w.pid) for w in workers)
