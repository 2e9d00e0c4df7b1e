"""The whole check: index, then every frame, then rows, then geometry."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from ...errors import ConfigError
from ...recordings import Recording, Scene
from ..geometry_check import geometry_check
from .causes import MISSING, cause_of
from .fix import Cleaner
from .frames import check_frames
from .open import Opened, open_source
from .pool import CHUNK, Pace, in_parallel, worker_count
from .report import CheckReport, Fixed, Tally
from .rows import Rows
from .scenes import SceneTally, SomeFrames, missing_scene, stray_files
from .sources import find_sources

Progress = Callable[[int, int, str], None]


def check_data(
    root: Path | str,
    layout: str | None = None,
    index: Path | str | None = None,
    workers: int | None = None,
    geometry: bool = True,
    pairs: int = 24,
    progress: Progress | None = None,
    quick: bool = False,
    fix: bool = False,
) -> CheckReport:
    """Go through index, images, depths, poses and intrinsics of a folder.

    With an index, the frames that its rows use are checked, each once; without, all
    frames of the recording. Rows are compared scene by scene as arrays.

    Args:
        root: any layout that the readers or :func:`find_recording` know, or a
            folder that ``loftr-nb data index`` wrote.
        layout: only where ``root`` can be read in two ways.
        index: the index of the images in ``root``: file, text list or folder.
        workers: threads; None takes the number of cores.
        geometry: also hold depth, pose and K of ``pairs`` pairs against the images
            (:func:`loftr_nb.setup.geometry_check`), of frames that can be used.
        progress: called with done, total and words, while it works.
        quick: headers, end marks and sizes only. Finds what is missing or
            truncated, not what is damaged in the middle.
        fix: write a cleaned index beside the old one, which stays as it is.

    Returns:
        A report; ``ok`` when nothing stands in the way of training. After Ctrl-C
        the report of what was seen until then, ``stopped``.

    Raises:
        DataError: no such folder, nothing in it that is known here, or the cleaned
            index cannot be written.
        ConfigError: a mistyped layout, or numbers that cannot be.
    """
    workers = worker_count(workers)
    if pairs < 1:
        raise ConfigError(f"pairs is {pairs}; the geometry check needs at least 1")
    sources = find_sources(Path(root), layout, None if index is None else Path(index))
    check = _Check(Path(root), workers, progress, quick)
    try:
        for source in sources:
            opened = open_source(source, check.tally, progress)
            check.frames(opened)
            cleaner = Cleaner(source) if fix else None
            check.rows(opened, cleaner)
            if geometry:
                check.geometry(opened, pairs)
            if cleaner is not None:
                check.fixed.append(cleaner.write(progress))
    except KeyboardInterrupt:
        check.stopped = True
    return check.report(tuple(s.layout for s in sources))


class _Check:
    """A check that is under way."""

    def __init__(
        self, root: Path, workers: int, progress: Progress | None, quick: bool
    ) -> None:
        self.root, self.workers = root, workers
        self.progress, self.quick = progress, quick
        self.began = time.perf_counter()
        self.tally = Tally()
        self.geometries: dict = {}
        self.notes: list[str] = []
        self.fixed: list[Fixed] = []
        self.stopped = False
        self.scenes = self.frame_count = self.pairs = self.bytes = 0

    def frames(self, opened: Opened) -> None:
        """Every frame once; each scene's codes end up in ``opened``."""
        there = []
        for n, scene in enumerate(opened.scenes):
            if opened.is_missing(scene):
                opened.set_codes(n, missing_scene(scene, self.tally, opened.excerpt))
            else:
                there.append(n)
        self.scenes += len(opened.scenes)
        total = sum(len(opened.scenes[n]) for n in there)
        pace = Pace(total, self.progress, f"frames of {opened.layout}")
        tasks = self._tasks(opened, there)
        state: SceneTally | None = None
        last = -1
        try:
            for n, seen in in_parallel(tasks, self.workers):
                if n != last:
                    self._finish(opened, last, state)
                    state = self._tally_of(opened, n)
                    last = n
                for frame in seen:
                    state.add(frame)
                self.bytes += sum(frame.bytes for frame in seen)
                self.frame_count += len(seen)
                pace.step(len(seen), opened.scenes[n].name)
        finally:
            self._finish(opened, last, state)

    def _tasks(self, opened: Opened, there: list[int]):
        for n in there:
            scene = opened.scenes[n]
            for start in range(0, len(scene), CHUNK):
                ks = range(start, min(start + CHUNK, len(scene)))
                yield partial(self._task, n, scene, ks, opened.layout)

    def _task(self, n: int, scene: Scene, ks: range, layout: str):
        return n, check_frames(scene, ks, layout, self.quick)

    def _tally_of(self, opened: Opened, n: int) -> SceneTally:
        return SceneTally(
            opened.scenes[n], opened.layout, self.tally, opened.indexed, opened.excerpt
        )

    def _finish(self, opened: Opened, n: int, state: SceneTally | None) -> None:
        if state is None:
            return
        state.finish()
        opened.set_codes(n, state.codes)
        if not opened.excerpt:
            stray_files(state.scene, self.tally)

    def rows(self, opened: Opened, cleaner: Cleaner | None) -> None:
        """Rows against the frames' codes; ``cleaner`` learns which to keep."""
        milder = "warning" if opened.excerpt else None
        for number, file in enumerate(opened.files):
            codes_of = opened.codes_of(number)
            counts = np.zeros(256, np.int64)
            for rows in file.rows():
                codes = codes_of.of(rows)
                counts += np.bincount(codes, minlength=256)
                self._tell(file.path, rows, codes, milder)
            self.pairs += int(counts.sum())
            self.tally.looked_at("rows", int(counts.sum()))
            if cleaner is not None:
                cleaner.add(opened.part_of(number), file, codes_of, counts)
            if self.progress and len(opened.files) > 20:
                self.progress(number + 1, len(opened.files), "rows of index files")

    def _tell(self, path: Path, rows: Rows, codes: np.ndarray, milder) -> None:
        for code in np.unique(codes[codes > 0]).tolist():
            these = codes == code
            cause = cause_of(code)
            i = int(these.argmax())
            first = f"{path}, row {rows.number[i]}: {rows.scene}, frames "
            first += f"{rows.frame0[i]} and {rows.frame1[i]}: {cause.replace('_', ' ')}"
            if cause == "row_empty":
                self.tally.add("row_empty", first, int(these.sum()))
            elif cause in MISSING:
                self.tally.add("row_no_file", first, int(these.sum()), milder)
            else:
                self.tally.add("row_unusable", first, int(these.sum()))

    def geometry(self, opened: Opened, pairs: int) -> None:
        """Depth, pose and K against the images, on frames that can be used."""
        if opened.layout == "photos":
            self.notes.append(
                "Plain photos have no depth and no pose: nothing to hold against the "
                "images. Train on homographies of them."
            )
            return
        scenes = [
            SomeFrames(scene, np.flatnonzero(opened.codes[n] == 0))
            for n, scene in enumerate(opened.scenes)
        ]
        usable = tuple(s for s in scenes if len(s) > 1)
        if not usable:
            self.notes.append(
                f"Geometry of {opened.layout} was not checked: no scene has two frames "
                "that can be used."
            )
            return
        recording = Recording(opened.layout, opened.root, usable)
        report = geometry_check(recording, pairs=pairs, progress=self.progress)
        self.geometries[opened.layout] = report
        fitting = {r.scene for r in report.rows if r.median_px <= r.limit_px}
        if report.ok and fitting >= {s.name for s in usable}:
            # Depth and pose in one unit fit each other whatever the unit is. A
            # scene that no pair was judged of has shown nothing.
            self.tally.lower("depth_unit")

    def report(self, layouts: tuple[str, ...]) -> CheckReport:
        """What was found so far."""
        return CheckReport(
            root=self.root,
            layouts=layouts,
            findings=self.tally.findings(),
            geometry=self.geometries,
            notes=tuple(self.notes),
            scenes=self.scenes,
            frames=self.frame_count,
            pairs=self.pairs,
            bytes=self.bytes,
            seconds=time.perf_counter() - self.began,
            quick=self.quick,
            stopped=self.stopped,
            fixed=tuple(self.fixed),
        )
