"""The geometry check: exact rooms with one fault each, by hand, and on real data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from loftr_nb.datasets import MegaDepth
from loftr_nb.errors import ConfigError, DataError
from loftr_nb.recordings import Recording, Scene, find_recording
from loftr_nb.setup import check_pair, geometry_check
from loftr_nb.setup.geometry import raw_from_dataset
from loftr_nb.setup.geometry.correspond import correspond, detect
from loftr_nb.setup.geometry.registration import fit
from loftr_nb.setup.geometry.sources import RecordingSource
from loftr_nb.setup.geometry.views import Sample, View, errors, median_error
from loftr_nb.synthetic import textures
from loftr_nb.synthetic.cameras import look_at
from loftr_nb.synthetic.render import Camera, render
from loftr_nb.synthetic.scene import random_scene, room_lights

K = np.array([[300.0, 0, 159.5], [0, 300.0, 119.5], [0, 0, 1]])
OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
FRAMES = 8


class Room(Scene):
    """Frames in memory; each fault is a function of what a right frame has."""

    is_video = True

    def __init__(self, frames, name="room", colour=None, **faults):
        self.data, self.colour, self.name = frames, colour or frames, name
        self.frames = [str(k) for k in range(len(frames))]
        self.faults = faults

    def _with(self, kind, value):
        return self.faults.get(kind, lambda v: v)(value)

    def image_path(self, k):
        return Path(self.name) / f"{k}.png"

    def depth_path(self, k):
        return Path(self.name) / f"{k}.depth"

    def image(self, k):
        return self._with("image", self.colour[self._with("order", k)][0])

    def depth(self, k):
        return self._with("depth", self.data[k][1])

    def world_to_camera(self, k):
        return self._with("pose", self.data[k][2])

    def K(self, k):
        return self._with("K", K.copy())


def shoot(lens: np.ndarray, shift: np.ndarray) -> list:
    """(image, depth, world to camera) of a walk; ``shift`` in the camera's frame."""
    rng = np.random.default_rng(4)
    scene = random_scene(textures.load_photos("train"), rng)
    lights = room_lights(scene, rng)
    frames = []
    for k in range(FRAMES):
        eye = np.array([1.4 - 0.11 * k, 0.2 + 0.13 * k, 1.3 + 0.1 * (k % 3)])
        aim = np.array([-1.4, -1.0 + 0.02 * k * k, 0.9 + 0.08 * (k % 2)])
        pose = look_at(eye, aim, 0.02 * k)
        pose[:3, 3] += pose[:3, :3] @ shift
        seen = render(scene, Camera(lens, pose, (320, 240)), lights)
        # Exposure varies, as in a real camera.
        grey = np.clip(seen.color.mean(-1), 0, 1) ** (1 / 2.2) * (0.9 + 0.03 * (k % 4))
        image = np.clip(255 * grey, 0, 255).round().astype(np.uint8)
        frames.append((image, seen.depth.astype(np.float32), np.linalg.inv(pose)))
    return frames


@pytest.fixture(scope="module")
def frames() -> list:
    """A furnished room seen from eight places; depth exact."""
    return shoot(K, np.zeros(3))


def check(*rooms: Room, pairs: int = 5, **kwargs):
    recording = Recording("memory", Path("memory"), rooms)
    return geometry_check(recording, pairs=pairs, **kwargs)


def test_exact_depth_pose_and_K_pass(frames):
    report = check(Room(frames))
    assert report.ok and report.judged and not report.faults
    assert report.pairs == 5
    # What is left is SIFT's own error.
    assert report.median_px < 0.7
    assert report.correspondences > 200
    assert report.verdict.startswith("ok")
    assert report.require() is report


