"""A training used as a person does: JupyterLab in Chromium, clicked and looked at.

Start, see the curve move, stop, start again, restart the kernel under it, attach,
finish; then what the saved notebook holds. Skips where there is no browser.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nbformat
import psutil
import pytest

from loftr_nb.launch import record as records
from loftr_nb.synthetic import MiniOptions, make_mini
from loftr_nb.viz import read_metrics

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install playwright"
)
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)
FLAGS = (
    "--no-sandbox --disable-gpu --disable-background-networking --no-first-run "
    "--disable-component-update --disable-sync"
).split()
TOKEN = "a-token-for-this-test"
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
    cells = [nbformat.v4.new_code_cell(c) for c in (LAUNCH, LAUNCH, ATTACH)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    nbformat.write(notebook, tmp_path / "run.ipynb")
    return tmp_path


@pytest.fixture
def lab(place: Path) -> Iterator[str]:
    """JupyterLab on that folder; its address."""
    settings = place / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    no_news = {"fetchNews": "false", "checkForUpdates": False}
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(no_news))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {
        "JUPYTERLAB_SETTINGS_DIR": str(place / "settings"),
        "JUPYTER_CONFIG_DIR": str(place / "jupyter"),
        "JUPYTER_RUNTIME_DIR": str(place / "jupyter"),
        "LOFTR_NB_STATIC": "",
        "LOFTR_NB_QUICK": "",
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    command += [f"--IdentityProvider.token={TOKEN}", f"--notebook-dir={place}"]
    with open(place / "lab.log", "wb") as log:
        server = subprocess.Popen(
            command, env=os.environ | own, stdout=log, stderr=log, cwd=place
        )
    address = f"http://127.0.0.1:{port}"
    try:
        _answers(address, server, place / "lab.log")
        yield address
    finally:
        _end(place, server)


def _answers(address: str, server: subprocess.Popen, log: Path) -> None:
    for _ in range(300):
        assert server.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(f"{address}/api?token={TOKEN}", timeout=2).read()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(log.read_text())


def _end(place: Path, server: subprocess.Popen) -> None:
    """Nothing that this test started may outlive it."""
    record = records.read(place / "runs" / "clicked")
    left = records.members(record) if record else []
    left += psutil.Process(server.pid).children(recursive=True)
    server.terminate()
    for process in left:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    server.wait(20)


@pytest.fixture
def page(lab: str) -> Iterator:
    """The notebook, open in Chromium."""
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1300, "height": 1400})
        page.set_default_timeout(150_000)  # a busy machine is slow, not wrong
        page.goto(f"{lab}/lab/tree/run.ipynb?token={TOKEN}", timeout=150_000)
        page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=150_000)
        page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]")
        yield page
        look(page, "0-end")
        browser.close()


def run_cell(page, number: int) -> None:
    """Click into a cell and run it."""
    cell = page.locator(".jp-Notebook .jp-CodeCell").nth(number)
    taken = cell.locator(".jp-InputPrompt", has_text=re.compile(r"\[(\*|\d+)\]"))
    for _ in range(20):
        try:
            # Lab asks for patience in a dialog, and takes clicks there only.
            for button in page.locator(".jp-Dialog button.jp-mod-accept").all():
                button.click(timeout=5_000)
            cell.locator(".cm-content").click(timeout=10_000)
            page.keyboard.press("Control+Enter")
            taken.wait_for(timeout=5_000)
            return
        except playwright.TimeoutError:
            continue  # the page is drawn before its kernel takes a cell
    raise AssertionError(f"cell {number} never ran")


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


def until(what, seconds: float = 150.0):
    """Wait for something to be true; returns it."""
    end = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < end, f"{what.__name__} never came"
        time.sleep(0.1)
    return value


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
    last.get_by_text(re.compile(r"clicked: finished +step")).wait_for(timeout=240_000)
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
