"""The trainer: runs, resumes, shares work between processes, refuses bad input."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import starts
import torch
from starts import weights

from loftr_nb.cli.main import main
from loftr_nb.errors import CheckpointError, ConfigError, RunError
from loftr_nb.model import LoFTR
from loftr_nb.progress import StatusLine
from loftr_nb.training import (
    RunFolder,
    Trainer,
    get_recipe,
    load_batch,
    override,
    validation,
)
from loftr_nb.training.distributed import Process
from loftr_nb.training.loaders import TrainingPairs
from loftr_nb.viz import read_metrics

ONE = Process(0, 1, torch.device("cpu"))
SMALL = [*starts.SMALL, "optim.batch=2", "log.metrics_every=1"]
SMALL += ["evaluation.max_pairs=2"]


@pytest.fixture(scope="module")
def data(tiny_mini: Path) -> Path:
    return tiny_mini


def small_recipe(*changes: str):
    return override(get_recipe("mini_ds"), [*SMALL, *changes])


def trainer(data: Path, out: Path, **options) -> Trainer:
    recipe = options.pop("recipe", None) or small_recipe()
    return Trainer(recipe, data, out, ONE, status=StatusLine(on=False), **options)


def test_a_run_leaves_everything_it_promises(
    data: Path, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "a run"
    words = ["train", "mini_ds", *SMALL, "--data", str(data), "--out", str(out)]
    assert main([*words, "--steps", "3", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary == json.loads((out / "summary.json").read_text())
    assert summary["recipe"] == "mini_ds"
    assert (summary["steps"], summary["pairs_seen"]) == (3, 6)
    four = {"auc5", "auc10", "auc20", "precision", "matches_per_pair"}
    assert four | {"seconds", "params"} <= set(summary)
    assert four <= set(summary["sift"])
    for picture in summary["pictures"]:
        assert (out / picture).stat().st_size > 1000
    rows = [r for r in read_metrics(out / "metrics.jsonl") if r["event"] == "train"]
    assert [r["step"] for r in rows] == [1, 2, 3]
    assert {"loss", "lr", "pairs_per_s", "data_wait", "peak_mb"} <= set(rows[0])
    # Twice: nothing is trained again, the table is shown again.
    assert main([*words, "--steps", "3", "--resume"]) == 0
    assert "is complete" in capsys.readouterr().out
    assert main(["eval", str(out), "--data", str(data), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)["LoFTR"]
    assert again["auc10"] == summary["auc10"]
    model = LoFTR.load(out / "weights.pt")
    last = LoFTR.load(out / "checkpoints" / "last.pt")
    assert torch.equal(model.backbone.conv1.weight, last.backbone.conv1.weight)
    assert sum(p.numel() for p in model.parameters()) == summary["params"]


def test_the_megadepth_layout_trains(data: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "run"
    change = ["data.layout=megadepth", "data.longer_side=96", "data.min_overlap=0"]
    words = ["train", "mini_ot", *SMALL, *change, "loss.supervision=sparse"]
    words += ["--data", str(data), "--out", str(out), "--steps", "2", "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 2


def test_going_on_is_the_same_run(data: Path, tmp_path: Path) -> None:
    """5 steps = 2 steps, a new trainer, 3 steps: bit-equal weights and metrics."""
    trainer(data, tmp_path / "whole", steps=5).run()
    trainer(data, tmp_path / "parts", steps=2).run()
    trainer(data, tmp_path / "parts", steps=5, resume=True).run()
    assert torch.equal(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    whole, parts = (read_metrics(tmp_path / n) for n in ("whole", "parts"))
    assert [r["loss"] for r in whole] == [r["loss"] for r in parts]
    assert [r["step"] for r in parts] == [1, 2, 3, 4, 5]


def test_training_changes_weights_and_lowers_the_loss(
    data: Path, tmp_path: Path
) -> None:
    run = trainer(
        data,
        tmp_path / "run",
        steps=40,
        recipe=small_recipe("optim.warmup_steps=5", "optim.lr=3e-3"),
    )
    run.run()
    losses = [r["loss_coarse"] for r in read_metrics(tmp_path / "run")]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


def test_processes_share_one_sequence_of_global_batches(data: Path) -> None:
    recipe = small_recipe()

    def names(world: int, batch: int, times: int = 1) -> list[list]:
        steps: list[list] = [[] for _ in range(2)]
        changes = [f"optim.batch={batch}", f"optim.accumulate={times}"]
        changed = override(recipe, changes)
        for rank in range(world):
            process = Process(rank, world, torch.device("cpu"))
            pairs = TrainingPairs.open(changed, data, process, data)
            batches = pairs.batches(0, 2)
            for step in range(2):
                for b, seeds in zip(next(batches), pairs.seeds(step), strict=True):
                    steps[step] += list(zip(b.names0, b.names1, seeds, strict=True))
        return [sorted(s, key=lambda row: row[2]) for s in steps]

    assert names(1, 4) == names(2, 2) == names(4, 1)
    assert names(1, 1, times=4) == names(2, 1, times=2) == names(1, 4)
    # 8 pairs an epoch, 12 a step: they repeat in the same order for everybody.
    many = names(1, 12)
    assert len({row[:2] for row in many[0]}) == 8
    assert names(2, 6) == names(4, 1, times=3) == many


def test_a_full_disk_keeps_the_previous_checkpoint(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainer(data, tmp_path / "run", steps=1)
    run.run()
    before = run.folder.last.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CheckpointError, match="last.pt.*No space left.*untouched"):
        run.save()
    assert run.folder.last.read_bytes() == before
    assert [p.name for p in run.folder.last.parent.iterdir()] == ["last.pt"]


def test_a_really_full_disk(data: Path, tmp_path: Path) -> None:
    """/dev/full answers every write like a full disk does."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    run = trainer(data, tmp_path / "run", steps=1)
    run.run()
    part = run.folder.last.with_name(f".last.pt.{os.getpid()}.partial")
    part.symlink_to("/dev/full")
    before = run.folder.last.read_bytes()
    with pytest.raises(CheckpointError, match="last.pt could not be written"):
        run.save()
    assert run.folder.last.read_bytes() == before


