"""A training used as a person does: JupyterLab in Chromium, clicked and looked at.

Start, see the curve move, stop, start again, restart the kernel under it, attach,
finish; then what the saved notebook holds. Skips where there is no browser.
"""

from __future__ import annotations

import base64
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import psutil
import pytest
from lab import CHROMIUM, jupyter_lab, move_slider, opened, run_all, run_cell, until

from loftr_nb.launch import record as records
from loftr_nb.synthetic import MiniOptions, make_mini
from loftr_nb.viz import read_metrics

pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install playwright"
)
STEPS = 400
LAUNCH = f"""\
from loftr_nb.launch import attach, launch, watch
run = launch(
    "mini_ds", "data.width=64", "data.height=48", "data.workers=0",
    "data.holdout_scenes=1", "data.pairs_per_scene=20", "optim.batch=1",
    "model.initial_dim=16", "model.block_dims=16,16,16", "model.coarse_layers=1",
    "model.coarse_heads=2", "model.fine_heads=2", "log.metrics_every=2",
    "log.checkpoint_every=10", "log.validate_every=40", "log.validate_pairs=2",
    "evaluation.max_pairs=3",
    steps={STEPS}, data="mini", out="runs/clicked",
)
watch(run, every=0.3)"""
EXPLORE = """\
import numpy as np
from loftr_nb import viz
def draw(column, row):
    matrix = np.zeros((9, 9))
    matrix[4, 3 * row + column] = 0.9
    images = np.ones((24, 24)) / 2
    return viz.show_row_on_image(
        matrix, 4, images, images, (3, 3), (3, 3), title=f"{column} {row}")
viz.explore(draw, column=(0, 2, 1), row=(0, 2, 1))"""
ATTACH = """\
from loftr_nb.launch import attach, watch
run = attach("runs/clicked")
watch(run, every=0.3)"""
pytestmark = [
    pytest.mark.skipif(
        CHROMIUM is None, reason="chromium is not installed: apt-get install chromium"
    ),
    pytest.mark.skipif(
        sys.platform == "win32", reason="the browser test knows Debian's chromium"
    ),
]


def write_notebook(path: Path, sources: tuple[str, ...]) -> None:
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    nbformat.write(notebook, path)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a little data and a notebook of three cells."""
    options = MiniOptions(
        train_scenes=3,
        test_scenes=1,
        train_frames=6,
        test_frames=8,
        size=(96, 72),
        megadepth_train=1,
        megadepth_test=1,
        megadepth_images=4,
    )
    make_mini(tmp_path / "mini", seed=3, options=options, workers=1)
    write_notebook(tmp_path / "run.ipynb", (LAUNCH, LAUNCH, ATTACH))
    return tmp_path


@pytest.fixture
def page(place: Path) -> Iterator:
    """The notebook, open in Chromium."""
    own = {"LOFTR_NB_STATIC": "", "LOFTR_NB_QUICK": ""}
    with (
        jupyter_lab(place, environment=own) as address,
        opened(address, "run.ipynb", (1300, 1400)) as page,
    ):
        yield page
        look(page, "0-end")


def shown_step(page, number: int) -> int:
    """The step that a cell's panel shows, 0 before there is one."""
    cell = page.locator(".jp-Notebook .jp-CodeCell").nth(number)
    words = cell.locator(".loftr-nb-step").all_inner_texts()
    found = re.match(r"step ([\d,]+)", words[0]) if words else None
    return int(found[1].replace(",", "")) if found else 0


def curve(page, number: int) -> str:
    """Where the browser has the picture of the curves from."""
    cell = page.locator(".jp-Notebook .jp-CodeCell").nth(number)
    return cell.locator(".loftr-nb-watch img").first.get_attribute("src")


