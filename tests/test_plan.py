"""Plans that measure, global batches by accumulation, and the smoke test's verdict."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from loftr_nb.cli.main import main
from loftr_nb.datasets import SceneGroups
from loftr_nb.errors import ConfigError, DataError
from loftr_nb.supervision import supervise
from loftr_nb.training import command, get_recipe, make_plan, override
from loftr_nb.training.estimate import Estimate, Measurement, matrix_bytes
from loftr_nb.training.fit import judge
from loftr_nb.training.measure import measure
from loftr_nb.training.overfit import choose_pairs, overfit_recipe, verdict
from loftr_nb.training.plan import accumulate_for, size_changes
from loftr_nb.training.stand_in import bytes_of, input_size, stand_in

GB = 2**30


def test_accumulation_reaches_the_canonical_batch() -> None:
    recipe = override(get_recipe("indoor_ds"), ["optim.accumulate=8"])
    plan = make_plan(recipe, processes=4, batch=2)
    whole = make_plan(get_recipe("indoor_ds"), processes=64)
    assert plan.global_batch == 64 and plan.accumulate == 8
    assert (plan.learning_rate, plan.warmup_steps, plan.steps_per_epoch) == (
        whole.learning_rate,
        whole.warmup_steps,
        whole.steps_per_epoch,
    )
    assert "4 processes x 2 pairs x 8 times = 64 pairs" in plan.text()


@pytest.mark.parametrize(
    ("wanted", "words"),
    [(61, "64 or 56"), (57, "56 or 64"), (3, "batch 8"), (0, "batch 8")],
)
def test_a_global_batch_that_does_not_divide_names_the_nearest(
    wanted: int, words: str
) -> None:
    assert accumulate_for(64, 4, 2) == 8
    with pytest.raises(ConfigError, match=words):
        accumulate_for(wanted, 4, 2)


def test_the_command_line_sets_accumulation(capsys, monkeypatch, tmp_path) -> None:
    assert (
        main("plan indoor_ds --gpus 4 --batch 2 --global-batch 64 --json".split()) == 0
    )
    assert json.loads(capsys.readouterr().out)["accumulate"] == 8
    assert main("plan indoor_ds --global-batch 64 --accumulate 2".split()) == 2
    assert "not both" in capsys.readouterr().err
    words = "slurm indoor_ds --nodes 2 --gpus 4 --global-batch 64 --print --out run"
    monkeypatch.chdir(tmp_path)  # Slurm takes no log in a folder with spaces
    assert main(words.split()) == 0
    assert "optim.accumulate=8" in capsys.readouterr().out
    # Under torchrun the processes are counted by it; a batch may come as a field.
    monkeypatch.setenv("WORLD_SIZE", "4")
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    args = parser.parse_args("indoor_ds optim.batch=2 --global-batch 64".split())
    assert command.recipe_from(args).optim.accumulate == 8


@pytest.mark.parametrize(
    ("recipe", "size", "expected"),
    [
        ("indoor_ds", "320", (320, 240)),
        ("indoor_ds", "640x352", (640, 352)),
        ("outdoor_ds", "840", (840, 840)),
    ],
)
def test_sizes_by_layout(recipe: str, size: str, expected: tuple) -> None:
    base = get_recipe(recipe)
    assert input_size(override(base, size_changes(base, size))) == expected


@pytest.mark.parametrize(
    ("recipe", "size", "words"),
    [
        ("outdoor_ds", "845", "take 848"),
        ("outdoor_ds", "840x640", "one number"),
        ("indoor_ds", "big", "write the longer side"),
        ("indoor_ds", "8", "take 64"),
    ],
)
def test_a_size_that_cannot_be(recipe: str, size: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        size_changes(get_recipe(recipe), size)


@pytest.mark.parametrize("layout", ["scannet", "megadepth", "photos"])
def test_the_made_pair_is_supervised_as_it_was_made(layout: str) -> None:
    """Two cells to the left: (x, y) of image 0 is (x - 2, y) of image 1."""
    recipe = override(
        get_recipe("mini_ds"), [f"data.layout={layout}", "data.longer_side=160"]
    )
    batch = stand_in(recipe, 2)
    spv = supervise(batch)
    w, rows = batch.grid0[1], int(batch.mask0[0].any(1).sum())
    assert torch.equal(spv.j, spv.i - 2)
    assert torch.equal(spv.counts, torch.full((2,), rows * (w - 2)))
    # The picture moves as the supervision says.
    moved = batch.image1[..., : 8 * (w - 2)]
    assert torch.equal(moved, batch.image0[..., 16 : 8 * w])


def test_a_small_measurement_and_what_it_says(capsys) -> None:
    words = "plan mini_ot --size 384 --batch 1 --accumulate 3 --steps 1 --device cpu"
    assert main([*words.split(), "--json", "model.coarse_layers=1"]) == 0
    told = json.loads(capsys.readouterr().out)
    found = told["measurement"]
    assert found["size"] == [384, 288] and found["steps"] == 1 and found["fits"]
    assert 0.1 * GB < found["peak_bytes"] < 4 * GB
    # Expected from 128x96 and 256x192, before a step of this size was taken.
    assert found["predicted_bytes"] == pytest.approx(found["peak_bytes"], rel=0.25)
    parts = found["step_parts_s"]
    assert parts["forward"] > 0 and parts["backward"] > 0 and parts["optimizer"] > 0
    assert found["pairs_per_s"] == pytest.approx(3 / found["step_s"])
    assert found["days"] == pytest.approx(told["total_steps"] * found["step_s"] / 86400)


def test_what_cannot_fit_is_refused_before_it_is_tried() -> None:
    size = ["data.width=4000", "data.height=3000", "optim.batch=2"]
    recipe = override(get_recipe("mini_ds"), [*size, "loss.matrix=plain"])
    found = measure(recipe, device="cpu", steps=1)
    assert found.peak is None and not found.rows and not found.out_of_memory
    # Twice a matrix of (500 x 375)^2 floats is the least of it.
    assert found.predicted > 2 * 4 * (500 * 375) ** 2
    fit = judge(make_plan(recipe), found)
    assert not fit.fits and fit.days is None
    text = fit.text()
    assert "not tried" in text and "it does not fit" in text
    assert "--batch 1 --accumulate 2" in text and "--size" in text
    assert "loss.matrix=streamed" in text and "model.recompute=all" in text
    assert "for confidence matrices" in text
    # Without them it is a small part of that, and still too much.
    streamed = override(recipe, ["loss.matrix=streamed"])
    per_pixel = found.estimate.per_pixel * 2 * 4000 * 3000
    less = dataclasses.replace(
        found,
        recipe=streamed,
        estimate=dataclasses.replace(found.estimate, matrix=matrix_bytes(streamed)),
        free=per_pixel / 2,
    )
    assert less.predicted == pytest.approx(found.estimate.base + per_pixel)
    text = judge(make_plan(streamed), less).text()
    assert "does not fit" in text and "loss.matrix" not in text
    assert "confidence matri" not in text


def measured(free: float, **more) -> Measurement:
    recipe = get_recipe("outdoor_ds")
    values = dict(
        recipe=recipe,
        device="cpu",
        name="CPU",
        batch=2,
        size=(640, 640),
        parts=2,
        data=None,
        free=free,
        estimate=Estimate(1 * GB, 10_000.0, 14.0),
        peak=9.5 * GB,
        # whole, waited, forward, optimiser: two batches a step
        rows=((10.0, 1.0, 3.0, 2.0), (12.0, 1.0, 3.0, 2.0), (14.0, 1.0, 3.0, 2.0)),
        batch_bytes=8 * 2**20,
    )
    return Measurement(**(values | more))


def test_time_of_a_run_by_hand() -> None:
    recipe = override(get_recipe("outdoor_ds"), ["optim.batch=2", "optim.accumulate=8"])
    plan = make_plan(recipe, processes=4)
    found = measured(10 * GB)
    # (12 - 2) / 2 = 5 s a batch, 8 batches and the optimiser's 2 s.
    assert found.seconds(8) == (42.0, 38.0, 46.0)
    assert found.split(8) == {"data": 4, "forward": 12, "backward": 24, "optimizer": 2}
    fit = judge(plan, found)
    assert fit.slower == 4 and fit.step_seconds == 168  # four share these cores
    assert fit.days == pytest.approx(575 * 30 * 168 / 86400)
    assert fit.memory_fits and not judge(plan, measured(9 * GB)).memory_fits
    need = 4 * recipe.data.workers * 4 * 8 * 2**20
    assert fit.shared_need is None or fit.shared_need == need
    tight = dataclasses.replace(fit, shared_need=8 * GB, shared_free=4 * GB)
    assert not tight.fits and "data.workers=2" in tight.text()


def test_bytes_of_a_batch_by_hand() -> None:
    recipe = get_recipe("mini_ds")
    cells = 20 * 15
    fixed = 2 * 9 * 4 + 16 * 4 + 2 * 2 * 4 + 4
    expected = 2 * 160 * 120 * 4 + 2 * cells * 4 + 2 * cells + fixed
    assert bytes_of(stand_in(recipe, 3)) == 3 * expected


def test_pairs_of_a_smoke_test_are_spread_evenly() -> None:
    groups = SceneGroups.of(np.repeat([0, 1, 2, 3], [10, 30, 50, 10]))
    few = choose_pairs(groups, 10, seed=3)
    rows = few.rows()
    assert len(few) == 1 and len(rows) == 10
    assert set(np.diff(rows)) == {10}
    assert np.array_equal(rows, choose_pairs(groups, 10, seed=3).rows())
    assert not np.array_equal(rows, choose_pairs(groups, 10, seed=4).rows())
    # Of scenes 1 and 2 alone when others are kept out.
    part = choose_pairs(groups[1:3], 8, seed=3).rows()
    assert part.min() >= 10 and part.max() < 90 and len(set(part)) == 8
    with pytest.raises(DataError, match="has 100"):
        choose_pairs(groups, 101, seed=3)


def test_the_recipe_of_a_smoke_test() -> None:
    recipe = overfit_recipe(get_recipe("mini_ds"), 3)
    plan = make_plan(recipe, scenes=1)
    assert recipe.optim.batch == 3 and plan.total_steps == 300
    schedule = plan.schedule()
    assert schedule.at(20) == schedule.at(299) == pytest.approx(1e-3)
    large = make_plan(overfit_recipe(get_recipe("indoor_ds"), 8), scenes=1)
    assert large.total_steps == 800  # 100 times each pair, one at a time
    assert make_plan(overfit_recipe(get_recipe("mini_ds"), 3, 50)).total_steps == 50
    with pytest.raises(ConfigError, match="overfit is 0"):
        overfit_recipe(get_recipe("mini_ds"), 0)


def rows(right: list[float], matches: float = 200) -> list[dict]:
    common = {"event": "train", "matches_gt": matches, "fine_error_px": 0.5}
    return [
        {**common, "step": 10 * k, "loss": 1 / k, "coarse_accuracy": r}
        for k, r in enumerate(right, start=1)
    ]


def test_the_verdict_of_a_smoke_test() -> None:
    good = verdict(rows([0.1, 0.5, 0.9, 0.95]), few=20)
    assert good.learnt and good.words.startswith("learnt: 95%")
    assert verdict(rows([0.0, 0.1, 0.3, 0.5]), 20).words.startswith("on the way")
    flat = verdict(rows([0.02, 0.02, 0.02, 0.03]), 20)
    assert not flat.learnt and "depth, pose and K" in flat.words
    # All of three true cells: there is nothing in it to have learnt.
    empty = verdict(rows([0.9, 1.0, 1.0, 1.0], matches=3), 20)
    assert not empty.learnt and "fewer than 20 true cells" in empty.words
    with pytest.raises(DataError, match="no row"):
        verdict([{"event": "test", "step": 1}], 20)


def test_a_smoke_test_runs_on_its_own_pairs_in_its_own_folder(
    tiny_mini: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = "train mini_ds --overfit 2 --steps 3 --json --device cpu".split()
    words += ["--data", str(tiny_mini), "data.width=96", "data.height=72"]
    words += ["data.workers=0", "data.min_overlap=0", "model.coarse_layers=1"]
    assert main(words) == 1  # three steps are too few to learn anything
    told = json.loads(capsys.readouterr().out)
    assert not told["learnt"] and told["test_pairs"] == 2 and told["steps"] == 3
    assert (tmp_path / "runs/mini_ds-overfit-2/summary.json").exists()
