"""Build ``data/<layout>/{train,test,index}`` from downloads that stay where they are.

All that is to be done is planned and judged before anything is; then it is done, and
undone again if a step fails. What was made is written down, and nothing else is ever
replaced or removed.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...datasets.layout import LAYOUTS, Layout
from ...datasets.linked import PATHS_FILE, read_paths
from ...errors import ConfigError, DataError, nearest
from ...files import write_whole
from .check import LinkCheck, check_links
from .manifest import MANIFEST, Manifest, read_manifest, refused
from .plan import LinkPlan, plan_links

# What systems say that have no links, or none for this user.
_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP)
_WINDOWS_PRIVILEGE = 1314


@dataclass
class LinkReport:
    """What was linked, or would be.

    made, there: number of links by part (train, test, index). with_paths: a paths
    file was written instead of links. checks: whether index entries resolve.
    """

    layout: Layout
    folder: Path
    dry_run: bool
    made: dict[str, int]
    there: dict[str, int]
    links: dict[str, str]
    sources: list[str]
    left_out: list[str] = field(default_factory=list)
    with_paths: bool = False
    checks: list[LinkCheck] = field(default_factory=list)


def link(
    layout: Layout,
    images: Path | None,
    index: Path | Sequence[Path],
    depth: Path | None = None,
    test_images: Path | None = None,
    data: Path = Path("data"),
    dry_run: bool = False,
    relative: bool = False,
    paths_file: bool = False,
) -> LinkReport:
    """Make ``<data>/<layout>/{train,test,index}`` point to images and index files.

    Args:
        images: ScanNet: the folder of the training scenes, or one that holds
            ``scannet_train`` and ``scannet_test``. MegaDepth: the root of its tree or
            a part of it; train and test are the same images.
        index: folder(s) of index files, as unpacked; or a flat ``.h5``.
        depth: MegaDepth's depth maps, if they lie elsewhere.
        test_images: images of the test pairs, if they lie elsewhere.
        dry_run: say what would be done, and do nothing.
        relative: links that stay right when data and images are moved together.
        paths_file: write ``paths.json`` instead of links; done by itself where the
            system has no links.

    Raises:
        DataError: a folder is not what it should be, something else has the name of
            a link, or the disk refuses. Nothing is changed then.
    """
    if layout not in LAYOUTS:
        raise ConfigError(f"unknown layout {layout!r}; {nearest(layout, LAYOUTS)}")
    plan = plan_links(layout, images, index, depth, test_images, Path(data))
    report = LinkReport(
        layout=layout,
        folder=plan.folder,
        dry_run=dry_run,
        made={},
        there={},
        links={},
        sources=plan.sources,
        left_out=plan.left_out,
        with_paths=paths_file,
    )
    if not paths_file:
        new = plan.new_links(relative)
        _count(report, plan, new)
        if dry_run or not new:
            report.checks = (
                [] if dry_run else check_links(plan.folder, layout, plan.indices)
            )
            return report
        try:
            _make(plan, new)
        except _NoLinks:
            report.with_paths = True
    if report.with_paths:
        _write_paths(plan, report)
    if not dry_run:
        report.checks = check_links(plan.folder, layout, plan.indices)
    return report


class _NoLinks(Exception):
    """This system makes no symbolic links."""


def _count(report: LinkReport, plan: LinkPlan, new: dict[str, str]) -> None:
    report.links = new
    for name in plan.links:
        part = name.split("/")[0]
        counts = report.made if name in new else report.there
        counts[part] = counts.get(part, 0) + 1


def _make(plan: LinkPlan, new: dict[str, str]) -> None:
    """Make links, all or none."""
    before = read_manifest(plan.folder)
    made: list[Path] = []
    folders: list[Path] = []
    try:
        _make_folders(plan, folders)
        _note(plan, before, folders, links=new)
        for name, target in new.items():
            _symlink(target, plan.folder / name)
            made.append(plan.folder / name)
    except BaseException as error:
        for path in reversed(made):
            path.unlink(missing_ok=True)
        _restore(plan.folder, before, folders)
        if isinstance(error, OSError):
            raise DataError(refused(plan.folder, error)) from None
        raise


def _symlink(target: str, path: Path) -> None:
    try:
        # Windows makes links to files and to folders differently.
        os.symlink(target, path, target_is_directory=(path.parent / target).is_dir())
    except NotImplementedError:
        raise _NoLinks from None
    except OSError as error:
        if error.errno in _NO_LINKS or (
            getattr(error, "winerror", None) == _WINDOWS_PRIVILEGE
        ):
            raise _NoLinks from None
        raise


def _make_folders(plan: LinkPlan, made: list[Path]) -> None:
    """Folders that links lie in; each that is new is added to ``made``."""
    parts = {plan.folder / part for part in ("train", "test", "index")}
    for folder in sorted(parts | {(plan.folder / name).parent for name in plan.links}):
        missing = [p for p in (folder, *folder.parents) if not p.exists()]
        for path in reversed(missing):
            path.mkdir()
            made.append(path)


def _note(
    plan: LinkPlan,
    before: Manifest | None,
    folders: list[Path],
    links: dict[str, str] | None = None,
    paths_file: str | None = None,
) -> None:
    """Add to the manifest what is about to be made."""
    manifest = Manifest(plan.layout)
    if before is not None:
        manifest = Manifest(
            plan.layout, dict(before.links), list(before.folders), before.paths_file
        )
    manifest.links |= links or {}
    ours = (p for p in folders if p.is_relative_to(plan.folder))
    manifest.folders += [p.relative_to(plan.folder).as_posix() for p in ours]
    manifest.paths_file = paths_file or manifest.paths_file
    manifest.save(plan.folder)


def _restore(folder: Path, before: Manifest | None, folders: list[Path]) -> None:
    """The manifest and the folders as they were."""
    if before is not None:
        before.save(folder)
    else:
        (folder / MANIFEST).unlink(missing_ok=True)
    for path in reversed(folders):
        path.rmdir()


def _write_paths(plan: LinkPlan, report: LinkReport) -> None:
    paths = read_paths(plan.folder)
    wanted = plan.paths(paths)
    report.made, report.there = {}, {}
    same = wanted == paths
    (report.there if same else report.made)[PATHS_FILE] = 1
    if report.dry_run or same:
        return
    before = read_manifest(plan.folder)
    if paths and (before is None or before.paths_file is None):
        raise DataError(
            f"{plan.folder / PATHS_FILE} is there and was not written by `loftr-nb "
            "data link`. It stays as it is: move it away, or edit it by hand"
        )
    text = json.dumps(wanted, indent=1, ensure_ascii=False)
    folders: list[Path] = []
    try:
        _make_folders(plan, folders)
        _note(plan, before, folders, paths_file=text)
        path = plan.folder / PATHS_FILE
        write_whole(path, lambda file: file.write(text.encode()))
    except BaseException as error:
        _restore(plan.folder, before, folders)
        if isinstance(error, OSError):
            raise DataError(refused(plan.folder, error)) from None
        raise
