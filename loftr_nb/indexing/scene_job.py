"""One scene, from its frames to its index files.

Letters: N pairs, F frames.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..errors import DataError
from ..recordings import Scene
from .candidates import find_candidates
from .choose import BINS, Choice, choose_pairs, part_of_frames
from .folder import PARTS
from .grids import Grids, read_grids
from .report import STEPS, SceneReport
from .score import central_matches, score_pairs
from .write import frame_columns, write_megadepth, write_scannet

# Called with scene, what is done, how many are, of how many.
Progress = Callable[[str, str, int, int], None]


@dataclass(frozen=True)
class IndexOptions:
    """What decides which pairs an index holds.

    bins: edges of the ranges of overlap. per_bin: pairs of a scene in each range
    and part at most, None for all. split: share held out for tests. every: take
    every n-th frame. per_frame: candidates of a frame at most, None for all.
    seed: of every choice. as_pickle: MegaDepth's files as the released ones are.
    """

    bins: tuple[float, ...] = BINS
    per_bin: int | None = 1000
    split: float = 0.1
    every: int = 1
    per_frame: int | None = 120
    seed: int = 0
    as_pickle: bool = False


@dataclass(frozen=True)
class _Scored:
    """All pairs that were looked at, and what came of each."""

    pairs: np.ndarray  # (N, 2) rows of the grids
    overlap: np.ndarray  # (N,)
    part: np.ndarray  # (N,) 0 = training, 1 = test
    possible: int


@dataclass(frozen=True)
class SceneJob:
    """A scene to index.

    role: ``train`` or ``test``, or ``both``: then its frames are divided. style:
    ``scannet`` or ``megadepth``. root: what paths in the index start from. out: the
    folder of the index. device: where overlap is computed.
    """

    scene: Scene
    role: str
    style: str
    root: Path
    out: Path
    options: IndexOptions
    device: torch.device

    def run(self, workers: int | None, progress: Progress | None) -> SceneReport:
        """Read, score, choose and write. A scene that cannot be is reported."""
        began, name = time.perf_counter(), self.scene.name

        def tell(what: str) -> Callable[[int, int], None] | None:
            if progress is None:
                return None
            return lambda done, total: progress(name, what, done, total)

        try:
            grids, left_out = read_grids(
                self.scene, self.options.every, workers, tell("frames read")
            )
            columns = self._columns(grids)
        except DataError as error:
            return SceneReport(name, 0, (), 0, 0, error=str(error))
        scored = self._score(grids, tell("pairs scored"))
        choices = [self._choose(scored, part) for part in range(len(PARTS))]
        files = [
            file
            for part, choice in zip(PARTS, choices, strict=True)
            for file in self._write(part, columns, grids, scored, choice)
        ]
        return self._report(grids, left_out, scored, choices, files, began)

    def _columns(self, grids: Grids) -> dict[str, np.ndarray]:
        """What MegaDepth's files say of each image."""
        if self.style == "scannet":
            return {}
        return frame_columns(self.scene, self.root, grids)

    def _score(self, grids: Grids, tell: Callable[[int, int], None] | None) -> _Scored:
        options = self.options
        if self.role == "both":
            part = part_of_frames(len(grids), options.split, self.scene.is_video)
        else:
            part = np.full(len(grids), PARTS.index(self.role))
        found = find_candidates(
            grids,
            self.scene.is_video,
            options.bins[0],
            options.per_frame,
            options.seed,
            part,
        )
        shares = score_pairs(grids, found.pairs, self.device, progress=tell)
        rows = part[found.pairs[:, 0]]
        return _Scored(found.pairs, shares.mean(1), rows, found.possible)

    def _choose(self, scored: _Scored, part: int) -> Choice:
        """Pairs of one part, as rows of what was scored."""
        inside = np.flatnonzero(scored.part == part)
        options = self.options
        return choose_pairs(
            scored.pairs,
            scored.overlap,
            options.bins,
            options.per_bin,
            options.seed,
            inside,
        )

    def _write(
        self,
        part: str,
        columns: dict[str, np.ndarray],
        grids: Grids,
        scored: _Scored,
        choice: Choice,
    ) -> list[str]:
        """Write the chosen pairs of one part; names from the index's folder."""
        if not len(choice.rows):
            return []
        slots, overlap = grids.number[scored.pairs], scored.overlap
        stem = f"{part}/{self.scene.name.replace('/', '_')}"
        if self.style == "scannet":
            numbers = np.array([int(f) for f in self.scene.frames])[slots[choice.rows]]
            path = self.out / f"{stem}.npz"
            write_scannet(path, self.scene.name, numbers, overlap[choice.rows])
            return [f"{stem}.npz"]
        names, bins = [], self.options.bins
        for n in np.unique(choice.bin):
            rows = choice.rows[choice.bin == n]
            names.append(f"{stem}_{_edge(bins[n])}_{_edge(bins[n + 1])}.npz")
            write_megadepth(
                self.out / names[-1],
                columns,
                slots[rows],
                overlap[rows],
                central_matches(grids, scored.pairs[rows], self.device),
                self.options.as_pickle,
            )
        return names

    def _report(
        self,
        grids: Grids,
        left_out: tuple[str, ...],
        scored: _Scored,
        choices: list[Choice],
        files: list[str],
        began: float,
    ) -> SceneReport:
        bins = len(self.options.bins) - 1
        train, test = (
            tuple(np.bincount(c.bin, minlength=bins).tolist()) for c in choices
        )
        available = np.sum([c.available for c in choices], axis=0)
        return SceneReport(
            scene=self.scene.name,
            frames=len(grids),
            left_out=left_out,
            compared=len(scored.pairs),
            pairs=sum(len(c.rows) for c in choices),
            possible=scored.possible,
            available=tuple(available.tolist()),
            train=train,
            test=test,
            below=sum(c.below for c in choices),
            above=sum(c.above for c in choices),
            histogram=tuple(np.histogram(scored.overlap, STEPS, (0, 1))[0].tolist()),
            files=tuple(files),
            seconds=round(time.perf_counter() - began, 2),
        )


def _edge(value: float) -> str:
    """0.1 and 1.0, as in the released files' names."""
    text = f"{value:g}"
    return text if "." in text else f"{text}.0"
