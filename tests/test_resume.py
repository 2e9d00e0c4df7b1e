"""Stopped, killed and damaged runs go on as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from test_training import SMALL, trainer, weights

from loftr_nb.errors import CheckpointError
from loftr_nb.model import LoFTR
from loftr_nb.training import RunFolder, load_checkpoint
from loftr_nb.training.checkpoint import KEEP_BEST, keep_best, load_last
from loftr_nb.viz import read_metrics

STEPS = 40
TIMES = {"pairs_per_s", "data_wait", "peak_mb"}  # of a row, not of the training
CHANGES = ["log.checkpoint_every=4", "log.metrics_every=3", "evaluation.max_pairs=1"]


@pytest.fixture(scope="module")
def data(tiny_mini: Path) -> Path:
    return tiny_mini


def command(data: Path, out: Path, processes: int = 1) -> list[str]:
    words = [sys.executable, "-m"]
    if processes > 1:
        words += ["torch.distributed.run", "--standalone"]
        words += ["--nproc-per-node", str(processes), "-m"]
    words += ["loftr_nb.training", "mini_ds", *SMALL, *CHANGES]
    words += [f"optim.batch={2 // processes}", "--data", str(data), "--out", str(out)]
    return [*words, "--steps", str(STEPS), "--resume"]


def start(words: list[str]) -> subprocess.Popen:
    # In a session of its own: a kill must reach all processes and not this one.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        words,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(words: list[str]) -> str:
    process = start(words)
    text, _ = process.communicate(timeout=300)
    assert process.returncode == 0, text[-3000:]
    return text


def wait_for_step(process: subprocess.Popen, out: Path, step: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        rows = read_metrics(out) if (out / "metrics.jsonl").exists() else []
        if rows and rows[-1]["step"] >= step:
            return
        time.sleep(0.01)
    raise AssertionError(f"step {step} was not reached: {process.communicate()[0]}")


def wait_for_a_write(process: subprocess.Popen, out: Path) -> None:
    """Until a checkpoint is being written, if it can be caught in the act."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and process.poll() is None:
        if any((out / "checkpoints").glob(".*.partial")):
            return


def rows_of(out: Path) -> list[dict]:
    return [
        {k: v for k, v in row.items() if k not in TIMES}
        for row in read_metrics(out)
        if row["event"] != "test"
    ]


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nobody disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    finish(command(data, out))
    return out


def assert_same(out: Path, whole: Path) -> None:
    assert torch.equal(weights(out), weights(whole))
    assert rows_of(out) == rows_of(whole)
    summary, expected = (RunFolder(p).read_summary() for p in (out, whole))
    assert summary["auc10"] == expected["auc10"]


def test_kill_9_at_any_time_is_not_seen_in_the_result(
    data: Path, tmp_path: Path, whole: Path
) -> None:
    """Two kills, one of them while a checkpoint is written; then to the end."""
    out, chance = tmp_path / "run", random.Random(0)
    for kill in range(2):
        process = start(command(data, out))
        wait_for_step(process, out, 6 + 12 * kill + chance.randrange(6))
        if kill:
            wait_for_a_write(process, out)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert "going on from step" in finish(command(data, out))
    assert_same(out, whole)
    assert not list(out.rglob("*.partial"))


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1"])
def test_a_signal_finishes_the_step_and_saves(
    name: str, data: Path, tmp_path: Path, whole: Path
) -> None:
    out = tmp_path / "run"
    process = start(command(data, out))
    wait_for_step(process, out, 9)
    process.send_signal(getattr(signal, name))
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 75, text
    (said,) = [line for line in text.splitlines() if name in line]
    state = load_checkpoint(RunFolder(out).last)
    assert f"step {state.step} of {STEPS} is finished and saved" in said
    now = json.loads(RunFolder(out).progress.read_text())
    assert (now["state"], now["step"]) == ("stopped", state.step)
    if name == "SIGUSR1":  # the others lead to the same place
        finish(command(data, out))
        assert_same(out, whole)
        assert json.loads(RunFolder(out).progress.read_text())["state"] == "finished"


def test_two_processes_stop_after_the_same_step_and_survive_a_kill(
    data: Path, tmp_path: Path
) -> None:
    out, undisturbed = tmp_path / "run", tmp_path / "undisturbed"
    finish(command(data, undisturbed, 2))
    process = start(command(data, out, 2))
    wait_for_step(process, out, 6)
    process.send_signal(signal.SIGTERM)  # to torchrun, which passes it on
    text, _ = process.communicate(timeout=90)
    (said,) = [line for line in text.splitlines() if "finished and saved" in line]
    stopped = load_checkpoint(RunFolder(out).last)
    assert f"step {stopped.step} of" in said and len(stopped.rng) == 2
    # Then everything is killed at once, as by a machine that goes down.
    process = start(command(data, out, 2))
    wait_for_step(process, out, stopped.step + 6)
    agent = psutil.Process(process.pid)
    for one in [*agent.children(recursive=True), agent]:
        one.kill()
    process.communicate()
    assert "going on from step" in finish(command(data, out, 2))
    assert_same(out, undisturbed)


def test_a_damaged_last_checkpoint_falls_back_and_says_so(
    data: Path, tmp_path: Path
) -> None:
    run = trainer(data, tmp_path / "run", steps=3)
    run.run()
    run.save()  # step 3 twice: last.pt and previous.pt
    whole = run.folder.last.read_bytes()
    weight = whole.find(b"data/") + 4000  # inside the weights: no header notices
    for damaged in (
        whole[:weight] + bytes([whole[weight] ^ 1]) + whole[weight + 1 :],
        whole[: len(whole) // 2],
        b"",
    ):
        run.folder.last.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="last.pt cannot be read"):
            load_checkpoint(run.folder.last)
        found, said = load_last(run.folder.last.parent)
        assert found.step == 3 and "previous.pt" in said
    run.folder.last.unlink()  # killed between the two renames
    found, said = load_last(run.folder.last.parent)
    assert found.step == 3 and "does not exist" in said
    run.folder.last.with_name("previous.pt").write_bytes(b"")
    with pytest.raises(CheckpointError, match="previous.pt"):
        load_last(run.folder.last.parent)


def test_the_best_five_and_the_last_are_kept(data: Path, tmp_path: Path) -> None:
    run = trainer(data, tmp_path / "run", steps=1)
    run.run()
    scores = [3.0, 9.5, 1.0, 9.5, 12.25, 7.0, 2.0]
    for step, auc10 in enumerate(scores):
        keep_best(run.folder.last, auc10, step)
    kept = sorted(p.name for p in (run.folder.last.parent / "best").iterdir())
    assert len(kept) == KEEP_BEST
    assert kept[-1] == "auc10-12.25-step-0000004.pt"
    assert kept[0] == "auc10-03.00-step-0000000.pt"
    best = run.folder.best
    assert best.samefile(best.parent / "best" / kept[-1])
    assert isinstance(LoFTR.load(best), LoFTR)
    assert not list(best.parent.rglob(".*"))
