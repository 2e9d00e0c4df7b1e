"""Make a pack: what training reads of a dataset, at its size, in one file a scene.

A reader decodes a photograph and a whole depth map for each view, resizes the one
and takes 4,800 of the other's 307,200 numbers. A pack has done so once. Samples are
the plain reader's bit for bit: the same code makes them, from the same bytes.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ..errors import ConfigError, DataError
from .pack_folder import refuse_pack
from .pack_report import PackReport, Progress
from .pack_work import BUILT, SPLITS, Work
from .photo_list import is_photos


def pack_dataset(
    data: Path,
    out: Path,
    size: tuple[int, int] | int | None | str = "default",
    layout: str | None = None,
    split: str = "both",
    min_overlap: float = 0.0,
    compress: bool = False,
    workers: int | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
    started: Callable[[PackReport], None] | None = None,
) -> PackReport:
    """Pack a dataset; complete scenes of an earlier run are kept.

    Args:
        data: ScanNet's or MegaDepth's layout, as :func:`open_dataset` opens it.
        size: ScanNet's (w, h), MegaDepth's longer side, None for the stored size;
            by default 640x480 and 640, as the readers have it.
        split: "train", "test", or "both", where test may be lacking.
        min_overlap: training pairs below it are left out, and so are frames that
            only they show.
        compress: images as PNG: about half the disk, and slower to read.
        workers: threads (default: as many as cores, 16 at most).
        progress: called with frames done, frames in all, and words.
        started: called with the plan before anything is written.

    Raises:
        DataError: nothing to pack, the disk is too small or full, or ``out`` holds
            something else.
        ConfigError: photos, or a pack with other options in ``out``.
    """
    data, out = Path(data), Path(out)
    began = time.perf_counter()
    workers = _worker_count(workers)
    if split not in ("both", *SPLITS):
        raise ConfigError(f"split is {split!r}; it is 'train', 'test' or 'both'")
    if is_photos(data, layout):
        raise ConfigError(
            f"{data} holds photos, whose pairs are drawn anew each epoch: there is "
            "nothing to pack. Train on them as they are"
        )
    refuse_pack(data)
    with tempfile.TemporaryDirectory() as scratch:
        cache = Path(scratch) if dry_run else out / BUILT
        work = Work.open(data, out, size, layout, split, min_overlap, compress, cache)
        report = work.plan(dry_run)
        if started is not None:
            started(report)
        if report.need > report.free:
            raise DataError(
                f"{out} needs {report.need / 1e9:,.2f} GB and its disk has "
                f"{report.free / 1e9:,.2f} GB free. Free some, name a folder "
                "elsewhere, or pack less: --compress, a smaller --size, a --min-overlap"
            )
        if not dry_run:
            work.write(report, workers, progress)
    report.seconds = round(time.perf_counter() - began, 2)
    return report


def _worker_count(workers: int | None) -> int:
    if workers is None:
        return min(os.cpu_count() or 1, 16)
    if workers < 1:
        raise ConfigError(f"workers is {workers}; packing needs at least 1")
    return workers