def test_the_folder_of_another_run_is_refused(data: Path, tmp_path: Path) -> None:
    trainer(data, tmp_path / "run", steps=1).run()
    other = small_recipe("optim.lr=0.1")
    with pytest.raises(RunError, match=r"optim.lr: 0.00\d+ -> 0.1"):
        trainer(data, tmp_path / "run", recipe=other, resume=True)
    with pytest.raises(RunError, match="--resume"):
        trainer(data, tmp_path / "run")


def test_a_folder_with_other_files_is_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match="holds no run"):
        trainer(data, tmp_path, resume=True)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_damaged_checkpoints_are_named(data: Path, tmp_path: Path) -> None:
    run = trainer(data, tmp_path / "run", steps=1)
    run.run()
    whole = run.folder.last.read_bytes()
    run.folder.last.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="last.pt.*truncated"):
        trainer(data, tmp_path / "run", steps=2, resume=True)
    run.folder.last.write_text("not a checkpoint")
    with pytest.raises(CheckpointError, match="last.pt"):
        trainer(data, tmp_path / "run", steps=2, resume=True)


def test_a_checkpoint_of_another_recipe_is_refused(data: Path, tmp_path: Path) -> None:
    trainer(data, tmp_path / "a", steps=1).run()
    trainer(data, tmp_path / "b", steps=1, recipe=small_recipe("seed=1")).run()
    stolen = RunFolder(tmp_path / "b").last.read_bytes()
    RunFolder(tmp_path / "a").last.write_bytes(stolen)
    with pytest.raises(CheckpointError, match="another recipe"):
        trainer(data, tmp_path / "a", steps=2, resume=True)


