"""Dead links of a built site: pages, pictures, scripts, and places inside pages.

Addresses of the web are not tried: a site that was right yesterday is not wrong
because a server rests. Needs the standard library alone.
"""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Page(HTMLParser):
    """The places of a page that can be linked to, and what it links to."""

    def __init__(self) -> None:
        super().__init__()
        self.places: set[str] = {"", "top"}  # browsers know these two on every page
        self.targets: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.places |= {found[k] for k in ("id", "name") if found.get(k)}
        self.targets += [found[k] for k in ("href", "src") if found.get(k)]


def dead_links(site: Path) -> list[str]:
    """What is broken, one line a link: the page, the link, and what is missing.

    Raises:
        FileNotFoundError: the site has no pages: nothing was built there.
    """
    site = site.resolve()
    pages = {}
    for path in sorted(site.rglob("*.html")):
        if "_static" not in path.relative_to(site).parts:
            pages[path] = _Page()
            pages[path].feed(path.read_text(encoding="utf-8"))
    if not pages:
        raise FileNotFoundError(f"{site}: no page was built there")
    return [
        f"{path.relative_to(site).as_posix()}: {target} ({wrong})"
        for path, page in pages.items()
        for target in dict.fromkeys(page.targets)
        if (wrong := _wrong(target, path, pages, site))
    ]


def _wrong(target: str, path: Path, pages: dict[Path, _Page], site: Path) -> str:
    """What is wrong with a link on a page; nothing where it leads somewhere."""
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        return ""
    file = path
    if parts.path:
        base = site if parts.path.startswith("/") else path.parent
        file = (base / unquote(parts.path).lstrip("/")).resolve()
    if file.is_dir():
        file = file / "index.html"
    if not file.is_file():
        return "no such file"
    if site not in file.parents:
        return "outside the site"
    place = unquote(parts.fragment)
    if file in pages and place not in pages[file].places:
        return "no such place on the page"
    return ""
