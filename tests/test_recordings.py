"""Recordings of ScanNet and MegaDepth: scenes of frames before pairs exist."""

from __future__ import annotations

import numpy as np
import pytest
from reader_files import depth_path, scene_arrays, write_photo, write_scannet_frame

from loftr_nb.errors import DataError
from loftr_nb.recordings import find_recording, raw_pair

SMALL = {"colour": (64, 48), "depth": (64, 48)}


def write_tree(root, count=3, **extra):
    columns = scene_arrays(count, unused=(count - 1,))
    for k in range(count - 1):
        write_photo(root / f"Undistorted_SfM/0001/images/{k}.jpg", root / depth_path(k))
        columns["poses"][k] = np.eye(4) + np.eye(4, k=3) * k  # x = k
    (root / "scene_info").mkdir()
    for name in ("0001_0.1_0.3.npz", "0001_0.3_0.5.npz"):
        np.savez(root / "scene_info" / name, **(columns | extra))
    return columns


def test_scannet_scenes_directly_and_one_folder_below(tmp_path):
    pose = np.eye(4)
    pose[0, 3] = 2.0  # camera to world
    for n in (2, 10, 9):
        write_scannet_frame(tmp_path / "scans/scene0007_01", n, pose=pose, **SMALL)
    for root in (tmp_path, tmp_path / "scans", tmp_path / "scans/scene0007_01"):
        recording = find_recording(root)
        (scene,) = recording.scenes
        assert (recording.layout, scene.name) == ("scannet", "scene0007_01")
        assert list(scene.frames) == ["2", "9", "10"] and scene.is_video
    assert scene.world_to_camera(0)[0, 3] == -2.0  # inverted
    assert scene.depth(1)[0, 0] == 1.5


def test_scannet_images_without_a_pose_are_no_frames_and_counted(tmp_path):
    write_scannet_frame(tmp_path / "scene0001_00", 1, **SMALL)
    write_scannet_frame(tmp_path / "scene0001_00", 2, pose=None, **SMALL)
    (scene,) = find_recording(tmp_path).scenes
    assert list(scene.frames) == ["1"] and scene.without_pose == ["2"]


def test_two_scenes_of_one_name_are_refused(tmp_path):
    for folder in ("old", "new"):
        write_scannet_frame(tmp_path / folder / "scene0001_00", 1, **SMALL)
    with pytest.raises(DataError, match="two scenes of one name"):
        find_recording(tmp_path)


def test_cpp_export_of_scannet_is_explained(tmp_path):
    (tmp_path / "scene0001_00").mkdir()
    (tmp_path / "scene0001_00/frame-000000.depth.pgm").write_bytes(b"P5")
    for root in (tmp_path, tmp_path / "scene0001_00"):
        with pytest.raises(DataError, match=r"C\+\+ tool.*scannet-sens"):
            find_recording(root)


def test_megadepth_files_of_one_place_are_one_scene(tmp_path):
    write_tree(tmp_path)
    recording = find_recording(tmp_path)
    (scene,) = recording.scenes
    assert (recording.layout, scene.name) == ("megadepth", "0001")
    assert len(scene) == 2 and not scene.is_video  # the unused slot is no frame
    pair = raw_pair(scene, 0, 1)
    assert pair.T_0to1[0, 3] == 1.0  # T1 @ inv(T0)
    assert pair.K1[0, 0] == 501 and pair.depth0.shape == pair.image0.shape == (48, 64)


def test_megadepth_images_that_are_not_there_are_counted(tmp_path):
    write_tree(tmp_path)
    (tmp_path / "Undistorted_SfM/0001/images/1.jpg").unlink()
    (scene,) = find_recording(tmp_path).scenes
    assert len(scene) == 1 and scene.without == 2  # in both files
    (tmp_path / "Undistorted_SfM/0001/images/0.jpg").unlink()
    with pytest.raises(DataError, match=r"none of the images.*0\.jpg"):
        find_recording(tmp_path)


def test_megadepth_without_an_index_says_where_poses_are(tmp_path):
    write_photo(
        tmp_path / "Undistorted_SfM/0001/images/0.jpg", tmp_path / depth_path(0)
    )
    with pytest.raises(DataError, match=r"megadepth_indices\.tar"):
        find_recording(tmp_path)


def test_megadepth_poses_are_checked_when_read(tmp_path):
    poses = np.empty(3, object)
    poses[:] = [np.full((4, 4), np.nan), "text", None]
    write_tree(tmp_path, poses=poses)
    (scene,) = find_recording(tmp_path).scenes
    with pytest.raises(DataError, match=r"slot 0, poses is not finite"):
        scene.world_to_camera(0)
    with pytest.raises(DataError, match="slot 1, poses: not numbers"):
        scene.world_to_camera(1)


@pytest.mark.parametrize(
    ("name", "layout", "frames"),
    [("hololens", "scannet", 120), ("fountain", "megadepth", 11),
     ("megadepth_pair", "megadepth", 2)],
)  # fmt: skip
def test_real_recordings(shared_data, name, layout, frames):
    recording = find_recording(shared_data / name)
    assert recording.layout == layout
    assert [len(scene) for scene in recording.scenes] == [frames]
