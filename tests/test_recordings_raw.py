"""Recordings as others publish them: 7-Scenes, TUM, COLMAP, plain photos."""

from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest
from colmap_model import write_cameras, write_depth_map, write_images
from scipy.spatial.transform import Rotation

from loftr_nb.errors import DataError
from loftr_nb.recordings import find_recording
from loftr_nb.recordings.colmap import scale_intrinsics
from loftr_nb.recordings.colmap_files import read_depth_map
from loftr_nb.recordings.tum import interpolate_pose, read_trajectory


def save_png(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", array)[1].tobytes())


def some_pose(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_rotvec(rng.normal(size=3)).as_matrix()
    pose[:3, 3] = rng.normal(size=3)
    return pose


# 7-Scenes


def seven_scenes(folder, frames=2, depth=None):
    for n in range(frames):
        stem = folder / f"frame-{n:06d}"
        save_png(stem.with_suffix(".color.png"), np.full((48, 64, 3), n, np.uint8))
        millimetres = np.full((48, 64), 1500 + n, np.uint16)
        millimetres[0, :2] = 65535, 0
        save_png(stem.with_suffix(".depth.png"), millimetres)
        np.savetxt(stem.with_suffix(".pose.txt"), some_pose(n))


def test_seven_scenes_as_published(tmp_path):
    seven_scenes(tmp_path / "chess" / "seq-01")
    recording = find_recording(tmp_path / "chess")
    assert recording.layout == "sevenscenes"
    (scene,) = recording.scenes
    assert scene.name == "seq-01" and scene.is_video
    depth = scene.depth(1)
    assert depth[0, 0] == depth[0, 1] == 0  # 65535 and 0: no reading
    assert depth[5, 5] == np.float32(1.501)
    assert np.allclose(scene.world_to_camera(1) @ some_pose(1), np.eye(4))
    assert scene.K(0)[0, 0] == 585  # the depth camera's, as published


def test_seven_scenes_names_tell_sequences_apart(tmp_path):
    for scene in ("chess", "fire"):
        seven_scenes(tmp_path / scene / "seq-01", frames=1)
    names = [s.name for s in find_recording(tmp_path).scenes]
    assert names == ["chess_seq-01", "fire_seq-01"]


def test_real_red_kitchen(shared_data):
    (scene,) = find_recording(shared_data / "redkitchen_raw").scenes
    assert len(scene) == 24 and scene.frames[1] == "frame-000010"
    assert scene.image(0).shape == scene.depth(0).shape == (480, 640)
    assert scene.depth(0).max() < 10  # 65535 would be 65 m


# TUM


def tum(folder, rgb, depth, truth):
    for stamp in rgb:
        save_png(folder / f"rgb/{stamp:.6f}.png", np.zeros((48, 64), np.uint8))
    for stamp, value in depth:
        save_png(folder / f"depth/{stamp:.6f}.png", np.full((48, 64), value, np.uint16))
    np.savetxt(folder / "groundtruth.txt", truth, header="from freiburg2_desk.bag")


def trajectory(*rows):
    """(time, x, degrees about z)"""
    turn = [Rotation.from_euler("z", r[2], degrees=True).as_quat() for r in rows]
    return np.array(
        [[r[0], r[1], 0, 0, *q] for r, q in zip(rows, turn, strict=True)], float
    )


def test_tum_goes_together_by_time(tmp_path):
    truth = trajectory((10.0, 0, 0), (10.01, 1, 10), (10.02, 2, 20), (10.03, 3, 30))
    depths = [(10.0, 5000), (10.012, 10000), (20.0, 5000)]
    tum(tmp_path / "x", [10.004, 10.011, 10.028, 20.0], depths, truth)
    (scene,) = find_recording(tmp_path / "x").scenes
    # 20.0 has a depth map and no pose within 0.02 s.
    assert scene.frames == ["10.004000", "10.011000", "10.028000"]
    assert scene.without == 1
    assert [scene.depth(k)[0, 0] for k in range(3)] == [1, 2, 2]
    assert scene.K(0)[0, 0] == 520.9  # freiburg2, of the first lines
    # 0.4 of the way between the first two: 0.4 m along x, 4 degrees about z.
    pose = np.linalg.inv(scene.world_to_camera(0))
    assert pose[:3, 3] == pytest.approx([0.4, 0, 0], abs=1e-9)
    angle = np.degrees(np.arctan2(pose[1, 0], pose[0, 0]))
    assert angle == pytest.approx(4, abs=1e-5)


def test_tum_rotation_takes_the_short_way():
    truth = trajectory((0, 0, 350), (0.01, 0, 10))
    truth[1, 4:] *= -1  # the same rotation, the other sign
    pose = interpolate_pose(truth[:, 0], truth[:, 1:], 0.005)
    assert np.allclose(pose, np.eye(4), atol=1e-9)


def test_tum_pose_is_none_where_tracking_was_lost():
    truth = trajectory((0, 0, 0), (1, 1, 0))
    times, poses = truth[:, 0], truth[:, 1:]
    assert interpolate_pose(times, poses, 0.5) is None
    assert interpolate_pose(times, poses, -0.03) is None
    assert interpolate_pose(times, poses, 1.01)[0, 3] == 1  # held, not extrapolated
    assert interpolate_pose(times[:1], poses[:1], 0.0)[0, 3] == 0


def test_tum_own_intrinsics_come_first(tmp_path):
    tum(tmp_path / "x", [1.0], [(1.0, 5000)], trajectory((1.0, 0, 0)))
    (tmp_path / "x/intrinsics.txt").write_text("500 0 31 0 501 22 0 0 1")
    (scene,) = find_recording(tmp_path).scenes
    assert scene.K(0)[1, 1] == 501


def test_tum_of_an_unknown_camera_says_what_to_do(tmp_path):
    tum(tmp_path / "x", [1.0], [(1.0, 5000)], trajectory((1.0, 0, 0)))
    text = (tmp_path / "x/groundtruth.txt").read_text()
    (tmp_path / "x/groundtruth.txt").write_text(text.replace("freiburg2", "me"))
    (scene,) = find_recording(tmp_path / "x").scenes
    with pytest.raises(DataError, match=r"intrinsics\.txt"):
        scene.K(0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 2 3\n", "line 1"),
        ("# a\n1 0 0 0 0 0 0 5\n", "line 2.*length 5"),
        ("1 0 0 0 0 0 0 nan\n", "line 1"),
        ("# nothing\n", "no poses"),
    ],
)
def test_tum_damaged_trajectory_is_named(tmp_path, text, said):
    path = tmp_path / "groundtruth.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        read_trajectory(path)


def test_tum_without_a_common_time(tmp_path):
    tum(tmp_path / "x", [1.0], [(5.0, 5000)], trajectory((1.0, 0, 0)))
    with pytest.raises(DataError, match="within 0.02 s"):
        find_recording(tmp_path)


def test_real_tum(shared_data):
    (scene,) = find_recording(shared_data / "tum_fr1_desk").scenes
    assert len(scene) == 9
    assert scene.K(0)[0].tolist() == [517.3, 0, 318.6]
    assert 0.3 < np.median(scene.depth(0)[scene.depth(0) > 0]) < 3
    steps = [
        np.linalg.norm(np.linalg.inv(scene.world_to_camera(k))[:3, 3]) for k in (0, 8)
    ]
    assert 0 < abs(steps[1] - steps[0]) < 0.5  # 0.27 s of a hand-held camera


# COLMAP


def colmap(folder, binary=True, depth_size=(64, 48)):
    camera = (3, "PINHOLE", 64, 48, (60.0, 61.0, 32.5, 24.5))
    simple = (7, "SIMPLE_PINHOLE", 64, 48, (70.0, 32.0, 24.0))
    write_cameras(folder / "sparse", [camera, simple], binary)
    images = [(5, some_pose(5), 7, "b.png"), (2, some_pose(2), 3, "in a/a 1.png")]
    write_images(folder / "sparse", images, binary)
    depths = {}
    for _, _, _, name in images:
        save_png(folder / "images" / name, np.zeros((48, 64), np.uint8))
        w, h = depth_size
        depth = 1 + np.arange(w * h, dtype=np.float32).reshape(h, w)
        depth[0, :3] = -1, np.nan, 0
        write_depth_map(folder / f"stereo/depth_maps/{name}.geometric.bin", depth)
        depths[name] = depth
    return images, depths


@pytest.mark.parametrize("binary", [True, False])
def test_colmap_model(tmp_path, binary):
    images, depths = colmap(tmp_path / "room", binary)
    recording = find_recording(tmp_path)
    assert recording.layout == "colmap"
    (scene,) = recording.scenes
    assert scene.name == "room" and not scene.is_video
    assert scene.frames == ["b.png", "in a/a 1.png"]
    for k, (_, pose, _, name) in enumerate(images):
        assert np.allclose(scene.world_to_camera(k), pose, atol=1e-12)
        depth = scene.depth(k)
        assert depth[0, :3].tolist() == [0, 0, 0]
        assert np.array_equal(depth[1:], depths[name][1:])
        assert scene.image(k).shape == depth.shape
    # The first pixel's centre is (0.5, 0.5) there and (0, 0) here.
    assert scene.K(1).tolist() == [[60, 0, 32], [0, 61, 24], [0, 0, 1]]
    assert scene.K(0).tolist() == [[70, 0, 31.5], [0, 70, 23.5], [0, 0, 1]]


def test_colmap_text_without_points_keeps_its_empty_lines(tmp_path):
    colmap(tmp_path, binary=False)
    images = [(1, some_pose(1), 3, "b.png"), (2, some_pose(2), 3, "c.png")]
    write_images(tmp_path / "sparse", images, binary=False, points=0)
    (scene,) = find_recording(tmp_path).scenes
    assert scene.frames == ["b.png", "c.png"]


def test_colmap_smaller_depth_maps_scale_K(tmp_path):
    colmap(tmp_path, depth_size=(32, 24))
    (scene,) = find_recording(tmp_path).scenes
    K = scene.K(1)
    assert K[0, 0] == 30 and K[1, 1] == 30.5
    # COLMAP's 32.5 of 64 is its 16.25 of 32, which is 15.75 here.
    assert K[0, 2] == pytest.approx(15.75) and K[1, 2] == pytest.approx(11.75)
    assert scene.depth(1).shape == (24, 32)
    assert np.array_equal(scene.K(1), K)


def test_scaled_intrinsics_keep_borders():
    K = np.array([[50.0, 0, 20], [0, 60, 10], [0, 0, 1]])
    small = scale_intrinsics(K, (64, 48), (16, 12))
    for x in (-0.5, 63.5):  # the image's borders, in pixel centres
        ray = (x - K[0, 2]) / K[0, 0]
        assert small[0, 0] * ray + small[0, 2] == pytest.approx((x + 0.5) / 4 - 0.5)


def test_colmap_prefers_the_dense_folder(tmp_path):
    """A workspace holds the distorted model beside the undistorted one."""
    distorted = (1, "SIMPLE_RADIAL", 64, 48, (60.0, 32.0, 24.0, 0.1))
    write_cameras(tmp_path / "sparse/0", [distorted], binary=True)
    write_images(tmp_path / "sparse/0", [(1, np.eye(4), 1, "a.png")], binary=True)
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match="image_undistorter"):
        find_recording(tmp_path)
    colmap(tmp_path / "dense/0")
    (scene,) = find_recording(tmp_path).scenes
    assert scene.name == "dense_0"