HALF = np.diag([0.5, 0.5, 1.0])
FAULTS = {
    "poses read in the wrong direction": (
        {"pose": np.linalg.inv},
        "pose inverted",
        "invert each pose file",
    ),
    "OpenGL poses": ({"pose": lambda T: OPENGL @ T}, "camera axes", "OpenGL"),
    "K of half the size": (
        {"K": lambda K: HALF @ K},
        "K of another size",
        "images of 160x120",
    ),
    "millimetres": (
        {"depth": lambda d: d * 1000},
        "depth unit",
        "1000 times too large",
    ),
    "ten times": ({"depth": lambda d: d * 10}, "depth unit", "10 times too large"),
    "centimetres in the other direction": (
        {"depth": lambda d: d / 100},
        "depth unit",
        "100 times too small",
    ),
    "neighbours exchanged": ({"order": lambda k: k ^ 1}, "images swapped", "0 and 1"),
    "reverse order": (
        {"order": lambda k: FRAMES - 1 - k},
        "images swapped",
        "reverse order",
    ),
    "one frame late": (
        {"order": lambda k: max(k - 1, 0)},
        "images swapped",
        "1 frames earlier",
    ),
    "mirrored": (
        {"image": lambda i: np.ascontiguousarray(i[:, ::-1])},
        "image and depth turned",
        "mirrored left to right",
    ),
    "inverse depth": ({"depth": lambda d: 1 / d}, "inverse depth", "disparity"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_named(frames, name):
    faults, expected, words = FAULTS[name]
    report = check(Room(frames, **faults))
    assert not report.ok
    assert report.faults == (expected,)
    (cause,) = report.causes
    assert words in cause.words
    assert cause.after_px < 1.0 < 3 < cause.before_px
    assert expected in report.verdict
    with pytest.raises(DataError, match=expected):
        report.require()


def test_two_faults_at_once_are_both_named(frames):
    report = check(Room(frames, pose=np.linalg.inv, depth=lambda d: d * 1000))
    assert set(report.faults) == {"pose inverted", "depth unit"}


def test_a_camera_beside_the_depth_camera_is_found(frames):
    """Colour 6 cm to the right with another lens: both are estimated."""
    lens = K.copy()
    lens[:2, :2] *= 0.85
    colour = shoot(lens, np.array([0.06, 0, 0]))
    report = check(Room(frames, colour=colour))
    assert report.faults == ("depth not registered to colour",)
    assert "about 300 (depth)" in report.causes[0].words
    found = fit(_samples(Room(frames, colour=colour)))
    # Offsets of centimetres trade with each other; the lens does not.
    assert found.focal == pytest.approx(0.85, abs=0.04)
    assert found.error < 0.3 and found.apart < 0.12


def _samples(room: Room) -> list[Sample]:
    source = RecordingSource(Recording("memory", Path("memory"), (room,)))
    pairs = [(0, 5), (0, 7), (1, 4), (1, 7), (2, 5), (2, 6), (3, 7)]
    return [source.pair(room, i, j) for i, j in pairs]


def test_one_bad_scene_among_good_ones_is_found(frames):
    rooms = [Room(frames, name=f"good{n}") for n in range(3)]
    bad = Room(frames, name="bad", K=lambda K: HALF @ K)
    report = check(*rooms, bad, pairs=12)
    assert report.faults == ("K of another size",)
    assert any("1 of 4 scenes: bad" in note for note in report.notes)


def test_blank_images_are_not_judged_and_not_passed_in_silence(frames):
    report = check(Room(frames, image=np.zeros_like))
    assert not report.judged and report.pairs == 0
    assert report.ok and not report.faults
    assert "could not be judged" in report.text()
    assert report.to_dict()["median_px"] is None


def test_unusable_frames_are_counted_and_named(frames):
    class Damaged(Room):
        def depth(self, k):
            if k % 4 == 3:
                raise DataError(f"{k}.depth is truncated")
            return super().depth(k)

    report = check(Damaged(frames), pairs=3)
    assert report.judged and report.ok
    assert "depth is truncated" in report.text()


def test_the_same_seed_takes_the_same_pairs(frames):
    one, two = (check(Room(frames), pairs=3, seed=5).rows for _ in range(2))
    assert one == two
    assert check(Room(frames), pairs=3, seed=6).rows != one


def test_errors_are_those_of_a_reprojection_by_hand():
    """One point, all numbers whole: depth 2 at (4, 2) moved by a turn and a step."""
    lens = np.array([[2.0, 0, 2], [0, 2, 2], [0, 0, 1]])
    depth = np.zeros((5, 6), np.float32)
    depth[2, 4] = 2
    view = View("a", depth, 1, (6, 5), (6, 5), lens)
    other = replace(view, depth=np.zeros_like(depth))
    T = np.eye(4)
    T[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]  # a quarter turn about z
    T[:3, 3] = [0, -1, 2]
    # K^-1 (4, 2, 1) * 2 = (2, 0, 2); turned (0, 2, 2); moved (0, 1, 4);
    # projected (2 * 0 / 4 + 2, 2 * 1 / 4 + 2) = (2, 2.5).
    sample = Sample(view, other, T, np.array([[4.0, 2]]), np.array([[5.0, 6.5]]))
    assert errors(sample).tolist() == [5.0]  # 3 to the right and 4 down
    behind = replace(sample, T_0to1=np.diag([1.0, -1, -1, 1]))
    assert errors(behind).tolist() == [np.inf]
    none = replace(sample, points0=np.array([[1.0, 1]]))
    assert np.isnan(median_error(none))


def test_correspondences_know_nothing_of_depth_and_are_right(frames):
    """Against a float64 reprojection written out here, with the exact depth."""
    (image0, depth0, W0), (image1, _, W1) = frames[1], frames[3]
    points0, points1 = correspond(detect(image0), detect(image1))
    assert len(points0) > 40
    x, y = np.rint(points0).astype(int).T
    rays = np.stack(
        [(points0[:, 0] - K[0, 2]) / K[0, 0], (points0[:, 1] - K[1, 2]) / K[1, 1]], 1
    )
    here = np.c_[rays, np.ones(len(rays)), 1 / depth0[y, x]] * depth0[y, x, None]
    there = here @ (W1 @ np.linalg.inv(W0)).T
    landed = there[:, :2] / there[:, 2:3] * K[[0, 1], [0, 1]] + K[:2, 2]
    assert np.median(np.linalg.norm(landed - points1, axis=1)) < 0.7


def test_json_has_no_nan_and_bad_arguments_are_refused(frames):
    import json

    report = check(Room(frames, depth=lambda d: d / 1000), pairs=3)
    text = json.dumps(report.to_dict(), allow_nan=False)
    assert json.loads(text)["faults"] == ["depth unit"]
    with pytest.raises(ConfigError, match="pairs is 0"):
        check(Room(frames), pairs=0)


# --- real data ---------------------------------------------------------------------


def test_real_recordings_pass(shared_data):
    report = geometry_check(find_recording(shared_data / "hololens"), pairs=6)
    assert report.ok and report.pairs == 6 and 0.5 < report.median_px < 3
    report = geometry_check(find_recording(shared_data / "tum_fr1_desk"), pairs=3)
    assert report.ok and 1 < report.median_px < 4


def test_real_photo_collections_pass(shared_data):
    tree = shared_data / "fountain"
    fountain = MegaDepth(tree, tree / "scene_info" / "fountain.npz")
    report = geometry_check(fountain, pairs=5)
    assert report.ok and report.pairs == 5 and report.median_px < 0.8
    folder = shared_data / "megadepth_pair"
    pair = MegaDepth(folder, folder / "sample.npz")
    report = geometry_check(pair, pairs=4)
    assert report.ok and report.pairs == 1 and report.median_px < 1.2
    assert check_pair(raw_from_dataset(pair, 0)).ok


def test_unregistered_depth_of_a_real_recording_is_named(shared_data):
    recording = find_recording(shared_data / "redkitchen_raw")
    report = geometry_check(recording, pairs=8)
    assert report.faults == ("depth not registered to colour",)
    assert report.median_px > 5
    # The depth maps agree among themselves: poses and K are not what is wrong.
    assert report.depth_disagreement < 0.02


class _Faulty(Scene):
    """A real scene with one thing changed."""

    def __init__(self, scene: Scene, **faults) -> None:
        self.scene, self.faults = scene, faults
        self.name, self.frames = scene.name, scene.frames

    def image_path(self, k):
        return self.scene.image_path(self.faults.get("order", lambda k: k)(k))

    def depth_path(self, k):
        return self.scene.depth_path(k)

    def depth(self, k):
        return self.faults.get("depth", lambda d: d)(self.scene.depth(k))

    def world_to_camera(self, k):
        return self.faults.get("pose", lambda T: T)(self.scene.world_to_camera(k))

    def K(self, k):
        return self.faults.get("K", lambda K: K)(self.scene.K(k))


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        ({"pose": np.linalg.inv}, "pose inverted"),
        ({"K": lambda K: HALF @ K}, "K of another size"),
        ({"depth": lambda d: d * 10}, "depth unit"),
        ({"order": lambda k: k ^ 1}, "images swapped"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_faults_of_a_real_recording_are_named(shared_data, faults, expected):
    recording = find_recording(shared_data / "hololens")
    scenes = tuple(_Faulty(s, **faults) for s in recording.scenes)
    report = geometry_check(replace(recording, scenes=scenes), pairs=4, seed=3)
    assert report.faults == (expected,)
