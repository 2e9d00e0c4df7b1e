"""Links from data/<layout> to downloads: made whole, found right, undone exactly."""

from __future__ import annotations

import errno
import json
import os
import pickle
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from reader_files import (
    scene_arrays,
    write_intrinsics,
    write_photo,
    write_scannet_frame,
)

from loftr_nb.cli.main import main
from loftr_nb.datasets import open_dataset
from loftr_nb.datasets.linked import PATHS_FILE, image_root
from loftr_nb.errors import ConfigError, DataError
from loftr_nb.setup.link import MANIFEST, link, unlink
from loftr_nb.setup.link import run as link_module


def state(folder: Path) -> dict[str, str]:
    """Everything below a folder: text of links, bytes of files, without following."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        else:
            found[name] = "folder" if path.is_dir() else path.read_bytes().hex()
    return found


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """``down load ä`` with scannet_train, scannet_test and their indices."""
    down = tmp_path / "down load ä"
    for side, scene in (("train", 7), ("train", 8), ("test", 707)):
        for frame in (1, 2):
            folder = down / f"scannet_{side}" / f"scene{scene:04d}_00"
            write_scannet_frame(folder, frame)
    rows = down / "scannet_indices" / "scene_data" / "train"
    rows.mkdir(parents=True)
    for scene in (7, 8):
        name, score = np.array([[scene, 0, 1, 2]]), np.array([0.5])
        np.savez(rows / f"scene{scene:04d}_00.npz", name=name, score=score)
    lists = rows.parent / "train_list"
    lists.mkdir()
    (lists / "scannet_all.txt").write_text("scene0007_00.npz\nscene0008_00.npz\n")
    K = np.array([577.0, 0, 319.5, 0, 577, 239.5, 0, 0, 1])
    np.savez(rows.parent.parent / "intrinsics.npz", scene0007_00=K, scene0008_00=K)
    test = down / "scannet_test_1500"
    test.mkdir()
    pose = np.eye(4)[:3].reshape(1, 12).astype(np.float32)
    np.savez(test / "test.npz", name=np.array([[707, 0, 1, 2]]), rel_pose=pose)
    (test / "scannet_test.txt").write_text("test.npz\n")
    write_intrinsics(test)
    return down


def link_scans(scans: Path, data: Path, **options):
    return link(
        "scannet",
        scans,
        [scans / "scannet_indices", scans / "scannet_test_1500"],
        data=data,
        **options,
    )


def photos(folder: Path, images: str, depths: str | None) -> None:
    for k in (0, 1):
        image = folder / images / f"{k}.jpg"
        depth = folder / (depths or "unused") / f"{k}.h5"
        write_photo(image, depth)
        if depths is None:
            depth.unlink()


V1 = "phoenix/S6/zl548/MegaDepth_v1"
D2NET = "Undistorted_SfM/0001/images"


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """megadepth_indices as released: pickled dicts, lists beside them."""
    indices = tmp_path / "megadepth_indices"
    pairs = [(np.array([0, 1]), 0.4, np.zeros(4))]
    for folder, listed in (("0.1_0.7", "train"), ("val_1500", "val")):
        rows = indices / f"scene_info_{folder}"
        rows.mkdir(parents=True)
        scene = scene_arrays(2) | {"pair_infos": pairs}
        (rows / "0001_0.1_0.3.npz").write_bytes(pickle.dumps(scene))
        lists = indices / "trainvaltest_list"
        lists.mkdir(exist_ok=True)
        (lists / f"{listed}_list.txt").write_text("0001_0.1_0.3\n")
    return indices


@pytest.fixture(params=["links", "paths file"])
def options(request) -> dict[str, bool]:
    return {"paths_file": request.param == "paths file"}


# --- ScanNet


def test_scannet_opens(scans: Path, tmp_path: Path, options) -> None:
    report = link_scans(scans, tmp_path / "data", **options)
    assert [c.split for c in report.checks] == ["train", "test"]
    for check, count in zip(report.checks, (4, 2), strict=True):
        assert check.ok and (check.images, check.depths) == (count, count), check
    train = open_dataset(tmp_path / "data", "train")
    assert len(train) == 2 and train[0].view0.name.endswith("color/1.jpg")
    test = open_dataset(tmp_path / "data", "test")
    assert test[0].view0.K[0, 0] == 577
    before = state(tmp_path)
    again = link_scans(scans, tmp_path / "data", **options)
    assert sum(again.made.values()) == 0 and again.checks == report.checks
    assert state(tmp_path) == before


def test_undo_leaves_what_was_there(scans: Path, tmp_path: Path, options) -> None:
    data = tmp_path / "data"
    mine = data / "scannet" / "train" / "scene9999_00" / "color"
    mine.mkdir(parents=True)
    before = state(tmp_path)
    link_scans(scans, data, **options)
    assert mine.is_dir() and state(tmp_path) != before
    linked = state(tmp_path)
    assert unlink("scannet", data, dry_run=True).removed
    assert state(tmp_path) == linked
    undone = unlink("scannet", data)
    assert undone.kept == []
    assert state(tmp_path) == before
    with pytest.raises(DataError, match="made nothing there"):
        unlink("scannet", data)


def test_undo_leaves_what_is_ours_no_longer(scans: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    link_scans(scans, data)
    train = data / "scannet" / "train"
    (train / "scene0007_00").unlink()
    (train / "scene0007_00").symlink_to(tmp_path)
    (train / "scene0008_00").unlink()
    (train / "scene0008_00").mkdir()
    kept = unlink("scannet", data).kept
    assert [k.split(" ", 1)[0] for k in kept] == [
        "train/scene0007_00",
        "train/scene0008_00",
    ]
    assert "points elsewhere now" in kept[0] and "is no link now" in kept[1]
    assert sorted(p.name for p in train.iterdir()) == ["scene0007_00", "scene0008_00"]
    assert not (data / "scannet" / "index").exists()


def test_undo_that_fails_goes_on_later(scans, tmp_path: Path, monkeypatch) -> None:
    data = tmp_path / "data"
    link_scans(scans, data)
    real, calls = Path.unlink, []

    def unlink_one(self, *args, **kwargs) -> None:
        calls.append(self)
        if len(calls) == 3:
            raise OSError(errno.EROFS, "Read-only file system", str(self))
        real(self, *args, **kwargs)

    monkeypatch.setattr(Path, "unlink", unlink_one)
    with pytest.raises(DataError, match="could not be removed .*; 2 links were"):
        unlink("scannet", data)
    monkeypatch.undo()
    assert len(unlink("scannet", data).removed) == 4
    assert not (data / "scannet").exists()


def test_dry_run_changes_nothing(scans: Path, tmp_path: Path, options) -> None:
    before = state(tmp_path)
    would = link_scans(scans, tmp_path / "data", dry_run=True, **options)
    assert state(tmp_path) == before
    did = link_scans(scans, tmp_path / "data", **options)
    assert would.made == did.made and would.links == did.links
    counts = {"train": 2, "test": 1, "index": 3}
    assert did.made == ({PATHS_FILE: 1} if options["paths_file"] else counts)


def test_a_second_call_adds(scans: Path, tmp_path: Path, options) -> None:
    data = tmp_path / "data"
    both = (scans / "scannet_indices", scans / "scannet_test_1500")
    link("scannet", scans / "scannet_train", both[0], data=data, **options)
    link("scannet", None, both[1], None, scans / "scannet_test", data, **options)
    assert len(open_dataset(data, "train")) == 2
    assert len(open_dataset(data, "test")) == 1
    unlink("scannet", data)
    assert not (data / "scannet").exists()


def test_the_only_images_go_where_the_index_has_pairs(scans, tmp_path: Path) -> None:
    test = scans / "scannet_test"
    index = scans / "scannet_test_1500"
    report = link("scannet", test, index, data=tmp_path / "data")
    assert report.made == {"test": 1, "index": 1}
    (check,) = report.checks
    assert (check.split, check.ok) == ("test", True)


def test_real_folders_and_links_mix(scans: Path, tmp_path: Path) -> None:
    own = tmp_path / "data" / "scannet" / "train" / "scene0008_00"
    own.parent.mkdir(parents=True)
    (scans / "scannet_train" / "scene0008_00").rename(own)
    report = link_scans(scans, tmp_path / "data")
    assert report.made["train"] == 1 and report.checks[0].ok
    assert len(open_dataset(tmp_path / "data", "train")) == 2


@pytest.mark.parametrize("kind", ["folder", "file", "other link", "dangling link"])
def test_something_in_the_way(kind: str, scans: Path, tmp_path: Path) -> None:
    path = tmp_path / "data" / "scannet" / "train" / "scene0008_00"
    path.parent.mkdir(parents=True)
    if kind == "folder":
        path.mkdir()
    elif kind == "file":
        path.write_text("mine")
    else:
        path.symlink_to(tmp_path / ("gone" if kind == "dangling link" else "data"))
    before = state(tmp_path)
    with pytest.raises(DataError, match="nothing was linked: .*scene0008_00 is a"):
        link_scans(scans, tmp_path / "data")
    assert state(tmp_path) == before


def test_a_folder_linked_by_hand(scans: Path, tmp_path: Path) -> None:
    """To the same images: nothing to do. To others: they would be written into."""
    train = tmp_path / "data" / "scannet" / "train"
    train.parent.mkdir(parents=True)
    train.symlink_to(scans / "scannet_train")
    report = link_scans(scans, tmp_path / "data")
    assert report.there["train"] == 2 and report.checks[0].ok
    unlink("scannet", tmp_path / "data")
    train.unlink()
    train.symlink_to(tmp_path)
    with pytest.raises(DataError, match="train is a link to .*would lie there"):
        link_scans(scans, tmp_path / "data")
    assert "scene0007_00" not in {p.name for p in tmp_path.iterdir()}


def test_circles(scans: Path, tmp_path: Path) -> None:
    inside = scans / "scannet_train" / "scene0007_00" / "data"
    with pytest.raises(DataError, match="a circle"):
        link_scans(scans, inside)
    assert not inside.exists()


def test_links_may_be_relative(scans: Path, tmp_path: Path) -> None:
    box = tmp_path / "box"
    box.mkdir()
    scans = scans.rename(box / "scans")
    link_scans(scans, box / "data", relative=True)
    moved = box.rename(tmp_path / "moved")
    assert len(open_dataset(moved / "data", "train")) == 2
    assert open_dataset(moved / "data", "train")[0].view0.image.shape[-2:] == (480, 640)


def test_relative_arguments_give_links_that_hold(scans, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(scans)
    link("scannet", Path("scannet_train"), Path("scannet_indices"), data=tmp_path / "d")
    monkeypatch.chdir("/")
    assert len(open_dataset(tmp_path / "d", "train")) == 2


# --- ScanNet trees that are not the python export


def _cpp(scene: Path) -> None:
    for kind in ("color.jpg", "depth.pgm", "pose.txt"):
        (scene / f"frame-000000.{kind}").write_bytes(b"x")
    (scene / "_info.txt").write_text("m_versionNumber = 4")


def _sens(scene: Path) -> None:
    (scene / f"{scene.name}.sens").write_bytes(b"x")


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (_cpp, "exported by ScanNet's C\\+\\+ tool .*data import scannet-sens"),
        (_sens, "holds .sens files that are not exported yet.*import scannet-sens"),
        (lambda s: (s / "color").mkdir(), "scene0000_00 has no depth/, pose/"),
    ],
)
def test_other_exports_are_explained(write, said, scans, tmp_path: Path) -> None:
    root = tmp_path / "export"
    (root / "scene0000_00").mkdir(parents=True)
    write(root / "scene0000_00")
    with pytest.raises(DataError, match=said):
        link("scannet", root, scans / "scannet_indices", data=tmp_path / "data")
    assert not (tmp_path / "data").exists()
    # Among scenes that are right, it is left out and named.
    (root / "scene0000_00").rename(scans / "scannet_train" / "scene0000_00")
    report = link_scans(scans, tmp_path / "data")
    assert len(report.left_out) == 1 and report.left_out[0].startswith("scene0000_00")
    assert report.made["train"] == 2


def test_a_folder_of_cpp_frames_is_explained(scans, tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    _cpp(tmp_path / "flat")
    with pytest.raises(DataError, match="C\\+\\+ tool"):
        link("scannet", tmp_path / "flat", scans / "scannet_indices")


def test_what_was_given_wrong(scans: Path, released: Path, tmp_path: Path) -> None:
    train, index = scans / "scannet_train", scans / "scannet_indices"
    data = tmp_path / "data"
    for words, error in (
        ((train / "scene0007_00", index), "is one scene: give the folder that holds"),
        ((train, train), "has no index files; it holds scene0007_00"),
        ((train, released), "is an index of megadepth: `loftr-nb data link megadepth`"),
        ((index, index), "has no folders like scene0000_00; it holds intrinsics.npz"),
        ((tmp_path / "gone", index), "gone"),
        ((train, tmp_path / "gone"), "gone"),
    ):
        with pytest.raises(DataError, match=error):
            link("scannet", *words, data=data)
    with pytest.raises(ConfigError, match="no images were given"):
        link("scannet", None, index, data=data)
    with pytest.raises(ConfigError, match="--depth .* is not for ScanNet"):
        link("scannet", train, index, depth=train, data=data)
    with pytest.raises(ConfigError, match="did you mean 'scannet'"):
        link("scanet", train, index, data=data)
    assert not data.exists()


# --- MegaDepth


TREES = {
    "both releases": (D2NET, f"{V1}/0001/dense0/depths", ""),
    "photos of D2-Net alone": (D2NET, "depth_undistorted/0001", ""),
    "MegaDepth_v1 alone": ("0001/dense0/imgs", "0001/dense0/depths", ""),
    "its parent": (f"{V1[17:]}/0001/dense0/imgs", f"{V1[17:]}/0001/dense0/depths", ""),
    "phoenix": (f"{V1}/0001/dense0/imgs", f"{V1}/0001/dense0/depths", "phoenix"),
    "S6": (f"{V1}/0001/dense0/imgs", f"{V1}/0001/dense0/depths", "phoenix/S6"),
    "zl548": (f"{V1}/0001/dense0/imgs", f"{V1}/0001/dense0/depths", "phoenix/S6/zl548"),
    "a folder above": (f"x/{D2NET}", f"x/{V1}/0001/dense0/depths", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", TREES)
def test_megadepth_trees(name, released: Path, tmp_path: Path, options) -> None:
    images, depths, given = TREES[name]
    photos(tmp_path / "tree", images, depths)
    data = tmp_path / "data"
    report = link(
        "megadepth", tmp_path / "tree" / given, released, data=data, **options
    )
    assert [(c.split, c.ok, c.images, c.depths) for c in report.checks] == [
        ("train", True, 2, 2),
        ("test", True, 2, 2),
    ]
    for side in ("train", "test"):
        dataset = open_dataset(data, side, size=64)
        assert dataset[0].view0.image.shape[-1] == 64
        assert dataset.full_depth(0)[1].max() == 2
    unlink("megadepth", data)
    assert not (data / "megadepth").exists()


def test_megadepth_with_depth_elsewhere(released: Path, tmp_path: Path) -> None:
    photos(tmp_path / "a", D2NET, None)
    photos(tmp_path / "b", "0001/dense0/imgs", "0001/dense0/depths")
    words = ("megadepth", tmp_path / "a" / "Undistorted_SfM", released, tmp_path / "b")
    report = link(*words, data=tmp_path / "data")
    assert report.checks[0].ok
    # One folder will not do for both; without links that is an error with a way out.
    with pytest.raises(DataError, match="below one folder.*mklink /J"):
        link(*words, data=tmp_path / "other", paths_file=True)
    assert not (tmp_path / "other").exists()


def test_megadepth_1500_has_no_depth(released: Path, tmp_path: Path) -> None:
    photos(tmp_path / "tree", D2NET, None)
    report = link("megadepth", tmp_path / "tree", released, data=tmp_path / "data")
    check = report.checks[0]
    assert (check.images, check.depths, check.depths_missing) == (2, 0, 2)
    assert not check.ok and "depths/0.h5" in check.note


def test_the_sfm_archive_is_recognised(released: Path, tmp_path: Path) -> None:
    photos(tmp_path / "sfm", "0001/images", None)
    (tmp_path / "sfm" / "0001" / "sparse" / "manhattan" / "0").mkdir(parents=True)
    with pytest.raises(DataError, match="SfM archive .* not undistorted"):
        link("megadepth", tmp_path / "sfm", released, data=tmp_path / "data")


def test_missing_images_are_named(released: Path, tmp_path: Path, capsys) -> None:
    photos(tmp_path / "tree", D2NET, f"{V1}/0001/dense0/depths")
    argv = ["data", "link", "megadepth", "--images", str(tmp_path / "tree")]
    argv += ["--index", str(released), "--data", str(tmp_path / "data")]
    (tmp_path / "tree" / D2NET / "1.jpg").unlink()
    assert main(argv) == 0
    shown = capsys.readouterr().out
    assert "train: of a sample, images 1 found 1 missing" in shown
    assert "Undistorted_SfM/0001/images/1.jpg does not exist" in shown
    (tmp_path / "tree" / D2NET / "0.jpg").unlink()
    assert main([*argv, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["checks"][0]["images_missing"] == 2


# --- an index of one's own


def test_own_index_folders(scans: Path, tmp_path: Path, options) -> None:
    rows = scans / "scannet_indices" / "scene_data" / "train"
    os.rename(scans / "scannet_indices" / "intrinsics.npz", rows / "intrinsics.npz")
    report = link(
        "scannet", scans / "scannet_train", rows, data=tmp_path / "data", **options
    )
    assert report.checks[0].ok
    dataset = open_dataset(tmp_path / "data", "train")
    assert len(dataset) == 2 and dataset[0].view0.K[0, 0] == 577


def test_an_index_made_here_has_both_sides_in_the_same_images(
    shared_data: Path, tmp_path: Path, options
) -> None:
    hololens, index = shared_data / "hololens", tmp_path / "index"
    argv = ["data", "index", str(hololens), "--out", str(index), "--every", "4"]
    assert main([*argv, "--split", "0.3", "--json"]) == 0
    data = tmp_path / "data"
    report = link("scannet", hololens, index, data=data, **options)
    assert [(c.split, c.ok) for c in report.checks] == [("train", True), ("test", True)]
    for side in ("train", "test"):
        assert len(open_dataset(data, side, "scannet")) > 0
        assert open_dataset(data, side, "scannet").full_depth(0)[0].max() > 1


# --- failures half way


@pytest.fixture
def failing(monkeypatch) -> Iterator[list[BaseException]]:
    """os.symlink that raises what is put into the list, from the third call on."""
    errors: list[BaseException] = []
    real, calls = os.symlink, 0

    def symlink(*args, **kwargs) -> None:
        nonlocal calls
        calls += 1
        if errors and calls >= 3:
            raise errors[0]
        real(*args, **kwargs)

    monkeypatch.setattr(link_module.os, "symlink", symlink)
    return errors


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), DataError),
        (OSError(errno.EROFS, "Read-only file system"), DataError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_all_or_nothing(error, raised, failing, scans, tmp_path: Path) -> None:
    before = state(tmp_path)
    failing.append(error)
    with pytest.raises(raised):
        link_scans(scans, tmp_path / "data")
    assert state(tmp_path) == before
    failing.clear()
    link("scannet", scans / "scannet_train", scans / "scannet_indices", data=tmp_path)
    before = state(tmp_path)
    failing.append(error)
    with pytest.raises(raised):
        link_scans(scans, tmp_path)
    assert state(tmp_path) == before


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EPERM, "Operation not permitted"),
        NotImplementedError("no links here"),
        OSError(errno.EINVAL, "A required privilege is not held"),
    ],
)
def test_without_links_a_paths_file(error, failing, scans, tmp_path: Path) -> None:
    if isinstance(error, OSError) and error.errno == errno.EINVAL:
        error.winerror = 1314  # what Windows says
    failing.append(error)
    report = link_scans(scans, tmp_path / "data")
    assert report.with_paths and report.made == {PATHS_FILE: 1}
    assert not any("-> " in text for text in state(tmp_path / "data").values())
    assert len(open_dataset(tmp_path / "data", "train")) == 2
    assert image_root(tmp_path / "data" / "scannet", "test") == scans / "scannet_test"


@pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")
def test_killed_half_way_undo_still_finds_the_links(scans, tmp_path: Path) -> None:
    real, calls = os.symlink, []

    def symlink(*args, **kwargs) -> None:
        calls.append(args)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        real(*args, **kwargs)

    child = os.fork()
    if child == 0:
        os.symlink = symlink
        link_scans(scans, tmp_path / "data")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    links = [n for n, t in state(tmp_path / "data").items() if t.startswith("->")]
    assert len(links) == 2
    assert len(unlink("scannet", tmp_path / "data").removed) == 2
    link_scans(scans, tmp_path / "data")
    assert len(open_dataset(tmp_path / "data", "train")) == 2


def test_a_damaged_manifest_removes_nothing(scans: Path, tmp_path: Path) -> None:
    link_scans(scans, tmp_path / "data")
    path = tmp_path / "data" / "scannet" / MANIFEST
    good = json.loads(path.read_text())
    outside = tmp_path / "outside"
    outside.symlink_to("x")
    for bad in ("{", "[]", json.dumps(good | {"links": {"../../outside": "x"}})):
        path.write_text(bad)
        before = state(tmp_path)
        with pytest.raises(DataError, match="is damaged .*by hand"):
            unlink("scannet", tmp_path / "data")
        assert state(tmp_path) == before


def test_a_paths_file_of_ones_own(scans: Path, tmp_path: Path) -> None:
    """Relative to its own folder; not overwritten, and complained about by name."""
    folder = tmp_path / "data" / "scannet"
    (folder / "index").mkdir(parents=True)
    down = os.path.relpath(scans, folder)
    paths = {
        "train": f"{down}/scannet_train",
        "index": {"train": [f"{down}/scannet_indices"]},
    }
    (folder / PATHS_FILE).write_text(json.dumps(paths))
    assert len(open_dataset(tmp_path / "data", "train")) == 2
    with pytest.raises(DataError, match="was not written by|Undo that first"):
        link_scans(scans, tmp_path / "data", paths_file=True)
    for bad in ("{", '{"train": 3}', '{"index": {"train": [1]}}', '{"index": []}'):
        (folder / PATHS_FILE).write_text(bad)
        with pytest.raises(DataError, match="paths.json cannot be read"):
            open_dataset(tmp_path / "data", "train")


# --- the command, and the real data


def test_the_command(scans: Path, tmp_path: Path, capsys) -> None:
    argv = ["data", "link", "scannet", "--data", str(tmp_path / "data")]
    inputs = ["--images", str(scans / "scannet_train")]
    inputs += ["--index", str(scans / "scannet_indices")]
    assert main([*argv, *inputs, "--dry-run"]) == 0
    would = capsys.readouterr().out
    assert "would be made" in would and not (tmp_path / "data").exists()
    assert main([*argv, *inputs]) == 0
    shown = capsys.readouterr().out
    assert "train              2           0" in shown
    assert "images 4 found 0 missing, depth maps 4 found 0 missing" in shown
    assert main([*argv, "--undo"]) == 0
    assert "4 links removed" in capsys.readouterr().out
    assert main([*argv, "--undo"]) == 2
    assert main([*argv, "--images", str(scans)]) == 2
    assert "no index was given" in capsys.readouterr().err


def test_real_trees(shared_data: Path, tmp_path: Path, options) -> None:
    """Fountain as MegaDepth; hololens as ScanNet; the real lists of test pairs."""
    fountain = shared_data / "fountain"
    data = tmp_path / "data"
    report = link("megadepth", fountain, fountain / "scene_info", data=data, **options)
    assert report.checks[0].ok and report.checks[0].images == 80
    assert len(open_dataset(data, "train", "megadepth")) == 55
    rows = np.array([[9000, 0, 3, 10], [9000, 0, 10, 11]])
    index = tmp_path / "index"
    index.mkdir()
    np.savez(index / "scene9000_00.npz", name=rows, score=np.array([0.5, 0.6]))
    hololens = shared_data / "hololens"
    report = link("scannet", hololens, index, data=data, **options)
    assert report.checks[0].ok
    assert open_dataset(data, "train", "scannet").full_depth(0)[0].max() > 1


def test_real_indices_without_their_images(shared_data, tmp_path, options) -> None:
    indices, data = shared_data / "indices", tmp_path / "data"
    report = link(
        "scannet", shared_data / "hololens", indices / "scannet", data=data, **options
    )
    (check,) = report.checks
    assert (check.split, check.images, check.images_missing) == ("test", 0, 80)
    assert "scene0707_00/color/15.jpg" in check.note
    report = link(
        "megadepth",
        shared_data / "fountain",
        indices / "megadepth",
        data=data,
        **options,
    )
    checks = {c.split: c for c in report.checks}
    assert set(checks) == {"test"} and checks["test"].images_missing == 400