def test_colmap_photometric_where_there_is_no_geometric(tmp_path):
    colmap(tmp_path)
    maps = tmp_path / "stereo/depth_maps"
    (maps / "b.png.geometric.bin").rename(maps / "b.png.photometric.bin")
    (scene,) = find_recording(tmp_path).scenes
    assert scene.depth(0).any()
    (maps / "b.png.photometric.bin").unlink()
    with pytest.raises(DataError, match="b.png.geometric.bin does not exist"):
        scene.depth(0)
    assert scene.K(0)[0, 0] == 70  # of the image


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin"])
def test_colmap_truncated_anywhere_is_named(tmp_path, name):
    colmap(tmp_path)
    path = tmp_path / "sparse" / name
    whole = path.read_bytes()
    for size in range(0, len(whole), 3):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match=name):
            find_recording(tmp_path)


def test_colmap_damaged_bytes_never_give_another_error(tmp_path):
    colmap(tmp_path)
    for name in ("sparse/cameras.bin", "sparse/images.bin"):
        path = tmp_path / name
        whole = path.read_bytes()
        for seed in range(200):
            rng = np.random.default_rng(seed)
            damaged = bytearray(whole)
            for at in rng.integers(0, len(damaged), 3):
                damaged[at] = rng.integers(256)
            path.write_bytes(damaged)
            try:
                find_recording(tmp_path)
            except DataError:
                pass
        path.write_bytes(whole)


