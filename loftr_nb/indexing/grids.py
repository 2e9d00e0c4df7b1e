"""Depth of a whole recording on small grids, read once.

A video of 3,000 frames is 1.8 GB of depth as float32. Whether two frames show
the same surface is decided as well on every 8th pixel: 58 MB, which stay in
memory while hundreds of thousands of pairs are scored.

Letters: F frames, h and w grid cells.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from ..errors import ConfigError, DataError
from ..files import require_file
from ..recordings import Scene

CELL = 8  # pixels between two depths of a grid, of images of up to 800 pixels
LONGEST = 100  # cells along the longer side, of larger images

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Grids:
    """Usable frames of a scene: depth on a grid, intrinsics and pose.

    number: (F,) int64, place in the scene's ``frames``.
    depth: (F, h, w) float32 metres, 0 = unknown. Smaller maps end in zeros.
    K: (F, 3, 3) float64, in cells: grid cell (x, y) has its depth from the pixel
        in its middle.
    pose: (F, 4, 4) float64, world to camera.
    step: (F,) int64, original pixels per cell.
    size: (F, 2) int64, width and height of the depth map in original pixels.
    """

    number: np.ndarray
    depth: np.ndarray
    K: np.ndarray
    pose: np.ndarray
    step: np.ndarray
    size: np.ndarray

    def __len__(self) -> int:
        return len(self.number)

    def pixels(self, frame: np.ndarray, cells: np.ndarray) -> np.ndarray:
        """Grid positions (N, 2) of frames (N,) in original pixels."""
        step = self.step[frame][:, None]
        return cells * step + step // 2


@dataclass(frozen=True)
class _Frame:
    depth: np.ndarray
    K: np.ndarray
    pose: np.ndarray
    step: int
    size: tuple[int, int]


def read_grids(
    scene: Scene,
    every: int = 1,
    workers: int | None = None,
    progress: Progress | None = None,
) -> tuple[Grids, tuple[str, ...]]:
    """Read each frame's depth once, in parallel, and keep its grid.

    A frame with a missing or damaged file, or a pose that is not finite, is left
    out. Of the image only the presence is looked at: decoding it would cost more
    than all the rest, and ``loftr-nb data check`` does it.

    Args:
        scene: whose frames.
        every: take every n-th frame that has a pose and an image.
        workers: threads; None takes a few.
        progress: called with frames done and frames in all.

    Returns:
        The grids of the usable frames in order, and a line for each other frame.

    Raises:
        ConfigError: fewer than one worker, or ``every`` below 1.
    """
    workers = min(8, os.cpu_count() or 1) if workers is None else workers
    for what, number in (("workers", workers), ("every", every)):
        if number < 1:
            raise ConfigError(f"{what} is {number}, it must be 1 or more")
    kept, frames, left_out = [], [], []
    pool = ThreadPoolExecutor(workers)
    try:
        posed = list(pool.map(lambda k: _posed(scene, k), range(len(scene))))
        left_out += [p for p in posed if isinstance(p, str)]
        numbers = [k for k, p in enumerate(posed) if not isinstance(p, str)][::every]
        answers = pool.map(lambda k: _read(scene, k, posed[k]), numbers)
        for done, (k, answer) in enumerate(zip(numbers, answers, strict=True), 1):
            if isinstance(answer, str):
                left_out.append(answer)
            else:
                kept.append(k)
                frames.append(answer)
            if progress:
                progress(done, len(numbers))
    finally:
        # Ctrl-C must not wait for thousands of files that are still in line.
        pool.shutdown(cancel_futures=True)
    return _stack(kept, frames), tuple(left_out)


def _posed(scene: Scene, k: int) -> np.ndarray | str:
    """Frame k's pose, or what is wrong with it or with the image's path."""
    try:
        pose = scene.world_to_camera(k)
        require_file(scene.image_path(k))
    except DataError as error:
        return str(error)
    return pose


def _read(scene: Scene, k: int, pose: np.ndarray) -> _Frame | str:
    try:
        depth, K = scene.depth(k), scene.K(k)
    except DataError as error:
        return str(error)
    height, width = depth.shape
    step = grid_step(width, height)
    # From the middle of each cell: a grid that starts at pixel 0 ends short of
    # the right edge, and counts what lands left of the image.
    grid = depth[step // 2 :: step, step // 2 :: step]
    return _Frame(grid.copy(), _in_cells(K, step), pose, step, (width, height))


def grid_step(width: int, height: int) -> int:
    """Pixels per cell: 8, more where the grid would be longer than 100 cells."""
    return max(1, min(CELL, min(width, height) // 8), -(-max(width, height) // LONGEST))


def _in_cells(K: np.ndarray, step: int) -> np.ndarray:
    """Intrinsics of the grid: pixel = cell * step + step // 2."""
    shrink = np.array([[1, 0, -(step // 2)], [0, 1, -(step // 2)], [0, 0, step]]) / step
    return shrink @ np.asarray(K, np.float64)


def _stack(kept: list[int], frames: list[_Frame]) -> Grids:
    h = max((f.depth.shape[0] for f in frames), default=1)
    w = max((f.depth.shape[1] for f in frames), default=1)
    depth = np.zeros((len(frames), h, w), np.float32)
    for n, frame in enumerate(frames):
        rows, columns = frame.depth.shape
        known = np.isfinite(frame.depth) & (frame.depth > 0)
        depth[n, :rows, :columns] = np.where(known, frame.depth, 0)
    return Grids(
        number=np.array(kept, np.int64),
        depth=depth,
        K=np.array([f.K for f in frames], np.float64).reshape(-1, 3, 3),
        pose=np.array([f.pose for f in frames], np.float64).reshape(-1, 4, 4),
        step=np.array([f.step for f in frames], np.int64),
        size=np.array([f.size for f in frames], np.int64).reshape(-1, 2),
    )
