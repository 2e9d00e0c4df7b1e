"""Recordings of colour and depth, whatever their layout, as ScanNet scenes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ConfigError, DataError
from ...recordings import Scene
from .output import (
    SceneFolder,
    check_every,
    claim,
    encode,
    require_space,
    to_millimetres,
)
from .report import ImportReport, Progress


class RgbdSource(ABC):
    """What an importer knows of its layout.

    kind: its name. scenes: of the recording. every: take each so manieth frame.
    options: those that change what is written; a later run must have the same.
    notes: what the user should know afterwards.
    """

    kind: str

    def __init__(self, scenes: Sequence[Scene], every: int) -> None:
        self.scenes = scenes
        self.every = check_every(every)
        self.options: dict[str, Any] = {"every": every}
        self.notes: list[str] = []

    def place(self, scene: Scene) -> Path:
        """Scenes of one place are kept together by a split."""
        return scene.folder

    def number(self, scene: Scene, k: int) -> int:
        """The number that frame k gets."""
        return k

    def prepare(self, scene: Scene, folder: SceneFolder) -> None:
        """Called once for each scene, before its first frame is written."""
        return

    @abstractmethod
    def K(self, scene: Scene) -> np.ndarray:
        """(3, 3), pixels of the depth map that :meth:`frame` gives."""

    @abstractmethod
    def frame(self, scene: Scene, k: int) -> tuple[bytes, np.ndarray, np.ndarray]:
        """JPEG, depth (H, W) metres on its pixels, and pose (4, 4) camera to world.

        Raises:
            DataError: a file of the frame is unusable: it is left out.
        """


def write_scenes(
    source: RgbdSource,
    out: Path,
    scene: str | None,
    progress: Progress | None,
    dry_run: bool,
) -> ImportReport:
    """Write all scenes of a source below ``out``.

    A frame that cannot be used is left out and counted, the first one named.

    Raises:
        DataError: no frame can be used, ``out`` holds something else, or the disk is
            too small.
        ConfigError: ``scene`` cannot be.
    """
    if scene is not None and len(source.scenes) > 1:
        raise ConfigError(
            f"there are {len(source.scenes)} sequences, and --scene names one: import "
            "them one by one, or leave the names to the command"
        )
    folders: list[SceneFolder] = []
    for one in source.scenes:
        place = source.place(one)
        folders.append(
            claim(out, source.kind, one.folder, source.options, scene, place, folders)
        )
    jobs = [
        (one, folder, k)
        for one, folder in zip(source.scenes, folders, strict=True)
        for k in range(0, len(one), source.every)
    ]
    size = _estimate(source, jobs)
    names = tuple(folder.name for folder in folders)
    if dry_run:
        return ImportReport(source.kind, out, names, len(jobs), 0, 0, {}, size, True)
    missing = [job for job in jobs if not job[1].has(source.number(job[0], job[2]))]
    require_space(out, round(size * len(missing) / len(jobs)))
    written, size, without = _write(source, missing, len(jobs), progress)
    if written == 0 and len(missing) == len(jobs):
        raise DataError(f"{out}: no frame could be used. The first: {without[0]}")
    for folder in folders:
        folder.finish(sum(job[1] is folder for job in jobs))
    if without:
        source.notes.append(f"the first frame left out: {without[0]}")
    return ImportReport(
        kind=source.kind,
        out=out,
        scenes=names,
        frames=len(jobs),
        written=written,
        kept=len(jobs) - len(missing),
        without={"frames with an unusable file": len(without)} if without else {},
        size=size,
        notes=tuple(source.notes),
        next_step=f"loftr-nb data index {out}",
    )


def _write(
    source: RgbdSource, missing: list, count: int, progress: Progress | None
) -> tuple[int, int, list[DataError]]:
    """Frames and bytes written, and what was wrong with the others."""
    started, size, without = Counter(), 0, []
    for done, (scene, folder, k) in enumerate(missing, 1):
        if not started[folder.name]:
            source.prepare(scene, folder)
            folder.start()
            folder.write_intrinsics(source.K(scene), source.K(scene))
        started[folder.name] += 1
        try:
            jpeg, depth, pose = _usable(source, scene, k)
        except DataError as error:
            without.append(error)
        else:
            size += folder.write_frame(source.number(scene, k), jpeg, depth, pose)
        if progress:
            progress(count - len(missing) + done, count, folder.name)
    return len(missing) - len(without), size, without


def _usable(
    source: RgbdSource, scene: Scene, k: int
) -> tuple[bytes, np.ndarray, np.ndarray]:
    jpeg, depth, pose = source.frame(scene, k)
    millimetres = to_millimetres(depth)
    if not millimetres.any():
        raise DataError(f"{scene.depth_path(k)} has no depth on the colour image")
    return jpeg, millimetres, pose


def _estimate(source: RgbdSource, jobs: list) -> int:
    """Bytes of all frames, from three of them."""
    some = sorted({0, len(jobs) // 2, len(jobs) - 1})
    sizes = []
    for scene, _, k in (jobs[n] for n in some):
        try:
            jpeg, depth, _ = _usable(source, scene, k)
            sizes.append(len(jpeg) + len(encode(".png", depth, [])) + 200)
        except DataError:
            continue
    return round(float(np.mean(sizes)) * len(jobs)) if sizes else 0
