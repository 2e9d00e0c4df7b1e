"""Bad files: each ends in an error that names the file, the value and a way out."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
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
    MegaDepth,
    ScanNet,
    collate,
    load_intrinsics,
    load_megadepth_scene,
    load_scannet_pairs,
)
from loftr_nb.errors import DataError
from loftr_nb.files.readers import (
    read_depth_h5,
    read_depth_png,
    read_image_grey,
    read_intrinsics_txt,
    read_pose_txt,
)


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """A ScanNet root with scene0707_00, frames 1 and 2, an index and intrinsics."""
    for frame in (1, 2):
        write_scannet_frame(tmp_path / "scene0707_00", frame)
    write_scannet_index(tmp_path, [(707, 0, 1, 2)])
    write_intrinsics(tmp_path)
    return tmp_path


def open_room(room: Path, **kwargs) -> ScanNet:
    return ScanNet(room, room / "index.npz", room / "intrinsics.npz", **kwargs)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A MegaDepth root with two photographs, their depths and index/0001.npz."""
    write_scene(tmp_path / "index", count=2)
    for k in (0, 1):
        write_photo(photo(tmp_path, k), tmp_path / depth_path(k))
    return tmp_path


def photo(root: Path, k: int) -> Path:
    return root / f"Undistorted_SfM/0001/images/{k}.jpg"


def open_photos(root: Path, **kwargs) -> MegaDepth:
    return MegaDepth(root, root / "index" / "0001.npz", **{"size": 64} | kwargs)


@contextmanager
def refused(*words: str) -> Iterator[None]:
    """Expect a DataError that says all these words (patterns)."""
    with pytest.raises(DataError) as caught:
        yield
    # The folder of a test bears its name: words in it say nothing of the message.
    message = re.sub(r"\S*/test_[^/]*/", "", str(caught.value))
    for word in words:
        assert re.search(word, message), f"{word!r} is not in {message!r}"


def test_the_good_files_are_read(room: Path) -> None:
    assert open_room(room)[0].view0.cell_depth.min() == 1.5


def test_the_good_photographs_are_read(photos: Path) -> None:
    assert open_photos(photos)[0].view0.cell_depth.max() == 2


# --- folders and indices -----------------------------------------------------


def test_missing_root(room: Path) -> None:
    with refused("nowhere", "loftr-nb data mini"):
        ScanNet(room / "nowhere", room / "index.npz")


def test_missing_index(room: Path) -> None:
    for name in ("index_train.npz", "no_folder"):
        with refused(name, "does not exist", "loftr-nb data mini"):
            ScanNet(room, room / name)
    with refused("list.txt", "does not exist"):
        ScanNet(room, room / "list.txt")


def test_list_of_a_missing_file_names_the_nearest(room: Path) -> None:
    (room / "list.txt").write_text("indx.npz")
    with refused("list.txt", "indx", "did you mean 'index.npz'"):
        ScanNet(room, room / "list.txt")
    (room / "list.txt").write_text("")
    with refused("list.txt", "lists no index files"):
        ScanNet(room, room / "list.txt")


def test_folder_without_index_files(room: Path) -> None:
    with refused("scene0707_00", "no index files", "color"):
        ScanNet(room, room / "scene0707_00")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"name": np.zeros((3, 3), int)}, ("3, 3", "N, 4")),
        ({"name": np.zeros((3, 4))}, ("float64", "integers")),
        ({"name": np.zeros((0, 4), int)}, ("no rows",)),
        ({"name": np.array([[1, 0, -3, 4]])}, ("row 0", "-3")),
        ({"names": np.zeros((3, 4), int)}, ("no 'name'", "names")),
        ({"name": np.zeros((3, 4), int), "score": np.ones(2)}, ("score", "2,")),
        ({"name": np.zeros((3, 4), int), "rel_pose": np.ones((3, 9))}, ("rel_pose",)),
    ],
)
def test_scannet_index_of_wrong_shape(tmp_path: Path, content, words) -> None:
    np.savez(tmp_path / "odd.npz", **content)
    with refused("odd.npz", *words):
        load_scannet_pairs(tmp_path / "odd.npz")


def test_truncated_npz(room: Path) -> None:
    index = room / "index.npz"
    index.write_bytes(index.read_bytes()[:-60])
    with refused("index.npz", "damaged", "again"):
        open_room(room)


