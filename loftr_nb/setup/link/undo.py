"""Remove links that were made here, and nothing else."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ...datasets.layout import Layout
from ...datasets.linked import PATHS_FILE
from ...errors import DataError
from .manifest import MANIFEST, Manifest, is_our_link, read_manifest


@dataclass
class UndoReport:
    """What was removed, or would be; ``kept`` says what is ours no longer, and why."""

    folder: Path
    dry_run: bool
    removed: list[str]
    kept: list[str]


def unlink(
    layout: Layout, data: Path = Path("data"), dry_run: bool = False
) -> UndoReport:
    """Remove what :func:`loftr_nb.setup.link.link` made, where it is as it was made.

    Raises:
        DataError: nothing was linked there, or it is not known what was.
    """
    folder = Path(data) / layout
    manifest = read_manifest(folder)
    if manifest is None:
        raise DataError(
            f"{folder} has no {MANIFEST}: `loftr-nb data link` made nothing there"
        )
    report = UndoReport(folder, dry_run, [], [])
    try:
        for name, target in manifest.links.items():
            _undo_one(folder / name, target, report)
        _undo_paths(folder, manifest, report)
        if not dry_run:
            _remove_folders(folder, manifest.folders)
            (folder / MANIFEST).unlink()
            if "." in manifest.folders and not any(folder.iterdir()):
                folder.rmdir()
    except OSError as error:
        raise DataError(
            f"{error.filename or folder} could not be removed ({error.strerror}); "
            f"{len(report.removed)} links were. Run --undo again where you may write"
        ) from None
    return report


def _undo_one(path: Path, target: str, report: UndoReport) -> None:
    name = path.relative_to(report.folder).as_posix()
    if is_our_link(path, target):
        if not report.dry_run:
            path.unlink()
        report.removed.append(name)
    elif path.is_symlink():
        report.kept.append(f"{name} points elsewhere now, to {os.readlink(path)}")
    elif path.exists():
        report.kept.append(f"{name} is no link now")


def _undo_paths(folder: Path, manifest: Manifest, report: UndoReport) -> None:
    path = folder / PATHS_FILE
    if manifest.paths_file is None or not path.is_file():
        return
    if path.read_text(encoding="utf-8") != manifest.paths_file:
        report.kept.append(f"{PATHS_FILE} was edited")
        return
    if not report.dry_run:
        path.unlink()
    report.removed.append(PATHS_FILE)


def _remove_folders(folder: Path, names: list[str]) -> None:
    """Folders that we made and that are empty, the deepest first."""
    for name in sorted(names, key=len, reverse=True):
        path = folder / name
        if name != "." and path.is_dir() and not any(path.iterdir()):
            path.rmdir()
