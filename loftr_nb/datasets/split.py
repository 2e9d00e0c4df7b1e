"""Hold out test pairs from data that came without a split.

Letters: N pairs.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from ..errors import DataError
from .table import PairTable

_BIN = re.compile(r"_\d\.\d+_\d\.\d+$")  # the overlap range in 0015_0.1_0.3
_SUB_SCENE = re.compile(r"(?<=^scene\d{4})_\d{2}$")  # another walk, same room
TEST_SHARE = 5  # one scene of five, one frame of five
TEST_OVERLAP = 0.8  # ScanNet's published test pairs overlap by 0.4 to 0.8


def without_range(scene: str) -> str:
    """The place of a MegaDepth index file: ``0015`` of ``0015_0.1_0.3``."""
    return _BIN.sub("", scene)


def divided(opened: Any, split: str, where: str, least: float, most: float) -> Any:
    """A dataset that came without a split, with the rows of "train" or "test".

    Divided first and filtered after: otherwise training with one ``least`` and
    testing with another would draw the line at different images.

    Raises:
        DataError: no pair is left.
    """
    rows = hold_out(opened.table, split, where).overlapping(least, most)
    if len(rows) == 0:
        raise DataError(
            f"{where}: no {split} pair has overlap {least:g} to {most:g}. Ask for a "
            "smaller min_overlap"
        )
    opened.table = rows
    return opened


def hold_out(table: PairTable, split: str, where: str) -> PairTable:
    """The rows of "train" or "test", such that no image is in both.

    Several places: every fifth is for test, whole (overlap bins of one
    MegaDepth scene and repeated walks through one ScanNet room stay together).
    One place: a part of its images, and pairs between the parts are dropped. Of
    a ScanNet video that is the last fifth of the frames, of a photo collection
    every third image. Test pairs of videos overlap by 0.8 at most, where there
    are such.

    The trap: parts of one place look alike. Scores on them say that training
    works, not how well it does elsewhere.

    Raises:
        DataError: too few pairs to be divided.
    """
    places = [_SUB_SCENE.sub("", _BIN.sub("", name)) for name in table.scenes]
    used = sorted({places[s] for s in table.groups().scene})
    if len(used) > 1:
        held = set(used[TEST_SHARE - 1 :: TEST_SHARE]) or {used[-1]}
        wanted = split == "test"
        part = table.of_scenes(
            s for s, place in enumerate(places) if (place in held) == wanted
        )
    else:
        table = table.load()  # divided by its images, pair by pair
        by_image = _by_frame if table.frames is None else _by_photo
        first, second = by_image(table)
        keep = (first & second) if split == "test" else ~(first | second)
        part = table.select(keep)
    if split == "test" and table.frames is None:
        # Neighbouring frames hardly move: their direction of motion is noise.
        wide = part.at_most(TEST_OVERLAP)
        part = wide if len(wide) else part
    if len(part) == 0:
        raise DataError(
            f"{where} has no split and too few pairs to make one: {len(table)} pairs "
            f"of {len(used)} place(s) leave none for {split!r}. Add frames, or ask "
            "for a smaller min_overlap"
        )
    return part


def _by_photo(table: PairTable) -> tuple[np.ndarray, np.ndarray]:
    """Whether image 0 and image 1 of each pair are held out."""
    images = table.frames.image
    names = [images[i] for i in range(len(images))]
    _, number = np.unique(names, return_inverse=True)
    held = number % 3 == 0
    return held[table.frame0], held[table.frame1]


def _by_frame(table: PairTable) -> tuple[np.ndarray, np.ndarray]:
    """Whether frame 0 and frame 1 of each pair are held out.

    By frame number over all walks through the place: a repeated walk has its
    own numbers, and is divided at its own end.
    """
    first = np.zeros(len(table), bool)
    second = np.zeros(len(table), bool)
    for scene in np.unique(table.scene):
        rows = table.scene == scene
        frames = np.unique([table.frame0[rows], table.frame1[rows]])
        start = frames[len(frames) - max(len(frames) // TEST_SHARE, 2) :][0]
        first[rows] = table.frame0[rows] >= start
        second[rows] = table.frame1[rows] >= start
    return first, second
