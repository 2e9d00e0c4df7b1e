"""An index of one's own frames: scores, candidates, choice, files, interruptions."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import torch

from loftr_nb.cli.main import main
from loftr_nb.datasets import MegaDepth, ScanNet, collate, open_dataset
from loftr_nb.datasets.scene_info import load_megadepth_scene
from loftr_nb.errors import ConfigError, DataError
from loftr_nb.files import read_depth_h5
from loftr_nb.indexing import build_index, pair_overlap
from loftr_nb.indexing.candidates import find_candidates, ranks, shared_places
from loftr_nb.indexing.choose import (
    choose_pairs,
    held_out_scenes,
    part_of_frames,
)
from loftr_nb.indexing.grids import Grids, grid_step, read_grids
from loftr_nb.indexing.score import central_matches, score_pairs
from loftr_nb.indexing.write import write_scannet
from loftr_nb.recordings import Recording, Scene, find_recording
from loftr_nb.supervision import supervise


class Photos(Scene):
    """A MegaDepth scene, straight from an index file."""

    is_video = False

    def __init__(self, root: Path, index: Path) -> None:
        self.root, self.name = root, index.stem
        self.table = load_megadepth_scene(index).frames
        self.frames = [self.table.image[k] for k in range(len(self.table.slot))]

    def image_path(self, k: int) -> Path:
        return self.root / self.frames[k]

    def depth_path(self, k: int) -> Path:
        return self.root / self.table.depth[k]

    def depth(self, k: int) -> np.ndarray:
        return read_depth_h5(self.depth_path(k))

    def world_to_camera(self, k: int) -> np.ndarray:
        return self.table.pose[k]

    def K(self, k: int) -> np.ndarray:
        return self.table.K[k]


@pytest.fixture(scope="session")
def hololens(shared_data) -> Scene:
    return find_recording(shared_data / "hololens").scenes[0]


@pytest.fixture(scope="session")
def hololens_grids(hololens) -> Grids:
    return read_grids(hololens)[0]


@pytest.fixture(scope="session")
def fountain(shared_data) -> Recording:
    root = shared_data / "fountain"
    scene = Photos(root, root / "scene_info" / "fountain.npz")
    return Recording("megadepth", root, (scene,))


# ------------------------------------------------------------------- scores


def one_way(scene: Scene, i: int, j: int) -> float:
    """Every known pixel of frame i, row by row, in float64, by similar triangles."""
    here, there = scene.depth(i).astype(np.float64), scene.depth(j).astype(np.float64)
    T = scene.world_to_camera(j) @ np.linalg.inv(scene.world_to_camera(i))
    (fx, _, cx), (_, fy, cy), _ = scene.K(i)
    (gx, _, dx), (_, gy, dy), _ = scene.K(j)
    known = agree = 0
    for y, row in enumerate(here):
        x = np.flatnonzero(row > 0)
        known += len(x)
        world = np.stack([(x - cx) * row[x] / fx, (y - cy) * row[x] / fy, row[x]])
        X, Y, Z = T[:3, :3] @ world + T[:3, 3:]
        X, Y, Z = X[Z > 0], Y[Z > 0], Z[Z > 0]
        u, v = np.rint(gx * X / Z + dx), np.rint(gy * Y / Z + dy)
        lands = (u >= 0) & (u < there.shape[1]) & (v >= 0) & (v < there.shape[0])
        seen = there[v[lands].astype(int), u[lands].astype(int)]
        agree += ((seen > 0) & (np.abs(Z[lands] - seen) < 0.15 * seen)).sum()
    return agree / known


def check_against_every_pixel(scene: Scene, pairs: list[tuple[int, int]]) -> None:
    scored = score_pairs(read_grids(scene)[0], np.array(pairs))
    true = np.array([(one_way(scene, i, j), one_way(scene, j, i)) for i, j in pairs])
    assert np.abs(scored - true).max() < 0.05
    assert np.abs((scored - true).mean(1)).max() < 0.03
    assert np.abs(scored - true).mean() < 0.015
    assert true.min() < 0.25 and true.max() > 0.8  # the pairs are not all alike


def test_grids_score_as_every_pixel_does_on_a_real_video(hololens):
    check_against_every_pixel(hololens, [(0, 1), (0, 8), (20, 40), (70, 75), (5, 100)])


def test_grids_score_as_every_pixel_does_on_real_photographs(fountain):
    check_against_every_pixel(fountain.scenes[0], [(0, 10), (0, 1), (4, 7), (2, 9)])


def test_a_batch_scores_as_one_pair_does(hololens_grids):
    """On the same grids: in float64 exactly, in float32 to a few cells of 4,800."""
    grids = hololens_grids
    r = np.random.default_rng(0)
    pairs = r.integers(0, len(grids), (40, 2))
    single = [
        pair_overlap(
            grids.depth[i],
            grids.depth[j],
            grids.K[i],
            grids.K[j],
            grids.pose[j] @ np.linalg.inv(grids.pose[i]),
            step=1,
        )
        for i, j in pairs
    ]
    double = score_pairs(grids, pairs, dtype=torch.float64).mean(1)
    assert np.abs(double - single).max() < 1e-6
    assert np.abs(score_pairs(grids, pairs).mean(1) - single).max() < 5 / 4800
    assert np.std(single) > 0.1


def test_maps_of_different_sizes_score_together(fountain):
    """Padding is unknown depth: a pair scores the same beside a larger frame."""
    grids = read_grids(fountain.scenes[0])[0]
    h, w = grids.depth.shape[1:]
    padded = np.zeros((len(grids), h + 13, w + 7), np.float32)
    padded[:, :h, :w] = grids.depth
    larger = Grids(grids.number, padded, grids.K, grids.pose, grids.step, grids.size)
    pairs = np.array([(0, 3), (5, 9)])
    assert (score_pairs(larger, pairs) == score_pairs(grids, pairs)).all()


def test_poses_far_from_zero_cost_no_precision(hololens_grids):
    """Map coordinates, kilometres away: float32 would resolve 0.5 m there."""
    grids = hololens_grids
    away = np.eye(4)
    away[:3, 3] = 4.5e6, 5e5, 1e3
    moved = grids.pose @ np.linalg.inv(away)
    far = Grids(grids.number, grids.depth, grids.K, moved, grids.step, grids.size)
    pairs = np.array([(0, 5), (40, 60), (100, 110)])
    assert np.abs(score_pairs(far, pairs) - score_pairs(grids, pairs)).max() < 2e-3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_scores_the_same(hololens_grids):
    pairs = np.array([(i, i + 7) for i in range(100)])
    off = score_pairs(hololens_grids, pairs, "cuda") - score_pairs(
        hololens_grids, pairs
    )
    assert np.abs(off).max() < 2e-3


@pytest.mark.parametrize(
    ("size", "step"), [((640, 480), 8), ((1600, 1200), 16), ((64, 48), 6), ((9, 9), 1)]
)
def test_grids_have_a_hundred_cells_at_most(size, step):
    assert grid_step(*size) == step


def test_a_grid_cell_is_the_pixel_in_its_middle(hololens, hololens_grids):
    grids, k = hololens_grids, 17
    y, x = np.argwhere(grids.depth[k] > 0)[1000]
    ((px, py),) = grids.pixels(np.array([k]), np.array([[x, y]]))
    assert grids.depth[k, y, x] == hololens.depth(k)[py, px]
    ray = np.linalg.inv(grids.K[k]) @ [x, y, 1]
    assert np.allclose(ray, np.linalg.inv(hololens.K(k)) @ [px, py, 1])


def test_central_matches_show_the_same_point(fountain):
    scene = fountain.scenes[0]
    grids = read_grids(scene)[0]
    pairs = np.array([(0, 1), (3, 8), (9, 2)])
    for (i, j), (x0, y0, x1, y1) in zip(
        pairs, central_matches(grids, pairs), strict=True
    ):
        z = scene.depth(i)[int(y0), int(x0)]
        T = scene.world_to_camera(j) @ np.linalg.inv(scene.world_to_camera(i))
        there = T[:3, :3] @ (np.linalg.inv(scene.K(i)) @ [x0, y0, 1] * z) + T[:3, 3]
        u, v, w = scene.K(j) @ there
        assert np.allclose([x1, y1], [u / w, v / w], atol=0.05)
        assert abs(w - scene.depth(j)[round(v / w), round(u / w)]) < 0.2 * w


# --------------------------------------------------------------- candidates


def test_candidates_hold_the_real_pairs_that_overlap(hololens_grids):
    """All 7,140 pairs of a real walk are scored to know which ones matter."""
    grids = hololens_grids
    pairs = np.stack(np.triu_indices(len(grids), 1), 1)
    overlap = score_pairs(grids, pairs).mean(1)
    found = find_candidates(grids, False, per_frame=None, all_pairs=0)
    keys = {tuple(p) for p in found.pairs.tolist()}
    wanted = [tuple(p) for p in pairs[overlap >= 0.1].tolist()]
    assert len(wanted) > 2000
    assert np.mean([p in keys for p in wanted]) >= 0.99
    assert len(keys) < 0.55 * found.possible
    assert found.possible == len(pairs)


def corridor(frames: int, back: bool) -> Grids:
    """Views of a wall 2 m away while walking along it 20 cm a frame, and back."""
    depth = np.full((frames, 30, 40), 2, np.float32)
    K = np.array([[40.0, 0, 19.5], [0, 40, 14.5], [0, 0, 1]])
    pose = np.tile(np.eye(4), (frames, 1, 1))
    x = np.arange(frames)
    pose[:, 0, 3] = -0.2 * (np.minimum(x, frames - 1 - x) if back else x)
    step, size = np.full(frames, 8), np.full((frames, 2), [320, 240])
    return Grids(np.arange(frames), depth, np.tile(K, (frames, 1, 1)), pose, step, size)


def test_a_long_walk_is_not_compared_with_itself():
    """Frames 2 m of wall apart share none of it: the work grows with the walk."""
    found = find_candidates(corridor(600, back=False), True)
    assert found.possible == 600 * 599 // 2
    assert len(found.pairs) < 0.08 * found.possible
    assert (found.pairs[:, 0] < found.pairs[:, 1]).all()
    assert len(np.unique(found.pairs, axis=0)) == len(found.pairs)
    assert {(i, i + 1) for i in range(599)} <= set(map(tuple, found.pairs.tolist()))


def test_a_return_is_found_without_looking_for_it():
    grids = corridor(400, back=True)
    found = find_candidates(grids, True, per_frame=None)
    keys = set(map(tuple, found.pairs.tolist()))
    assert all((i, 399 - i) in keys for i in range(200))


def test_both_sides_of_a_wall_share_no_place():
    """Same position, the other way round: what lies behind is another surface."""
    grids = corridor(2, back=False)
    grids.pose[1] = np.diag([-1.0, 1, -1, 1])
    assert shared_places(grids)[0, 1] == 0
    assert shared_places(corridor(2, back=False))[0, 1] > 0.7


def test_pairs_of_a_frame_are_thinned_evenly():
    full = find_candidates(corridor(600, False), False, per_frame=None)
    thin = find_candidates(corridor(600, False), False, per_frame=4)
    counts = np.bincount(thin.pairs[:, 0])
    assert counts.max() == 4 < np.bincount(full.pairs[:, 0]).max()
    assert thin.shared == full.shared == len(full.pairs)
    gaps = np.diff(thin.pairs, axis=1)
    assert gaps.min() == 1 and gaps.max() >= 6  # near ones and far ones
    again = find_candidates(corridor(600, False), False, per_frame=4)
    assert (again.pairs == thin.pairs).all()
    other = find_candidates(corridor(600, False), False, per_frame=4, seed=1)
    assert not np.array_equal(other.pairs, thin.pairs)


def test_parts_are_never_paired():
    part = (np.arange(600) > 500).astype(int)
    for frames, limit in ((600, 0), (600, 10**9)):
        found = find_candidates(
            corridor(frames, False), True, part=part, all_pairs=limit
        )
        assert (part[found.pairs[:, 0]] == part[found.pairs[:, 1]]).all()
        assert found.possible == 501 * 500 // 2 + 99 * 98 // 2


def test_ranks_are_places_within_groups():
    assert ranks(np.array([1, 0, 1, 0]), np.array([5, 1, 2, 7])).tolist() == [
        1,
        0,
        0,
        1,
    ]
    assert ranks(np.empty(0, int), np.empty(0)).tolist() == []


# ------------------------------------------------------------------- choice


def test_ranges_hold_their_lower_edge():
    overlap = np.array([0.05, 0.1, 0.29, 0.3, 0.5, 0.7, 0.71], np.float32)
    pairs = np.stack([np.zeros(7, int), np.arange(1, 8)], 1)
    choice = choose_pairs(pairs, overlap)
    assert choice.rows.tolist() == [1, 2, 3, 4, 5]
    assert choice.bin.tolist() == [0, 0, 1, 2, 2]
    assert (choice.available, choice.below, choice.above) == ((2, 1, 2), 1, 1)


def test_no_frame_dominates():
    """Frame 0 overlaps with all 100 others, which overlap in a ring."""
    star = [(0, n) for n in range(1, 101)]
    ring = [(n, n + 1) for n in range(1, 100)]
    pairs = np.array(star + ring)
    choice = choose_pairs(pairs, np.full(len(pairs), 0.2), per_bin=60)
    chosen = pairs[choice.rows]
    assert len(chosen) == 60
    assert np.bincount(chosen.ravel()).max() <= 3
    again = choose_pairs(pairs, np.full(len(pairs), 0.2), per_bin=60)
    assert (again.rows == choice.rows).all()
    other = choose_pairs(pairs, np.full(len(pairs), 0.2), per_bin=60, seed=1)
    assert not np.array_equal(other.rows, choice.rows)


@pytest.mark.parametrize("bins", [(0.1,), (0.3, 0.1), (-0.1, 0.5), (0.5, 1.5), ()])
def test_ranges_that_cannot_be(bins):
    with pytest.raises(ConfigError, match="rising edges"):
        choose_pairs(np.zeros((1, 2), int), np.zeros(1), bins)


def test_scenes_are_held_out_by_place():
    names = [f"scene{n:04d}_{k:02d}" for n in range(10) for k in range(2)]
    held = held_out_scenes(names, 0.2)
    assert held == {n for n in names if n[:9] in ("scene0004", "scene0009")}
    assert held_out_scenes(names, 0) == set()
    assert held_out_scenes(["scene0000_00", "scene0000_01"], 0.2) is None
    with pytest.raises(ConfigError, match="share"):
        held_out_scenes(names, 1.0)


def test_frames_of_one_place_are_divided():
    assert part_of_frames(100, 0.1, True).nonzero()[0].tolist() == list(range(90, 100))
    photos = part_of_frames(12, 0.1, False).nonzero()[0]
    assert photos.tolist() == [2, 5, 8, 11]
    assert part_of_frames(5, 0.1, True).sum() == 0


# -------------------------------------------------------------------- files

K = np.array([[80.0, 0, 40], [0, 80, 40], [0, 0, 1]])


def write_scene(scene: Path, frames: int = 16) -> Path:
    """A bumpy wall at 2 m; each frame stands 20 cm to the right of the one before."""
    for kind in ("color", "depth", "pose", "intrinsic"):
        (scene / kind).mkdir(parents=True)
    np.savetxt(scene / "intrinsic" / "intrinsic_depth.txt", K)
    r = np.random.default_rng(0)
    for n in range(frames):
        noise = r.integers(0, 255, (80, 80, 3), dtype=np.uint8)
        cv2.imwrite(str(scene / "color" / f"{n}.jpg"), noise)
        wall = np.full((80, 80), 2000, np.uint16)
        cv2.imwrite(str(scene / "depth" / f"{n}.png"), wall)
        pose = np.eye(4)
        pose[0, 3] = 0.2 * n
        np.savetxt(scene / "pose" / f"{n}.txt", pose)
    return scene


@pytest.fixture
def rooms(tmp_path) -> Path:
    for n in range(3):
        write_scene(tmp_path / "rooms" / f"scene000{n}_00")
    return tmp_path / "rooms"


def contents(out: Path) -> dict[str, dict[str, list]]:
    """Every index file's arrays, by its name."""
    return {
        str(p.relative_to(out)): {k: v.tolist() for k, v in np.load(p).items()}
        for p in sorted(out.rglob("*.npz"))
    }


