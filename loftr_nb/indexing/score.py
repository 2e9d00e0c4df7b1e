"""Overlap of many pairs at once, on whichever device is there.

The same question as :func:`pair_overlap`'s, asked of the grids of a whole
recording: which share of the depths of one frame lands inside the other, on a
surface at its own depth, to 15 percent. Occlusion is part of it: what lands on
something nearer, or behind it, does not agree.

Letters: N pairs, B pairs of a batch, F frames, h and w grid cells.
"""

from __future__ import annotations

from collections.abc import Callable
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
    """The grids on a device, and what turns cells of one frame into another's."""

    depth: Tensor  # (F, h, w)
    K: Tensor  # (F, 3, 3) float64
    pose: Tensor  # (F, 4, 4) float64

    @staticmethod
    def of(grids: Grids, device: torch.device, dtype: torch.dtype) -> _Views:
        def moved(array: np.ndarray, kind: torch.dtype) -> Tensor:
            return torch.from_numpy(array).to(device, kind)

        # float64 on the CPU: F small matrices, and not every device has it.
        cpu = torch.device("cpu")
        pose, K = (torch.from_numpy(a).to(cpu) for a in (grids.pose, grids.K))
        return _Views(moved(grids.depth, dtype), K, pose)

    def motion(self, i: Tensor, j: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, 3) and (B, 3): cell (x, y) of depth z goes to z M (x, y, 1) + t.

        In float64, and only then rounded: poses may lie kilometres from zero.
        """
        T = self.pose[j] @ torch.linalg.inv(self.pose[i])
        M = self.K[j] @ T[:, :3, :3] @ torch.linalg.inv(self.K[i])
        t = (self.K[j] @ T[:, :3, 3:])[..., 0]
        return M.to(self.depth), t.to(self.depth)


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
    device = torch.device(device)
    views = _Views.of(grids, device, dtype)
    known = (views.depth > 0).sum((1, 2)).clamp(min=1)
    shares = torch.zeros(len(pairs), 2, dtype=torch.float32)
    size = _batch(views.depth, device)
    for start in range(0, len(pairs), size):
        i, j = torch.from_numpy(pairs[start : start + size]).unbind(1)
        for side, (a, b) in enumerate(((i, j), (j, i))):
            agree, _, _ = _land(views, a, b)
            share = agree.sum((1, 2)) / known[a.to(device)]
            shares[start : start + size, side] = share.cpu()
        if progress:
            progress(min(start + size, len(pairs)), len(pairs))
    return shares.numpy()


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
    views = _Views.of(grids, torch.device(device), torch.float32)
    found = np.full((len(pairs), 4), np.nan)
    size = _batch(views.depth, views.depth.device)
    for back in (False, True):
        left = np.flatnonzero(np.isnan(found[:, 0]))
        for start in range(0, len(left), size):
            rows = left[start : start + size]
            ends = pairs[rows, ::-1] if back else pairs[rows]
            at, some = _middle(views, ends.copy())
            here, there = (grids.pixels(e, at[:, n : n + 2]) for n, e in
                           zip((0, 2), ends.T, strict=True))  # fmt: skip
            both = np.concatenate([there, here] if back else [here, there], axis=1)
            found[rows[some]] = both[some]
    return found


def _middle(views: _Views, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(B, 4) cell of frame i nearest the middle of what agrees, and where it lands."""
    agree, u, v = _land(views, *torch.from_numpy(pairs).unbind(1))
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


def _land(views: _Views, i: Tensor, j: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where the cells of frames i land in frames j, and which agree there.

    Returns:
        (B, h, w) bool, and u and v (B, h, w) in cells of frames j.
    """
    M, t = views.motion(i, j)
    i, j = i.to(views.depth.device), j.to(views.depth.device)
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


def _batch(depth: Tensor, device: torch.device) -> int:
    cells = _CELLS_AT_ONCE.get(device.type, _CELLS_AT_ONCE["cuda"])
    return max(1, cells // max(depth[0].numel() if len(depth) else 1, 1))
