"""Unpack downloaded archives, and the tars inside them.

The zip of the released indices, or tars one by one; run again, it goes on:
  loftr-nb data extract downloaded-file.zip
  loftr-nb data extract scannet_indices.tar megadepth_indices.tar --to data
  loftr-nb data extract downloaded-file.zip --list
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path

from ...progress import StatusLine, duration
from ...setup.extract import (
    ExtractReport,
    Plan,
    extract,
    gigabytes,
    plan_extraction,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``loftr-nb data extract``."""
    parser.add_argument(
        "files", type=Path, nargs="+", metavar="FILE", help="zip, tar, tar.gz, tgz"
    )
    parser.add_argument(
        "--to", type=Path, default=Path("data"), help="folder (default data)"
    )
    parser.add_argument(
        "--list", action="store_true", help="show what is inside, write nothing"
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace files that are there with other content",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Unpack, or list."""
    progress = _Line(StatusLine(every=5, on=not args.json))
    if args.list:
        plan = plan_extraction(args.files, args.to, progress)
        print(json.dumps(_plan_json(plan), indent=2) if args.json else _plan_text(plan))
        return 2 if plan.refused else 0
    report = extract(args.files, args.to, progress, args.overwrite)
    if args.json:
        print(json.dumps(_report_json(report), indent=2))
    else:
        progress.status.say(_report_text(report))
    return 0


class _Line:
    """``extracting 34 %  7.1 of 21.0 GB  3 min 10 s left  scannet_indices/...``"""

    def __init__(self, status: StatusLine) -> None:
        self.status = status
        self.stage, self.started = "", 0.0

    def __call__(self, stage: str, done: int, total: int, name: str) -> None:
        if stage != self.stage:
            self.stage, self.started = stage, time.monotonic()
        self.status.show(lambda: self._text(done, total, name))

    def _text(self, done: int, total: int, name: str) -> str:
        share = done / total if total else 1.0
        passed = time.monotonic() - self.started
        left = ""
        if passed > 2 and 0 < share < 1:
            left = f"  {duration(passed / share - passed)} left"
        short = name if len(name) <= 40 else "..." + name[-37:]
        return (
            f"{self.stage} {share:4.0%}  {gigabytes(done)} of {gigabytes(total)}"
            f"{left}  {short}"
        )


def _by_folder(files: dict[str, int]) -> list[str]:
    """One line a folder: number of files, bytes, name."""
    count: Counter[str] = Counter()
    size: Counter[str] = Counter()
    for name, n in files.items():
        folder = name.rpartition("/")[0] or "."
        count[folder] += 1
        size[folder] += n
    return [f"{count[f]:>9,}  {gigabytes(size[f]):>9}  {f}" for f in sorted(count)]


def _plan_text(plan: Plan) -> str:
    lines = [f"{'files':>9}  {'size':>9}  folder below {plan.to}"]
    lines += _by_folder(plan.files)
    lines.append(
        f"{len(plan.files):,} files, {gigabytes(plan.bytes)}; {len(plan.there):,} are "
        f"there; {gigabytes(plan.needed)} to write, {gigabytes(plan.free)} free"
    )
    if plan.links:
        lines.append(f"{len(plan.links):,} links inside")
    lines += [f"warning: {w}" for w in plan.warnings[:5]]
    lines += [f"in the way: {plan.to / n} has another size" for n in plan.others[:5]]
    lines += [f"refused: {r}" for r in plan.refused[:20]]
    if plan.refused:
        lines.append(f"{len(plan.refused):,} refused: nothing of this is extracted")
    return "\n".join(lines)


def _plan_json(plan: Plan) -> dict:
    return {
        "to": str(plan.to),
        "archives": [str(p) for p in plan.archives],
        "files": plan.files,
        "there": len(plan.there),
        "other_size": plan.others,
        "bytes": plan.bytes,
        "needed": plan.needed,
        "free": plan.free,
        "refused": [str(r) for r in plan.refused],
        "warnings": plan.warnings,
        "places": _places_json(plan),
    }


def _places_json(source: Plan | ExtractReport) -> dict[str, list[str]]:
    found = source.places.folders
    return {what: [str(p) for p in folders] for what, folders in found.items()}


def _report_json(report: ExtractReport) -> dict:
    return {
        "to": str(report.to),
        "archives": [str(p) for p in report.archives],
        "written": len(report.written),
        "skipped": report.skipped,
        "bytes": report.bytes,
        "left_out": report.left_out,
        "warnings": report.warnings,
        "places": _places_json(report),
        "next": report.places.commands(),
    }


def _report_text(report: ExtractReport) -> str:
    lines = [
        f"{report.to}: {len(report.written):,} files written "
        f"({gigabytes(report.bytes)}), {report.skipped:,} were there and are right"
    ]
    if report.left_out:
        lines.append(f"{report.left_out:,} side files of macOS left out")
    lines += [f"warning: {w}" for w in report.warnings[:5]]
    for what, folders in sorted(report.places.folders.items()):
        lines.append(f"{what + ':':18}{', '.join(map(str, folders))}")
    commands = report.places.commands()
    if commands:
        lines += ["next:", *(f"  {c}" for c in commands)]
        lines.append("DIR: the training images; for tests only, leave --images out")
    return "\n".join(lines)
