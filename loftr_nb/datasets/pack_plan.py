"""What a pack is to hold: the frames that the index names, scene by scene.

Letters: F frames.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..errors import DataError
from ..files import read_pose_txt
from .megadepth import MegaDepth
from .pack_file import (
    FRAME_OVERHEAD,
    PackedFrame,
    SceneFile,
    image_bytes,
    write_scene_file,
)
from .pack_folder import VERSION, PackOptions
from .packed import frame_key
from .scannet import ScanNet
from .split import without_range

T = TypeVar("T")
_NAMED = 20  # faults of a scene that are kept in words


class FaultyScene(DataError):
    """A scene with frames that cannot be packed. faults: what is wrong, in words."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__(faults[0])
        self.faults = faults


@dataclass(frozen=True)
class SceneJob:
    """A scene to pack.

    path: its file. keys: (F,) what the index calls its frames, sorted. shown: (F,)
    2 i + side, a pair that shows the frame, for the reader. identity: digest of all
    that decides the file but its sources.
    """

    dataset: ScanNet | MegaDepth
    path: Path
    keys: tuple[bytes, ...]
    shown: np.ndarray
    K: np.ndarray | None
    identity: str
    compress: bool

    def __len__(self) -> int:
        return len(self.keys)

    def sources(self, workers: int) -> str:
        """Digest of sizes and times of the files it is made of."""

        def stats(where: int) -> str:
            try:
                files = self.dataset.files(*divmod(int(where), 2))
            except DataError:  # said when the frame is read
                return "?"
            found = [None if f is None or not f.exists() else f.stat() for f in files]
            return repr([f and (f.st_size, f.st_mtime_ns) for f in found])

        digest = hashlib.sha256()
        with ThreadPoolExecutor(workers) as pool:
            for text in pool.map(stats, self.shown):
                digest.update(text.encode())
        return digest.hexdigest()

    def stored(self) -> SceneFile | None:
        """Its file, where it is there with these frames."""
        try:
            scene = SceneFile(self.path, Path())
        except DataError:
            return None
        return scene if scene.identity == self.identity else None

    def write(self, sources: str, workers: int, tell: Callable[[], None]) -> int:
        """Pack it; returns the size of the file.

        Raises:
            FaultyScene: files cannot be read; nothing is written.
            DataError: the disk is full.
        """
        frames = self._frames(workers, tell)
        return write_scene_file(
            self.path, frames, self.identity, sources, self.K, self.compress
        )

    def frame(self, k: int) -> PackedFrame:
        """Frame k, as the plain reader gives it."""
        i, side = divmod(int(self.shown[k]), 2)
        frame = self.dataset.frame(i, side)
        name = Path(frame.name).relative_to(self.dataset.root).as_posix()
        return PackedFrame(self.keys[k], name, frame, self._pose(i, side))

    def _pose(self, i: int, side: int) -> np.ndarray | None:
        if isinstance(self.dataset, MegaDepth):
            return None
        path = self.dataset.files(i, side)[2]
        # An index with poses of its own is read where there are no files.
        if self.dataset.table.rel_pose is not None and not path.exists():
            return None
        return read_pose_txt(path)

    def _frames(self, workers: int, tell: Callable[[], None]) -> Iterator[PackedFrame]:
        faults: list[str] = []

        def read(k: int) -> PackedFrame | str:
            try:
                return self.frame(k)
            except DataError as error:
                return str(error)

        for done in in_order(read, range(len(self)), workers):
            tell()
            if isinstance(done, PackedFrame):
                yield done
            elif len(faults) < _NAMED:
                faults.append(done)
        if faults:
            raise FaultyScene(faults)


def in_order(
    work: Callable[[Any], T], items: Iterable[Any], workers: int
) -> Iterator[T]:
    """Results in the order of ``items``, a few under way at a time, by threads.

    OpenCV decodes without holding Python's lock.
    """
    with ThreadPoolExecutor(workers) as pool:
        under_way: deque = deque()
        try:
            for item in items:
                under_way.append(pool.submit(work, item))
                if len(under_way) > 3 * workers:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:  # after Ctrl-C, too: what has not begun never begins
            for one in under_way:
                one.cancel()


def plan_scenes(
    dataset: ScanNet | MegaDepth, folder: Path, options: PackOptions
) -> list[SceneJob]:
    """The scenes that a split's pairs need, each with its frames."""
    places: dict[str, dict[bytes, int]] = {}
    table, groups = dataset.table, dataset.table.groups()
    for g, scene in enumerate(groups.scene):
        name = without_range(table.scenes[scene])
        rows = groups.at(np.arange(groups.offsets[g], groups.offsets[g + 1]))
        sides = [np.asarray(c[rows]) for c in (table.frame0, table.frame1)]
        _, first = np.unique(np.concatenate(sides), return_index=True)
        side, row = np.divmod(first, len(rows))
        for i, s in zip(rows[row].tolist(), side.tolist(), strict=True):
            places.setdefault(name, {}).setdefault(frame_key(dataset, i, s), 2 * i + s)
    return [
        _job(dataset, folder / f"{name}.h5", frames, options)
        for name, frames in places.items()
    ]


def _job(
    dataset: ScanNet | MegaDepth,
    path: Path,
    frames: dict[bytes, int],
    options: PackOptions,
) -> SceneJob:
    keys = tuple(sorted(frames))
    K = dataset.intrinsics(path.stem) if isinstance(dataset, ScanNet) else None
    decided = [VERSION, options.layout, options.size, options.divisor]
    decided += [options.compress, dataset.depth, None if K is None else K.tolist()]
    digest = hashlib.sha256(json.dumps(decided).encode())
    for key in keys:
        digest.update(key + b"\0")
    shown = np.array([frames[key] for key in keys], np.int64)
    return SceneJob(dataset, path, keys, shown, K, digest.hexdigest(), options.compress)


def bytes_per_frame(jobs: list[SceneJob], samples: int = 16) -> float:
    """Of a pack, measured on frames from all over it; exact where all are alike.

    Raises:
        DataError: none of them can be read.
    """
    sizes, error = [], None
    for job in jobs[:: max(len(jobs) // samples, 1)][:samples]:
        for k in {0, len(job) // 2}:
            try:
                frame = job.frame(k).frame
            except DataError as failed:
                error = failed
                continue
            image = image_bytes(frame.grey, job.compress).size
            sizes.append(image + frame.grey.size // 16 + FRAME_OVERHEAD)
    if not sizes and error is not None:
        raise error
    return float(np.mean(sizes)) if sizes else 0.0
