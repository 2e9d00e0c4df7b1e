"""The HTML of a data report: one file, no scripts, nothing from outside."""

from __future__ import annotations

import base64
import html
import math
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from ..progress import duration
from ..viz.style import Picture, png
from .check import CheckReport, Finding
from .check.causes import CAUSES
from .geometry.report import GeometryReport

MARK = "<!-- loftr-nb data report -->"  # how a report knows its own kind

_COLOURS = 160  # of each picture: photographs keep theirs

_STYLE = """
:root { --blue: #0072B2; --orange: #B34A00; --ink: #222; --line: #ddd; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.2rem; color: var(--ink);
  background: #fff; font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; border-bottom: 2px solid var(--line);
  padding-bottom: .25rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem; }
.verdict { border-left: .4rem solid var(--blue); padding: .6rem 1rem;
  background: #f1f7fb; margin: 1rem 0; overflow-wrap: anywhere; }
.verdict.bad { border-color: var(--orange); background: #fdf3ec; }
.facts { display: flex; flex-wrap: wrap; gap: .5rem 2rem; padding: 0; margin: 1rem 0;
  list-style: none; }
.facts b { display: block; font-size: 1.3rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: anywhere; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums;
  white-space: nowrap; }
td:last-child { min-width: 11rem; }
code { background: #f5f5f5; padding: 0 .2rem; }
.error { color: var(--orange); font-weight: 600; }
.warning { color: #7a5a00; font-weight: 600; }
.small { font-size: .85rem; color: #555; overflow-wrap: anywhere; }
figure { margin: 1rem 0; }
img { max-width: 100%; height: auto; display: block; margin: 0 auto; }
pre { background: #f5f5f5; padding: .7rem 1rem; overflow-x: auto; font-size: .88rem; }
summary { cursor: pointer; color: var(--blue); }
"""


class Figure(Protocol):
    """A picture under a heading, with words for readers who do not see it."""

    heading: str
    picture: Picture
    words: str


def page(
    root: Path,
    check: CheckReport,
    figures: Sequence[Figure],
    notes: Sequence[str],
    index: Path | str | None = None,
) -> str:
    """The whole page as text."""
    name = html.escape(str(root))
    parts = [
        f"<!DOCTYPE html>\n{MARK}",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Data report: {name}</title><style>{_STYLE}</style></head><body>",
        f"<h1>Data report: {name}</h1>",
        _facts(check),
        _verdict(check),
        "<h2>Files</h2>",
        _findings(check.findings),
        *(f'<p class="small">{html.escape(note)}</p>' for note in check.notes),
        *(_geometry(layout, r) for layout, r in check.geometry.items()),
        *_figures(figures),
        _notes(notes),
        "<h2>What to run next</h2>",
        f"<pre>{html.escape(_next(root, check, index))}</pre>",
        "</body></html>\n",
    ]
    return "\n".join(part for part in parts if part)


def _facts(check: CheckReport) -> str:
    facts = [("layout", " and ".join(check.layouts))]
    counts = ("scenes", check.scenes), ("frames", check.frames), ("pairs", check.pairs)
    facts += [(name, f"{count:,}") for name, count in counts if count]
    facts += [("looked at", f"{check.bytes / 1e6:,.1f} MB")]
    facts += [("in", duration(check.seconds))]
    items = (f"<li>{n}<b>{html.escape(v)}</b></li>" for n, v in facts)
    return f'<ul class="facts">{"".join(items)}</ul>'


def _verdict(check: CheckReport) -> str:
    words = "Ready: nothing stands in the way of training."
    if not check.ok:
        words = "Not ready: see what is marked as an error below."
    elif any(not g.judged for g in check.geometry.values()):
        words = "Files are in order; the geometry could not be judged."
    elif any(f.level == "warning" for f in check.findings):
        words = "Ready, with warnings."
    if check.quick:
        words += " Only headers were read: damage in the middle of a file was not seen."
    return f'<p class="verdict{"" if check.ok else " bad"}"><b>{words}</b></p>'


def _findings(findings: Sequence[Finding]) -> str:
    if not findings:
        return "<p>No fault in index, images, depths, poses and intrinsics.</p>"
    rows = []
    for f in findings:
        cause = CAUSES[f.cause]
        rows.append(
            f'<tr><td class="{f.level}">{f.level}</td>'
            f"<td>{html.escape(cause.title)}</td>"
            f'<td class="n">{f.count:,} of {f.total:,} {html.escape(cause.of)}</td>'
            f'<td>{_code(f.way_out)}<br><span class="small">first: '
            f"{html.escape(f.first)}</span></td></tr>"
        )
    head = '<tr><th></th><th>what</th><th class="n">how many</th><th>way out</th></tr>'
    return f'<div class="scroll"><table>{head}{"".join(rows)}</table></div>'


