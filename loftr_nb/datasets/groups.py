"""Which rows belong to which scene, without a number for every row.

Letters: N rows, S scenes that have rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SceneGroups:
    """Rows by scene: group s is the places ``offsets[s]`` to ``offsets[s + 1]``.

    scene: (S,) int, number of each group's scene. offsets: (S + 1,) int64.
    order: (N,) row at each place; None where place and row are one, as in every
        table whose rows are sorted by scene.
    """

    scene: np.ndarray
    offsets: np.ndarray
    order: np.ndarray | None = None

    @classmethod
    def of(cls, scene_of: np.ndarray) -> SceneGroups:
        """From the (N,) scene of each row; rows of a scene may lie apart."""
        scene_of = np.asarray(scene_of)
        order = _rows_by_scene(scene_of)
        by_scene = scene_of if order is None else scene_of[order]
        starts = np.flatnonzero(by_scene[1:] != by_scene[:-1]) + 1
        starts = np.concatenate([[0], starts]) if len(scene_of) else starts
        offsets = np.append(starts, len(scene_of)).astype(np.int64)
        return cls(by_scene[offsets[:-1]], offsets, order)

    @classmethod
    def from_counts(cls, counts: Sequence[int] | np.ndarray) -> SceneGroups:
        """From the rows that each scene has, scene after scene; 0 is no group."""
        counts = np.asarray(counts, np.int64)
        offsets = np.concatenate([[0], np.cumsum(counts[counts > 0])])
        return cls(np.flatnonzero(counts), offsets)

    def __len__(self) -> int:
        return len(self.scene)

    @property
    def counts(self) -> np.ndarray:
        """(S,) int64 rows of each scene, 1 or more."""
        return np.diff(self.offsets)

    def __getitem__(self, some: slice) -> SceneGroups:
        """Some of the scenes, one after the other: ``groups[:10]``.

        Rows keep their numbers: those of the table that the groups are of.
        """
        start, stop, step = some.indices(len(self))
        if step != 1:
            raise ValueError("scenes are taken one after the other, without a step")
        return SceneGroups(
            self.scene[start:stop],
            self.offsets[start : max(start, stop) + 1],
            self.order,
        )

    def rows(self) -> Sequence[int] | np.ndarray:
        """All rows of these scenes, ascending; a range where they lie together."""
        low, high = int(self.offsets[0]), int(self.offsets[-1])
        return range(low, high) if self.order is None else np.sort(self.order[low:high])

    def at(self, places: np.ndarray) -> np.ndarray:
        """Rows at these places."""
        return places if self.order is None else self.order[places]


def _rows_by_scene(scene_of: np.ndarray) -> np.ndarray | None:
    """Rows sorted by scene; None where they are, as in a table of index files.

    Sorting is skipped then: 230 million rows cost 1.8 GB of numbers from 0 up.
    """
    if (scene_of[1:] >= scene_of[:-1]).all():
        return None
    order = np.argsort(scene_of, kind="stable")
    fits = len(order) <= np.iinfo(np.int32).max
    return order.astype(np.int32) if fits else order
