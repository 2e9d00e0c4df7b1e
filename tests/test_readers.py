"""Readers of ScanNet's and MegaDepth's layouts, against direct reads of the files."""

from __future__ import annotations

import gc
import multiprocessing
import pickle
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import torch
from reader_files import (
    depth_path,
    scene_arrays,
    write_intrinsics,
    write_photo,
    write_scannet_frame,
    write_scannet_index,
    write_scene,
)
from torch.utils.data import DataLoader

from loftr_nb.datasets import (
    Augment,
    MegaDepth,
    ScanNet,
    collate,
    load_intrinsics,
    load_megadepth_scene,
    load_megadepth_scenes,
    load_scannet_pairs,
)
from loftr_nb.datasets.images import (
    fit_longer_side,
    resize_grey,
    sample_cell_depth,
    scale_to_original,
)
from loftr_nb.errors import ConfigError
from loftr_nb.geometry import DepthMap, cell_corners

SCENE = "scene9000_00"
FRAMES = [(9000, 0, 3, 5), (9000, 0, 10, 20), (9000, 0, 20, 10)]


@pytest.fixture
def office(shared_data: Path, tmp_path: Path) -> ScanNet:
    """The HoloLens scene, at its own size, with an index written here."""
    return open_office(shared_data, tmp_path)


def open_office(shared_data: Path, tmp_path: Path, **kwargs) -> ScanNet:
    index = tmp_path / f"{SCENE}.npz"
    np.savez(index, name=np.array(FRAMES, np.uint16), score=np.array([0.9, 0.5, 0.4]))
    return ScanNet(shared_data / "hololens", index, **kwargs)


# --- ScanNet -----------------------------------------------------------------


def test_scannet_pair_equals_direct_reads(shared_data, office) -> None:
    pair = office[0]
    scene = shared_data / "hololens" / SCENE
    grey = cv2.imread(str(scene / "color" / "3.jpg"), cv2.IMREAD_GRAYSCALE)
    depth = cv2.imread(str(scene / "depth" / "5.png"), cv2.IMREAD_UNCHANGED)
    K = np.loadtxt(scene / "intrinsic" / "intrinsic_depth.txt")[:3, :3]
    pose0 = np.loadtxt(scene / "pose" / "3.txt")
    pose1 = np.loadtxt(scene / "pose" / "5.txt")
    assert pair.view0.image.shape == (1, 480, 640)
    assert np.array_equal(pair.view0.image[0].numpy(), grey.astype(np.float32) / 255)
    corners = depth[::8, ::8].reshape(-1) / 1000  # the size is kept: corner = pixel
    assert np.allclose(pair.view1.cell_depth, corners, atol=1e-6)
    assert np.allclose(office.full_depth(0)[1], depth / 1000, atol=1e-6)
    assert np.allclose(pair.view0.K, K, atol=1e-4)
    point0 = np.array([0.2, -0.1, 2.0, 1.0])
    in_world = pose0 @ point0
    point1 = np.linalg.solve(pose1, in_world)
    assert np.allclose(pair.T_0to1 @ torch.tensor(point0).float(), point1, atol=1e-5)
    assert pair.scene == SCENE
    assert pair.overlap == pytest.approx(0.9)
    assert pair.view0.scale.tolist() == [1, 1]
    assert bool(pair.view0.mask.all())


def test_scannet_pair_and_its_reverse_are_inverse(office) -> None:
    forth, back = office[1], office[2]
    assert forth.view0.name == back.view1.name
    assert torch.allclose(forth.T_0to1 @ back.T_0to1, torch.eye(4), atol=1e-6)