def test_what_is_written_is_what_was_scored(rooms, tmp_path):
    """k frames apart share 1 - k/10 of their picture."""
    report = build_index(rooms, tmp_path / "out", split=0.34)
    train = ScanNet(rooms, report.train, report.intrinsics, size=(80, 80))
    test = ScanNet(rooms, report.test, report.intrinsics, size=(80, 80))
    assert train.scenes == ["scene0000_00", "scene0001_00"]
    assert test.scenes == ["scene0002_00"]
    for opened in (train, test):
        gap = opened.table.frame1 - opened.table.frame0
        assert set(gap.tolist()) == {3, 4, 5, 6, 7, 8, 9}
        assert np.allclose(opened.table.overlap, 1 - gap / 10, atol=0.051)
    assert report.pairs == len(train) + len(test) == sum(s.pairs for s in report.scenes)
    assert report.total("train")[0] == (train.table.overlap < 0.3).sum()
    assert len(supervise(collate([train[0]]))) > 10


def test_the_folder_opens_by_itself(rooms, tmp_path):
    build_index(rooms, tmp_path / "out", split=0.34)
    opened = [
        open_dataset(tmp_path / "out", s, size=(80, 80)) for s in ("train", "test")
    ]
    assert [len(d.scenes) for d in opened] == [2, 1]
    assert len(ScanNet(rooms, tmp_path / "out")) == len(opened[0])
    assert opened[0].root == rooms
    build_index(rooms)  # into the folder of frames itself
    assert len(open_dataset(rooms, "test", size=(80, 80))) == len(opened[1])
    rooms.rename(tmp_path / "moved")
    assert len(open_dataset(tmp_path / "moved", "train", size=(80, 80))) == len(
        opened[0]
    )
    with pytest.raises(DataError, match="is not there"):
        open_dataset(tmp_path / "out", "train")