def _geometry(layout: str, report: GeometryReport) -> str:
    parts = [f"<h2>Geometry of {html.escape(layout)}</h2>"]
    kind = "" if report.ok else " bad"
    parts.append(f'<p class="verdict{kind}">{html.escape(report.verdict)}</p>')
    for cause in report.causes:
        parts.append(f"<p><b>{html.escape(cause.fault)}</b>: {_code(cause.words)}</p>")
        if math.isfinite(cause.after_px):
            parts.append(
                f'<p class="small">On {cause.pairs} pairs: {_px(cause.before_px)} px '
                f"as given, {_px(cause.after_px)} px with this undone.</p>"
            )
    parts += [f'<p class="small">{html.escape(note)}</p>' for note in report.notes]
    parts.append(
        '<p class="small">Real correspondences between two colour images, found in '
        "the images alone, are moved by depth, pose and K; the error is how far they "
        "land from where they are, in pixels of the depth map.</p>"
    )
    if report.rows:
        opened = "" if report.ok else " open"
        parts.append(
            f"<details{opened}><summary>{report.pairs} pairs, one by one</summary>"
            f'<div class="scroll"><table>{_pair_rows(report)}</table></div></details>'
        )
    return "\n".join(parts)


def _code(words: str) -> str:
    """Words as HTML; what stands in backticks is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(words))


def _pair_rows(report: GeometryReport) -> str:
    numbers = ("error px", "limit px", "points", "moved px", "turn")
    head = "".join(f'<th class="n">{n}</th>' for n in numbers)
    rows = [f"<tr>{head}<th>pair</th></tr>"]
    for r in sorted(report.rows, key=lambda r: -r.median_px / r.limit_px):
        cells = (_px(r.median_px), f"{r.limit_px:.1f}", f"{r.correspondences:,}")
        cells += (f"{r.moved_px:.0f}", f"{r.degrees:.0f}°")
        shown = "".join(f'<td class="n">{c}</td>' for c in cells)
        names = f"{r.scene} {Path(r.name0).name} {Path(r.name1).name}"
        kind = "" if r.ok else ' class="error"'
        rows.append(f"<tr{kind}>{shown}<td>{html.escape(names)}</td></tr>")
    return "".join(rows)


def _px(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "endless"


def _figures(figures: Sequence[Figure]):
    last = ""
    for figure in figures:
        if figure.heading != last:
            yield f"<h2>{html.escape(figure.heading)}</h2>"
            last = figure.heading
        data = base64.b64encode(png(figure.picture, _COLOURS)).decode()
        words = html.escape(figure.words, quote=True)
        yield (
            f'<figure><img alt="{words}" src="data:image/png;base64,{data}"></figure>'
        )


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    items = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    return f'<h2>Not drawn</h2><ul class="small">{items}</ul>'


_IMPORTS = {"sevenscenes", "tum", "colmap"}  # layouts that are imported first
_RECIPES = {"scannet": "indoor_ds", "megadepth": "outdoor_ds"}


def _next(root: Path, check: CheckReport, index: Path | str | None) -> str:
    """Commands for what comes after this page."""
    data = shlex.quote(str(root))
    given = "" if index is None else f" --index {shlex.quote(str(index))}"
    layout = check.layouts[0]
    lines = []
    if layout in _IMPORTS:
        lines += ["# bring it into a layout that training reads"]
        lines += [f"loftr-nb data import {layout} {data} --out data/mine"]
        lines += ["loftr-nb data check data/mine"]
        data, layout = "data/mine", "megadepth" if layout == "colmap" else "scannet"
    elif not check.ok:
        fix = " --fix" if check.pairs else ""
        lines += ["# once the errors above are dealt with, look again"]
        lines += [f"loftr-nb data check {data}{given}{fix}"]
    if layout == "photos":
        lines += ["# pairs by homographies of the photos"]
        lines += [f"loftr-nb data import folder {data} --out data/plain"]
    elif not check.pairs:
        lines += ["# score the overlap of frames, and write pairs"]
        lines += [f"loftr-nb data index {data} --out data/index"]
        data = "data/index"
    if layout in _RECIPES:
        lines += ["# train on it", f"loftr-nb train {_RECIPES[layout]} --data {data}"]
    return "\n".join(lines)
