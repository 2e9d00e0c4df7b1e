"""Which pairs of a long recording are worth scoring.

All pairs of 3,000 frames are 4.5 million, and most show nothing in common. Two
sources name those that may: neighbours in time, at gaps that grow, and frames
whose points lie in the same places, which also finds every return to a place
seen before. Places are cubes of the world; a frame is the list of cubes that its
points lie in, and the share that another frame's list holds costs some hundred
additions, where moving and comparing its depths costs thousands.

Letters: N pairs, F frames, P points of a frame, V cubes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from .grids import Grids

ALL_PAIRS = 20_000  # up to 200 frames: scored within seconds, so nothing is missed
CUBE = 0.1  # of the scene's median depth
POINTS = 500  # of a frame, about
_BLOCK = 1 << 26  # numbers held at once


@dataclass(frozen=True)
class Candidates:
    """Pairs to score, and how they were found.

    pairs: (N, 2) int64, rows of the grids, first < second.
    possible: how many pairs there are in all. shared: how many of them see enough
        of the same cubes (all of them, where all are scored); above N, the pairs
        of each frame were thinned.
    """

    pairs: np.ndarray
    possible: int
    shared: int


def find_candidates(
    grids: Grids,
    is_video: bool,
    least: float = 0.1,
    per_frame: int | None = 120,
    seed: int = 0,
    part: np.ndarray | None = None,
    all_pairs: int = ALL_PAIRS,
) -> Candidates:
    """Pairs that may overlap by ``least``.

    Args:
        grids: of the usable frames.
        is_video: neighbours in number are neighbours in time: they are taken at
            gaps of 1, 2, 3, 5, 8, ... whatever the cubes say.
        least: overlap that matters. A pair is a candidate when the cubes show half
            of it: they are coarser than the scores, and err on both sides.
        per_frame: pairs of each frame with later ones at most, taken evenly from
            little to much in common; None takes all.
        seed: of that choice.
        part: (F,) int, pairs are made within a part only (training and test).
        all_pairs: with so few possible pairs, all are candidates.
    """
    F = len(grids)
    part = np.zeros(F, np.int64) if part is None else np.asarray(part)
    counts = np.unique(part, return_counts=True)[1]
    possible = int((counts * (counts - 1) // 2).sum())
    if possible <= all_pairs:
        i, j = np.triu_indices(F, 1)
        pairs = np.stack([i, j], 1)[part[i] == part[j]]
        return Candidates(pairs, possible, possible)
    share = shared_places(grids)
    found, strength = _above(share, part, least / 2)
    shared = len(found)
    if per_frame is not None:
        found = found[_thin(found[:, 0], strength, per_frame, seed)]
    if is_video:
        found = np.concatenate([found, _neighbours(part)])
    return Candidates(np.unique(found, axis=0), possible, shared)


def shared_places(grids: Grids) -> np.ndarray:
    """(F, F) float16: share of frame i's points in cubes that frame j's points touch.

    An estimate of overlap in one direction without its occlusion test: two
    frames on both sides of a wall share no cube of it, as neither sees through.
    """
    F = len(grids)
    points, frame = _world_points(grids)
    side = CUBE * _typical_depth(grids)
    cubes, own = _numbered(np.floor(points / side))
    weight = 1.0 / np.maximum(np.bincount(frame, minlength=F), 1)[frame]
    index = torch.from_numpy(np.stack([frame, own]))
    values = torch.from_numpy(weight.astype(np.float32))
    V = len(cubes)
    held = torch.sparse_coo_tensor(index, values, (F, V), check_invariants=False)
    held = held.coalesce()
    seen_frame, seen_cube = _touched(points / side, frame, cubes)
    shares = np.empty((F, F), np.float16)
    width = int(np.clip(_BLOCK // max(V, 1), 1, F))
    for start in range(0, F, width):
        stop = min(start + width, F)
        rows = slice(*np.searchsorted(seen_frame, [start, stop]))
        seen = torch.zeros(V, stop - start)
        seen[seen_cube[rows], seen_frame[rows] - start] = 1
        shares[:, start:stop] = torch.sparse.mm(held, seen).numpy()
    return shares


def _world_points(grids: Grids) -> tuple[np.ndarray, np.ndarray]:
    """Some points of each frame (P, 3) in the world, and whose they are (P,)."""
    h, w = grids.depth.shape[1:]
    stride = max(1, round((h * w / POINTS) ** 0.5))
    y, x = (
        a.ravel() for a in np.mgrid[stride // 2 : h : stride, stride // 2 : w : stride]
    )
    z = grids.depth[:, y, x].astype(np.float64)
    frame, n = np.nonzero(z)
    pixels = np.stack([x[n], y[n], np.ones(len(n))], 1) * z[frame, n, None]
    rays = np.linalg.inv(grids.K)[frame]
    here = (rays @ pixels[..., None])[..., 0]
    to_world = np.linalg.inv(grids.pose)[frame]
    return (to_world[:, :3, :3] @ here[..., None])[..., 0] + to_world[:, :3, 3], frame


def _typical_depth(grids: Grids) -> float:
    known = grids.depth[:, ::4, ::4]
    known = known[known > 0]
    return float(np.median(known)) if known.size else 1.0


def _numbered(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorted keys of the distinct cubes (V,), and the cube of each row."""
    return np.unique(_key(cells), return_inverse=True)