def test_a_single_scene_is_opened_from_its_parent(rooms, tmp_path):
    report = build_index(rooms / "scene0001_00", tmp_path / "out")
    opened = open_dataset(report.out, "train", size=(80, 80))
    assert opened.root == report.root == rooms and opened.scenes == ["scene0001_00"]
    assert opened[0].view0.name.startswith(str(rooms / "scene0001_00" / "color"))


def test_photos_without_depth_are_sent_elsewhere(tmp_path):
    (tmp_path / "a").mkdir()
    for n in range(3):
        cv2.imwrite(str(tmp_path / "a" / f"{n}.jpg"), np.zeros((80, 80), np.uint8))
    with pytest.raises(DataError, match="without depth and pose.*import folder"):
        build_index(tmp_path / "a", tmp_path / "out")


def test_frames_of_one_scene_are_in_one_part_only(hololens, shared_data, tmp_path):
    report = build_index(shared_data / "hololens", tmp_path / "out")
    frames = []
    for path in (report.train, report.test):
        table = ScanNet(shared_data / "hololens", path).table
        assert table.overlap.min() >= 0.1 and table.overlap.max() <= 0.7
        frames.append(set(table.frame0.tolist()) | set(table.frame1.tolist()))
    assert len(frames[0]) > 100 and len(frames[1]) == 12
    assert not frames[0] & frames[1]


