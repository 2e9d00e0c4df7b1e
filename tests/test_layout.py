"""Folders in every layout that people have, opened without being told which."""

from __future__ import annotations

from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from loftr_nb.datasets.layout import find_layout, open_dataset
from loftr_nb.datasets.megadepth import MegaDepth
from loftr_nb.datasets.pair import collate
from loftr_nb.datasets.scannet import ScanNet
from loftr_nb.errors import ConfigError, DataError
from loftr_nb.supervision import supervise

K = np.array([[60.0, 0, 32], [0, 60, 24], [0, 0, 1]])


def write_scene(folder: Path, frames: range) -> None:
    """A wall at 2 m; each frame stands 5 cm to the right of the one before."""
    r = np.random.default_rng(0)
    for kind in ("color", "depth", "pose", "intrinsic"):
        (folder / kind).mkdir(parents=True)
    np.savetxt(folder / "intrinsic" / "intrinsic_depth.txt", np.diag([60, 60, 1, 1.0]))
    for n in frames:
        noise = r.integers(0, 255, (48, 64, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / "color" / f"{n}.jpg"), noise)
        wall = np.full((48, 64), 2000, np.uint16)
        cv2.imwrite(str(folder / "depth" / f"{n}.png"), wall)
        pose = np.eye(4)
        pose[0, 3] = 0.05 * n
        np.savetxt(folder / "pose" / f"{n}.txt", pose)


def write_scannet_index(path: Path, rows: list[tuple[int, int, int, int]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, name=np.array(rows, np.uint16), score=np.full(len(rows), 0.5))


def write_megadepth_index(path: Path, images: int, scene: str = "0015") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)

    def objects(values) -> np.ndarray:
        column = np.empty(images, object)
        column[:] = list(values)
        return column

    pairs = [(a, b) for a in range(images) for b in range(a + 1, images)]
    dense = f"phoenix/S6/zl548/MegaDepth_v1/{scene}/dense0"
    np.savez(
        path,
        image_paths=objects(f"{dense}/imgs/{n}.jpg" for n in range(images)),
        depth_paths=objects(f"{dense}/depths/{n}.h5" for n in range(images)),
        intrinsics=objects(K for _ in range(images)),
        poses=objects(np.eye(4) for _ in range(images)),
        pairs=np.array(pairs),
        overlaps=np.linspace(0.1, 0.7, len(pairs)),
    )


def write_photos(root: Path, images: int, scene: str) -> None:
    dense = root / f"phoenix/S6/zl548/MegaDepth_v1/{scene}/dense0"
    (dense / "imgs").mkdir(parents=True)
    (dense / "depths").mkdir()
    for n in range(images):
        cv2.imwrite(str(dense / "imgs" / f"{n}.jpg"), np.full((48, 64), 90, np.uint8))
        with h5py.File(dense / "depths" / f"{n}.h5", "w") as f:
            f["depth"] = np.full((48, 64), 2, np.float32)


def list_files(path: Path, *names: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(names) + "\n")


@pytest.fixture
def embedded(tmp_path) -> Path:
    """Both layouts side by side, as the embedded data is written."""
    for split, number in (("train", 0), ("test", 1)):
        base, name = tmp_path / "scannet", f"scene{number:04d}_00"
        write_scene(base / split / name, range(3))
        write_scannet_index(
            base / "index" / split / f"{name}.npz", [(number, 0, 0, 1)] * (2 + number)
        )
        list_files(base / "index" / f"{split}.txt", f"{name}.npz")
        base = tmp_path / "megadepth"
        write_photos(base / split, 3, f"000{number}")
        name = f"000{number}_0.1_0.7.npz"
        write_megadepth_index(base / "index" / split / name, 3, f"000{number}")
        list_files(base / "index" / f"{split}.txt", name)
    names = ("scene0000_00", "scene0001_00")
    np.savez(tmp_path / "scannet/index/intrinsics.npz", **dict.fromkeys(names, K))
    return tmp_path


@pytest.mark.parametrize(("split", "rows"), [("train", 2), ("test", 3)])
def test_embedded_scannet(embedded, split, rows):
    opened = open_dataset(embedded, split, layout="scannet", size=(64, 48))
    assert isinstance(opened, ScanNet)
    assert len(opened) == rows
    assert opened.root == embedded / "scannet" / split
    assert np.allclose(opened[0].view0.K, K)  # the npz, not the scene's own file
    # 5 cm at 2 m and f = 60: 1.5 px, so every cell matches itself.
    assert len(supervise(collate([opened[0]]))) == 6 * 8


@pytest.mark.parametrize("split", ["train", "test"])
def test_embedded_megadepth(embedded, split):
    opened = open_dataset(embedded, split, layout="megadepth", size=64)
    assert isinstance(opened, MegaDepth)
    assert len(opened) == 3
    assert len(supervise(collate([opened[2]]))) == 6 * 8


