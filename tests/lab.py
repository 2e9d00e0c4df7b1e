"""JupyterLab in Chromium, for what a person clicks: started, opened, ended."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from loftr_nb.launch import record as records

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)
FLAGS = (
    "--no-sandbox --disable-gpu --disable-background-networking --no-first-run "
    "--disable-component-update --disable-sync"
).split()
TOKEN = "a-token-for-this-test"
PATIENCE = 150_000  # milliseconds: a busy machine is slow, not wrong
QUIET = {"notification": {"fetchNews": "false", "checkForUpdates": False}}


@contextlib.contextmanager
def jupyter_lab(
    place: Path,
    root: Path | None = None,
    environment: Mapping[str, str] | None = None,
    settings: Mapping[str, Mapping[str, object]] | None = None,
) -> Iterator[str]:
    """JupyterLab on a folder, until the block ends; gives its address.

    Args:
        place: where it keeps its settings, its log and ``runs/``.
        root: the folder it shows; ``place`` by default.
        environment: on top of this process's own.
        settings: ``extension/plugin`` of JupyterLab to the settings to change.
    """
    apputils = {f"apputils-extension/{k}": v for k, v in QUIET.items()}
    for name, values in (apputils | dict(settings or {})).items():
        file = place / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {
        "JUPYTERLAB_SETTINGS_DIR": str(place / "settings"),
        "JUPYTER_CONFIG_DIR": str(place / "jupyter"),
        "JUPYTER_RUNTIME_DIR": str(place / "jupyter"),
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    command += [f"--IdentityProvider.token={TOKEN}", f"--notebook-dir={root or place}"]
    everything = os.environ | own | dict(environment or {})
    with open(place / "lab.log", "wb") as log:
        server = subprocess.Popen(
            command, env=everything, stdout=log, stderr=log, cwd=place
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
    """Nothing that was started here may outlive it."""
    left = psutil.Process(server.pid).children(recursive=True)
    for folder in place.glob("runs/*"):
        if not folder.is_symlink() and (record := records.read(folder)):
            left += records.members(record)
    server.terminate()
    for process in left:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    server.wait(20)


@contextlib.contextmanager
def opened(address: str, notebook: str, size: tuple[int, int]) -> Iterator:
    """A notebook, open in Chromium with its kernel idle; gives the page."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": size[0], "height": size[1]})
        page.set_default_timeout(PATIENCE)
        page.goto(f"{address}/lab/tree/{notebook}?token={TOKEN}", timeout=PATIENCE)
        page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=PATIENCE)
        page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]")
        yield page
        browser.close()


def accept_dialogs(page) -> None:
    """Lab asks for patience in a dialog, and takes clicks there only."""
    for button in page.locator(".jp-Dialog button.jp-mod-accept").all():
        button.click(timeout=5_000)


def run_all(page, seconds: float) -> None:
    """Run every cell by the menu, and wait for the last."""
    from playwright.sync_api import TimeoutError as Late

    def shown() -> str:
        return "".join(page.locator(".jp-CodeCell .jp-InputPrompt").all_inner_texts())

    for _ in range(60):  # the page is drawn before its kernel takes a cell
        try:
            accept_dialogs(page)
            page.get_by_role("menuitem", name="Run", exact=True).click(timeout=5_000)
            page.get_by_text("Run All Cells", exact=True).click(timeout=5_000)
            page.wait_for_timeout(4_000)
        except Late:
            continue
        # A kernel that wakes up amid the cells takes the last ones alone.
        if re.match(r"\[[*\d]", shown()):
            break
    else:
        raise AssertionError("the kernel never took a cell")
    idle = page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]")

    def all_ran() -> bool:
        with contextlib.suppress(Late):
            accept_dialogs(page)
        return idle.count() > 0 and "*" not in shown()

    until(all_ran, seconds)


def run_cell(page, number: int) -> None:
    """Click into a cell and run it."""
    from playwright.sync_api import TimeoutError as Late

    cell = page.locator(".jp-Notebook .jp-CodeCell").nth(number)
    taken = cell.locator(".jp-InputPrompt", has_text=re.compile(r"\[(\*|\d+)\]"))
    for _ in range(20):
        try:
            accept_dialogs(page)
            cell.locator(".cm-content").click(timeout=10_000)
            page.keyboard.press("Control+Enter")
            taken.wait_for(timeout=5_000)
            return
        except Late:
            continue  # the page is drawn before its kernel takes a cell
    raise AssertionError(f"cell {number} never ran")


def until(what, seconds: float = 150.0):
    """Wait for something to be true; returns it."""
    end = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < end, f"{what.__name__} never came"
        time.sleep(0.1)
    return value


DIGEST = """async (image) => {
    const bytes = await (await fetch(image.src)).arrayBuffer();
    const sum = await crypto.subtle.digest("SHA-256", bytes);
    return Array.from(new Uint8Array(sum)).join(" ");
}"""


def move_slider(page, slider, picture, steps: int) -> bool:
    """Move a slider by the keyboard; True where the picture became another one.

    Args:
        slider: locator of its handle. picture: locator of the image.
        steps: presses of the right arrow, of the left one if negative.
    """
    before = picture.evaluate(DIGEST)
    slider.focus()
    for _ in range(abs(steps)):
        page.keyboard.press("ArrowRight" if steps > 0 else "ArrowLeft")
    try:
        until(lambda: picture.evaluate(DIGEST) != before, 20.0)
    except AssertionError:
        return False
    return True