def test_without_a_split_some_pairs_are_held_out_when_asked_for(rooms, tmp_path):
    report = build_index(rooms, tmp_path / "out", split=0)
    assert report.test is None
    train, test = (
        open_dataset(report.out, s, size=(80, 80)) for s in ("train", "test")
    )
    assert len(train) + len(test) == report.pairs
    assert not set(train.table.scene) & set(test.table.scene)


@pytest.mark.parametrize("as_pickle", [True, False])
def test_megadepth_files_are_as_the_released_code_reads_them(
    fountain, tmp_path, as_pickle
):
    report = build_index(
        fountain, tmp_path / "out", bins=(0.3, 0.5, 0.7), as_pickle=as_pickle, split=0
    )
    files = sorted((tmp_path / "out" / "train").glob("*.npz"))
    assert [f.name[-11:] for f in files] == ["0.3_0.5.npz", "0.5_0.7.npz"]
    # numpy 1, which the released code runs on, does not know this name.
    assert b"numpy._core" not in files[0].read_bytes()
    for path in files:
        info = np.load(path, allow_pickle=True)
        pairs = info["pair_infos"].copy()
        if as_pickle:
            info = dict(info)
            del info["pair_infos"]
        low, high = (float(n) for n in path.stem.split("_")[-2:])
        for (i, j), overlap, central in pairs:
            assert low <= overlap <= high and i != j and central.shape == (4,)
            for end in (i, j):
                assert (fountain.root / info["image_paths"][end]).is_file()
                assert (fountain.root / info["depth_paths"][end]).is_file()
                k = int(Path(info["image_paths"][end]).stem)
                assert np.allclose(info["poses"][end], fountain.scenes[0].table.pose[k])
                assert np.allclose(info["intrinsics"][end], fountain.scenes[0].K(k))
    opened = MegaDepth(fountain.root, report.out, size=480)
    assert len(opened) == report.pairs >= 20
    assert len(supervise(collate([opened[0]]))) > 50


