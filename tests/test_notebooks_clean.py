"""Notebooks as they are stored: readable without being run, and nothing else in them.

The numbers of the rhythm are those of the house style; a notebook that leaves
them is hard to read in the half hour it promises.
"""

from __future__ import annotations

import base64
import contextlib
import io
import os
import re
import statistics
from pathlib import Path

import nbformat
import pytest
from PIL import Image

from loftr_nb.check import Verdict

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))
LIMIT = 1_000_000  # bytes
FENCE = re.compile(r"```.*?```", re.S)
SOLUTION = re.compile(r"<summary>Solution</summary>.*?```python\n(.*?)```", re.S)
NOISE = re.compile(r"/(?:home|root|work|tmp|Users|opt)/|[A-Z]:\\\\|\b\d+%\|")


@pytest.fixture(params=NOTEBOOKS, ids=lambda p: p.stem)
def path(request) -> Path:
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


def code_of(notebook):
    return [c for c in notebook.cells if c.cell_type == "code"]


def prose_of(notebook):
    return [c for c in notebook.cells if c.cell_type == "markdown"]


def lines_of(cell) -> list[str]:
    return [line for line in cell.source.splitlines() if line.strip()]


def tagged(notebook, tag: str):
    return [c for c in notebook.cells if tag in c.metadata.get("tags", [])]


def pictures_of(notebook):
    for cell in code_of(notebook):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                yield output["data"]


def test_it_is_a_valid_notebook_for_any_python(path, notebook):
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.metadata.kernelspec.language == "python"
    assert path.stat().st_size <= LIMIT


def test_no_widget_state_no_errors_no_noise_is_stored(notebook):
    assert "widgets" not in notebook.metadata
    for number, cell in enumerate(notebook.cells):
        assert "execution" not in cell.metadata, number
        for output in cell.get("outputs", []):
            assert output.output_type != "error", number
            assert output.get("name") != "stderr", number
            assert "application/vnd.jupyter.widget-view+json" not in output.get(
                "data", {}
            ), number
            data = output.get("data", {})
            texts = [
                output.get("text", ""),
                *(data.get(k, "") for k in data if "text" in k),
            ]
            found = [m.group() for text in texts for m in NOISE.finditer(str(text))]
            assert not found, (number, found)
        assert not NOISE.search(cell.source), number


def test_every_cell_was_run_once_and_in_order(notebook):
    counts = [c.execution_count for c in code_of(notebook)]
    assert counts == list(range(1, len(counts) + 1))


def test_rhythm(notebook):
    code, prose = code_of(notebook), prose_of(notebook)
    assert 50 <= len(notebook.cells) <= 90
    assert 1.2 <= len(prose) / len(code) <= 1.8
    lengths = sorted(len(lines_of(c)) for c in code)
    assert 4 <= statistics.median(lengths) <= 6
    assert lengths[int(0.9 * len(lengths))] <= 20
    assert lengths[-1] <= 40
    words = sum(len(FENCE.sub(" ", c.source).split()) for c in prose)
    assert 5 <= words / sum(lengths) <= 9
    kinds = "".join(c.cell_type[0] for c in notebook.cells)
    assert "ccc" not in kinds


def test_lines_fit_eighty_columns(notebook):
    for cell in code_of(notebook):
        assert max(map(len, cell.source.splitlines()), default=0) <= 80, cell.source


def test_most_cells_show_something_and_pictures_say_what(notebook):
    code = code_of(notebook)
    assert sum(bool(c.outputs) for c in code) >= 2 / 3 * len(code)
    pictures = list(pictures_of(notebook))
    assert 6 <= len(pictures) <= 12
    for data in pictures:
        title = re.fullmatch(r"<Picture: (.+)>", data["text/plain"])
        assert title and len(title[1].split()) >= 4, data["text/plain"]
        picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
        assert picture.width <= 1000
        assert picture.getpixel((0, 0)) == picture.getpixel((picture.width - 1, 0))


def test_it_begins_and_ends_as_all_do(path, notebook):
    first, second = notebook.cells[:2]
    assert first.source.startswith(f"# {path.stem[:2]} · ")
    assert "You will" in first.source and "```text" in first.source
    imports = re.findall(r"^(?:import|from) .*", second.source, re.M)
    assert 4 <= len(imports) <= 8
    assert "seed" in second.source and "torch" in second.outputs[0].text
    assert notebook.cells[-1].cell_type == "markdown"
    assert "you now know" in notebook.cells[-1].source


def test_checks_print_a_sentence_and_hold(notebook):
    checks = [c for c in code_of(notebook) if "check.same(" in c.source]
    assert len(checks) >= 4
    for cell in checks:
        text = "".join(
            o.get("text", "") + o.get("data", {}).get("text/plain", "")
            for o in cell.outputs
        )
        assert re.search(r"^ok: .*largest difference", text, re.M), text


def test_solutions_pass_and_stubs_do_not(notebook):
    stubs = tagged(notebook, "exercise-stub")
    verdicts = tagged(notebook, "exercise-verdict")
    solutions = [s for c in prose_of(notebook) for s in SOLUTION.findall(c.source)]
    hints = [c for c in prose_of(notebook) if "<summary>Hint</summary>" in c.source]
    assert 2 <= len(stubs) <= 4
    assert len(stubs) == len(verdicts) == len(solutions) == len(hints)
    for stub, verdict, solution in zip(stubs, verdicts, solutions, strict=True):
        assert "not yet: still the stub" in verdict.outputs[0].data["text/plain"]
        assert not judged(notebook, stub.source, verdict.source)
        assert judged(notebook, solution, verdict.source), solution


def judged(notebook, answer: str, verdict: str) -> Verdict:
    """Run the import cell, an answer and its verdict cell."""
    space: dict = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(notebook.cells[1].source, space)
    exec(answer, space)
    return eval(verdict, space)


@pytest.mark.skipif(os.name == "nt", reason="folders are compared as posix paths")
def test_links_lead_somewhere(path, notebook):
    for cell in prose_of(notebook):
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", cell.source):
            if "://" not in target:
                assert (path.parent / target).exists(), target
