"""A MegaDepth index rewritten to MegaDepth_v1's own images, proved on real photos."""

from __future__ import annotations

import json
import pickle
import pickletools
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from reader_files import scene_arrays, write_photo

from loftr_nb.cli.main import main
from loftr_nb.datasets import MegaDepth, convert_index, load_megadepth_scenes, open_flat
from loftr_nb.datasets.scene_file import save_scene
from loftr_nb.errors import ConfigError, DataError
from loftr_nb.files import read_image_grey
from loftr_nb.setup.rewrite import rewrite_image_paths

V1 = "phoenix/S6/zl548/MegaDepth_v1"


def place(image: Path, folder: Path, number: int, size=None) -> None:
    """A real photo under MegaDepth_v1's names: .JPG as it is, .png with its pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    if number % 2 == 0 and size is None:
        shutil.copy(image, folder / f"{image.stem}.JPG")
        return
    # Grey, so that another decoder gives the same numbers.
    pixels = read_image_grey(image)
    pixels = pixels if size is None else cv2.resize(pixels, size)
    cv2.imwrite(str(folder / f"{image.stem}.png"), pixels)


@pytest.fixture
def fountain(shared_data, tmp_path) -> Path:
    """The fountain's depths, and its photos where MegaDepth_v1 has them."""
    source, root = shared_data / "fountain", tmp_path / "v1"
    shutil.copytree(source / "phoenix", root / "phoenix")
    photos = sorted((source / "Undistorted_SfM/fountain/images").iterdir())
    for number, photo in enumerate(photos):
        place(photo, root / V1 / "fountain/dense0/imgs", number)
    return root


def assert_same(mine: MegaDepth, theirs: MegaDepth, rows) -> None:
    """Pixels, depths and poses of pairs, which may be in another order."""
    at = {int(r): i for i, r in enumerate(np.asarray(theirs.table.row))}
    for i in rows:
        a, b = mine[i], theirs[at[int(mine.table.row[i])]]
        assert a.view0.name != b.view0.name
        assert torch.equal(a.T_0to1, b.T_0to1)
        for side in ("view0", "view1"):
            for field in ("image", "cell_depth", "K", "scale", "mask"):
                one, two = (getattr(getattr(p, side), field) for p in (a, b))
                assert torch.equal(one, two), field


@pytest.mark.parametrize("form", ["npz", "pickle", "flat"])
def test_the_fountain_on_images_of_v1(shared_data, fountain, tmp_path, form) -> None:
    original = shared_data / "fountain"
    index = original / "scene_info" / "fountain.npz"
    out = tmp_path / "new.npz"
    if form == "flat":
        convert_index(index, tmp_path / "train.h5")
        index, out = tmp_path / "train.h5", tmp_path / "new.h5"
    before = index.read_bytes()
    done = rewrite_image_paths(
        index, fountain, out, pickled=form == "pickle", pairs=6 if form == "npz" else 0
    )
    assert index.read_bytes() == before
    assert done.ok and (done.rewritten, done.unchanged, done.missing) == (11, 0, ())
    assert (done.pairs, done.depths_rewritten, done.depths_missing) == (55, 0, 0)
    assert done.sizes_checked > 0 and "11 rewritten" in done.text()
    if form == "npz":  # the proof: correspondences of the photos against depth and pose
        assert done.geometry.judged and done.geometry.median_px < 1
        assert "depth, pose, K and images fit" in done.text()
    # What is written exists as written: no search is needed any more.
    table = load_megadepth_scenes(out)
    names = {table.frames.image[k] for k in range(len(table.frames.slot))}
    assert {Path(n).suffix for n in names} == {".JPG", ".png"}
    assert all((fountain / n).is_file() for n in names)
    mine = MegaDepth(fountain, out, size=320)
    theirs = MegaDepth(original, original / "scene_info", size=320)
    assert_same(mine, theirs, [0, 20, 54])