def test_real_photographs_in_two_parts(fountain, tmp_path):
    report = build_index(fountain, tmp_path / "out", bins=(0.05, 1.0))
    frames = []
    for split in ("train", "test"):
        table = open_dataset(report.out, split).table
        names = [table.frames.image[k] for k in range(len(table.frames.slot))]
        frames.append(set(names))
    assert [len(f) for f in frames] == [7, 4]
    assert not frames[0] & frames[1]


def test_frame_numbers_keep_the_released_type_where_they_fit(tmp_path):
    for last, kind in ((65535, np.uint16), (65536, np.int32)):
        write_scannet(tmp_path / "a.npz", "scene0003_01", np.array([(5, last)]), [0.4])
        name = np.load(tmp_path / "a.npz")["name"]
        assert name.dtype == kind and name.tolist() == [[3, 1, 5, last]]


# ------------------------------------------------------------ what goes wrong


def test_bad_frames_are_left_out_and_named(rooms, tmp_path):
    scene = rooms / "scene0001_00"
    np.savetxt(scene / "pose" / "4.txt", np.full((4, 4), -np.inf))
    (scene / "color" / "7.jpg").unlink()
    depth = scene / "depth" / "9.png"
    depth.write_bytes(depth.read_bytes()[:60])
    report = build_index(rooms, tmp_path / "out", split=0)
    words = ("4.txt is not finite", "7.jpg", "9.png")
    for line, word in zip(report.left_out, words, strict=True):
        assert word in line
    used = ScanNet(rooms, tmp_path / "out/train/scene0001_00.npz").table
    frames = set(used.frame0.tolist()) | set(used.frame1.tolist())
    assert frames == set(range(16)) - {4, 7, 9}
    assert "left out: 3 frame(s)" in report.text()
    assert json.loads(json.dumps(report.to_dict()))["scenes"][1]["frames"] == 13


