"""Overlap of two views, worked out by hand, and the index built from it."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from loftr_nb.datasets.index import load_scannet_pairs
from loftr_nb.errors import DataError
from loftr_nb.indexing import build_scannet_index, pair_overlap

# 80 x 80 pixels, f = 80: 1 m at a depth of 1 m fills the picture.
K = np.array([[80.0, 0, 40], [0, 80, 40], [0, 0, 1]])
WALL = np.ones((80, 80), np.float32)


def moved(x: float = 0, z: float = 0) -> np.ndarray:
    T = np.eye(4)
    T[0, 3], T[2, 3] = x, z
    return T


def test_the_same_view_overlaps_fully():
    assert pair_overlap(WALL, WALL, K, K, np.eye(4)) == 1


@pytest.mark.parametrize(("shift", "share"), [(0.5, 0.5), (-0.3, 0.7), (1.1, 0.0)])
def test_a_step_aside_leaves_what_both_see(shift, share):
    assert pair_overlap(WALL, WALL, K, K, moved(shift), step=1) == pytest.approx(
        share, abs=0.02
    )


def test_a_hidden_wall_does_not_count():
    """A board at 0.5 m covers the right half of view 1: view 0 sees the wall."""
    board = WALL.copy()
    board[:, 40:] = 0.5
    assert pair_overlap(WALL, board, K, K, np.eye(4)) == 0.5


@pytest.mark.parametrize(("z", "share"), [(1.1, 1.0), (1.2, 0.0)])
def test_depths_agree_to_15_percent(z, share):
    assert pair_overlap(WALL, WALL * np.float32(z), K, K, np.eye(4)) == share


def test_it_is_the_mean_of_both_directions():
    """Camera 1 is nearer: it sees a quarter of view 0, view 0 sees all of it."""
    near = WALL * np.float32(0.5)
    T = moved(z=-0.5)
    overlap = pair_overlap(WALL, near, K, K, T, step=1)
    assert overlap == pytest.approx((0.25 + 1) / 2, abs=0.02)
    assert pair_overlap(near, WALL, K, K, np.linalg.inv(T), step=1) == overlap


def test_unknown_depth_counts_neither_way():
    holes = WALL.copy()
    holes[:, :40] = 0
    assert pair_overlap(holes, WALL, K, K, np.eye(4)) == pytest.approx((1 + 0.5) / 2)
    assert pair_overlap(WALL * 0, WALL, K, K, np.eye(4)) == 0
    assert pair_overlap(WALL * np.nan, WALL, K, K, np.eye(4)) == 0


def test_what_lies_behind_does_not_count():
    assert pair_overlap(WALL, WALL, K, K, moved(z=-2)) == 0


@pytest.fixture
def walk(tmp_path):
    """Frames 10, 12, ... 28 along a wall at 2 m, 20 cm apart; some are spoilt."""
    scene = tmp_path / "data" / "scene0003_01"
    for kind in ("color", "depth", "pose", "intrinsic"):
        (scene / kind).mkdir(parents=True)
    np.savetxt(scene / "intrinsic" / "intrinsic_depth.txt", K)
    for n in range(10, 30, 2):
        cv2.imwrite(str(scene / "color" / f"{n}.jpg"), np.zeros((80, 80), np.uint8))
        wall = np.full((80, 80), 2000, np.uint16)
        cv2.imwrite(str(scene / "depth" / f"{n}.png"), wall)
        np.savetxt(scene / "pose" / f"{n}.txt", moved(0.1 * n))
    return scene


def test_the_index_holds_the_pairs_that_overlap(walk, tmp_path):
    """2 m of wall fill a picture: k frames apart share 1 - 0.1 k of it."""
    out = build_scannet_index(walk.parent, tmp_path / "index", 6, min_overlap=0.55)
    table = load_scannet_pairs(out)
    assert table.scenes == ("scene0003_01",)
    gaps = (table.frame1 - table.frame0) // 2
    assert np.bincount(gaps).tolist() == [0, 9, 8, 7, 6]
    assert np.allclose(table.overlap, 1 - 0.1 * gaps, atol=0.11)
    full = np.full((80, 80), 2, np.float32)
    for gap in range(1, 5):
        scores = table.overlap[gaps == gap]
        expected = pair_overlap(full, full, K, K, moved(-0.2 * gap))
        assert np.allclose(scores, expected, atol=0.1)


def test_a_window_bounds_the_pairs_looked_at(walk, tmp_path):
    seen = []
    build_scannet_index(walk.parent, tmp_path / "a", 2, 0.0, progress=seen.append)
    assert seen[0].compared == 9 + 8
    build_scannet_index(
        walk.parent, tmp_path / "b", 2, 0.0, every=3, progress=seen.append
    )
    assert (seen[1].frames, seen[1].compared) == (4, 3 + 2)


def test_unusable_frames_are_left_out_and_reported(walk, tmp_path):
    """No pose where tracking was lost, a missing image, a truncated depth map."""
    np.savetxt(walk / "pose" / "14.txt", np.full((4, 4), -np.inf))
    (walk / "color" / "18.jpg").unlink()
    depth = walk / "depth" / "22.png"
    depth.write_bytes(depth.read_bytes()[:60])
    out = build_scannet_index(walk.parent, tmp_path / "index")
    table = load_scannet_pairs(out)
    used = set(table.frame0.tolist()) | set(table.frame1.tolist())
    assert used == {10, 12, 16, 20, 24, 26, 28}
    (report,) = json.loads((out / "report.json").read_text())
    assert report["frames"] == 7
    for line, word in zip(
        report["left_out"], ("14.txt is not finite", "18.jpg", "22.png"), strict=True
    ):
        assert word in line


def test_the_frames_poses_are_camera_to_world(shared_data, tmp_path):
    """Real neighbours overlap; read the other way round they hardly would."""
    out = build_scannet_index(shared_data / "hololens", tmp_path / "index", 2, 0.05)
    table = load_scannet_pairs(out)
    near = table.frame1 - table.frame0 == 1
    assert near.sum() == 119
    assert np.median(table.overlap[near]) > 0.7


def test_no_overlap_at_all_is_an_error(walk, tmp_path):
    for n in range(10, 30, 2):
        np.savetxt(walk / "pose" / f"{n}.txt", moved(50.0 * n))
    np.savetxt(walk / "pose" / "10.txt", np.full((4, 4), np.nan))
    with pytest.raises(DataError, match=r"9 frames in use, 1 left out: .*10.txt"):
        build_scannet_index(walk.parent, tmp_path / "index")
    assert not list((tmp_path / "index").glob("*"))


def test_a_folder_without_scenes_says_what_is_expected(tmp_path):
    with pytest.raises(DataError, match="scene0707_00"):
        build_scannet_index(tmp_path, tmp_path / "index")