def test_the_genuine_megadepth_pair(shared_data, tmp_path) -> None:
    """271 images in its pairs, two of them here: flat names, .JPG and .png."""
    source, root = shared_data / "megadepth_pair", tmp_path / "v1"
    root.mkdir()
    for number, photo in enumerate(sorted(source.glob("*.jpg"))):
        place(photo, root, number)
        shutil.copy(photo.with_suffix(".h5"), root)
    index = source / "sample.npz"
    kept = rewrite_image_paths(index, root, tmp_path / "kept.npz", pairs=0)
    assert (kept.rewritten, len(kept.missing), kept.pairs) == (2, 269, 601)
    assert not kept.ok and "--drop-missing" in kept.text()
    assert kept.sizes_checked == 1  # found among 600 pairs without images
    out = tmp_path / "new.npz"
    done = rewrite_image_paths(index, root, out, drop_missing=True, pairs=1)
    assert done.ok and (done.pairs, done.dropped) == (1, 600)
    assert done.geometry.median_px < 1 and done.geometry.pairs == 1
    mine, theirs = MegaDepth(root, out, size=320), MegaDepth(source, index, size=320)
    assert_same(mine, theirs, [])
    a, b = mine[0], theirs[0]
    assert torch.equal(a.view0.image, b.view0.image)
    assert torch.equal(a.view1.cell_depth, b.view1.cell_depth)
    assert torch.equal(a.T_0to1, b.T_0to1)
    released, new = np.load(index, allow_pickle=True), np.load(out, allow_pickle=True)
    assert set(new) == set(released)
    assert np.array_equal(new["pair_infos"][0][2], released["pair_infos"][0][2])


def test_images_of_another_size_fail_and_say_so(
    shared_data, fountain, tmp_path
) -> None:
    folder = fountain / V1 / "fountain/dense0/imgs"
    shutil.rmtree(folder)
    photos = (shared_data / "fountain/Undistorted_SfM/fountain/images").iterdir()
    for photo in photos:
        place(photo, folder, 0, size=(384, 256))
    index = shared_data / "fountain" / "scene_info"
    done = rewrite_image_paths(index, fountain, tmp_path / "new.npz", pairs=4)
    assert not done.ok and done.geometry is None
    assert len(done.sizes_differ) == done.sizes_checked > 0
    assert "384x256 and its depth map 768x512" in done.text()
    assert "do not fit their depth maps" in done.text()
    assert not done.to_dict()["ok"]


def test_other_photos_of_the_same_size_fail_the_geometry(
    shared_data, fountain, tmp_path
) -> None:
    """Each photo under its neighbour's name: sizes agree, nothing else does."""
    folder = fountain / V1 / "fountain/dense0/imgs"
    shutil.rmtree(folder)
    folder.mkdir()
    photos = sorted(
        (shared_data / "fountain/Undistorted_SfM/fountain/images").iterdir()
    )
    for photo, name in zip(photos, [*photos[1:], photos[0]], strict=True):
        shutil.copy(photo, folder / name.name)
    index = shared_data / "fountain" / "scene_info"
    done = rewrite_image_paths(index, fountain, tmp_path / "new.npz", pairs=2)
    assert not done.ok and not done.sizes_differ
    assert done.geometry.faults and done.geometry.median_px > 5


# --- small trees -------------------------------------------------------------


@pytest.fixture
def small(tmp_path) -> tuple[Path, Path]:
    """Four images of noise in v1's tree, and an index that names D2-Net's."""
    root = tmp_path / "root"
    for k, suffix in enumerate((".JPG", ".png", ".jpeg", ".jpg")):
        dense = root / V1 / "0001" / "dense0"
        write_photo(dense / "imgs" / f"{k}{suffix}", dense / "depths" / f"{k}.h5")
    infos = [([0, 1], 0.5, None), ([1, 2], 0.4, None), ([2, 3], 0.3, None)]
    save_scene(tmp_path / "i.npz", scene_arrays(4) | {"pair_infos": infos})
    return root, tmp_path / "i.npz"


def imgs(root: Path) -> Path:
    return root / V1 / "0001" / "dense0" / "imgs"


def test_what_lies_where_the_index_says_is_left_alone(small, tmp_path) -> None:
    root, index = small
    d2net = root / "Undistorted_SfM/0001/images/0.jpg"
    d2net.parent.mkdir(parents=True)
    cv2.imwrite(str(d2net), np.zeros((48, 64), np.uint8))
    done = rewrite_image_paths(index, root, tmp_path / "n.npz", pairs=0)
    assert (done.rewritten, done.unchanged) == (3, 1)
    table = load_megadepth_scenes(tmp_path / "n.npz")
    assert table.frames.image[0] == "Undistorted_SfM/0001/images/0.jpg"
    assert table.frames.image[1] == f"{V1}/0001/dense0/imgs/1.png"


