"""Stopped, killed and damaged runs go on as if nothing had happened."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
from pathlib import Path

import pytest
import torch
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
    weights,
)
from test_training import small_recipe, trainer

from loftr_nb.errors import CheckpointError, RunError
from loftr_nb.model import LoFTR
from loftr_nb.progress import StatusLine
from loftr_nb.training import RunFolder, Trainer, load_checkpoint
from loftr_nb.training.checkpoint import KEEP_BEST, keep_best, load_last
from loftr_nb.training.distributed import Process
from loftr_nb.training.going_on import other_processes
from loftr_nb.training.heartbeat import Heartbeat, failed
from loftr_nb.training.signals import Stopped
from loftr_nb.viz import read_metrics

STEPS = 40
CHANGES = ["log.checkpoint_every=4", "log.metrics_every=3"]


@pytest.fixture(scope="module")
def data(tiny_mini: Path) -> Path:
    return tiny_mini


def command(data: Path, out: Path, processes: int = 1, restarts: int = 0) -> list[str]:
    batch, torchrun = f"optim.batch={2 // processes}", here(processes, restarts)
    words = training(data, out, *CHANGES, batch, steps=STEPS, torchrun=torchrun)
    # Under --max-restarts nobody says --resume: it has to be known.
    return words if restarts else [*words, "--resume"]


def test_a_run_alone_that_is_killed_and_stopped_is_the_run_that_nobody_disturbed(
    data: Path, tmp_path: Path
) -> None:
    """Killed at a random time, and in a write; SIGUSR1; then to the end."""
    out, whole, chance = tmp_path / "run", tmp_path / "whole", random.Random(0)
    finish(command(data, whole))
    for kill in range(2):
        process = start(command(data, out))
        wait_for_step(process, out, 6 + 9 * kill + chance.randrange(6))
        if kill:
            wait_for_a_write(process, out)
        end(process)
    process = start(command(data, out))
    wait_for_step(process, out, last_step(out) + 3)
    process.send_signal(signal.SIGUSR1)
    text = end_of(process)
    assert process.returncode == 75, text
    (said,) = [line for line in text.splitlines() if "SIGUSR1" in line]
    state = load_checkpoint(RunFolder(out).last)
    assert f"step {state.step} of {STEPS} is finished and saved" in said
    now = json.loads(RunFolder(out).progress.read_text())
    assert (now["state"], now["step"]) == ("stopped", state.step)
    assert "going on from step" in finish(command(data, out))
    assert same(out, whole)
    assert not list(out.rglob("*.partial"))
    assert json.loads(RunFolder(out).progress.read_text())["state"] == "finished"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1"])
def test_every_signal_finishes_the_step_and_saves(
    name: str, data: Path, tmp_path: Path, monkeypatch
) -> None:
    """In this process, in the middle of step 2."""
    run = trainer(data, tmp_path / "run", steps=STEPS)
    seeds = run.pairs.seeds

    def raised(step: int) -> list[list[int]]:
        if step == 1:
            signal.raise_signal(getattr(signal, name))
        return seeds(step)

    run.pairs = dataclasses.replace(run.pairs)
    monkeypatch.setattr(run.pairs, "seeds", raised)
    before = signal.getsignal(getattr(signal, name))
    with pytest.raises(Stopped, match=f"{name}: step 2 of {STEPS} is finished") as s:
        run.run()
    assert s.value.exit_status == 75 and "--resume" in str(s.value)
    assert load_checkpoint(run.folder.last).step == 2
    assert signal.getsignal(getattr(signal, name)) == before


def test_two_processes_come_back_from_a_kill_and_stop_after_the_same_step(
    data: Path, tmp_path: Path
) -> None:
    out, undisturbed = tmp_path / "run", tmp_path / "undisturbed"
    finish(command(data, undisturbed, 2))
    # One is killed: with --max-restarts nobody has to do anything.
    process = start(command(data, out, 2, restarts=3))
    wait_for_step(process, out, 6)
    rank_of(process, 0).kill()
    wait_for_step(process, out, 15)
    process.send_signal(signal.SIGTERM)  # to torchrun, which passes it on
    text = end_of(process)
    assert "going on from step" in text
    (said,) = [line for line in text.splitlines() if "finished and saved" in line]
    stopped = load_checkpoint(RunFolder(out).last)
    assert f"step {stopped.step} of" in said and len(stopped.rng) == 2
    # Then everything is killed at once, as by a machine that goes down.
    process = start(command(data, out, 2))
    wait_for_step(process, out, stopped.step + 5)
    end(process)
    assert "going on from step" in finish(command(data, out, 2))
    assert same(out, undisturbed)


def test_a_changed_recipe_says_what_changed_and_is_refused_unless_told(
    data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    trainer(data, out, steps=2).run()
    faster = small_recipe("optim.lr=0.01", "log.metrics_every=2")
    before = RunFolder(out).config.read_bytes()
    with pytest.raises(RunError, match=r"optim.lr: .* -> 0.01\nGive.*--allow-changes"):
        trainer(data, out, steps=4, recipe=faster, resume=True)
    with pytest.raises(RunError, match="--resume"):
        trainer(data, out, steps=4, recipe=faster, allow_changes=True)
    assert RunFolder(out).config.read_bytes() == before
    run = trainer(data, out, steps=4, recipe=faster, resume=True, allow_changes=True)
    assert run.step == 2
    run.run()
    folder = RunFolder(out)
    assert folder.read_recipe() == faster
    assert (out / "config-1.json").read_bytes() == before
    assert [r["step"] for r in read_metrics(out)] == [1, 2, 4]
    # Killed again before its first checkpoint, it is still known.
    again = trainer(data, out, steps=4, recipe=faster, resume=True)
    assert again.step == 4


def moments(run: Trainer) -> dict[str, dict]:
    """The optimiser's state of each parameter, by the parameter's name."""
    state = run.update.optimizer.state
    named = dict(run.model.named_parameters())
    return {name: dict(state[p]) for name, p in named.items() if p in state}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["optim.freeze=backbone"], []),
        ([], ["optim.freeze=backbone"]),
        ([], ["optim.backbone_rate=0.1", "optim.freeze=loftr_fine"]),
        (["optim.backbone_rate=0.1"], ["optim.weight_decay=0"]),
    ],
)
def test_frozen_parts_and_rates_may_change_and_each_weight_keeps_its_moments(
    before: list[str], after: list[str], data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    first = trainer(data, out, steps=2, recipe=small_recipe(*before))
    first.run()
    changed = small_recipe(*after)
    with pytest.raises(RunError, match=r"(?s)optim\..*--allow-changes"):
        trainer(data, out, steps=3, recipe=changed, resume=True)
    run = trainer(data, out, steps=3, recipe=changed, resume=True, allow_changes=True)
    old, new = moments(first), moments(run)
    named = run.model.named_parameters()
    learning = {name for name, p in named if p.requires_grad}
    assert set(new) == set(old) & learning  # a part just thawed has none yet
    for name, values in new.items():
        for key in ("step", "exp_avg", "exp_avg_sq"):
            assert torch.equal(values[key], old[name][key]), (name, key)
    groups = run.update.optimizer.param_groups
    assert {g["weight_decay"] for g in groups} == {changed.optim.weight_decay}
    assert {g["share"] for g in groups} == {1.0, changed.optim.backbone_rate}
    start = {k: v.clone() for k, v in run.model.state_dict().items()}
    run.run()
    for name, p in run.model.named_parameters():
        assert torch.equal(p, start[name]) != (name in learning), name


def test_what_does_not_decide_the_result_may_change(
    data: Path, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "run"
    trainer(data, out, steps=2).run()
    quiet = small_recipe("log.metrics_every=2", "data.workers=1", "data.path=moved")
    process = Process(0, 1, torch.device("cpu"))
    run = Trainer(quiet, data, out, process, 4, True, StatusLine())
    run.run()
    said = capsys.readouterr().out
    assert "log.metrics_every: 1 -> 2" in said and "config-1.json" in said
    assert torch.equal(weights(out), weights_of_a_whole_run(data, tmp_path, 4))


def weights_of_a_whole_run(data: Path, tmp_path: Path, steps: int) -> torch.Tensor:
    trainer(data, tmp_path / "whole", steps=steps).run()
    return weights(tmp_path / "whole")


def test_another_network_is_refused_whatever_is_allowed(
    data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    trainer(data, out, steps=1).run()
    other = small_recipe("model.coarse_layers=2")
    with pytest.raises(RunError, match=r"model.coarse_layers: 1 -> 2\nIts weights"):
        trainer(data, out, recipe=other, resume=True, allow_changes=True)


def test_another_number_of_processes_is_said_in_words(
    data: Path, tmp_path: Path
) -> None:
    run = trainer(data, tmp_path / "run", steps=1)
    run.run()
    state = load_checkpoint(run.folder.last)
    two = Process(0, 2, torch.device("cpu"))
    one = Process(0, 1, torch.device("cpu"))
    assert other_processes(state, run.recipe, one) is None
    said = other_processes(state, run.recipe, two)
    assert "4 pairs now instead of 2" in said and "--global-batch 2" in said
    half = small_recipe("optim.batch=1")
    assert "2 pairs as before" in other_processes(state, half, two)


def test_a_failed_run_says_so_and_another_ones_file_is_left_alone(
    tmp_path: Path,
) -> None:
    path = tmp_path / "progress.json"
    failed(path, "nothing is there")
    assert not path.exists()
    Heartbeat(path).beat("training", step=3)
    failed(path, "rank 1: depth/3.png")
    now = json.loads(path.read_text())
    assert (now["state"], now["step"]) == ("failed", 3)
    assert now["reason"] == "rank 1: depth/3.png"
    path.write_text(json.dumps({"state": "finished", "pid": os.getpid() + 1}))
    failed(path, "refused")
    assert json.loads(path.read_text())["state"] == "finished"


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