def _key(cells: np.ndarray) -> np.ndarray:
    """One integer for three: 21 bits each, as far as a million cubes from zero."""
    whole = np.clip(cells, -(1 << 20), (1 << 20) - 1).astype(np.int64) + (1 << 20)
    return (whole[:, 0] << 42) | (whole[:, 1] << 21) | whole[:, 2]


def _touched(
    places: np.ndarray, frame: np.ndarray, cubes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Cubes within half a side of each frame's points, without repeats, by frame.

    A surface on the border of two cubes lies in either, by the noise of its depth.
    """
    base, found = np.floor(places - 0.5), []
    for corner in np.ndindex(2, 2, 2):
        key = _key(base + corner)
        at = np.searchsorted(cubes, key).clip(max=len(cubes) - 1)
        there = cubes[at] == key
        found.append(np.unique(frame[there] * len(cubes) + at[there]))
    both = np.unique(np.concatenate(found))
    return np.divmod(both, len(cubes))


def _above(
    share: np.ndarray, part: np.ndarray, least: float
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs i < j within a part whose mean share is enough, and that mean."""
    pairs, means = [], []
    for i in range(len(share) - 1):
        mean = (share[i, i + 1 :].astype(np.float32) + share[i + 1 :, i]) / 2
        j = np.flatnonzero((mean >= least) & (part[i + 1 :] == part[i]))
        pairs.append(np.stack([np.full(len(j), i), j + i + 1], 1))
        means.append(mean[j])
    return np.concatenate(pairs), np.concatenate(means)


def _thin(frame: np.ndarray, strength: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Rows to keep: ``most`` of each frame, evenly over tenths of the strength."""
    r = np.random.default_rng(seed)
    tenth = np.minimum((strength * 10).astype(np.int64), 9)
    group = frame * 10 + tenth
    turn = ranks(group, r.random(len(group)))  # 0 is first of its frame and tenth
    place = ranks(frame, turn + r.random(len(turn)) / 2)
    return np.flatnonzero(place < most)


def ranks(group: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Each row's place within its group when that is sorted by value, from 0."""
    order = np.lexsort((value, group))
    ordered = group[order]
    first = (
        np.r_[True, ordered[1:] != ordered[:-1]] if len(order) else np.empty(0, bool)
    )
    starts = np.flatnonzero(first)
    place = np.arange(len(order)) - starts[np.cumsum(first) - 1]
    answer = np.empty(len(order), np.int64)
    answer[order] = place
    return answer


def _neighbours(part: np.ndarray) -> np.ndarray:
    """Pairs at gaps 1, 2, 3, 5, 8, ... up to all frames, within a part."""
    pairs, gaps = [], (1, 2)
    while gaps[0] < len(part):
        i = np.arange(len(part) - gaps[0])
        i = i[part[i] == part[i + gaps[0]]]
        pairs.append(np.stack([i, i + gaps[0]], 1))
        gaps = gaps[1], gaps[0] + gaps[1]
    return np.concatenate(pairs)
