"""Overlap of many pairs at once, on whichever device is there.

The same question as :func:`pair_overlap`'s, asked of the grids of a whole
recording: which share of the depths of one frame lands inside the other, on a
surface at its own depth, to 15 percent. Occlusion is part of it: what lands on
something nearer, or behind it, does not agree.

Letters: N pairs, B pairs of a batch, F frames, h and w grid cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .grids import Grids
from .overlap import DEPTH_AGREEMENT

_CELLS_AT_ONCE = {"cpu": 1 << 18, "cuda": 1 << 24}  # of a CPU: what its cache holds

Progress = Callable[[int, int], None]


@dataclass
class _Views:
    """Depths on a device, and what turns cells of one frame into another's."""

    depth: Tensor  # (F, h, w)
    K: np.ndarray  # (F, 3, 3) float64, as all below
    K_inverse: np.ndarray
    pose: np.ndarray  # (F, 4, 4) world to camera
    pose_inverse: np.ndarray

    @staticmethod
    def of(grids: Grids, device: torch.device | str, dtype: torch.dtype) -> _Views:
        depth = torch.from_numpy(grids.depth).to(device, dtype)
        K, pose = grids.K, grids.pose
        return _Views(depth, K, np.linalg.inv(K), pose, np.linalg.inv(pose))

    def motion(self, i: np.ndarray, j: np.ndarray) -> tuple[Tensor, Tensor]:
        """(B, 3, 3) and (B, 3): cell (x, y) of depth z goes to z M (x, y, 1) + t.

        In float64, and only then rounded: poses may lie kilometres from zero. In
        numpy: torch wakes all cores for a handful of small matrices.
        """
        T = self.pose[j] @ self.pose_inverse[i]
        M = self.K[j] @ T[:, :3, :3] @ self.K_inverse[i]
        t = (self.K[j] @ T[:, :3, 3:])[..., 0]
        return torch.from_numpy(M).to(self.depth), torch.from_numpy(t).to(self.depth)


def score_pairs(
    grids: Grids,
    pairs: np.ndarray,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    progress: Progress | None = None,
) -> np.ndarray:
    """Share of each frame's surface that the other shows, both directions.

    Args:
        grids: of the scene's usable frames.
        pairs: (N, 2) integers, rows of ``grids``.
        device: where to compute.
        dtype: float64 for checks. float32 differs where a cell lands within
            rounding of an edge: by less than one cell in a thousand.
        progress: called with pairs done and pairs in all.

    Returns:
        (N, 2) float32: share of frame 0 that frame 1 shows, and the other way.
        Their mean is the overlap (:func:`pair_overlap`). 0 where a frame has no
        known depth.
    """
    pairs = np.asarray(pairs, np.int64).reshape(-1, 2)
    views = _Views.of(grids, device, dtype)
    known = (views.depth > 0).sum((1, 2)).clamp(min=1)
    size = _batch(views.depth)
    batches = [pairs[start : start + size] for start in range(0, len(pairs), size)]

    def shares(batch: np.ndarray) -> np.ndarray:
        sides = []
        for a, b in (batch.T, batch.T[::-1]):
            agree, _, _ = _land(views, a, b)
            count = known[torch.from_numpy(a.copy()).to(known.device)]
            sides.append(agree.sum((1, 2)) / count)
        return torch.stack(sides, 1).float().cpu().numpy()

    answers = [np.empty((0, 2), np.float32)]
    with _mapped(views.depth.device) as mapped:
        for answer in mapped(shares, batches):
            answers.append(answer)
            if progress:
                progress(min((len(answers) - 1) * size, len(pairs)), len(pairs))
    return np.concatenate(answers)


@contextmanager
def _mapped(device: torch.device) -> Iterator[Callable[..., Iterable[np.ndarray]]]:
    """A ``map`` that keeps the device busy.

    On a CPU: a batch a core. Left to itself torch cuts each of twenty small steps
    of a batch into one piece a core and waits for the last piece each time: 2.5
    times the processor time, and a hundred times where another program has the
    second core.
    """
    if device.type != "cpu":
        yield map
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(before)
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)