def test_not_a_number_stops_before_the_weights_are_touched(
    data: Path, tmp_path: Path
) -> None:
    run = trainer(data, tmp_path / "run", steps=3)
    (batch,) = next(run.pairs.batches(0, run.plan.steps_per_epoch))
    bad = dataclasses.replace(batch, image0=batch.image0 * torch.nan)
    run.pairs = dataclasses.replace(run.pairs)
    run.pairs.batches = lambda *_: iter([[bad]])  # type: ignore[method-assign]
    before = run.model.backbone.conv1.weight.detach().clone()
    with pytest.raises(RunError, match=Path(batch.names0[0]).name):
        run.run()
    assert torch.equal(run.model.backbone.conv1.weight, before)
    saved = load_batch(tmp_path / "run" / "failure" / "step-0" / "rank-0.pt")
    assert saved.names0 == batch.names0 and saved.image0.isnan().all()
    assert torch.equal(saved.cell_depth1, batch.cell_depth1)
    LoFTR.load(tmp_path / "run" / "failure" / "step-0" / "weights.pt")
    with pytest.raises(CheckpointError, match="holds no batch"):
        load_batch(tmp_path / "run" / "failure" / "step-0" / "weights.pt")
    # Batch norm has seen the batch, and has forgotten it.
    assert run.model.backbone.bn1.running_mean.abs().max() == 0


def test_a_loss_that_is_not_finite_stops_even_if_the_gradient_is(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainer(data, tmp_path / "run", steps=3)
    forward = run.update.module.forward

    def endless(batch, seeds):
        output = forward(batch, seeds)
        coarse = output.coarse.clone()
        coarse[1] = torch.inf
        loss = output.loss + output.loss.detach() * torch.inf
        return dataclasses.replace(output, loss=loss, coarse=coarse)

    monkeypatch.setattr(run.update.module, "forward", endless)
    (batch,) = next(run.pairs.batches(0, run.plan.steps_per_epoch))
    second = Path(batch.names0[1]).name
    with pytest.raises(RunError, match=f"Pairs at fault: [^;]*{second}[^;]*\\."):
        run.run()


def test_few_true_matches_are_warned_of_once(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = small_recipe("log.few_matches=1000")
    status = StatusLine(on=True)
    run = Trainer(recipe, data, tmp_path / "run", ONE, steps=3, status=status)
    run.run()
    said = capsys.readouterr().out
    warning = "step 1: warning: 100% of the pairs have fewer than 1000 true"
    assert said.count("warning") == 1 and warning in said
    rows = read_metrics(tmp_path / "run")
    assert [r["few_matches"] for r in rows] == [1, 1, 1]


def test_a_validation_leaves_a_picture_of_the_same_pair(
    data: Path, tmp_path: Path
) -> None:
    recipe = small_recipe("log.validate_every=2")
    run = trainer(data, tmp_path / "run", steps=5, recipe=recipe)
    run.run(validation(run))
    pictures = sorted((tmp_path / "run" / "figures" / "validation").iterdir())
    names = [p.name for p in pictures]
    assert names == ["matches-step-0000002.png", "matches-step-0000004.png"]
    assert all(p.stat().st_size > 5000 for p in pictures)


def test_steps_must_be_positive(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="steps is 0"):
        trainer(data, tmp_path / "run", steps=0)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["train", "mini_sd"], "mini_ds"),
        (["train", "mini_ds", "optim.bach=2"], "optim.batch"),
        (["train", "mini_ds", "--data", "nowhere"], "nowhere"),
        (["eval", "nowhere.pt"], "--recipe"),
        (["match", "a.jpg", "b.jpg", "--weights", "nowhere.pt"], "nowhere.pt"),
        (["plan", "indoor"], "indoor_ds"),
    ],
)
def test_the_command_line_says_what_is_wrong(
    words: list[str], expected: str, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert expected in capsys.readouterr().err
    assert not list(tmp_path.rglob("config.json")), "a refused run left a folder"


def test_an_unknown_command_names_the_nearest(capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["trian", "mini_ds"])
    assert stopped.value.code == 2
    assert "'train'" in capsys.readouterr().err


def test_plan_as_json(capsys) -> None:
    assert main(["plan", "indoor_ds", "--gpus", "4", "--batch", "1", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["learning_rate"] == pytest.approx(3.75e-4)
    assert plan["warmup_steps"] == 76_800