def test_overlap_bounds_that_leave_nothing(tmp_path: Path) -> None:
    """A pair without overlap is a pair; asking for more than there is, is not."""
    index = tmp_path / "i.npz"
    np.savez(index, name=np.zeros((2, 4), int), score=np.array([0.0, 0.25]))
    assert len(load_scannet_pairs(index)) == 2
    with refused("i.npz", "0.4", "between 0 and 0.25"):
        load_scannet_pairs(index, min_overlap=0.4)
    np.savez(index, name=np.zeros((2, 4), int))
    with refused("i.npz, row 0", "no overlap score", "min_overlap = 0"):
        load_scannet_pairs(index, min_overlap=0.4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pairs": np.array([[0, 1], [1, 3]])}, ("row 1", r"\[1, 3\]", "3")),
        ({"pairs": np.array([[-1, 1]])}, ("row 0", "-1")),
        ({"pairs": np.array([[0, 1], [2, 1]])}, ("row 1", "image 2", "None")),
        ({"pairs": np.zeros((0, 2), int)}, ("no pairs",)),
        ({"pairs": np.array([[0.0, 1.0]])}, ("float64",)),
        ({"pairs": np.array([[0, 1]]), "overlaps": np.ones(4)}, ("overlaps", "4")),
        ({"overlap_matrix": np.ones((2, 2))}, ("overlap_matrix", "2, 2", "3")),
        ({}, ("none of", "pair_infos", "overlap_matrix")),
        ({"poses": np.array([np.eye(4)] * 2)}, ("length", "'poses': 2")),
    ],
)
def test_megadepth_index_that_contradicts_itself(tmp_path, change, words) -> None:
    content = scene_arrays(3, unused=(2,)) | change
    path = tmp_path / "scene.npz"
    path.write_bytes(pickle.dumps(content))
    with refused("scene.npz", *words):
        load_megadepth_scene(path)


def test_megadepth_index_without_a_key(tmp_path: Path) -> None:
    content = scene_arrays(2) | {"pairs": np.array([[0, 1]])}
    del content["poses"]
    np.savez(tmp_path / "scene.npz", **content)
    with refused("scene.npz", "no 'poses'", "image_paths"):
        load_megadepth_scene(tmp_path / "scene.npz")


# --- images ------------------------------------------------------------------


def test_missing_image_names_it(room: Path) -> None:
    (room / "scene0707_00/color/2.jpg").unlink()
    with refused("scene0707_00/color/2.jpg", "does not exist", "1.jpg"):
        open_room(room)[0]


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.999])
def test_truncated_image(tmp_path: Path, suffix: str, share: float) -> None:
    """A decoder would fill half of the picture with grey and go on."""
    path = tmp_path / f"cut{suffix}"
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    cv2.imwrite(str(path), pixels)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with refused(f"cut{suffix}", "truncated", "again"):
        read_image_grey(path)


def test_truncated_photograph_with_a_preview(tmp_path: Path) -> None:
    """A preview in the header has an end mark of its own, which does not count."""
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    body = cv2.imencode(".jpg", pixels)[1].tobytes()
    preview = cv2.imencode(".jpg", pixels[:16, :16])[1].tobytes()
    header = b"\xff\xe1" + (len(preview) + 2).to_bytes(2, "big") + preview
    path = tmp_path / "photo.jpg"
    whole = body[:2] + header + body[2:]
    path.write_bytes(whole)
    assert read_image_grey(path).shape == (64, 64)
    path.write_bytes(whole[:-900])
    with refused("photo.jpg", "truncated"):
        read_image_grey(path)


@pytest.mark.parametrize("content", [b"", b"<html>no such page</html>", b"\xff\xd8"])
def test_not_an_image(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "page.jpg"
    path.write_bytes(content)
    with refused("page.jpg", "not an image", f"{len(content)} bytes"):
        read_image_grey(path)


def test_stored_orientation_counts(tmp_path: Path) -> None:
    """The tag that turns a photograph for viewers must not turn it off its depth."""
    pixels = np.random.default_rng(0).integers(0, 255, (16, 32), np.uint8)
    body = cv2.imencode(".jpg", pixels)[1].tobytes()
    tag = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    exif = b"Exif\0\0" + tag
    header = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    path = tmp_path / "turned.jpg"
    path.write_bytes(body[:2] + header + body[2:])
    assert cv2.imread(str(path), cv2.IMREAD_GRAYSCALE).shape == (32, 16)
    assert read_image_grey(path).shape == (16, 32)


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (4096, 4)])
def test_photograph_too_small(photos: Path, size: tuple[int, int]) -> None:
    write_photo(photo(photos, 1), photos / depth_path(1), size=size)
    for longer in (64, None):
        with refused("images/1.jpg", f"{size[0]}x{size[1]}", "at least 8"):
            open_photos(photos, size=longer)[0]