def test_a_scene_without_intrinsics_is_left_out_and_named(rooms, tmp_path):
    (rooms / "scene0000_00" / "intrinsic" / "intrinsic_depth.txt").unlink()
    report = build_index(rooms, tmp_path / "out", split=0)
    assert report.scenes[0].pairs == 0
    assert any("intrinsic_depth.txt" in line for line in report.text().splitlines())
    assert len(ScanNet(rooms, tmp_path / "out", size=(80, 80)).scenes) == 2


def test_nothing_that_overlaps_is_an_error(rooms, tmp_path):
    for path in rooms.glob("*/pose/*.txt"):
        pose = np.eye(4)
        pose[0, 3] = 50.0 * int(path.stem)
        np.savetxt(path, pose)
    with pytest.raises(DataError, match="no pair of frames overlaps by 0.1 to 0.7"):
        build_index(rooms, tmp_path / "out")


def test_a_stopped_run_goes_on_where_it_was(rooms, tmp_path):
    def stop(scene: str, what: str, done: int, total: int) -> None:
        if scene == "scene0001_00" and what == "pairs scored":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_index(rooms, tmp_path / "out", progress=stop)
    assert not list((tmp_path / "out").rglob("scene0001*"))
    with pytest.raises(DataError, match="unfinished index"):
        open_dataset(tmp_path / "out", "train")
    first = tmp_path / "out" / "train" / "scene0000_00.npz"
    before = first.stat().st_mtime_ns
    half = first.parent / ".scene0001_00.npz.k3j2"  # as a killed process leaves it
    half.write_bytes(b"PK")
    report = build_index(rooms, tmp_path / "out")
    assert not half.exists()
    assert report.reused == 1 and first.stat().st_mtime_ns == before
    build_index(rooms, tmp_path / "at_once")
    assert contents(tmp_path / "out") == contents(tmp_path / "at_once")
    assert build_index(rooms, tmp_path / "out").reused == 3