def test_depth_maps_unpacked_in_another_way_are_found_too(small, tmp_path) -> None:
    root, index = small
    (root / V1).rename(root / "MegaDepth_v1")
    done = rewrite_image_paths(index, root, tmp_path / "n.npz", pairs=0)
    assert (done.rewritten, done.depths_rewritten, done.depths_missing) == (4, 4, 0)
    table = load_megadepth_scenes(tmp_path / "n.npz")
    assert table.frames.depth[3] == "MegaDepth_v1/0001/dense0/depths/3.h5"


def test_a_damaged_image_is_named(small, tmp_path) -> None:
    root, index = small
    for photo in imgs(root).iterdir():
        photo.write_bytes(photo.read_bytes()[:200])
    done = rewrite_image_paths(index, root, tmp_path / "n.npz", pairs=0)
    assert not done.ok and "is truncated" in done.text()


def test_without_depth_maps_nothing_is_proved_and_that_is_said(small, tmp_path) -> None:
    root, index = small
    shutil.rmtree(imgs(root).parent / "depths")
    done = rewrite_image_paths(index, root, tmp_path / "n.npz")
    assert done.ok and done.depths_missing == 4 and done.geometry is None
    assert "not checked, no image with a depth" in done.text()


@pytest.mark.parametrize("form", ["pair_infos", "pairs", "matrix", "flat"])
def test_pairs_without_images_are_dropped_when_asked(small, tmp_path, form) -> None:
    root, index = small
    scene = scene_arrays(4)
    if form == "pairs":
        scene |= {"pairs": np.array([[0, 1], [1, 2], [2, 3]])}
        np.savez(index, **scene, overlaps=np.array([0.5, 0.4, 0.3]))
    elif form == "matrix":
        matrix = np.diag([0.5, 0.4, 0.3], 1)
        np.savez(index, **scene, overlap_matrix=matrix + matrix.T)
    elif form == "flat":
        convert_index(index, tmp_path / "i.h5")
        index = tmp_path / "i.h5"
    (imgs(root) / "2.jpeg").unlink()
    out = tmp_path / ("n.h5" if form == "flat" else "n.npz")
    done = rewrite_image_paths(index, root, out, drop_missing=True, pairs=0)
    assert (done.pairs, done.dropped) == (1, 2)
    assert done.missing == ("Undistorted_SfM/0001/images/2.jpg",) and done.ok
    table = load_megadepth_scenes(out)
    assert len(table) == 1 and np.asarray(table.overlap).tolist() == [0.5]


def test_a_name_that_fits_two_files_is_refused(small, tmp_path) -> None:
    root, index = small
    shutil.copy(imgs(root) / "1.png", imgs(root) / "1.JPEG")
    words = r"1 image.*fit several.*images/1.jpg may be .*1.JPEG, .*1.png"
    with pytest.raises(DataError, match=words):
        rewrite_image_paths(index, root, tmp_path / "n.npz")
    assert not (tmp_path / "n.npz").exists()
    with pytest.raises(DataError, match="1.JPEG and 1.png .* could both be meant"):
        _ = MegaDepth(root, index, size=64)[0]
    # The written name itself, and what is no image, leave no doubt.
    shutil.copy(imgs(root) / "1.png", imgs(root) / "1.jpg")
    (imgs(root) / "2.npy").write_bytes(b"features of someone's")
    assert rewrite_image_paths(index, root, tmp_path / "n.npz", pairs=0).ok


