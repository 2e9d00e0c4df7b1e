"""Pairs of a recording to judge.

Which pairs are taken is decided by the images: enough correspondences, and enough
motion between them. Depth and pose may be what is wrong, so overlap computed
from them is no guide.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...errors import DataError
from ...recordings import RawPair, Recording, Scene
from .correspond import LEAST, Keypoints, correspond, detect, displacement, rescale
from .views import Sample, View, make_view

_NEAR, _FAR = 0.05, 0.15  # of the diagonal: how far points should move, drawn between
_LEAST_MOTION = 0.02  # of the diagonal: below, the pair says little
TRIES = 4  # starts for each pair that is asked for
_HELD = 64  # frames kept in memory


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
        self._views: OrderedDict[tuple[str, int], View | None] = OrderedDict()
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
        key = scene, k
        if key not in self._views:
            self._views[key] = self._view(self.recording.scene(scene), k)
            while len(self._views) > _HELD:
                self._views.popitem(last=False)
        return self._views[key]

    def _view(self, scene: Scene, k: int) -> View | None:
        """Without the image, which takes longest."""
        if not 0 <= k < len(scene):
            return None
        if held := self._frames.get((scene.name, k)):
            return held.view
        try:
            depth, K, pose = scene.depth(k), scene.K(k), scene.world_to_camera(k)
        except DataError:
            return None
        return make_view(depth, depth, K, scene.frames[k], pose, scene.name, k)

    def frames_of(self, scene: str) -> int:
        """How many frames the scene has."""
        return len(self.recording.scene(scene))

    def samples(self, count: int, rng: np.random.Generator) -> Iterator[Sample | None]:
        """Up to ``TRIES * count`` attempts, scene by scene; None where one failed."""
        scenes = [s for s in self.recording.scenes if len(s) > 1]
        for n in range(TRIES * count if scenes else 0):
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


def view_of(pair: RawPair, side: int) -> View:
    """View 0 or 1 of a pair as it is stored."""
    if side:
        return make_view(pair.image1, pair.depth1, pair.K1, pair.name1)
    return make_view(pair.image0, pair.depth0, pair.K0, pair.name0)


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
