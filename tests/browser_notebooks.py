"""Opens notebooks in JupyterLab in Chromium, runs every cell, and looks at them.

    .venv/bin/python tests/browser_notebooks.py 03 06 --out looks
    .venv/bin/python tests/browser_notebooks.py --dark --out looks   # all of them

One line a notebook: seconds, errors, lines of stderr, sliders that change their
picture; then screenshots, top to bottom, in the folder given. Notebooks are
copied to a place of their own, so what is stored stays as it is, and trainings
are cut to a taste as in `make test`. Exit status 1: something was wrong.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from lab import CHROMIUM, jupyter_lab, move_slider, opened, run_all, until

ROOT = Path(__file__).resolve().parent.parent
SIZE = (1280, 2000)
LIMIT = 900  # seconds a notebook may take on a busy machine
WALL = 3  # lines of stderr that one cell may show before it hides the notebook
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none", "recordTiming": True},
    "docmanager-extension/plugin": {"autosave": False},
}
WIDE = """() => Array.from(
    document.querySelectorAll(".jp-Notebook .jp-OutputArea-output img"))
    .filter(i => i.getBoundingClientRect().right > innerWidth).length"""


def place_for(notebook: Path, place: Path) -> None:
    """The repository as a notebook sees it, with runs and notebooks of its own."""
    for entry in ROOT.iterdir():
        if entry.name not in {"notebooks", "runs", ".git", "build"}:
            (place / entry.name).symlink_to(entry)
    (place / "runs").mkdir()
    for run in (ROOT / "runs").glob("*"):
        if not re.search(r"-quick$|scratch", run.name):
            (place / "runs" / run.name).symlink_to(run)
    stored = nbformat.read(notebook, as_version=4)
    for cell in stored.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    (place / "notebooks").mkdir()
    nbformat.write(stored, place / "notebooks" / notebook.name)


def shoot(page, folder: Path, name: str) -> int:
    """Screenshots of a notebook, one window after the other; how many."""
    panel = page.locator(".jp-WindowedPanel-outer").first
    height, window = panel.evaluate("p => [p.scrollHeight, p.clientHeight]")
    count = -(-height // window)
    for n in range(count):
        panel.evaluate("(p, top) => { p.scrollTop = top }", n * window)
        page.wait_for_timeout(300)
        panel.screenshot(path=str(folder / f"{name}-{n:02d}.png"))
    return count


def move_sliders(page, folder: Path, name: str) -> tuple[int, list[str]]:
    """Move each slider of each explorer; how many, and what did not follow."""
    wrong, moved = [], 0
    boxes = page.locator(".jp-OutputArea-output .widget-vbox", has=page.locator("img"))
    for b in range(boxes.count()):
        box = boxes.nth(b)
        handles, picture = box.locator(".noUi-handle"), box.locator("img").first
        for s in range(handles.count()):
            box.scroll_into_view_if_needed()
            if not move_slider(page, handles.nth(s), picture, 5):
                wrong.append(f"slider {s + 1} of explorer {b + 1} changes nothing")
            moved += 1
            page.wait_for_timeout(2_000)  # five steps, five pictures
            box.screenshot(path=str(folder / f"{name}-explorer{b + 1}-{s + 1}.png"))
    return moved, wrong


def explores(notebook: Path) -> bool:
    """Whether a cell calls one of the explorers, which have sliders."""
    cells = nbformat.read(notebook, as_version=4).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    return re.search(r"\bexplore\w*\(", code) is not None


def stored_troubles(notebook: Path) -> tuple[list[str], list[tuple[float, int]]]:
    """Errors and warning walls of a saved notebook; seconds of each code cell."""
    wrong, seconds = [], []
    stored = nbformat.read(notebook, as_version=4)
    for n, cell in enumerate(stored.cells):
        if cell.cell_type != "code":
            continue
        if not cell.execution_count:
            wrong.append(f"cell {n} never ran")
        for output in cell.outputs:
            if output.output_type == "error":
                wrong.append(f"cell {n}: {output.ename}: {output.evalue}")
            if output.get("name") == "stderr":
                lines = output.text.splitlines()
                kind = "a wall of warnings" if len(lines) > WALL else "a warning"
                wrong.append(f"cell {n}: {kind}: {lines[0]}")
        took = cell.metadata.get("execution", {})
        if "shell.execute_reply" in took:
            begin, end = took["iopub.execute_input"], took["shell.execute_reply"]
            seconds.append((_stamp(end) - _stamp(begin), n))
    return wrong, seconds


def _stamp(iso: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(iso.replace("Z", "+00:00")).timestamp()


def look_at(notebook: Path, folder: Path, dark: bool, quick: bool) -> list[str]:
    """Run one notebook in the browser; what was wrong with it."""
    name = notebook.stem + ("-dark" if dark else "")
    theme = {"theme": "JupyterLab Dark"} if dark else {}
    settings = SETTINGS | {"apputils-extension/themes": theme}
    own = {"LOFTR_NB_STATIC": "", "LOFTR_NB_QUICK": "1" if quick else ""}
    with tempfile.TemporaryDirectory(prefix="looks-") as temporary:
        place = Path(temporary)
        place_for(notebook, place)
        copy = place / "notebooks" / notebook.name
        with (
            jupyter_lab(place, environment=own, settings=settings) as address,
            opened(address, f"notebooks/{notebook.name}", SIZE) as page,
        ):
            said = []
            page.on("pageerror", lambda error: said.append(str(error)))
            run_all(page, LIMIT)
            page.wait_for_timeout(1_000)
            before = copy.stat().st_mtime_ns
            page.keyboard.press("Control+s")
            until(lambda: copy.stat().st_mtime_ns != before, 60)
            page.wait_for_timeout(500)
            wrong, each = stored_troubles(copy)
            count = shoot(page, folder, name)
            if wide := page.evaluate(WIDE):
                wrong.append(f"{wide} pictures run out of the window")
            sliders, stuck = move_sliders(page, folder, name)
            wrong += stuck
            if not sliders and explores(notebook):
                wrong.append("it calls an explorer, and no slider was found")
    slow = ", ".join(f"cell {n} {s:.0f} s" for s, n in sorted(each)[::-1][:3])
    verdict = "ok" if not wrong else f"{len(wrong)} wrong"
    total = sum(s for s, _ in each)
    print(f"{name}: {verdict}, cells {total:.0f} s (slowest {slow}), ", end="")
    print(f"{sliders} sliders moved, {count} screenshots", flush=True)
    for words in wrong:
        print(f"  {words}")
    for words in said:  # JupyterLab's own, seldom about the notebook
        print(f"  the page said: {words}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="03 or 03_coarse..., all by default")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "looks")
    parser.add_argument("--dark", action="store_true", help="JupyterLab's dark theme")
    parser.add_argument("--full", action="store_true", help="trainings at full length")
    args = parser.parse_args()
    if CHROMIUM is None:
        parser.error("chromium is not installed: apt-get install chromium")
    every = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    wanted = [
        n for n in every if not args.names or n.name.startswith(tuple(args.names))
    ]
    if not wanted:
        parser.error(f"no notebook begins with {' or '.join(args.names)}")
    args.out.mkdir(parents=True, exist_ok=True)
    from playwright.sync_api import Error as PlaywrightError

    wrong = []
    for notebook in wanted:
        try:
            wrong += look_at(notebook, args.out, args.dark, not args.full)
        except (AssertionError, PlaywrightError) as error:
            wrong.append(str(error))
            print(f"{notebook.stem}: not looked at: {error}")
    print(f"{len(wanted)} notebooks, {len(wrong)} troubles; look at {args.out}")
    return bool(wrong)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    sys.exit(main())