def look(page, name: str) -> None:
    """A screenshot where somebody asked for them."""
    if folder := os.environ.get("LOFTR_NB_SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def see_it_move(page, number: int) -> None:
    """The step counts up, and the picture of the curves becomes another one."""
    first = until(lambda: shown_step(page, number))
    picture = curve(page, number)
    until(lambda: shown_step(page, number) > first)
    until(lambda: curve(page, number) != picture)


def test_start_stop_restart_attach_finish(page, place: Path) -> None:
    folder = place / "runs" / "clicked"
    run_cell(page, 0)
    see_it_move(page, 0)
    until(lambda: shown_step(page, 0) >= 30)
    look(page, "1-moves")

    first = page.locator(".jp-Notebook .jp-CodeCell").nth(0)
    first.locator("button", has_text=re.compile("^Stop$")).click()
    look(page, "2-sure")
    first.locator("button", has_text="Yes, stop").click()
    first.get_by_text(re.compile(r"clicked: stopped +step")).wait_for(timeout=150_000)
    until(lambda: first.locator(".loftr-nb-watch").count() == 0)
    look(page, "3-stopped")
    stopped_at = read_metrics(folder)[-1]["step"]
    assert 0 < stopped_at < STEPS
    assert list((folder / "checkpoints").glob("last*")), "nothing was saved"
    assert not records.members(records.read(folder))

    run_cell(page, 1)
    see_it_move(page, 1)
    pid = records.read(folder).pid
    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_text("Restart Kernel…", exact=True).click()
    page.locator(".jp-Dialog button.jp-mod-accept").click()
    page.locator(".jp-Dialog").wait_for(state="detached")
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]")
    assert psutil.pid_exists(pid), "the kernel's restart ended the training"

    run_cell(page, 2)
    see_it_move(page, 2)
    look(page, "4-attached")
    last = page.locator(".jp-Notebook .jp-CodeCell").nth(2)
    last.get_by_text(re.compile(r"clicked: finished +step")).wait_for(timeout=900_000)
    until(lambda: last.locator(".loftr-nb-watch").count() == 0)
    look(page, "5-finished")
    steps = [row["step"] for row in read_metrics(folder) if row["event"] == "train"]
    assert steps == list(range(2, STEPS + 1, 2)), "a step is missing or there twice"

    page.keyboard.press("Control+s")
    until(lambda: "finished" in (place / "run.ipynb").read_text())
    stored = nbformat.read(place / "run.ipynb", as_version=4)
    outputs = [o.get("data", {}) for o in stored.cells[2].outputs]
    assert [sorted(data) for data in outputs] == [
        ["text/plain"],
        ["image/png", "text/plain"],
    ]
    assert base64.b64decode(outputs[1]["image/png"]).startswith(b"\x89PNG")
    assert "widgets" not in stored.metadata


def test_sliders_of_an_explorer_change_its_picture(tmp_path: Path) -> None:
    write_notebook(tmp_path / "sliders.ipynb", (EXPLORE, "print('the last cell')"))
    own = {"LOFTR_NB_STATIC": ""}
    with (
        jupyter_lab(tmp_path, environment=own) as address,
        opened(address, "sliders.ipynb", (1500, 1000)) as page,
    ):
        run_all(page, 240.0)
        box = page.locator(".jp-OutputArea-output .widget-vbox")
        picture, handles = box.locator("img"), box.locator(".noUi-handle")
        picture.wait_for()
        look(page, "6-explorer")
        assert handles.count() == 2
        shown = "i => [i.width, i.naturalWidth, i.height / i.width, "
        shown += "i.naturalHeight / i.naturalWidth]"
        width, own, ratio, true_ratio = picture.evaluate(shown)
        assert own / 2 < width <= own, "stretched to the window, and blurred"
        assert ratio == pytest.approx(true_ratio, rel=0.01)
        assert move_slider(page, handles.nth(0), picture, 1)
        assert move_slider(page, handles.nth(1), picture, -1)
        assert not move_slider(page, handles.nth(1), picture, -1), "beyond its end"
        assert box.locator(".widget-readout").all_inner_texts() == ["2", "0"]
        look(page, "7-explored")