def central_matches(
    grids: Grids, pairs: np.ndarray, device: torch.device | str = "cpu"
) -> np.ndarray:
    """A match near the middle of what both frames show: (N, 4) x0, y0, x1, y1.

    Original pixels, as in the released MegaDepth files, whose four numbers are a
    point of the reconstruction that both photographs show. Readers ignore it
    (D2-Net cropped around it). Here it is the grid point of one frame nearest to
    the mean of all that the other shows too: of frame 0, or of frame 1 where
    none of frame 0's agrees. NaN where there is none at all.
    """
    pairs = np.asarray(pairs, np.int64).reshape(-1, 2)
    views = _Views.of(grids, device, torch.float32)
    found = np.full((len(pairs), 4), np.nan)
    size = _batch(views.depth)
    for back in (False, True):
        left = np.flatnonzero(np.isnan(found[:, 0]))
        for start in range(0, len(left), size):
            rows = left[start : start + size]
            ends = pairs[rows, ::-1] if back else pairs[rows]
            at, some = _middle(views, ends)
            here, there = (grids.pixels(e, at[:, n : n + 2]) for n, e in
                           zip((0, 2), ends.T, strict=True))  # fmt: skip
            both = np.concatenate([there, here] if back else [here, there], axis=1)
            found[rows[some]] = both[some]
    return found


def _middle(views: _Views, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(B, 4) cell of frame i nearest the middle of what agrees, and where it lands."""
    agree, u, v = _land(views, *pairs.T)
    h, w = agree.shape[1:]
    x = torch.arange(w, device=u.device, dtype=u.dtype).expand(h, w)
    y = torch.arange(h, device=u.device, dtype=u.dtype)[:, None].expand(h, w)
    count = agree.sum((1, 2)).clamp(min=1)
    away = torch.zeros_like(u)
    for axis in (x, y):
        away += (axis - ((agree * axis).sum((1, 2)) / count)[:, None, None]) ** 2
    best = torch.where(agree, away, torch.inf).flatten(1).argmin(1)[:, None]
    at = [a.expand_as(u).flatten(1).gather(1, best)[:, 0] for a in (x, y, u, v)]
    some = agree.flatten(1).any(1)
    return torch.stack(at, 1).double().cpu().numpy(), some.cpu().numpy()


def _land(views: _Views, i: np.ndarray, j: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """Where the cells of frames i land in frames j, and which agree there.

    Returns:
        (B, h, w) bool, and u and v (B, h, w) in cells of frames j.
    """
    M, t = views.motion(i, j)
    i, j = (torch.from_numpy(n.copy()).to(views.depth.device) for n in (i, j))
    z = views.depth[i]
    B, h, w = z.shape
    x = torch.arange(w, device=z.device, dtype=z.dtype)
    y = torch.arange(h, device=z.device, dtype=z.dtype)[:, None]

    def row(n: int) -> Tensor:
        a, b, c = (M[:, n, k, None, None] for k in range(3))
        # Sums instead of a matrix product: TF32 would keep 10 bits of it.
        return (a * x + (b * y + c)).mul_(z).add_(t[:, n, None, None])

    depth = row(2)
    u, v = row(0).div_(depth), row(1).div_(depth)
    column, line = u.round(), v.round()
    inside = (z > 0) & (depth > 0) & (column >= 0) & (column < w)
    inside &= (line >= 0) & (line < h)
    place = (line * w + column).where(inside, 0).long()
    seen = views.depth[j].flatten(1).gather(1, place.flatten(1)).view(B, h, w)
    # Unknown depth there (0) never agrees: the tolerance is a share of it.
    agree = inside & ((depth - seen).abs() < DEPTH_AGREEMENT * seen)
    return agree, u, v


def _batch(depth: Tensor) -> int:
    cells = _CELLS_AT_ONCE.get(depth.device.type, _CELLS_AT_ONCE["cuda"])
    return max(1, cells // max(depth[0].numel() if len(depth) else 1, 1))