def test_several_files_become_a_folder_of_the_same_names(small, tmp_path) -> None:
    root, index = small
    (tmp_path / "old").mkdir()
    for name in ("0001_0.1_0.3", "0001_0.3_0.5"):
        shutil.copy(index, tmp_path / "old" / f"{name}.npz")
    done = rewrite_image_paths(tmp_path / "old", root, tmp_path / "new", pairs=0)
    assert (done.files, done.pairs, done.rewritten) == (2, 6, 4)
    listed = load_megadepth_scenes(tmp_path / "new" / "list.txt")
    assert listed.scenes == ("0001_0.1_0.3", "0001_0.3_0.5")
    with pytest.raises(DataError, match="new exists"):
        rewrite_image_paths(tmp_path / "old", root, tmp_path / "new")
    twice = [index, tmp_path / "old" / "0001_0.1_0.3.npz", index]
    with pytest.raises(DataError, match="two index files are named i.npz"):
        rewrite_image_paths(twice, root, tmp_path / "x")


def test_the_released_code_takes_a_rewritten_pickle(small, tmp_path) -> None:
    """A dict that a key is deleted from, by names that numpy 1 knows as well."""
    root, index = small
    out = tmp_path / "n.npz"
    rewrite_image_paths(index, root, out, pickled=True, pairs=0)
    scene = np.load(out, allow_pickle=True)
    infos = scene["pair_infos"].copy()
    del scene["pair_infos"]
    (i, j), overlap, _ = infos[0]
    assert (i, j, overlap) == (0, 1, 0.5)
    assert scene["image_paths"][1].endswith("imgs/1.png")
    named = {str(a) for _, a, _ in pickletools.genops(out.read_bytes()) if a}
    assert any("numpy.core.multiarray" in n for n in named)
    assert not any("numpy._core" in n for n in named)
    assert isinstance(pickle.loads(out.read_bytes()), dict)


@pytest.mark.parametrize("folder", ["empty", "nowhere"])
def test_a_wrong_folder_is_an_error_and_nothing_is_written(
    small, tmp_path, folder, capsys
) -> None:
    (tmp_path / "empty").mkdir()
    words = ["data", "rewrite", small[1], "--images", tmp_path / folder]
    assert main([*map(str, words), "--out", str(tmp_path / "n.npz")]) == 2
    told = capsys.readouterr().err
    assert ("none of the 4 images" if folder == "empty" else "does not exist") in told
    assert not (tmp_path / "n.npz").exists()


def test_bad_requests_are_errors(small, tmp_path) -> None:
    root, index = small
    convert_index(index, tmp_path / "i.h5")
    with pytest.raises(ConfigError, match="stays flat"):
        rewrite_image_paths(tmp_path / "i.h5", root, tmp_path / "n.npz", pickled=True)
    with pytest.raises(ConfigError, match="by itself"):
        rewrite_image_paths([index, tmp_path / "i.h5"], root, tmp_path / "n")
    with pytest.raises(DataError, match="i.npz exists"):
        rewrite_image_paths(index, root, index)
    np.savez(tmp_path / "s.npz", name=np.ones((1, 4), int))
    with pytest.raises(DataError, match="no MegaDepth index"):
        rewrite_image_paths(tmp_path / "s.npz", root, tmp_path / "n.npz")
    for photo in imgs(root).iterdir():
        photo.unlink() if photo.stem in "12" else None
    with pytest.raises(DataError, match="no pair has both its images"):
        rewrite_image_paths(index, root, tmp_path / "n.npz", drop_missing=True)
    with pytest.raises(DataError, match="no pair has both its images"):
        rewrite_image_paths(
            tmp_path / "i.h5", root, tmp_path / "n.h5", drop_missing=True
        )
    assert not list(tmp_path.glob("*n.*"))


def test_the_command_line_reports_and_its_status_tells(small, tmp_path, capsys) -> None:
    root, index = small
    words = ["data", "rewrite", index, "--images", root, "--pairs", "0"]
    words = [str(w) for w in words]
    assert main([*words, "--out", str(tmp_path / "a.npz")]) == 0
    assert "4 rewritten, 0 unchanged, 0 missing" in capsys.readouterr().out
    (imgs(root) / "3.jpg").unlink()
    assert main([*words, "--out", str(tmp_path / "b.npz"), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["missing"] == 1 and told["missing_first"][0].endswith("3.jpg")
    convert_index(index, tmp_path / "i.h5")
    words[2] = str(tmp_path / "i.h5")
    out = tmp_path / "c.h5"
    assert main([*words, "--out", str(out), "--drop-missing", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["dropped"] == 1
    assert len(open_flat(out)) == 2
