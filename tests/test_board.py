"""TensorBoard, read back with TensorBoard's own reader."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from loftr_nb.errors import ConfigError
from loftr_nb.training import get_recipe, override, train
from loftr_nb.training.board import Board, require_tensorboard
from loftr_nb.viz import Picture, read_metrics


def read(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder)).Reload()


def test_a_run_has_the_rows_of_metrics_jsonl(tiny_mini: Path, tmp_path: Path) -> None:
    changes = [
        "model.initial_dim=16",
        "model.block_dims=16,16,32",
        "model.coarse_layers=1",
        "data.width=96",
        "data.height=72",
        "data.workers=0",
        "data.holdout_scenes=1",
        "data.min_overlap=0",
        "optim.batch=1",
        "evaluation.max_pairs=2",
        "log.metrics_every=1",
        "log.validate_every=2",
        "log.validate_pairs=2",
        "log.tensorboard=true",
    ]
    recipe = override(get_recipe("mini_ds"), changes)
    train(recipe, tiny_mini, tmp_path / "run", steps=3)
    board = read(tmp_path / "run" / "tensorboard")
    written = board.Tags()["scalars"]
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert {r["event"] for r in rows} == {"train", "validation", "test"}
    for row in rows:
        for name, value in row.items():
            tag = f"{row['event']}/{name}"
            if name == "step" or not isinstance(value, (int, float)):
                continue
            (found,) = (s for s in board.Scalars(tag) if s.step == row["step"])
            # TensorBoard keeps float32, metrics.jsonl six digits.
            assert found.value == pytest.approx(value, rel=1e-5, abs=1e-6), tag
    assert {t.split("/")[0] for t in written} == {"train", "validation", "test"}
    pictures = [t for t in board.Tags()["images"] if t.startswith("validation/")]
    assert "validation/matches_1" in pictures
    (image,) = board.Images("validation/matches_1")
    assert image.step == 2 and image.width > 300
    assert "mini_ds" in str(board.Tensors("recipe/text_summary")[0])


def test_going_on_drops_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "tensorboard"
    killed = Board(folder)
    for step in range(1, 8):
        killed.add("train", step, loss=float(step))
    killed.close()
    again = Board(folder, step=4)  # saved after step 4, killed after step 7
    for step in (5, 6):
        again.add("train", step, loss=100.0 + step)
    again.close()
    found = [(s.step, s.value) for s in read(folder).Scalars("train/loss")]
    assert found == [(1, 1), (2, 2), (3, 3), (4, 4), (5, 105), (6, 106)]


def test_only_numbers_are_written(tmp_path: Path) -> None:
    board = Board(tmp_path / "b")
    board.add(
        "test", 1, auc10=25.5, pairs=3, nan=math.nan, word="x", flag=True, no=None
    )
    board.picture("validation/matches_1", 1, Picture(4, 2))
    board.close()
    board.close()
    found = read(tmp_path / "b")
    assert sorted(found.Tags()["scalars"]) == ["test/auc10", "test/pairs"]
    assert found.Images("validation/matches_1")[0].width == 360


def test_a_board_without_a_folder_does_nothing(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    board = Board()
    assert not board.on
    board.add("train", 1, loss=1.0)
    board.text("recipe", json.dumps({}))
    board.picture("x", 1, Picture(1, 1))
    board.close()
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_an_error_with_the_line_to_type(monkeypatch) -> None:
    recipe = get_recipe("mini_ds")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    require_tensorboard(recipe)  # nothing is asked for
    with pytest.raises(ConfigError, match=r'pip install "loftr-nb\[tensorboard\]"'):
        require_tensorboard(override(recipe, ["log.tensorboard=true"]))