def test_photograph_too_narrow_for_the_size(photos: Path) -> None:
    write_photo(photo(photos, 1), photos / depth_path(1), size=(4096, 40))
    with refused("images/1.jpg", "4096x40", "narrow", "640", "larger size"):
        open_photos(photos, size=640)[0]
    assert open_photos(photos, size=None)[0].view1.image.shape == (1, 4096, 4096)


@pytest.mark.parametrize("size", [(1, 1), (4, 3)])
def test_frame_too_small(room: Path, size: tuple[int, int]) -> None:
    write_scannet_frame(room / "scene0707_00", 1, colour=size, depth=size)
    with refused("color/1.jpg", f"{size[0]}x{size[1]}", "at least 8"):
        open_room(room)[0]


# --- depth -------------------------------------------------------------------


def test_depth_of_another_size_than_the_photograph(photos: Path) -> None:
    write_photo(photos / "other.jpg", photos / depth_path(0), size=(48, 64))
    with refused("images/0.jpg", "64x48", "48x64", "one size"):
        open_photos(photos)[0]


def test_depth_of_another_aspect_than_the_colour(room: Path) -> None:
    write_scannet_frame(room / "scene0707_00", 2, depth=(640, 400))
    with refused("color/2.jpg", "640x480", "640x400", "aspect"):
        open_room(room)[0]


@pytest.mark.parametrize("fill", [0, 65535])
def test_depth_png_without_a_reading(tmp_path: Path, fill: int) -> None:
    path = tmp_path / "1.png"
    cv2.imwrite(str(path), np.full((48, 64), fill, np.uint16))
    with refused("1.png", "64x48", "no known depth", "Drop this frame"):
        read_depth_png(path)


@pytest.mark.parametrize("fill", [0.0, -1.0, np.nan, np.inf])
def test_depth_h5_without_a_reading(tmp_path: Path, fill: float) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["depth"] = np.full((4, 5), fill)
    with refused("x.h5", "5x4", "no known depth"):
        read_depth_h5(path)


