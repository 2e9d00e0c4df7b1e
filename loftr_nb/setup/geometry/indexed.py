"""Pairs of a dataset with its index to judge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...datasets import MegaDepth, PosedPairs
from ...errors import DataError
from ...files import read_image_grey, read_pose_txt
from ...recordings import RawPair, Recording
from .correspond import detect
from .sources import TRIES, Frame, RecordingSource, pair_up, view_of
from .views import Sample

_MISSING = 2000  # pairs looked at in an index of which most files are not there


class DatasetSource:
    """Pairs of a dataset that has an index."""

    def __init__(self, dataset: PosedPairs) -> None:
        self.dataset = dataset
        self.unusable: list[str] = []

    def samples(self, count: int, rng: np.random.Generator) -> Iterator[Sample | None]:
        """Up to ``TRIES * count`` attempts, scene by scene; None where one failed.

        Pairs without files cost little and do not count, up to ``_MISSING``.
        """
        tried = 0
        for i in _by_scene(self.dataset.scene_of, _MISSING, rng):
            before = len(self.unusable)
            sample = self._sample(int(i))
            if len(self.unusable) > before:
                continue
            tried += 1
            yield sample
            if tried >= TRIES * count:
                return

    def _sample(self, i: int) -> Sample | None:
        try:
            pair = raw_from_dataset(self.dataset, i)
        except DataError as error:
            self.unusable.append(str(error))
            return None
        scene = self.dataset.scenes[self.dataset.scene_of[i]]
        poses = _dataset_poses(self.dataset, i)
        frames = [
            Frame(
                replace(view_of(pair, side), scene=scene, pose=poses[side], frame=i),
                detect(pair.image1 if side else pair.image0),
            )
            for side in (0, 1)
        ]
        return pair_up(*frames, pair.T_0to1)


def raw_from_dataset(dataset: PosedPairs, i: int) -> RawPair:
    """Pair i of a dataset before resizing and padding.

    Raises:
        DataError: a file of the pair is unusable; the message names it.
    """
    pair = dataset[i]
    depth0, depth1 = dataset.full_depth(i)
    return RawPair(
        image0=read_image_grey(Path(pair.view0.name)),
        image1=read_image_grey(Path(pair.view1.name)),
        depth0=depth0,
        depth1=depth1,
        K0=pair.view0.K.numpy().astype(np.float64),
        K1=pair.view1.K.numpy().astype(np.float64),
        T_0to1=dataset.relative_pose(i),
        name0=pair.view0.name,
        name1=pair.view1.name,
    )


def source_of(source: Recording | PosedPairs) -> RecordingSource | DatasetSource:
    """What yields samples of a recording or of a dataset."""
    if isinstance(source, Recording):
        return RecordingSource(source)
    return DatasetSource(source)


def _dataset_poses(
    dataset: PosedPairs, i: int
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """World-to-camera poses of both views, where the dataset has them."""
    if isinstance(dataset, MegaDepth):
        table = dataset.table
        pose = table.frames.pose
        return pose[table.frame0[i]], pose[table.frame1[i]]
    # ScanNet's pose files lie beside the images.
    found = []
    for path in dataset.image_paths(i):
        pose = path.parent.parent / "pose" / f"{path.stem}.txt"
        found.append(np.linalg.inv(read_pose_txt(pose)) if pose.is_file() else None)
    return found[0], found[1]


def _by_scene(scene: np.ndarray, count: int, rng: np.random.Generator) -> Iterator[int]:
    """Up to ``count`` rows of pairs, taking the scenes in turn."""
    names = rng.permutation(np.unique(scene))[:count]
    turns = [iter(rng.permutation(np.flatnonzero(scene == n))[:count]) for n in names]
    while turns and count > 0:
        for rows in list(turns):
            row = next(rows, None)
            if row is None:
                turns.remove(rows)
            elif count > 0:
                count -= 1
                yield int(row)
