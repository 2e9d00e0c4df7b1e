"""The book: pages gathered, links that lead somewhere, a site that runs nothing."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".ci" / "book"
sys.path.insert(0, str(TOOLS))

from links import dead_links  # noqa: E402
from pages import LINK, gather  # noqa: E402

PYTHON = ROOT / ".venv-book" / "bin" / "python"


@pytest.fixture(scope="module")
def stage(tmp_path_factory) -> Path:
    """The pages of the repository as the book takes them."""
    folder = tmp_path_factory.mktemp("pages of the book")
    gather(ROOT, folder)
    return folder


def prose(page: Path) -> str:
    """What a page says, without its code."""
    if page.suffix == ".ipynb":
        cells = nbformat.read(page, as_version=4).cells
        text = "\n\n".join(c.source for c in cells if c.cell_type == "markdown")
    else:
        text = page.read_text(encoding="utf-8")
    return re.sub(r"```.*?```", "", text, flags=re.S)


def pages_in(folder: Path) -> list[Path]:
    return [p for p in sorted(folder.rglob("*")) if p.suffix in {".md", ".ipynb"}]


def test_contents_are_the_notebooks_that_are_there_in_order(stage: Path) -> None:
    here = [p.stem for p in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")]
    there = re.findall(r"^notebooks/(\w+)$", (stage / "index.md").read_text(), re.M)
    assert there == sorted(here) and len(there) >= 10


def test_links_between_pages_lead_to_pages(stage: Path) -> None:
    tried = 0
    for page in pages_in(stage):
        for _, words, target, _ in LINK.findall(prose(page)):
            if target and "://" not in target:
                tried += 1
                assert (page.parent / target).is_file(), (page.name, words, target)
    assert tried > 30


def test_notebooks_that_are_named_exist_and_are_linked(stage: Path) -> None:
    names = {p.name for p in (ROOT / "notebooks").glob("*.ipynb")}
    for page in pages_in(stage):
        text = prose(page)
        named = set(re.findall(r"\b\d\d_[a-z_]+\.ipynb", text))
        assert named <= names, page.name
        alone = set(re.findall(r"(?<!\[)`(\d\d_\w+\.ipynb)`", text))
        assert alone <= {page.name}, page.name


def test_no_sentence_becomes_a_list_and_no_formula_a_line_break(stage: Path) -> None:
    """Markdown reads a wrapped "image\\n1. The cell" as item one of a list."""
    for page in pages_in(stage):
        lines = prose(page).splitlines()
        for before, line in zip(lines, lines[1:], strict=False):
            starts = re.match(r"\d+[.)]\s|[-+*#]\s", line)
            in_list = re.match(r"\s*(\d+[.)]|[-+*#])\s|\s+\S|\s*$|</?\w", before)
            assert not starts or in_list, (page.name, before, line)
        for formula in re.findall(r"\$\$.*?\$\$", prose(page), re.S):
            assert not re.search(r"\\\\[a-zA-Z]", formula), (page.name, formula)
        text = page.read_text(encoding="utf-8")
        if page.suffix == ".ipynb":
            cells = nbformat.reads(text, as_version=4).cells
            text = "\n".join(c.source for c in cells if c.cell_type == "markdown")
        assert not re.search(r" \\\\$", text, re.M), f"{page.name}: a command's end"


def small_repository(root: Path) -> None:
    """A README, two notebooks that know each other, a script, a picture."""
    picture = io.BytesIO()
    Image.new("RGB", (8, 6), "white").save(picture, "PNG")
    shown = {
        "image/png": base64.b64encode(picture.getvalue()).decode(),
        "text/plain": "<Picture: A white field, nothing in it>",
    }
    words = nbformat.v4.new_output("stream", text="the stored answer 4711\n")
    code = nbformat.v4.new_code_cell(
        "open('was_run', 'w').close()",
        outputs=[words, nbformat.v4.new_output("display_data", data=shown)],
        execution_count=1,
    )
    first = [
        "# 00 · Start",
        "Then `07_end.ipynb`, or [its heading](07_end.ipynb#a-dustbin-of-its-own).",
        "$$a_1 = 2$$",
        "<details><summary>Solution</summary>\n\n```python\nx = 3\n```\n\n</details>",
    ]
    last = ["# 07 · End", "## A dustbin of its own", "```text\n`00_start.ipynb`\n```"]
    for name, cells in (("00_start", first), ("07_end", last)):
        markdown = [nbformat.v4.new_markdown_cell(c) for c in cells]
        notebook = nbformat.v4.new_notebook(cells=[*markdown, code])
        (root / "notebooks").mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, root / "notebooks" / f"{name}.ipynb")
    (root / "data").mkdir()
    (root / "data" / "README.md").write_text(
        "# Data\n\nSee [home](../README.md), [more](more.md).\n"
    )
    (root / "data" / "more.md").write_text("# More\n\nBack to [data](README.md).\n")
    (root / "tool.py").write_text("pass\n")
    (root / "one picture.txt").write_text("no page links to it\n")
    (root / "look.png").write_bytes(picture.getvalue())
    (root / "README.md").write_text(
        "# Home\n\n![a look](look.png) [data](data/README.md) [tool](tool.py) "
        "[a folder](data) [gone](gone.md) [web](https://example.org) "
        "[down](#more)\n\n## More\n\n```sh\n[x](gone.md)\n```\n"
    )


def test_a_page_keeps_what_leads_somewhere(tmp_path: Path) -> None:
    root, stage = tmp_path / "my repository", tmp_path / "pages"
    small_repository(root)
    gather(root, stage)
    index = (stage / "index.md").read_text()
    assert "[data](data/README.md) [tool](tool.py) a folder gone [web](" in index
    assert "[down](#more)" in index and "[x](gone.md)" in index
    assert (stage / "tool.py").exists() and (stage / "look.png").exists()
    assert not (stage / "one picture.txt").exists()
    assert "[home](../index.md)" in (stage / "data" / "README.md").read_text()
    start = nbformat.read(stage / "notebooks" / "00_start.ipynb", as_version=4)
    assert "Then [`07_end.ipynb`](07_end.ipynb), or" in start.cells[1].source
    assert start.cells[-1].metadata.mystnb.image.alt.startswith("A white field")
    end = nbformat.read(stage / "notebooks" / "07_end.ipynb", as_version=4)
    assert "`00_start.ipynb`" in end.cells[2].source, "fenced text was changed"

    (root / "notebooks" / "07_end.ipynb").rename(root / "notebooks" / "08_end.ipynb")
    (root / "look.png").unlink()
    gather(root, stage)
    assert sorted(p.name for p in stage.glob("notebooks/*")) == [
        "00_start.ipynb",
        "08_end.ipynb",
    ]
    assert not (stage / "look.png").exists()


def test_dead_links_are_named(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "index.html").write_text(
        '<a id="here"></a><a href="#here">a</a><a href="sub/x.html#there">b</a>'
        '<a href="sub/">folder without a page</a><a href="https://no.example">c</a>'
        '<img src="gone.png"><a href="#nowhere">d</a><a href="../out.html">e</a>'
    )
    (tmp_path / "sub" / "x.html").write_text(
        '<p id="there"><a href="../index.html#gone%20place">f</a>'
        '<a href="../index.html">g</a></p>'
    )
    assert dead_links(tmp_path) == [
        "index.html: sub/ (no such file)",
        "index.html: gone.png (no such file)",
        "index.html: #nowhere (no such place on the page)",
        "index.html: ../out.html (no such file)",
        "sub/x.html: ../index.html#gone%20place (no such place on the page)",
    ]
    with pytest.raises(FileNotFoundError, match="no page was built"):
        dead_links(tmp_path / "sub" / "nothing")


@pytest.mark.skipif(not PYTHON.exists(), reason="no .venv-book: make book makes it")
def test_a_site_is_built_from_what_is_stored(tmp_path: Path) -> None:
    root = tmp_path / "a folder with spaces"
    small_repository(root)
    command = [PYTHON, TOOLS / "build.py", root]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 notebooks" in done.stdout and "no dead link" in done.stdout
    site = root / "build" / "book"
    start = (site / "notebooks" / "00_start.html").read_text()
    assert "the stored answer 4711" in start
    assert 'alt="A white field, nothing in it"' in start
    assert "<details>" in start and "tex-svg.js" in start
    assert not list(root.rglob("was_run")), "a cell was run"
    assert (site / "_static" / "tex-svg.js").exists()
    assert "dustbin" in (site / "searchindex.js").read_text()
    contents = re.findall(r'toctree-l1[^>]*><a[^>]*href="([^"]+)"', start)
    beside = ["../data/README.html", "../data/more.html"]
    assert contents == ["#", "07_end.html", *beside]

    page = root / "notebooks" / "00_start.ipynb"
    page.write_text(page.read_text().replace("#a-dustbin", "#no-dustbin"))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "00_start.html: 07_end.html#no-dustbin" in done.stderr, done.stderr
