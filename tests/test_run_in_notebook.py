"""A run from a notebook: one output rewritten in place, and tastes of runs in tests."""

from __future__ import annotations

import json
import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from loftr_nb.progress import NotebookStatus, StatusLine, status_line
from loftr_nb.synthetic import MiniOptions, make_mini
from loftr_nb.training import get_recipe, override, train
from loftr_nb.training.run import QUICK, QUICK_STEPS


def outputs_of(source: str) -> list:
    """What a real kernel stores for a cell."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    return notebook.cells[0].outputs


def test_a_notebook_keeps_what_was_said_and_the_last_line() -> None:
    outputs = outputs_of(
        "from loftr_nb.progress import status_line\n"
        "status = status_line()\n"
        "status.say('a plan')\n"
        "for n in range(500):\n"
        "    status.show(lambda: f'step {n}')\n"
        "status.show(lambda: 'step 500', force=True)\n"
    )
    assert [o.data["text/plain"] for o in outputs] == ["a plan\nstep 500"]


def test_what_is_said_takes_the_place_of_the_line() -> None:
    outputs = outputs_of(
        "from loftr_nb.progress import NotebookStatus\n"
        "status = NotebookStatus()\n"
        "status.show(lambda: 'step 1', force=True)\n"
        "status.say('trained')\n"
        "status.say('evaluated')\n"
        "NotebookStatus(on=False).say('another process')\n"
    )
    assert [o.data["text/plain"] for o in outputs] == ["trained\nevaluated"]


def test_elsewhere_it_is_a_plain_line() -> None:
    line = status_line()
    assert isinstance(line, StatusLine) and not isinstance(line, NotebookStatus)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    options = MiniOptions(
        train_scenes=2,
        test_scenes=1,
        train_frames=5,
        test_frames=12,
        size=(96, 72),
        megadepth_train=1,
        megadepth_test=1,
        megadepth_images=4,
    )
    return make_mini(tmp_path / "mini", options=options, workers=1)


def test_a_taste_leaves_the_real_run_alone(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = ["data.width=64", "data.height=48", "data.workers=0", "optim.batch=1"]
    small += ["data.holdout_scenes=0", "model.initial_dim=8", "model.coarse_heads=2"]
    small += ["model.block_dims=8,8,16", "model.fine_heads=2", "log.validate_every=0"]
    recipe = override(get_recipe("mini_ds"), small)
    quiet = StatusLine(on=False)
    out = tmp_path / "run"
    out.mkdir()
    (out / "config.json").write_text("the real run")
    monkeypatch.setitem(os.environ, QUICK, "1")
    monkeypatch.setattr("loftr_nb.training.run.QUICK_PAIRS", 2)
    for _ in range(2):  # a taste is made anew, and never resumed
        summary = train(recipe, data, out, status=quiet)
        assert Path(summary["run"]) == tmp_path / "run-quick"
        assert summary["steps"] == QUICK_STEPS
        assert summary["test_pairs"] == 2
    assert (out / "config.json").read_text() == "the real run"
    stored = json.loads((tmp_path / "run-quick" / "summary.json").read_text())
    assert "run" not in stored, "a summary must not say where it once lay"
    monkeypatch.delitem(os.environ, QUICK)
    summary = train(recipe, data, tmp_path / "whole", steps=2, status=quiet)
    assert (summary["steps"], Path(summary["run"]).name) == (2, "whole")
    again = train(recipe, data, tmp_path / "whole", 2, resume=True, status=quiet)
    assert again == summary
