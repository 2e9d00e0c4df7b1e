"""Where pairs to judge come from: a recording, or a dataset with its index.

Which pairs are taken is decided by the images: enough correspondences, and enough
motion between them. Depth and pose may be what is wrong, so overlap computed
from them is no guide.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...datasets import MegaDepth, PosedPairs
from ...errors import DataError
from ...files import read_image_grey, read_pose_txt
from ...recordings import RawPair, Recording, Scene
from .correspond import LEAST, Keypoints, correspond, detect, displacement, rescale
from .views import Sample, View, make_view

_NEAR, _FAR = 0.05, 0.15  # of the diagonal: how far points should move, drawn between
_LEAST_MOTION = 0.02  # of the diagonal: below, the pair says little
_TRIES = 4  # starts for each pair that is asked for
_HELD = 64  # frames kept in memory
_MISSING = 2000  # pairs looked at in an index of which most files are not there


@dataclass(frozen=True)
class Frame:
    """A view with the keypoints of its image."""

    view: View
    keypoints: Keypoints


def pair_up(one: Frame, two: Frame, T_0to1: np.ndarray) -> Sample:
    """Two frames and the motion between them, with correspondences in depth pixels."""
    points = correspond(one.keypoints, two.keypoints)
    at = [
        rescale(p, np.array(f.view.size) / f.view.image_size)
        for p, f in zip(points, (one, two), strict=True)
    ]
    return Sample(one.view, two.view, T_0to1, *at)


class RecordingSource:
    """Pairs of a :class:`Recording`; frames are remembered for a while."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.unusable: list[str] = []
        self._frames: OrderedDict[tuple[str, int], Frame | None] = OrderedDict()
        self._pairs: dict[tuple[str, int, int], Sample | None] = {}

    def frame(self, scene: Scene, k: int) -> Frame | None:
        """Frame k of a scene, None (and a line in ``unusable``) where files are not."""
        key = scene.name, k
        if key not in self._frames:
            self._frames[key] = self._read(scene, k)
            while len(self._frames) > _HELD:
                self._frames.popitem(last=False)
        self._frames.move_to_end(key)
        return self._frames[key]

    def _read(self, scene: Scene, k: int) -> Frame | None:
        try:
            image = scene.image(k)
            view = make_view(
                image,
                scene.depth(k),
                scene.K(k),
                str(scene.image_path(k)),
                scene.world_to_camera(k),
                scene.name,
                k,
            )
        except DataError as error:
            self.unusable.append(str(error))
            return None
        return Frame(view, detect(image))

    def pair(self, scene: Scene, i: int, j: int) -> Sample | None:
        """Frames i and j of a scene with their correspondences."""
        key = scene.name, i, j
        if key not in self._pairs:
            if len(self._pairs) >= _HELD:
                self._pairs.clear()
            self._pairs[key] = self._pair(scene, i, j)
        return self._pairs[key]

    def _pair(self, scene: Scene, i: int, j: int) -> Sample | None:
        one, two = self.frame(scene, i), self.frame(scene, j)
        if one is None or two is None:
            return None
        return pair_up(one, two, two.view.pose @ np.linalg.inv(one.view.pose))

    def view(self, scene: str, k: int) -> View | None:
        """Frame k's depth, K and pose, for the question whose image it is."""
        found = self.recording.scene(scene)
        if not 0 <= k < len(found):
            return None
        frame = self.frame(found, k)
        return None if frame is None else frame.view

    def frames_of(self, scene: str) -> int:
        """How many frames the scene has."""
        return len(self.recording.scene(scene))

    def samples(self, count: int, rng: np.random.Generator) -> Iterator[Sample | None]:
        """Up to ``_TRIES * count`` attempts, scene by scene; None where one failed."""
        scenes = [s for s in self.recording.scenes if len(s) > 1]
        for n in range(_TRIES * count if scenes else 0):
            if n % len(scenes) == 0:
                order = rng.permutation(len(scenes))
            scene = scenes[order[n % len(scenes)]]
            if scene.is_video:
                yield self._widen(scene, rng)
            else:
                yield self._among_neighbours(scene, rng)

    def _widen(self, scene: Scene, rng: np.random.Generator) -> Sample | None:
        """A frame and a later one, further and further until points move enough."""
        i = int(rng.integers(len(scene) - 1))
        forward = rng.random() < 0.5
        wanted, best, gap = rng.uniform(_NEAR, _FAR), None, 1
        while gap < len(scene):
            j = i + gap if (forward and i + gap < len(scene)) or i < gap else i - gap
            if j >= len(scene):
                break
            sample = self.pair(scene, min(i, j), max(i, j))
            if sample is not None:
                if len(sample.points0) < LEAST:
                    break
                best = sample
                if _motion(sample) >= wanted:
                    break
            gap = gap + max(1, gap // 2)
        return best

    def _among_neighbours(
        self, scene: Scene, rng: np.random.Generator
    ) -> Sample | None:
        """A photo and one with a similar pose.

        Similar poses are similar in the wrong convention too: a matrix near
        another has its inverse near the other's.
        """
        i = int(rng.integers(len(scene)))
        others = rng.permutation(np.delete(np.arange(len(scene)), i))[:60]
        poses = _poses(scene, [i, *others])
        others = [int(k) for k in others if int(k) in poses]
        if i not in poses or not others:
            return None
        near = sorted(others, key=lambda k: _apart(poses[i], poses[k]))[:12]
        best = None
        for j in rng.permutation(near)[:4]:
            sample = self.pair(scene, i, int(j))
            if sample is None:
                continue
            if best is None or len(sample.points0) > len(best.points0):
                best = sample
            if len(best.points0) >= 2 * LEAST and _motion(best) >= _NEAR:
                break
        return best


class DatasetSource:
    """Pairs of a dataset that has an index."""

    def __init__(self, dataset: PosedPairs) -> None:
        self.dataset = dataset
        self.unusable: list[str] = []

    def samples(self, count: int, rng: np.random.Generator) -> Iterator[Sample | None]:
        """Up to ``_TRIES * count`` attempts, scene by scene; None where one failed.

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
            if tried >= _TRIES * count:
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


def view_of(pair: RawPair, side: int) -> View:
    """View 0 or 1 of a pair as it is stored."""
    if side:
        return make_view(pair.image1, pair.depth1, pair.K1, pair.name1)
    return make_view(pair.image0, pair.depth0, pair.K0, pair.name0)


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


def _motion(sample: Sample) -> float:
    return displacement(sample.points0, sample.points1) / sample.view1.diagonal


def moves_enough(sample: Sample) -> bool:
    """Whether the two images differ by enough to say something."""
    return _motion(sample) >= _LEAST_MOTION


def _poses(scene: Scene, frames: list[int]) -> dict[int, np.ndarray]:
    found = {}
    for k in frames:
        try:
            found[int(k)] = scene.world_to_camera(int(k))
        except DataError:
            continue
    return found


def _apart(pose0: np.ndarray, pose1: np.ndarray) -> float:
    """How unlike two poses are: the turn, and the way in units of their own size."""
    turn = np.linalg.norm(pose0[:3, :3] - pose1[:3, :3])
    size = np.linalg.norm(pose0[:3, 3]) + np.linalg.norm(pose1[:3, 3]) + 1e-12
    return float(turn + np.linalg.norm(pose0[:3, 3] - pose1[:3, 3]) / size)


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
