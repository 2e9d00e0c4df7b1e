"""Watching a run: only new bytes are read, one place is rewritten, threads end."""

from __future__ import annotations

import base64
import io
import json
import os
import threading
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

from loftr_nb.errors import RunError
from loftr_nb.launch import attach, watch
from loftr_nb.launch.figure import RunFigure, stacked
from loftr_nb.launch.follow import Follower
from loftr_nb.launch.watch import Drawn, newest_matches
from loftr_nb.viz import show_grid
from loftr_nb.viz.style import RIGHT, png


def rows_until(step: int, first: int = 1) -> list[dict]:
    return [
        {"event": "train", "step": s, "loss": 9.0 / s, "lr": 1e-3, "peak_mb": 400.0}
        for s in range(first, step + 1)
    ]


def append(path: Path, rows: list[dict]) -> None:
    with open(path, "a") as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a complete run of 20 steps, as a terminal leaves it."""
    folder = tmp_path / "a run"
    (folder / "figures").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "summary.json").write_text('{"steps": 20}')
    scores = {"auc5": 1.0, "auc10": 7.5, "auc20": 9.0}
    append(folder / "metrics.jsonl", rows_until(20))
    append(folder / "metrics.jsonl", [{"event": "validation", "step": 20, **scores}])
    picture = png(show_grid([np.zeros((8, 8), np.float32)]))
    (folder / "figures" / "matches_easy.png").write_bytes(picture)
    return folder


# ---- reading -----------------------------------------------------------------


def test_only_new_bytes_are_read(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "metrics.jsonl"
    follower = Follower(path)
    assert not follower.poll() and follower.rows == []
    append(path, rows_until(2000))
    assert follower.poll() and len(follower.rows) == 2000
    assert not follower.poll()
    lines = []
    loads = json.loads
    monkeypatch.setattr(
        "loftr_nb.launch.follow.json.loads", lambda x: (lines.append(x), loads(x))[1]
    )
    append(path, rows_until(2003, first=2001))
    assert follower.poll() and [r["step"] for r in follower.rows[-3:]] == [
        2001,
        2002,
        2003,
    ]
    assert len(lines) == 3, "old lines were read again"


def test_a_line_that_is_being_written_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    follower = Follower(path)
    whole = "".join(json.dumps(row) + "\n" for row in rows_until(3))
    for end in range(1, len(whole) + 1):  # seen after every single byte
        path.write_text(whole[:end])
        follower.poll()
        assert [r["step"] for r in follower.rows] == [
            n + 1 for n in range(whole[:end].count("\n"))
        ]
    append(path, [{"event": "note"}])
    with open(path, "ab") as file:
        file.write(b"\xff half a block of a full disk\n")
    append(path, rows_until(4, first=4))
    follower.poll()
    assert [r["step"] for r in follower.rows] == [1, 2, 3, 4]


@pytest.mark.parametrize("how", ["replaced", "cut and written on", "removed"])
def test_a_file_that_resume_rewrites_is_read_anew(tmp_path: Path, how: str) -> None:
    path = tmp_path / "metrics.jsonl"
    append(path, rows_until(50))
    follower = Follower(path)
    follower.poll()
    changes = follower.changes
    kept = [
        *rows_until(10),
        *({**row, "loss": 1.0} for row in rows_until(90, first=11)),
    ]
    if how == "replaced":  # as the trainer does it, and longer than before
        part = path.with_suffix(".part")
        append(part, kept)
        part.replace(path)
    elif how == "cut and written on":
        path.write_text("")
        append(path, kept)
    else:
        path.unlink()
        kept = []
    assert follower.poll() and follower.changes > changes
    assert follower.rows == kept


# ---- pictures ----------------------------------------------------------------


def test_the_figure_says_what_the_rows_say() -> None:
    figure = RunFigure()
    empty = figure.draw([])
    assert [ax.get_title() for ax in empty.axes][0] == "Loss"
    rows = rows_until(40)
    rows += [{"event": "validation", "step": 20, "auc5": 1, "auc10": 9.5, "auc20": 12}]
    rows += [{"event": "validation", "step": 40, "auc5": 1, "auc10": 8.5, "auc20": 11}]
    titles = [ax.get_title() for ax in figure.draw(rows).axes]
    assert titles[0].startswith("Loss: 9.00 at first, 0.2")
    assert titles[2] == "Held-out AUC@10: 8.5, best 9.5 at step 20"
    rows += [{"event": "test", "step": 40, "auc5": 1, "auc10": 7.25, "auc20": 11}]
    assert "Test AUC@10: 7.2" in figure.draw(rows).axes[2].get_title()
    # Drawn again from less: nothing of the picture before is left in it.
    few = figure.draw(rows_until(2))
    assert [len(ax.lines) for ax in few.axes] == [2, 1, 0]
    assert few.axes[0].get_xlim()[1] < 3
    null = [{"event": "train", "step": 1, "loss": None, "lr": None}]
    assert figure.quick_png(null).startswith(b"\x89PNG")


def test_the_stored_picture_keeps_the_colours_of_the_curves(folder: Path) -> None:
    matches = folder / "figures" / "matches_easy.png"
    content = RunFigure().small_png(rows_until(40), matches)
    image = Image.open(io.BytesIO(content)).convert("RGB")
    blue = tuple(bytes.fromhex(RIGHT[1:]))
    assert any(colour == blue for _, colour in image.getcolors(1 << 20))
    top = Image.open(io.BytesIO(RunFigure().small_png(rows_until(40))))
    assert image.height == top.height + Image.open(matches).height
    assert len(content) < 100_000
    assert stacked([matches.read_bytes()]).startswith(b"\x89PNG")


def test_the_newest_matches_are_shown(tmp_path: Path) -> None:
    figures = tmp_path / "figures"
    assert newest_matches(tmp_path) is None
    figures.mkdir()
    for name, when in (("matches_step_100", 100), ("matches_step_900", 900)):
        (figures / f"{name}.png").write_bytes(b"")
        os.utime(figures / f"{name}.png", (when, when))
    assert newest_matches(tmp_path).stem == "matches_step_900"
    for name, when in (("matches_middling", 2000), ("matches_hard", 2001)):
        (figures / f"{name}.png").write_bytes(b"")
        os.utime(figures / f"{name}.png", (when, when))
    assert newest_matches(tmp_path).stem == "matches_middling"


def test_drawing_rests_and_waits_for_news(folder: Path) -> None:
    run, drawn = attach(folder), Drawn()
    run.poll()
    assert drawn.is_due(run)
    with drawn.measured():
        pass
    assert not drawn.is_due(run), "nothing is new"
    append(folder / "metrics.jsonl", rows_until(21, first=21))
    run.poll()
    drawn.cost = 3600.0  # drawing is expensive here: it has to rest
    assert not drawn.is_due(run)
    drawn.cost = 0.0
    assert drawn.is_due(run)


# ---- watching ----------------------------------------------------------------


def test_in_a_script_it_is_lines_and_ends_with_the_run(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    watching = watch(attach(folder), every=0.01)
    assert not watching.is_on
    said = capsys.readouterr().out
    assert "finished  step 20/20" in said and "AUC@10 7.5" in said


def test_a_watch_ends_when_told_and_when_another_begins(folder: Path) -> None:
    run = attach(folder)
    (folder / "summary.json").unlink()
    type_of_run = type(run)

    class Going(type_of_run):
        state = "training"

    going = Going(folder)
    before = threading.active_count()
    first = watch(going, every=0.01, block=False)
    second = watch(going, every=0.01, block=False)
    assert not first.is_on and second.is_on
    second.close()
    third = watch(going, every=0.01, until=0.05, block=True)
    assert not third.is_on
    assert threading.active_count() == before and going.at_end == []


def test_an_error_while_watching_is_said_and_ends_it(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    run = attach(folder)
    (folder / "launch.json").write_text("{")
    watch(run, every=0.01, block=True)
    assert "launch.json is damaged" in capsys.readouterr().out


def test_wrong_arguments(folder: Path) -> None:
    with pytest.raises(RunError, match="every is 0"):
        watch(attach(folder), every=0)
    with pytest.raises(RunError, match="attach"):
        watch(str(folder))


@pytest.mark.parametrize("static", [True, False])
def test_a_stored_notebook_has_a_line_and_a_picture(folder: Path, static: bool) -> None:
    """In a real kernel: a run that ends while watched, with and without widgets."""
    source = (
        "import threading, time\n"
        "from pathlib import Path\n"
        "from loftr_nb.launch import attach, watch\n"
        "import loftr_nb.launch.run as module\n"
        f"run = attach({str(folder)!r})\n"
        "class Going(module.Run):\n"
        "    over = False\n"
        "    state = property(lambda self: 'finished' if self.over else 'training')\n"
        f"run = Going(Path({str(folder)!r}))\n"
        f"watching = watch(run, every=0.05, static={static})\n"
        "assert watching.is_on, 'the cell has to end first'\n"
        "watching"
    )
    wait = (
        "import json\n"
        "time.sleep(0.5)\n"
        "with open(run.dir / 'metrics.jsonl', 'a') as file:\n"
        "    file.write(json.dumps({'event': 'train', 'step': 21, 'loss': 0.125})\n"
        "        + chr(10))\n"
        "time.sleep(0.5)\n"
        "run.over = True\n"
        "run.wait(progress=False)\n"
        "print(watching.is_on, [t.name for t in threading.enumerate()\n"
        "    if t.name == 'watch'])"
    )
    cells = [nbformat.v4.new_code_cell(code) for code in (source, wait)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    client = NotebookClient(
        notebook, timeout=120, kernel_name="python3", store_widget_state=False
    )
    client.execute()
    first, second = (cell.outputs for cell in notebook.cells)
    assert [sorted(o.data) for o in first] == [
        ["text/plain"],
        ["image/png", "text/plain"],
    ]
    assert "finished  step 21/20" in first[0].data["text/plain"]
    assert "loss 0.125" in first[1].data["text/plain"]
    assert base64.b64decode(first[1].data["image/png"]).startswith(b"\x89PNG")
    assert second[-1].text.strip() == "False []"


def test_gauges_and_log_cannot_bring_in_markup(folder: Path) -> None:
    """A file name with a tag in it is text on the page."""
    from loftr_nb.launch.panel import Panel, _gauges, _head, _log

    run = attach(folder)
    panel = Panel(run)
    panel.put(run, run.poll())
    panel.put_matches(run)
    assert panel.matches.value == (folder / "figures/matches_easy.png").read_bytes()
    assert panel.stop.disabled, "a run from a terminal is not stopped from here"
    assert "step 20/20" in panel.head.value and "400 MB" in panel.gauges.value
    assert "<b>" not in _log(["<b>x</b>"]) and "&lt;b&gt;" in _log(["<b>x</b>"])
    now = run.poll()
    assert "width:100.0%" in _head(now) and "1.0 / 7.5 / 9.0" in _gauges(now)
    panel._ask(True)
    assert (panel.stop.layout.display, panel.sure.layout.display) == ("none", "")
    panel._ask(False)
    assert (panel.stop.layout.display, panel.sure.layout.display) == ("", "none")
    panel._end_now()
    assert "Ctrl-C" in panel.words.value
    panel.close()
