"""Gathers what the book is made of: copies, because the sources stay as they are.

Sphinx wants its pages in one folder, and would follow every link in the one that
it is given; `data/` may hold links to a terabyte of images. So the few pages are
copied, at the same places, README.md as index.md. Nothing is run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

NOTEBOOKS = "notebooks/[0-9][0-9]_*.ipynb"
OTHERS = (
    "loftr_nb/cli/README.md",
    "data/README.md",
    "bench/README.md",
    "CONTRIBUTING.md",
)
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]*)(#[^)\s]*)?\)")
FENCED = re.compile(r"(^```.*?^```[ \t]*$)", re.M | re.S)
NAMED = re.compile(r"(?<!\[)`(\d\d_\w+\.ipynb)`")
TITLE = re.compile(r"<Picture: (.+)>", re.S)
TOC = """

```{{toctree}}
:hidden:
:caption: {caption}

{pages}
```
"""


def gather(root: Path, stage: Path) -> list[Path]:
    """Copy the pages of the repository ``root`` to ``stage``; returns the notebooks.

    Links between pages are made to work in a site: README.md is index there, a
    notebook that is named in prose becomes a link to it. What a page links to
    beside pages (a script, the licence) is copied along, and a link to a folder,
    or to what is not there, becomes plain words.
    """
    notebooks = sorted(root.glob(NOTEBOOKS))
    others = _others(root, notebooks)
    pages = [root / "README.md", *notebooks, *others]
    kept = set()
    for page in pages:
        if page.suffix == ".ipynb":
            text = _notebook(page, root, pages)
        else:
            text = _linked(page.read_text(encoding="utf-8"), page, root, pages)
        if page == root / "README.md":
            text += _contents("The course", notebooks, root)
            text += _contents("Beside it", others, root)
        kept.add(_write(stage / _place(page, root), text))
        kept |= _copy_linked(text, page, root, stage)
    for file in stage.rglob("*"):
        if file.is_file() and file not in kept:
            file.unlink()  # of a page that is renamed or gone
    return notebooks


def _others(root: Path, notebooks: list[Path]) -> list[Path]:
    """The usual pages beside the course, then what any page links to in turn."""
    others = [root / name for name in OTHERS if (root / name).exists()]
    waiting = [root / "README.md", *notebooks, *others]
    for page in waiting:
        for match in LINK.finditer(page.read_text(encoding="utf-8")):
            file = (page.parent / match[3]).resolve()
            known = file in waiting or root not in file.parents
            if file.suffix == ".md" and file.is_file() and not known:
                others.append(file)
                waiting.append(file)
    return others


def _place(page: Path, root: Path) -> str:
    """Where a page lies in the site: the README is its first page."""
    name = page.relative_to(root).as_posix()
    return "index.md" if name == "README.md" else name


def _contents(caption: str, pages: list[Path], root: Path) -> str:
    names = [p.relative_to(root).with_suffix("").as_posix() for p in pages]
    return TOC.format(caption=caption, pages="\n".join(names))


def _linked(text: str, page: Path, root: Path, pages: list[Path]) -> str:
    """Markdown whose links work in the site; fenced code is left alone."""

    def link(match: re.Match) -> str:
        bang, words, target, anchor = match.groups(default="")
        if not target or "://" in target or target.startswith("mailto:"):
            return match[0]
        file = (page.parent / target).resolve()
        if file == root / "README.md":
            target = target.removesuffix("README.md") + "index.md"
        elif not file.is_file() or root not in file.parents:
            return words
        return f"{bang}[{words}]({target}{anchor})"

    def named(match: re.Match) -> str:
        found = [p for p in pages if p.name == match[1]]
        if not found or found[0] == page:
            return match[0]
        target = Path(os.path.relpath(found[0], page.parent)).as_posix()
        return f"[{match[0]}]({target})"

    parts = FENCED.split(text)
    for n in range(0, len(parts), 2):
        parts[n] = NAMED.sub(named, LINK.sub(link, parts[n]))
    return "".join(parts)


def _notebook(page: Path, root: Path, pages: list[Path]) -> str:
    """A notebook with its links, and its pictures' titles as their descriptions."""
    notebook = json.loads(page.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = _linked("".join(cell["source"]), page, root, pages)
            continue
        for output in cell.get("outputs", []):
            words = "".join(output.get("data", {}).get("text/plain", ""))
            if title := TITLE.fullmatch(words):
                picture = {"alt": title[1], "loading": "lazy"}
                cell["metadata"]["mystnb"] = {"image": picture}
    return json.dumps(notebook, ensure_ascii=False, indent=1)


def _copy_linked(text: str, page: Path, root: Path, stage: Path) -> set[Path]:
    """Files that a page links to or shows, copied to the same place."""
    copied = set()
    for match in LINK.finditer(text):
        file = (page.parent / match[3]).resolve()
        if match[3] and file.is_file() and root in file.parents:
            if file.suffix in {".md", ".ipynb"}:
                continue
            to = stage / file.relative_to(root)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, to)
            copied.add(to)
    return copied


def _write(path: Path, text: str) -> Path:
    """Write what changed only: the rest is not built again."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return path