@pytest.mark.parametrize(
    "content", [b"", b"64&48", b"64&48&1&", b"a&b&c&", b"0&0&1&", b"2&1&3&" + b"0" * 24]
)
def test_colmap_damaged_depth_map_is_named(tmp_path, content):
    colmap(tmp_path)
    path = tmp_path / "stereo/depth_maps/b.png.geometric.bin"
    path.write_bytes(content)
    (scene,) = find_recording(tmp_path).scenes
    with pytest.raises(DataError, match="b.png.geometric.bin"):
        scene.depth(0)


def test_colmap_depth_of_another_photo_is_refused(tmp_path):
    colmap(tmp_path, depth_size=(48, 64))
    (scene,) = find_recording(tmp_path).scenes
    with pytest.raises(DataError, match="different photos"):
        scene.K(0)


@pytest.mark.parametrize("kind", ["binary", "text"])
def test_colmap_agrees_with_its_own_package(tmp_path, kind):
    """Files that COLMAP's own package writes, and files that both read."""
    pycolmap = pytest.importorskip("pycolmap", reason="COLMAP's package is not here")
    model = pycolmap.Reconstruction()
    camera = pycolmap.Camera(
        camera_id=4, model="PINHOLE", width=64, height=48, params=[60, 61, 33, 25]
    )
    model.add_camera_with_trivial_rig(camera)
    for number, name in ((3, "b.png"), (9, "a.png")):
        image = pycolmap.Image(name=name, camera_id=4, image_id=number)
        pose = pycolmap.Rigid3d(some_pose(number)[:3])
        model.add_image_with_trivial_frame(image, pose)
    folder = tmp_path / "sparse"
    folder.mkdir()
    (tmp_path / "images").mkdir()
    getattr(model, f"write_{kind}")(str(folder))
    (scene,) = find_recording(tmp_path).scenes
    assert scene.frames == ["a.png", "b.png"]
    assert np.allclose(scene.world_to_camera(0), some_pose(9), atol=1e-9)
    assert np.allclose(scene.K(0), [[60, 0, 32.5], [0, 61, 24.5], [0, 0, 1]])
    depth = 1 + np.arange(12, dtype=np.float32).reshape(3, 4)
    pycolmap.DepthMap.from_array(depth, 0.1, 100.0).write(str(tmp_path / "d.bin"))
    assert np.array_equal(read_depth_map(tmp_path / "d.bin"), depth)


# plain photos


def test_photos_are_a_recording_without_depth(tmp_path):
    for name in ("b.JPG", "a.png"):
        save_png(tmp_path / "trip" / name, np.zeros((48, 64, 3), np.uint8))
    (tmp_path / "trip/.hidden.jpg").write_text("")
    (scene,) = find_recording(tmp_path / "trip").scenes
    assert scene.frames == ["a.png", "b.JPG"] and scene.depth_path(0) is None
    assert find_recording(tmp_path).scenes[0].name == "trip"
    for ask in (scene.depth, scene.K, scene.world_to_camera):
        with pytest.raises(DataError, match="import folder"):
            ask(0)


def test_depth_maps_are_no_photos(tmp_path, shared_data):
    """A ScanNet scene without its poses is not a folder of photos."""
    shutil.copytree(shared_data / "hololens", tmp_path / "h")
    shutil.rmtree(tmp_path / "h/scene9000_00/pose")
    with pytest.raises(DataError, match="no layout"):
        find_recording(tmp_path / "h/scene9000_00")
