"""Which scored pairs go into the index, and which frames are held out for tests.

Letters: N pairs, F frames.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ConfigError
from .candidates import ranks

BINS = (0.1, 0.3, 0.5, 0.7)  # edges of the released MegaDepth files' ranges
_SUB_SCENE = re.compile(r"(?<=^scene\d{4})_\d{2}$")  # another walk, same room


@dataclass(frozen=True)
class Choice:
    """The pairs that were chosen.

    rows: (M,) rows of what was scored, in order of their range and then of pairs.
    bin: (M,) the range each lies in. available: pairs in each range before the
        choice. below, above: pairs that overlap less or more than all ranges.
    """

    rows: np.ndarray
    bin: np.ndarray
    available: tuple[int, ...]
    below: int
    above: int


def choose_pairs(
    pairs: np.ndarray,
    overlap: np.ndarray,
    bins: Sequence[float] = BINS,
    per_bin: int | None = 1000,
    seed: int = 0,
    among: np.ndarray | None = None,
) -> Choice:
    """At most ``per_bin`` pairs of each range of overlap, spread over the frames.

    A frame that sees the whole room overlaps with all others, and would be in
    every tenth pair. So each frame gives a pair, then each a second one, until
    the range is full: no frame is used more often than it must.

    Args:
        pairs: (N, 2) integers. overlap: (N,).
        bins: edges, rising; a range holds its lower edge, the last one both.
        per_bin: None takes all.
        seed: decides between pairs that are equally good.
        among: rows to choose from, None for all.

    Raises:
        ConfigError: edges that do not rise within 0 to 1, or fewer than one pair.
    """
    bins = check_bins(bins)
    if per_bin is not None and per_bin < 1:
        raise ConfigError(f"pairs per range is {per_bin}, it must be 1 or more")
    among = np.arange(len(pairs)) if among is None else among
    overlap = overlap[among]
    # Edges are float64 and scores float32: 0.1 as a score would lie above 0.1.
    where = np.digitize(overlap, np.asarray(bins, overlap.dtype)) - 1
    where[overlap == overlap.dtype.type(bins[-1])] = len(bins) - 2
    r = np.random.default_rng(seed)
    rows = []
    for n in range(len(bins) - 1):
        inside = among[where == n]
        rows.append(inside[_spread(pairs[inside], per_bin, r)])
    return Choice(
        rows=np.concatenate(rows),
        bin=np.repeat(np.arange(len(rows)), [len(chosen) for chosen in rows]),
        available=tuple(int((where == n).sum()) for n in range(len(rows))),
        below=int((where < 0).sum()),
        above=int((where >= len(rows)).sum()),
    )


def check_bins(bins: Sequence[float]) -> tuple[float, ...]:
    """Edges as a tuple.

    Raises:
        ConfigError: fewer than two, not rising, or beyond 0 to 1.
    """
    bins = tuple(float(b) for b in bins)
    rising = all(a < b for a, b in zip(bins, bins[1:], strict=False))
    if len(bins) < 2 or not rising or bins[0] < 0 or bins[-1] > 1:
        raise ConfigError(
            f"ranges of overlap are {' '.join(f'{b:g}' for b in bins) or 'empty'}; "
            "give two or more rising edges from 0 to 1, for instance 0.1 0.3 0.5 0.7"
        )
    return bins


def _spread(pairs: np.ndarray, most: int | None, r: np.random.Generator) -> np.ndarray:
    """Rows to keep, sorted: those that come first among their frames' pairs."""
    if most is None or len(pairs) <= most:
        return np.arange(len(pairs))
    order = r.random(len(pairs))
    both = np.concatenate([pairs[:, 0], pairs[:, 1]])
    turn = ranks(both, np.tile(order, 2)).reshape(2, -1).max(0)
    return np.sort(np.lexsort((order, turn))[:most])


def held_out_scenes(names: Sequence[str], share: float) -> frozenset[str] | None:
    """Scenes to hold out, whole; None with a single place, whose frames are divided.

    Repeated walks through one ScanNet room (``scene0000_00``, ``scene0000_01``)
    are one place. Places are taken evenly over the sorted names.

    Raises:
        ConfigError: the share is not within 0 to below 1.
    """
    if not 0 <= share < 1:
        raise ConfigError(f"the share held out is {share}, it lies from 0 to below 1")
    place = {name: _SUB_SCENE.sub("", name) for name in names}
    places = sorted(set(place.values()))
    if share == 0:
        return frozenset()
    if len(places) < 2:
        return None
    count = min(max(1, round(share * len(places))), len(places) - 1)
    held = {places[int((n + 1) * len(places) / count) - 1] for n in range(count)}
    return frozenset(name for name in names if place[name] in held)


def part_of_frames(frames: int, share: float, is_video: bool) -> np.ndarray:
    """(F,) 0 = training, 1 = test: frames of one place, divided.

    Of a video the last frames, as neighbours are nearly the same picture; of
    photographs every n-th. At least four are held out, where there are eight.

    The trap: parts of one place look alike. Scores on them say that training
    works, not how well it does elsewhere.
    """
    part = np.zeros(frames, np.int64)
    if share == 0 or frames < 8:
        return part
    count = min(max(4, round(share * frames)), frames // 2)
    if is_video:
        part[-count:] = 1
    else:
        part[((np.arange(count) + 1) * frames / count).astype(int) - 1] = 1
    return part