def test_single_bad_depths_become_unknown(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["depth"] = np.array([[np.nan, 1.5], [np.inf, -2.0], [0.0, 2.0]])
    expected = [[0, 1.5], [0, 0], [0, 2]]
    assert read_depth_h5(path).tolist() == expected
    png = tmp_path / "x.png"
    cv2.imwrite(str(png), np.array([[65535, 1500], [0, 65534]], np.uint16))
    assert np.allclose(read_depth_png(png), [[0, 1.5], [0, 65.534]])


def test_depth_png_of_8_bit(tmp_path: Path) -> None:
    path = tmp_path / "1.png"
    cv2.imwrite(str(path), np.full((48, 64), 7, np.uint8))
    with refused("1.png", "uint8", "uint16"):
        read_depth_png(path)
    cv2.imwrite(str(path), np.full((48, 64, 3), 7, np.uint16))
    with refused("1.png", "48, 64, 3", "one channel"):
        read_depth_png(path)


def test_h5_without_depth_lists_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["dpeth"] = np.ones((4, 5))
    with refused("x.h5", "'depth'", "dpeth"):
        read_depth_h5(path)
    with h5py.File(path, "w") as file:
        file["depth"] = np.ones((1, 4, 5))
    with refused("x.h5", "1, 4, 5"):
        read_depth_h5(path)


def test_truncated_h5(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    depth = np.random.default_rng(0).uniform(1, 2, (200, 200))
    with h5py.File(path, "w") as file:
        file.create_dataset("depth", data=depth, compression="gzip")
    whole = path.read_bytes()
    for length in (0, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with refused("x.h5", "truncated"):
            read_depth_h5(path)


def test_missing_depth_says_how_to_evaluate_without(photos: Path) -> None:
    (photos / depth_path(1)).unlink()
    with refused("depths/1.h5", "does not exist", "depth='optional'"):
        open_photos(photos)[0]
    pair = open_photos(photos, depth="optional")[0]
    assert (pair.view0.cell_depth > 0).any()
    assert (pair.view1.cell_depth == 0).all()


# --- poses and intrinsics ----------------------------------------------------


def pose_of(corner: float = 1.0, shift: float = 0.0) -> np.ndarray:
    pose = np.eye(4)
    pose[0, 0], pose[0, 3] = corner, shift
    return pose


@pytest.mark.parametrize(
    ("pose", "words"),
    [
        (pose_of(shift=-np.inf), ("not finite", "-inf", "drop this frame")),
        (pose_of(shift=np.nan), ("not finite",)),
        (pose_of(corner=2.0), ("not a rotation", "det R is 2")),
        (pose_of(corner=-1.0), ("not a rotation", "det R is -1")),
        (np.eye(3), ("9 numbers instead of 16",)),
    ],
)
def test_pose_file_that_is_no_pose(room: Path, pose: np.ndarray, words) -> None:
    np.savetxt(room / "scene0707_00/pose/2.txt", pose)
    with refused("scene0707_00/pose/2.txt", *words):
        open_room(room)[0]


def test_pose_file_of_words(tmp_path: Path) -> None:
    path = tmp_path / "1.txt"
    path.write_text("no tracking")
    with refused("1.txt", "numbers", "no"):
        read_pose_txt(path)


def test_one_missing_pose_file_is_not_replaced(room: Path) -> None:
    np.savez(
        room / "index.npz",
        name=np.array([[707, 0, 1, 2]]),
        rel_pose=np.eye(4)[:3].reshape(1, 12),
    )
    (room / "scene0707_00/pose/2.txt").unlink()
    with refused("pose/2.txt", "does not exist"):
        open_room(room)[0]


def test_rel_pose_that_is_no_pose(room: Path) -> None:
    np.savez(
        room / "index.npz",
        name=np.array([[707, 0, 1, 2]]),
        rel_pose=np.full((1, 12), np.nan),
    )
    for frame in (1, 2):
        (room / f"scene0707_00/pose/{frame}.txt").unlink()
    with refused("index.npz, row 0, rel_pose", "not finite"):
        open_room(room)[0]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("poses", pose_of(shift=np.nan), (r"poses\[1\]", "not finite")),
        ("poses", pose_of(corner=3.0), (r"poses\[1\]", "not a rotation")),
        ("poses", np.eye(3), (r"poses\[1\]", "4x4")),
        ("poses", "lost", (r"poses\[1\]", "not numbers")),
        ("intrinsics", np.diag([0.0, 500, 1]), (r"intrinsics\[1\]", "fx = 0")),
        ("intrinsics", np.eye(2), (r"intrinsics\[1\]", "9 numbers")),
    ],
)
def test_bad_camera_in_a_megadepth_index(tmp_path, key, value, words) -> None:
    content = scene_arrays(2) | {"pairs": np.array([[0, 1]])}
    content[key][1] = value
    path = tmp_path / "scene.npz"
    path.write_bytes(pickle.dumps(content))
    with refused("scene.npz", *words):
        load_megadepth_scene(path)


def test_zero_focal_length(room: Path) -> None:
    np.savez(room / "intrinsics.npz", scene0707_00=np.zeros(9))
    with refused(r"intrinsics.npz\[scene0707_00\]", "fx = 0", "positive"):
        load_intrinsics(room / "intrinsics.npz")
    path = room / "intrinsic_depth.txt"
    np.savetxt(path, np.diag([577.0, 0, 1, 1]))
    with refused("intrinsic_depth.txt", "fy = 0"):
        read_intrinsics_txt(path)


def test_scene_without_intrinsics(room: Path) -> None:
    np.savez(
        room / "intrinsics.npz", scene0001_00=np.array([5.0, 0, 1, 0, 5, 1, 0, 0, 1])
    )
    with refused("scene0707_00", "intrinsics.npz", "intrinsic_depth.txt"):
        open_room(room)[0]
    with refused("scene0707_00", "no intrinsics file was given"):
        ScanNet(room, room / "index.npz")[0]


# --- workers -----------------------------------------------------------------


def test_an_error_in_a_worker_names_the_file(room: Path) -> None:
    (room / "scene0707_00/depth/2.png").write_bytes(b"not a png")
    loader = DataLoader(open_room(room), collate_fn=collate, num_workers=2)
    with refused("depth/2.png", "not an image"):
        next(iter(loader))
