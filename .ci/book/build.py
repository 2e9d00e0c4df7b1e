"""Builds the book: notebooks as they are stored, READMEs, search. Runs nothing.

    make book        # makes .venv-book, then calls this

The site is build/book; it may be opened from the folder or put on any server.
A link that leads nowhere is named, and the exit status is 1.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

from links import dead_links
from pages import gather

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def main(root: Path = ROOT) -> int:
    """Build the book of the repository in ``root``; the exit status."""
    from sphinx.cmd.build import main as sphinx

    start = time.monotonic()
    stage, site = root / "build" / "book-pages", root / "build" / "book"
    shutil.rmtree(site, ignore_errors=True)  # no page of yesterday's names
    notebooks = gather(root, stage)
    print(f"book: {len(notebooks)} notebooks, from their stored outputs", flush=True)
    kept = root / "build" / "book-kept"
    # -E: the contents beside each page change when any page comes or goes.
    options = ["-q", "-E", "-b", "html", "-c", str(HERE), "-d", str(kept)]
    if failed := sphinx([*options, str(stage), str(site)]):
        return failed
    if broken := dead_links(site):
        print(f"book: {len(broken)} links lead nowhere:", file=sys.stderr)
        print(*(f"  {line}" for line in broken), sep="\n", file=sys.stderr)
        return 1
    seconds = time.monotonic() - start
    print(f"book: {site / 'index.html'} in {seconds:.0f} s, no dead link")
    return 0


if __name__ == "__main__":
    sys.exit(main(*(Path(folder).resolve() for folder in sys.argv[1:2])))