@pytest.mark.parametrize("layout", ["scannet", "megadepth"])
def test_one_of_the_two_is_recognised_without_being_named(embedded, layout):
    by_hand = find_layout(embedded, "train", layout)
    assert find_layout(embedded / layout, "train") == by_hand
    (embedded / layout).rename(embedded / "elsewhere")
    moved = find_layout(embedded / "elsewhere", "train")
    assert moved.layout == layout
    assert [p.name for p in moved.index] == [p.name for p in by_hand.index]


def test_two_layouts_in_one_folder_must_be_chosen(embedded):
    with pytest.raises(ConfigError, match="layout='scannet' or 'megadepth'"):
        open_dataset(embedded, "train")


def test_released_names_of_scannet(tmp_path):
    for split in ("train", "test"):
        (tmp_path / "scannet" / split).mkdir(parents=True)
    index = tmp_path / "scannet" / "index"
    for name in ("scene0000_00", "scene0001_00", "scene0002_00"):
        path = index / "scene_data" / "train" / f"{name}.npz"
        write_scannet_index(path, [(int(name[5:9]), 0, 1, 2)])
    listed = index / "scene_data" / "train_list" / "scannet_all.txt"
    list_files(listed, "scene0000_00.npz", "scene0002_00.npz")
    write_scannet_index(index / "test.npz", [(707, 0, 15, 585)])
    list_files(index / "scannet_test.txt", "test.npz")
    np.savez(index / "intrinsics.npz", scene0000_00=K)
    train = find_layout(tmp_path, "train")
    assert [p.stem for p in train.index] == ["scene0000_00", "scene0002_00"]
    assert train.intrinsics == index / "intrinsics.npz"
    assert find_layout(tmp_path, "test").index == (index / "test.npz",)


def test_released_names_of_megadepth_keep_training_and_validation_apart(tmp_path):
    """Both folders hold a file of the same name; one link serves both splits."""
    data, index = tmp_path / "megadepth", tmp_path / "megadepth" / "index"
    (data / "train").mkdir(parents=True)
    name = "0015_0.1_0.3.npz"
    write_megadepth_index(index / "scene_info_0.1_0.7" / name, 3)
    write_megadepth_index(index / "scene_info_val_1500" / name, 4)
    for stem in ("train", "val"):
        list_files(index / "trainvaltest_list" / f"{stem}_list.txt", name[:-4])
    train, test = (open_dataset(tmp_path, s) for s in ("train", "test"))
    assert (len(train), len(test)) == (3, 6)
    assert train.root == test.root == data / "train"


def test_released_test_indices_linked_as_the_guide_says(shared_data, tmp_path):
    """The real 1,500-pair files, each entry linked into ``index``."""
    for layout in ("scannet", "megadepth"):
        index = tmp_path / layout / "index"
        index.mkdir(parents=True)
        (tmp_path / layout / "test").mkdir()
        for path in (shared_data / "indices" / layout).iterdir():
            (index / path.name).symlink_to(path)
        opened = open_dataset(tmp_path, "test", layout=layout)
        assert len(opened) == 1500
    found = find_layout(tmp_path, "test", "scannet")
    assert found.intrinsics == tmp_path / "scannet" / "index" / "intrinsics.npz"


