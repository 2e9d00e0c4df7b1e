"""From frames with depth and pose to an index that training reads.

::

    frames -> grids -> candidate pairs -> overlap -> chosen pairs -> index files
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from ..errors import ConfigError, DataError, nearest
from ..recordings import Recording, find_recording
from .choose import BINS, check_bins, held_out_scenes
from .folder import PARTS, IndexFolder, fingerprint
from .report import IndexReport, SceneReport
from .scene_job import IndexOptions, Progress, SceneJob
from .write import write_intrinsics, write_list

STYLES = ("auto", "scannet", "megadepth")


def build_index(
    source: Path | str | Recording,
    out: Path | str | None = None,
    style: str = "auto",
    bins: Sequence[float] = BINS,
    per_bin: int | None = 1000,
    split: float = 0.1,
    every: int = 1,
    per_frame: int | None = 120,
    seed: int = 0,
    as_pickle: bool = False,
    device: str | torch.device | None = None,
    workers: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> IndexReport:
    """Score the overlap of frames and write an index of pairs.

    Args:
        source: a folder of frames in any layout that is known here, or what
            :func:`find_recording` made of it.
        out: folder of the index; None takes ``index`` inside the folder of frames.
            A run that was stopped goes on there; another index is not replaced.
        style: ``scannet`` or ``megadepth``; ``auto`` takes what the files are.
        bins, per_bin, split, every, per_frame, seed, as_pickle: see
            :class:`IndexOptions`. Near-identical pairs, above the last edge, are
            left out: they teach nothing. Edges up to 1 take them in.
        device: None takes a GPU if there is one.
        workers: threads that read depth.
        force: replace what ``out`` holds.
        progress: called with scene, what is done, how many are, of how many.

    Raises:
        DataError: no frames, no pair that overlaps enough, files that no reader
            of that style can open, or ``out`` holds something else.
        ConfigError: an option that cannot be.
    """
    began = time.perf_counter()
    options = IndexOptions(
        check_bins(bins), per_bin, split, every, per_frame, seed, as_pickle
    )
    recording = (
        source if isinstance(source, Recording) else find_recording(Path(source))
    )
    style = _style(recording, style)
    if as_pickle and style == "scannet":
        raise ConfigError("ScanNet's index files are plain arrays: no pickle is needed")
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    out = _out(recording, out)
    held = held_out_scenes([s.name for s in recording.scenes], split)
    root = _root(recording, style)
    folder = IndexFolder(out, root, style, asdict(options), force)
    folder.drop_others({s.name for s in recording.scenes})
    reports, reused = [], 0
    for scene in recording.scenes:
        role = "both" if held is None else PARTS[scene.name in held]
        mark = fingerprint(scene, asdict(options), role)
        report = folder.finished(scene.name, mark)
        reused += report is not None
        if report is None:
            job = SceneJob(scene, role, style, root, out, options, device)
            report = job.run(workers, progress)
            folder.add(report, mark)
        reports.append(report)
    _require_pairs(recording, reports, options)
    lists = _finish(folder, recording, style, reports)
    seconds = time.perf_counter() - began
    return IndexReport(
        root,
        out,
        style,
        options.bins,
        *lists,
        tuple(reports),
        reused,
        seconds,
    )


def _style(recording: Recording, style: str) -> str:
    """``scannet`` or ``megadepth``, and files that its readers open."""
    if style not in STYLES:
        raise ConfigError(f"unknown style {style!r}; {nearest(style, STYLES)}")
    if not recording.scenes or not any(len(s) for s in recording.scenes):
        raise DataError(f"{recording.root} ({recording.layout}) has no frames")
    if style == "auto":
        style = "scannet" if recording.layout == "scannet" else "megadepth"
    if style == "scannet":
        fits = recording.layout == "scannet"
        wants = "frames in sceneXXXX_YY/{color,depth,pose}"
    else:
        depth = next(s for s in recording.scenes if len(s)).depth_path(0)
        fits = depth is not None and depth.suffix == ".h5"
        wants = "depth in .h5 files of the images' size"
    if recording.layout == "photos":
        raise DataError(
            f"{recording.root} holds photos without depth and pose, and overlap comes "
            "from those. To train on homographies: `loftr-nb data import folder --help`"
        )
    if not fits:
        raise DataError(
            f"{recording.root} (layout {recording.layout}) does not fit an index in "
            f"{style}'s style, whose readers want {wants}. Import it first (`loftr-nb "
            "data import --help`), then index what that wrote"
        )
    return style


def _root(recording: Recording, style: str) -> Path:
    """What rows of the index start from: of a single ScanNet scene, its parent."""
    first = next(s for s in recording.scenes if len(s))
    return first.image_path(0).parents[2] if style == "scannet" else recording.root


def _out(recording: Recording, out: Path | str | None) -> Path:
    if out is not None:
        return Path(out)
    return recording.root / "index"


def _require_pairs(
    recording: Recording, reports: list[SceneReport], options: IndexOptions
) -> None:
    if any(r.pairs for r in reports):
        return
    first = next((r.error for r in reports if r.error), None)
    first = first or next((line for r in reports for line in r.left_out), None)
    low, high = options.bins[0], options.bins[-1]
    raise DataError(
        f"{recording.root}: no pair of frames overlaps by {low:g} to {high:g} "
        f"({sum(r.frames for r in reports)} frames in use, "
        f"{sum(r.compared for r in reports)} pairs scored, "
        f"{sum(r.above for r in reports)} of them above). "
        + (f"Left out first: {first}" if first else "Check poses and depth units")
        + " (`loftr-nb data check` names what is wrong)"
    )


def _finish(
    folder: IndexFolder,
    recording: Recording,
    style: str,
    reports: list[SceneReport],
) -> tuple[Path | None, Path | None, Path | None]:
    """Lists and intrinsics; returns the paths of train, test and intrinsics."""
    work: dict[str, Callable[[], None] | None] = {}
    for part in PARTS:
        start = f"{part}/"
        names = [
            f.removeprefix(start)
            for r in reports
            for f in r.files
            if f.startswith(start)
        ]
        path = folder.out / f"{part}.txt"
        work[path.name] = (lambda p=path, n=names: write_list(p, n)) if names else None
    intrinsics = folder.out / "intrinsics.npz"
    work[intrinsics.name] = None
    if style == "scannet":
        by_scene = {
            s.name: s.K(0)
            for s, r in zip(recording.scenes, reports, strict=True)
            if r.pairs
        }
        work[intrinsics.name] = lambda: write_intrinsics(intrinsics, by_scene)
    folder.complete(work)
    train, test, K = (folder.out / n if w else None for n, w in work.items())
    return train, test, K
