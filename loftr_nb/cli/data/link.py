"""Build data/{scannet,megadepth}/{train,test,index} from downloads, by links.

The downloads stay where they are; undo removes what was made and nothing else:
  loftr-nb data link scannet --images scannet_train --test-images scannet_test \\
      --index data/scannet_indices
  loftr-nb data link megadepth --images MegaDepth_v1 --index data/megadepth_indices
  loftr-nb data link scannet --undo

MegaDepth's images may be given as the root, Undistorted_SfM, phoenix or MegaDepth_v1.
Where the system has no links (Windows), a paths file is written that does the same.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ...errors import ConfigError
from ...setup.link import LinkReport, UndoReport, link, unlink


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``loftr-nb data link``."""
    parser.add_argument("layout", choices=("scannet", "megadepth"))
    parser.add_argument("--images", type=Path, metavar="DIR", help="training images")
    parser.add_argument(
        "--test-images", type=Path, metavar="DIR", help="if they lie elsewhere"
    )
    parser.add_argument(
        "--index", type=Path, nargs="+", action="extend", metavar="DIR",
        help="folders of index files, or a flat .h5",
    )  # fmt: skip
    parser.add_argument(
        "--depth", type=Path, metavar="DIR",
        help="MegaDepth's depth maps, if they lie elsewhere",
    )  # fmt: skip
    parser.add_argument(
        "--data", type=Path, default=Path("data"), help="where (default data)"
    )
    parser.add_argument(
        "--relative", action="store_true", help="links relative to where they lie"
    )
    parser.add_argument(
        "--paths-file", action="store_true", help="write paths.json instead of links"
    )
    parser.add_argument("--dry-run", action="store_true", help="say, and do nothing")
    parser.add_argument("--undo", action="store_true", help="remove what was linked")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Link, or undo. Status 1: linked, but files that the index names are missing."""
    if args.undo:
        undone = unlink(args.layout, args.data, args.dry_run)
        print(json.dumps(_undo_json(undone)) if args.json else _undo_text(undone))
        return 0
    if args.index is None:
        raise ConfigError(
            "no index was given: say --index DIR (scannet_indices, megadepth_indices, "
            "or what `loftr-nb data index` wrote)"
        )
    report = link(
        args.layout,
        images=args.images,
        index=args.index,
        depth=args.depth,
        test_images=args.test_images,
        data=args.data,
        dry_run=args.dry_run,
        relative=args.relative,
        paths_file=args.paths_file,
    )
    print(json.dumps(_json(report), indent=2) if args.json else _text(report))
    none = [c for c in report.checks if not c.images]
    return 1 if report.checks and len(none) == len(report.checks) else 0


def _text(report: LinkReport) -> str:
    made = "would be made" if report.dry_run else "made"
    lines = list(report.sources)
    lines.append(f"{'':6} {made:>13}  {'were there':>10}  in {report.folder}")
    for part in ("train", "test", "index", "paths.json"):
        counts = report.made.get(part, 0), report.there.get(part, 0)
        if any(counts):
            lines.append(f"{part:6} {counts[0]:>13,}  {counts[1]:>10,}")
    if report.with_paths and not report.dry_run:
        lines.append("paths.json names the folders; no links are needed")
    if report.left_out:
        more = f" (and {len(report.left_out) - 1} more)" * (len(report.left_out) > 1)
        lines.append(f"left out: {report.left_out[0]}{more}")
    for check in report.checks:
        lines.append(
            f"{check.split}: of a sample, images {check.images:,} found "
            f"{check.images_missing:,} missing, depth maps {check.depths:,} found "
            f"{check.depths_missing:,} missing"
        )
        if check.note:
            lines.append(f"  {check.note}")
    if any(c.ok for c in report.checks):
        lines.append(f"next: loftr-nb data check {report.folder}")
    return "\n".join(lines)


def _json(report: LinkReport) -> dict:
    return {
        "folder": str(report.folder),
        "dry_run": report.dry_run,
        "made": report.made,
        "there": report.there,
        "links": report.links,
        "sources": report.sources,
        "left_out": report.left_out,
        "paths_file": report.with_paths,
        "checks": [vars(c) | {"ok": c.ok} for c in report.checks],
    }


def _undo_text(report: UndoReport) -> str:
    removed = "would be removed" if report.dry_run else "removed"
    lines = [f"{report.folder}: {len(report.removed):,} links {removed}"]
    lines += [f"kept: {k}" for k in report.kept]
    return "\n".join(lines)


def _undo_json(report: UndoReport) -> dict:
    return {
        "folder": str(report.folder),
        "dry_run": report.dry_run,
        "removed": report.removed,
        "kept": report.kept,
    }