def test_hololens_is_divided_so_that_no_frame_is_in_both(shared_data, tmp_path):
    reports = []

    def opened(split, **kwargs):
        return open_dataset(
            shared_data / "hololens",
            split,
            cache=tmp_path,
            progress=reports.append,
            size=(320, 240),
            **kwargs,
        )

    train, test = opened("train", min_overlap=0.4), opened("test")
    assert len(reports) == 1  # built once, then read
    assert reports[0].frames == 120
    frames = [
        set(t.table.frame0.tolist()) | set(t.table.frame1.tolist())
        for t in (train, test)
    ]
    assert max(frames[0]) < min(frames[1]) == 99  # 120 frames, numbers 3 to 122
    assert len(train) > 500
    assert len(test) > 100
    assert train.table.overlap.min() >= 0.4
    assert test.table.overlap.max() <= 0.8
    for dataset in (train, test):
        middle = collate([dataset[len(dataset) // 2]])
        assert len(supervise(middle)) > 50


def test_fountain_is_divided_by_image(shared_data):
    train, test = (
        open_dataset(shared_data / "fountain", s, size=320) for s in ("train", "test")
    )
    assert (len(train), len(test)) == (21, 6)  # 7 and 4 of 11 images
    names = [
        {p.name for i in range(len(d)) for p in d.image_paths(i)} for d in (train, test)
    ]
    assert not names[0] & names[1]
    assert min(len(supervise(collate([pair]))) for pair in test) > 50


def test_several_scenes_hold_out_whole_rooms(tmp_path):
    data = tmp_path / "walks"
    for name in ("scene0000_00", "scene0001_00", "scene0001_01"):
        write_scene(data / name, range(4))
    train, test = (
        open_dataset(data, s, cache=tmp_path / "cache") for s in ("train", "test")
    )
    assert train.scenes[train.scene_of[0]] == "scene0000_00"
    assert set(train.scene_of.tolist()) == {0}
    # Two walks through one room: both are held out.
    assert {test.scenes[s] for s in test.scene_of} == {"scene0001_00", "scene0001_01"}


def test_overlap_bins_of_a_place_are_held_out_together(tmp_path):
    for name in ("0001_0.1_0.3", "0001_0.3_0.5", "0002_0.1_0.3", "0002_0.3_0.5"):
        write_megadepth_index(tmp_path / "scene_info" / f"{name}.npz", 4, name[:4])
    train, test = (open_dataset(tmp_path, s) for s in ("train", "test"))
    assert {train.scenes[s][:4] for s in train.scene_of} == {"0001"}
    assert {test.scenes[s][:4] for s in test.scene_of} == {"0002"}


def test_the_division_does_not_depend_on_the_overlap_asked_for(tmp_path):
    write_megadepth_index(tmp_path / "scene_info" / "0001.npz", 9)
    held = []
    for least in (0.0, 0.12, 0.4):
        test = open_dataset(tmp_path, "test", min_overlap=least)
        assert test.table.overlap.min() >= least
        held.append(set(test.table.frame0.tolist()) | set(test.table.frame1.tolist()))
    assert held[1] <= held[0] >= held[2]
    with pytest.raises(DataError, match="no test pair has overlap 0.71 to 1"):
        open_dataset(tmp_path, "test", min_overlap=0.71)


def test_new_frames_build_a_new_index(tmp_path):
    data, cache = tmp_path / "walk", tmp_path / "cache"
    write_scene(data / "scene0000_00", range(12))
    before = len(open_dataset(data, "train", cache=cache))
    for kind, suffix in (("color", "jpg"), ("depth", "png"), ("pose", "txt")):
        folder = data / "scene0000_00" / kind
        (folder / f"12.{suffix}").write_bytes((folder / f"11.{suffix}").read_bytes())
    assert len(open_dataset(data, "train", cache=cache)) > before


def test_a_half_built_index_is_built_again(tmp_path):
    data, cache = tmp_path / "walk", tmp_path / "cache"
    write_scene(data / "scene0000_00", range(12))
    whole = len(open_dataset(data, "train", cache=cache))
    (report,) = cache.glob("*/report.json")
    report.unlink()
    (index,) = cache.glob("*/*.npz")
    write_scannet_index(index, [(0, 0, 0, 1)])
    assert len(open_dataset(data, "train", cache=cache)) == whole


def test_scenes_without_an_index_need_a_cache(tmp_path):
    write_scene(tmp_path / "scene0000_00", range(3))
    with pytest.raises(ConfigError, match="cache"):
        open_dataset(tmp_path, "train")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match="nowhere does not exist"):
        open_dataset(tmp_path / "nowhere", "train")


def test_an_unknown_layout_says_what_was_looked_for(tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError) as error:
        open_dataset(tmp_path, "train")
    for word in ("holds images", "sceneXXXX_YY", "scene_info", "train,test,index"):
        assert word in str(error.value)


def test_a_single_scene_points_to_its_parent(tmp_path):
    write_scene(tmp_path / "scene0000_00", range(2))
    with pytest.raises(DataError, match="give its parent"):
        open_dataset(tmp_path / "scene0000_00", "train", cache=tmp_path)


def test_an_index_without_the_split_says_where_it_looked(embedded):
    index = embedded / "scannet" / "index"
    (index / "test.txt").unlink()
    (index / "test" / "scene0001_00.npz").unlink()
    with pytest.raises(DataError, match=r"no test pairs; it holds .*scannet_test.txt"):
        open_dataset(embedded, "test", layout="scannet")


def test_missing_images_of_a_split_are_named(embedded):
    (embedded / "scannet" / "test").rename(embedded / "gone")
    with pytest.raises(DataError, match="the test images of scannet"):
        open_dataset(embedded, "test", layout="scannet")


@pytest.mark.parametrize(
    ("split", "layout", "word"),
    [("tain", None, "'train'"), ("train", "scanet", "'scannet'")],
)
def test_mistyped_names_get_the_nearest(embedded, split, layout, word):
    with pytest.raises(ConfigError, match=f"did you mean {word}"):
        open_dataset(embedded, split, layout=layout)