def test_another_index_is_not_replaced(rooms, tmp_path):
    out = tmp_path / "out"
    build_index(rooms, out)
    held = contents(out)
    with pytest.raises(DataError, match="per_bin 1000, now it is 5.*--force"):
        build_index(rooms, out, per_bin=5)
    with pytest.raises(DataError, match="bins"):
        build_index(rooms, out, bins=(0.1, 0.2))
    np.savetxt(rooms / "scene0001_00" / "pose" / "3.txt", np.eye(4))
    with pytest.raises(DataError, match="scene0001_00 have changed"):
        build_index(rooms, out)
    (rooms / "scene0002_00").rename(tmp_path / "scene0002_00")
    with pytest.raises(DataError, match="also indexes scene0002_00"):
        build_index(rooms, out)
    assert contents(out) == held
    report = build_index(rooms, out, per_bin=5, split=0, force=True)
    assert report.total("train") == [10, 10, 10]
    assert set(contents(out)) == {
        "intrinsics.npz",
        "train/scene0000_00.npz",
        "train/scene0001_00.npz",
    }


def test_a_folder_of_something_else_is_left_alone(rooms, tmp_path):
    out = tmp_path / "photos"
    out.mkdir()
    (out / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(DataError, match="holds holiday.jpg"):
        build_index(rooms, out)
    assert [p.name for p in out.iterdir()] == ["holiday.jpg"]
    with pytest.raises(DataError, match="cannot be written to"):
        build_index(rooms, out / "holiday.jpg" / "index")


def test_files_that_no_reader_opens_are_refused(rooms, tmp_path):
    with pytest.raises(DataError, match="h5.*Import it first"):
        build_index(rooms, tmp_path / "out", style="megadepth")
    with pytest.raises(ConfigError, match="no pickle is needed"):
        build_index(rooms, tmp_path / "out", as_pickle=True)
    with pytest.raises(ConfigError, match="did you mean 'scannet'"):
        build_index(rooms, tmp_path / "out", style="scanet")
    assert not (tmp_path / "out").exists()


def test_a_depth_file_in_h5_needs_its_own_size(tmp_path, fountain):
    """Frames of another size in one recording have grids of their own."""
    path = tmp_path / "d.h5"
    with h5py.File(path, "w") as file:
        file["depth"] = np.full((1800, 1200), 3.0, np.float32)

    class Mixed(Photos):
        def depth(self, k: int) -> np.ndarray:
            return read_depth_h5(path) if k == 2 else super().depth(k)

    index = fountain.root / "scene_info" / "fountain.npz"
    grids, left_out = read_grids(Mixed(fountain.root, index))
    assert not left_out
    assert grids.step.tolist() == [8, 8, 18] + [8] * 8
    assert (grids.depth[2] > 0).sum() == 100 * 67
    assert grids.size[2].tolist() == [1200, 1800]


# -------------------------------------------------------------- command line


def test_the_command_reports_and_draws(rooms, tmp_path, capsys):
    out, picture = tmp_path / "out", tmp_path / "overlap.png"
    words = ["data", "index", str(rooms), "--out", str(out), "--per-bin", "7"]
    assert main([*words, "--histogram", str(picture)]) == 0
    told = capsys.readouterr().out
    assert "0.1-0.3" in told and f"loftr-nb train indoor_ds --data {out}" in told
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert main([*words, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["reused"] == 3 and data["scenes"][0]["train"] == [7, 7, 7]
    assert data["train"] == str(out / "train.txt")


def test_the_command_says_what_is_wrong(rooms, tmp_path, capsys):
    assert main(["data", "index", str(tmp_path / "none")]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert main(["data", "index", str(rooms), "--bins", "0.3", "0.1"]) == 2
    assert "rising edges" in capsys.readouterr().err
    assert main(["data", "index", str(rooms), "--every", "0"]) == 2
    assert "every is 0" in capsys.readouterr().err