def test_smaller_input_keeps_k_and_reads_depth_at_rounded_pixels(
    shared_data, tmp_path
) -> None:
    """320x184 on 640x480: corners fall between pixels in y, K must not move."""
    data = open_office(shared_data, tmp_path, size=(320, 184))
    view, full = data[0].view0, data.full_depth(0)[0]
    scale = (640 / 320, 480 / 184)
    assert view.scale.tolist() == pytest.approx(scale)
    assert torch.equal(view.K, open_office(shared_data, tmp_path)[0].view0.K)
    cells = view.cell_depth.reshape(184 // 8, 320 // 8)
    for y, x in ((0, 0), (3, 7), (11, 20), (22, 39)):
        pixel = full[round(8 * y * scale[1]), round(8 * x * scale[0])]
        assert cells[y, x] == pixel


def test_size_none_takes_the_depth_maps(shared_data, tmp_path) -> None:
    data = open_office(shared_data, tmp_path, size=None)
    assert data[0].view0.image.shape == (1, 480, 640)


def test_larger_colour_lies_on_its_depth(tmp_path) -> None:
    """ScanNet's own sizes: 1296x968 colour on 640x480 depth, within 1 %."""
    write_scannet_frame(tmp_path / "scene0707_00", 15, colour=(1296, 968))
    write_scannet_frame(tmp_path / "scene0707_00", 585, colour=(1296, 968))
    index = write_scannet_index(tmp_path, [(707, 0, 15, 585)])
    view = ScanNet(tmp_path, index, write_intrinsics(tmp_path))[0].view0
    assert view.image.shape == (1, 480, 640)
    assert view.scale.tolist() == [1, 1]


def test_min_overlap_and_lists_of_files(shared_data, tmp_path) -> None:
    assert len(open_office(shared_data, tmp_path, min_overlap=0.5)) == 2
    (tmp_path / "train").mkdir()
    for scene in (1, 2):
        np.savez(
            tmp_path / "train" / f"scene000{scene}_00.npz",
            name=np.array([[scene, 0, 1, 2], [scene, 0, 2, 3]]),
            score=np.array([0.3, 0.6]),
        )
    listed = tmp_path / "train.txt"
    listed.write_text("scene0002_00.npz\nscene0001_00\n")
    table = load_scannet_pairs(listed, min_overlap=0.5)
    assert table.scenes == ("scene0002_00", "scene0001_00")
    assert table.scene.tolist() == [0, 1]
    assert table.row.tolist() == [1, 1]
    assert load_scannet_pairs(tmp_path / "train").frame1.tolist() == [2, 3, 2, 3]
    assert table.where(1).endswith("scene0001_00.npz, row 1")
    (tmp_path / "test").mkdir()  # a namesake in another split is not taken
    np.savez(tmp_path / "test" / "scene0001_00.npz", name=np.zeros((9, 4), int))
    assert len(load_scannet_pairs(listed)) == 4
    listed = listed.rename(tmp_path / "test.txt")
    listed.write_text("scene0001_00")
    assert len(load_scannet_pairs(listed)) == 9


def test_one_file_of_several_scenes_numbers_them(tmp_path) -> None:
    rows = [(708, 1, 0, 5), (707, 0, 1, 6), (708, 1, 2, 7)]
    table = load_scannet_pairs(write_scannet_index(tmp_path, rows))
    names = [table.scenes[s] for s in table.scene]
    assert names == ["scene0708_01", "scene0707_00", "scene0708_01"]
    assert table.frame0.tolist() == [0, 1, 2]


# --- the released test index of ScanNet --------------------------------------


def test_released_scannet_index(shared_data) -> None:
    folder = shared_data / "indices" / "scannet"
    table = load_scannet_pairs(folder / "scannet_test.txt")
    assert len(table) == 1500
    assert len(table.scenes) == 100
    assert table.scenes[table.scene[0]] == "scene0707_00"
    assert (table.frame0[0], table.frame1[0]) == (15, 585)
    assert np.isnan(table.overlap).all()
    assert len(load_intrinsics(folder / "intrinsics.npz")) == 100
    assert len(load_intrinsics(folder / "intrinsics_train.npz")) == 1513


def test_released_scannet_index_on_images_under_its_names(
    shared_data, tmp_path
) -> None:
    """Poses from `rel_pose` without pose files, and from the files where they are."""
    folder = shared_data / "indices" / "scannet"
    for frame in (15, 585, 45, 105):
        write_scannet_frame(tmp_path / "scene0707_00", frame, pose=None)
    data = ScanNet(tmp_path, folder / "test.npz", folder / "intrinsics.npz")
    first = np.load(folder / "test.npz")["rel_pose"][0].reshape(3, 4)
    assert torch.equal(data[0].T_0to1[:3], torch.from_numpy(first))
    assert data[0].view0.K[0, 0] == pytest.approx(575.66419753)
    # Files that say the same as row 1: camera 0 at the origin, camera 1 moved.
    second = np.eye(4)
    second[:3] = np.load(folder / "test.npz")["rel_pose"][1].reshape(3, 4)
    for frame, pose in ((45, np.eye(4)), (105, np.linalg.inv(second))):
        write_scannet_frame(tmp_path / "scene0707_00", frame, pose=pose)
    assert np.allclose(data[1].T_0to1, second, atol=1e-6)
    batch = collate([data[0], data[1]])
    assert batch.image0.shape == (2, 1, 480, 640)


# --- MegaDepth ---------------------------------------------------------------


def test_megadepth_pair_equals_direct_reads(shared_data) -> None:
    """One genuine pair: sizes, scale, padding, mask, depth, K and pose."""
    root = shared_data / "megadepth_pair"
    data = MegaDepth(root, root / "sample.npz", size=640)
    assert len(data) == 601
    pair = data[0]
    name = "5122787062_7ef463a806_o"
    grey = cv2.imread(str(root / f"{name}.jpg"), cv2.IMREAD_GRAYSCALE)
    with h5py.File(root / f"{name}.h5") as file:
        depth = file["depth"][()]
    assert grey.shape == depth.shape == (1600, 1194)
    w, h = 472, 640  # 1194 x 640 / 1600 = 477.6, down to a multiple of 8
    view = pair.view0
    assert view.image.shape == (1, 640, 640)
    assert view.scale.tolist() == pytest.approx([1194 / w, 1600 / h])
    assert view.mask.shape == (80, 80)
    assert bool(view.mask[:, : w // 8].all()) and not bool(view.mask[:, w // 8 :].any())
    assert bool((view.image[:, :, w:] == 0).all())
    resized = cv2.resize(grey, (w, h), interpolation=cv2.INTER_AREA)
    assert np.allclose(view.image[0, :, :w], resized / 255.0, atol=1e-6)
    cells = view.cell_depth.reshape(80, 80)
    assert bool((cells[:, w // 8 :] == 0).all())
    for y, x in ((0, 0), (40, 30), (55, 12), (79, 58)):
        assert cells[y, x] == depth[round(8 * y * 2.5), round(8 * x * 1194 / w)]
    assert bool((cells > 0).any())
    assert np.array_equal(data.full_depth(0)[0], depth)


def test_megadepth_pose_is_world_to_camera(shared_data) -> None:
    root = shared_data / "megadepth_pair"
    pair = MegaDepth(root, root / "sample.npz")[0]
    index = np.load(root / "sample.npz", allow_pickle=True)
    i, j = index["pair_infos"][0][0]
    world = np.array([0.3, -0.2, 4.0, 1.0])
    point0, point1 = (index["poses"][k] @ world for k in (i, j))
    assert np.allclose(pair.T_0to1 @ torch.tensor(point0).float(), point1, atol=1e-5)
    assert np.allclose(pair.view1.K, index["intrinsics"][j], atol=1e-3)
    assert pair.overlap == pytest.approx(index["pair_infos"][0][1])
    assert pair.scene == "sample"


@pytest.mark.parametrize("size", [640, 832, 333, None])
def test_corners_equal_the_full_map_at_the_warps_pixels(shared_data, size) -> None:
    """A training step must read the depth that a full map would have given."""
    root = shared_data / "fountain"
    data = MegaDepth(root, root / "scene_info", size=size, pad=False)
    view, full = data[3].view0, torch.from_numpy(data.full_depth(3)[0])
    grid = tuple(view.mask.shape)
    corners = cell_corners(grid, view.scale[None])
    expected = DepthMap.full(full[None]).at(corners)[0]
    assert torch.equal(view.cell_depth, expected)
    assert view.mask.all()
    assert all(s % 8 == 0 for s in view.image.shape[1:])


def test_fountain_as_a_batch(shared_data) -> None:
    root = shared_data / "fountain"
    data = MegaDepth(root, root / "scene_info" / "fountain.npz", size=320)
    assert len(data) == 55
    assert data.scenes == ["fountain"]
    batch = collate([data[0], data[54]])
    assert batch.image0.shape == (2, 1, 320, 320)
    assert batch.mask0[0].sum() == (320 // 8) * (208 // 8)  # 320x213, down to 208
    assert "0000.jpg" in data.describe(0) and "0001.jpg" in data.describe(0)


def test_divisor_and_unpadded(shared_data) -> None:
    root = shared_data / "fountain"
    data = MegaDepth(root, root / "scene_info", size=650, divisor=32, pad=False)
    assert data[0].view0.image.shape == (1, 416, 640)  # 650x433 down to 32s
    with pytest.raises(ConfigError, match="multiple of 8"):
        MegaDepth(root, root / "scene_info", divisor=12)
    with pytest.raises(ConfigError, match=r"640, 480"):
        ScanNet(root, root / "scene_info", size=(641, 480))


# --- index files of MegaDepth ------------------------------------------------


def test_released_megadepth_indices(shared_data) -> None:
    folder = shared_data / "indices" / "megadepth"
    table = load_megadepth_scenes(folder / "megadepth_test_1500.txt")
    assert len(table) == 1500
    assert table.scenes == (
        "0022_0.1_0.3",
        "0015_0.1_0.3",
        "0015_0.3_0.5",
        "0022_0.3_0.5",
        "0022_0.5_0.7",
    )
    assert np.bincount(table.scene).tolist() == [300] * 5
    for i in (0, 301, 899, 1499):
        plain = pickle.loads(Path(table.files[table.file[i]]).read_bytes())
        (first, second), overlap, _ = plain["pair_infos"][table.row[i]]
        assert table.frames.image[table.frame0[i]] == plain["image_paths"][first]
        assert table.frames.depth[table.frame1[i]] == plain["depth_paths"][second]
        assert np.array_equal(
            table.frames.pose[table.frame1[i]], plain["poses"][second]
        )
        assert np.array_equal(
            table.frames.K[table.frame0[i]], plain["intrinsics"][first]
        )
        assert table.overlap[i] == pytest.approx(overlap)
    some = load_megadepth_scenes(folder, min_overlap=0.3, max_overlap=0.5)
    assert some.overlap.min() >= 0.3 and some.overlap.max() <= 0.5


def test_released_megadepth_index_on_images_under_its_names(
    shared_data, tmp_path
) -> None:
    """The 1,500-pair download has no depths: evaluation opens it without."""
    index = shared_data / "indices" / "megadepth" / "0015_0.1_0.3.npz"
    table = load_megadepth_scene(index)
    rng = np.random.default_rng(0)
    for frame, size in ((table.frame0[0], (160, 120)), (table.frame1[0], (96, 128))):
        path = tmp_path / table.frames.image[frame]
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), rng.integers(0, 255, size[::-1], np.uint8))
    pair = MegaDepth(tmp_path, index, size=640, depth="optional")[0]
    assert pair.view0.image.shape == pair.view1.image.shape == (1, 640, 640)
    assert pair.view0.scale.tolist() == [0.25, 0.25]
    assert pair.view0.mask.sum() == 80 * 60
    assert pair.view1.mask.sum() == 80 * 60
    assert bool((pair.view0.cell_depth == 0).all())


def test_all_forms_of_index_give_one_table(tmp_path) -> None:
    """Pickled dict, real npz, `pairs` with `overlaps`, and an overlap matrix."""
    scene = scene_arrays(count=4, unused=(2,))
    infos = [(np.array([0, 1]), 0.5, np.zeros(4)), (np.array([1, 3]), 0.25, None)]
    matrix = np.full((4, 4), -1.0)
    matrix[0, 1], matrix[1, 0] = 0.4, 0.6
    matrix[1, 3], matrix[3, 1] = 0.25, 0.25
    matrix[0, 3] = 0.9  # one direction only: not known to overlap
    matrix[0, 2] = matrix[2, 0] = 0.7  # slot 2 is unused
    forms = {
        "pickle": {**scene, "pair_infos": infos},
        "npz": {**scene, "pair_infos": np.array(infos, object)},
        "pairs": {
            **scene,
            "pairs": np.array([[0, 1], [1, 3]]),
            "overlaps": np.array([0.5, 0.25]),
        },
        "matrix": {**scene, "overlap_matrix": matrix},
    }
    for name, content in forms.items():
        path = tmp_path / f"{name}.npz"
        if name == "pickle":
            path.write_bytes(pickle.dumps(content))
        else:
            np.savez(path, **content)
        table = load_megadepth_scene(path)
        shown = [
            (table.frames.image[a], table.frames.depth[b], round(float(o), 6))
            for a, b, o in zip(table.frame0, table.frame1, table.overlap, strict=True)
        ]
        expected = [
            ("Undistorted_SfM/0001/images/0.jpg", depth_path(1), 0.5),
            ("Undistorted_SfM/0001/images/1.jpg", depth_path(3), 0.25),
        ]
        assert shown == expected, name
        assert table.frames.slot.tolist() == [0, 1, 3], name


@pytest.mark.parametrize(
    ("image", "depth"),
    [
        ("Undistorted_SfM/0001/images/0.jpg", depth := "depths/0.h5"),
        ("0001/images/0.jpg", depth),
        ("phoenix/S6/zl548/MegaDepth_v1/0001/dense0/imgs/0.JPG", depth),
        ("MegaDepth_v1/0001/dense0/imgs/0.png", depth),
        ("0001/dense0/imgs/0.jpg", depth),
    ],
)
def test_trees_unpacked_in_other_ways(tmp_path, image, depth) -> None:
    """One index, five places where people have the images and depths."""
    folder = Path(image).parent
    if "dense0" in image:
        depth_folder = folder.parent / "depths"
    else:
        depth_folder = Path(depth_path(0)).parent
    index = write_scene(tmp_path / "index", count=2)
    for k in (0, 1):
        name = f"{k}{Path(image).suffix}"
        write_photo(tmp_path / folder / name, tmp_path / depth_folder / f"{k}.h5")
    pair = MegaDepth(tmp_path, index, size=64)[0]
    assert pair.view0.name == str(tmp_path / image)
    assert bool((pair.view0.cell_depth[:8] > 0).all())


# --- images ------------------------------------------------------------------


def test_fit_longer_side() -> None:
    assert fit_longer_side((4096, 2160), 640, 8, "x") == (640, 336)  # 337.5
    assert fit_longer_side((2160, 4096), 640, 8, "x") == (336, 640)
    assert fit_longer_side((100, 90), 640, 8, "x") == (640, 576)
    assert fit_longer_side((333, 222), None, 8, "x") == (328, 216)


def test_wide_image_of_4096_pixels(tmp_path) -> None:
    index = write_scene(tmp_path / "index", count=2)
    for k in (0, 1):
        write_photo(
            tmp_path / f"Undistorted_SfM/0001/images/{k}.jpg",
            tmp_path / depth_path(k),
            size=(4096, 512),
        )
    view = MegaDepth(tmp_path, index, size=640)[0].view0
    assert view.image.shape == (1, 640, 640)
    assert view.scale.tolist() == pytest.approx([6.4, 6.4])


def test_depth_stays_inside_an_enlarged_image() -> None:
    """At scale 1/16 the last corner rounds to one pixel beyond the map."""
    depth = np.arange(1, 65, dtype=np.float32).reshape(8, 8)
    scale = scale_to_original((8, 8), (128, 128))
    cells = sample_cell_depth(depth, np.ones((16, 16), bool), scale)
    # corners at 0, 0.5, 1, 1.5, ...: halves round to even, the last is 7.5 -> 8 -> 7
    columns = [0, 0, 1, 2, 2, 2, 3, 4, 4, 4, 5, 6, 6, 6, 7, 7]
    assert cells.reshape(16, 16)[0].tolist() == [depth[0, c] for c in columns]
    assert cells[-1] == 64


def test_padded_cells_have_no_depth() -> None:
    """The map's last column must not repeat into the padding."""
    mask = np.zeros((4, 4), bool)
    mask[:, :2] = True
    cells = sample_cell_depth(np.ones((32, 16), np.float32), mask, np.ones(2))
    assert cells.reshape(4, 4).tolist() == [[1, 1, 0, 0]] * 4


def test_shrinking_averages() -> None:
    """A chessboard of single pixels becomes grey; picking pixels keeps it white."""
    board = np.zeros((64, 64), np.uint8)
    board[::2, ::2] = board[1::2, 1::2] = 255
    grey = resize_grey(board, (16, 16))
    assert grey.dtype == np.float32
    assert np.abs(grey - 0.5).max() < 0.01


# --- augmentation, workers, memory -------------------------------------------


def test_augmentation_depends_on_seed_epoch_and_row_alone(
    shared_data, tmp_path
) -> None:
    def images(workers: int, epoch: int, seed: int = 1) -> torch.Tensor:
        data = open_office(
            shared_data, tmp_path, size=(160, 120), augment=Augment(seed)
        )
        data.set_epoch(epoch)
        loader = DataLoader(data, batch_size=3, collate_fn=collate, num_workers=workers)
        batch = next(iter(loader))
        return torch.stack([batch.image0, batch.image1])

    reference = images(workers=0, epoch=2)
    assert torch.equal(images(workers=2, epoch=2), reference)
    assert not torch.equal(images(workers=0, epoch=3), reference)
    assert not torch.equal(images(workers=0, epoch=2, seed=4), reference)
    assert reference.min() >= 0 and reference.max() <= 1
    # Rows 1 and 2 hold the same two images, in the other order: no two draws agree.
    assert not torch.equal(reference[0, 1], reference[1, 2])


def test_augmentation_leaves_geometry_alone(shared_data, tmp_path) -> None:
    plain = open_office(shared_data, tmp_path)[0]
    changed = open_office(shared_data, tmp_path, augment=Augment())[0]
    assert torch.equal(plain.view0.cell_depth, changed.view0.cell_depth)
    assert torch.equal(plain.T_0to1, changed.T_0to1)
    assert not torch.equal(plain.view0.image, changed.view0.image)


def test_living_workers_see_the_next_epoch(shared_data, tmp_path) -> None:
    data = open_office(shared_data, tmp_path, size=(160, 120), augment=Augment())
    loader = DataLoader(
        data, collate_fn=collate, num_workers=1, persistent_workers=True
    )
    first = [b.image0 for b in loader]
    data.set_epoch(1)
    second = [b.image0 for b in loader]
    assert not torch.equal(first[0], second[0])


def test_table_holds_numbers_and_no_objects(shared_data) -> None:
    table = load_megadepth_scenes(shared_data / "indices" / "megadepth")
    columns = (table.scene, table.frame0, table.frame1, table.overlap, table.row)
    assert all(type(c) is np.ndarray and c.dtype.kind in "if" for c in columns)
    assert table.bytes_per_row == 24
    assert all(type(a) is np.ndarray for a in (table.frames.K, table.frames.pose))


@pytest.mark.skipif(
    not Path("/proc/self/smaps_rollup").exists(), reason="Linux tells what is shared"
)
def test_a_worker_that_reads_all_rows_keeps_sharing_them(tmp_path: Path) -> None:
    """A list of 300,000 tuples would become 46 MB of the worker's own."""
    rows = np.zeros((300_000, 4), int)
    np.savez(tmp_path / "index.npz", name=rows, score=np.ones(len(rows)))
    table = load_scannet_pairs(tmp_path / "index.npz")

    def read_all(result) -> None:
        gc.disable()
        before = private_megabytes()
        for i in range(len(table)):
            _ = table.frame0[i] + table.frame1[i] + table.overlap[i] + table.scene[i]
        result.put(private_megabytes() - before)

    fork = multiprocessing.get_context("fork")
    result = fork.SimpleQueue()
    worker = fork.Process(target=read_all, args=(result,))
    worker.start()
    grown = result.get()
    worker.join()
    assert grown < 5


def private_megabytes() -> float:
    """Memory that this process shares with no other."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(n.split()[1]) for n in lines if n.startswith("Private_")) / 1024
