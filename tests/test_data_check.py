"""``loftr-nb data check``: every cause found, counted, and left out with --fix."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from reader_files import depth_path, scene_arrays, write_photo, write_scannet_frame

from loftr_nb.cli.main import main
from loftr_nb.datasets import MegaDepth, ScanNet, load_scannet_pairs
from loftr_nb.datasets.flat import open_flat
from loftr_nb.datasets.flat_writer import FlatWriter
from loftr_nb.errors import ConfigError, DataError
from loftr_nb.setup import GeometryReport, check_data
from loftr_nb.setup.check import run
from loftr_nb.setup.check import run as run_module
from loftr_nb.setup.check.causes import CAUSES, FRAME_FAULTS
from loftr_nb.setup.geometry.report import PairRow

SIZE = (64, 48)
K = np.array([[60.0, 0, 31.5], [0, 60, 23.5], [0, 0, 1]])
SCENES = ("scene0001_00", "scene0002_00")


def write_scenes(root: Path, frames: int = 5) -> Path:
    """Two ScanNet scenes of small frames, 0 ... frames - 1."""
    for name in SCENES:
        for n in range(frames):
            write_scannet_frame(root / name, n, colour=SIZE, depth=SIZE)
        (root / name / "intrinsic").mkdir()
        np.savetxt(root / name / "intrinsic" / "intrinsic_depth.txt", K)
    return root


def write_linked(root: Path) -> Path:
    """The same scenes with ``index``: rows (0, 1) ... (3, 4) of each scene."""
    write_scenes(root / "scannet" / "train")
    index = root / "scannet" / "index"
    (index / "train").mkdir(parents=True)
    for k, name in enumerate(SCENES, 1):
        rows = np.array([(k, 0, n, n + 1) for n in range(4)], np.uint16)
        score = np.linspace(0.2, 0.5, 4, dtype=np.float32)
        np.savez(index / "train" / f"{name}.npz", name=rows, score=score)
    (index / "train.txt").write_text("".join(f"{name}\n" for name in SCENES))
    np.savez(index / "intrinsics.npz", **{name: K for name in SCENES})
    return root / "scannet"


def write_photos(root: Path, count: int = 5, as_pickle: bool = False) -> Path:
    """A MegaDepth tree with scene_info/0001_0.1_0.7.npz, rows (0, 1) ..."""
    columns = scene_arrays(count + 1, unused=(count,))
    for k in range(count):
        write_photo(root / f"Undistorted_SfM/0001/images/{k}.jpg", root / depth_path(k))
        columns["intrinsics"][k] = K
    infos = [(np.array([n, n + 1]), 0.3, np.zeros(4)) for n in range(count - 1)]
    path = root / "scene_info" / "0001_0.1_0.7.npz"
    path.parent.mkdir()
    if as_pickle:
        path.write_bytes(pickle.dumps({**columns, "pair_infos": infos, "more": 7}))
    else:
        rows = np.empty(len(infos), object)
        rows[:] = infos
        np.savez(path, **columns, pair_infos=rows)
    return path


def check(root: Path, **kwargs):
    return check_data(root, **{"geometry": False, "workers": 2} | kwargs)


def causes(report) -> dict[str, tuple[int, int]]:
    return {f.cause: (f.count, f.total) for f in report.findings}


def found(report, cause: str):
    return next(f for f in report.findings if f.cause == cause)


def cut(path: Path, share: float = 0.5) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def grey(path: Path, size: tuple[int, int], dtype=np.uint8) -> None:
    pixels = np.random.default_rng(0).integers(1, 200, size[::-1]).astype(dtype)
    cv2.imwrite(str(path), pixels)


def test_clean_scenes_pass(tmp_path):
    report = check(write_scenes(tmp_path))
    assert report.ok and not report.findings
    assert (report.scenes, report.frames, report.pairs) == (2, 10, 0)
    held = [p for p in tmp_path.rglob("*") if p.is_file() and p.parent.name[0] in "cd"]
    assert report.bytes == sum(p.stat().st_size for p in held)


# What is done to frame 3 of the first scene, and what must be found.
FRAME_CASES = {
    "image_missing": lambda s: (s / "color/3.jpg").unlink(),
    "image_truncated": lambda s: cut(s / "color/3.jpg"),
    "image_unreadable": lambda s: (s / "color/3.jpg").write_bytes(b"<html>404</html>"),
    "image_size": lambda s: grey(s / "color/3.jpg", (64, 64)),
    "image_sizes": lambda s: grey(s / "color/3.jpg", (128, 96)),
    "depth_missing": lambda s: (s / "depth/3.png").unlink(),
    "depth_truncated": lambda s: cut(s / "depth/3.png"),
    "depth_unreadable": lambda s: (s / "depth/3.png").write_bytes(b"no picture"),
    "depth_kind": lambda s: grey(s / "depth/3.png", SIZE),
    "depth_empty": lambda s: cv2.imwrite(
        str(s / "depth/3.png"), np.zeros(SIZE[::-1], np.uint16)
    ),
    "depth_sparse": lambda s: cv2.imwrite(
        str(s / "depth/3.png"),
        np.where(np.arange(48 * 64).reshape(48, 64) < 100, 1500, 0).astype(np.uint16),
    ),
    "depth_sizes": lambda s: grey(s / "depth/3.png", (32, 24), np.uint16),
    "pose_damaged": lambda s: (s / "pose/3.txt").write_text("1 0 0 0\n0 1 0"),
    "pose_not_finite": lambda s: (s / "pose/3.txt").write_text("-inf " * 16),
    "pose_not_rotation": lambda s: np.savetxt(
        s / "pose/3.txt", np.diag([2.0, 2.0, 2.0, 1.0])
    ),
}


@pytest.mark.parametrize("cause", FRAME_CASES)
def test_each_fault_of_a_frame_is_found(tmp_path, cause):
    write_scenes(tmp_path)
    FRAME_CASES[cause](tmp_path / SCENES[0])
    report = check(tmp_path)
    fault = found(report, cause)
    assert fault.count == 1
    assert fault.total == (2 if cause.endswith("sizes") else 10)
    assert f"{SCENES[0]}/" in fault.first and "/3." in fault.first
    mild = cause in ("image_sizes", "depth_sparse", "pose_not_finite")
    assert report.ok == mild and fault.level == ("warning" if mild else "error")
    errors = {f.cause for f in report.findings if f.level == "error"}
    assert errors <= {cause, "depth_unit"}  # noise as depth is no room


@pytest.mark.parametrize("cause", [c for c in FRAME_CASES if c in FRAME_FAULTS])
def test_rows_of_a_faulty_frame_are_dropped_by_fix(tmp_path, cause):
    data = write_linked(tmp_path)
    FRAME_CASES[cause](data / "train" / SCENES[0])
    before = {p: p.read_bytes() for p in (data / "index").rglob("*") if p.is_file()}
    report = check(data, fix=True)
    missing = cause.endswith("_missing")
    rows = found(report, "row_no_file" if missing else "row_unusable")
    assert (rows.count, rows.total) == (2, 8) and not report.ok  # (2, 3) and (3, 4)
    (fixed,) = report.fixed
    assert fixed.new == data / "index.fixed" and fixed.dropped == 2
    assert fixed.by_cause == {cause: 2}
    assert all(p.read_bytes() == old for p, old in before.items())  # untouched
    kept = load_scannet_pairs(fixed.new / "train" / f"{SCENES[0]}.npz")
    assert np.stack([kept.frame0, kept.frame1], 1).tolist() == [[0, 1], [1, 2]]
    assert kept.overlap == pytest.approx([0.2, 0.3])
    # In its place, the cleaned index checks clean and the reader takes every pair.
    (data / "index").rename(data / "old")
    fixed.new.rename(data / "index")
    again = check(data)
    assert again.ok and again.pairs == 6
    files = sorted((data / "index/train").glob("*.npz"))
    pairs = ScanNet(data / "train", files, data / "index/intrinsics.npz", size=None)
    assert len(list(pairs)) == 6


def test_quick_finds_missing_and_truncated_without_decoding(tmp_path):
    write_scenes(tmp_path)
    scene = tmp_path / SCENES[1]
    (scene / "color/1.jpg").unlink()
    cut(scene / "color/2.jpg")
    cut(scene / "depth/3.png")
    grey(scene / "color/4.jpg", (64, 64))
    content = bytearray((scene / "depth/0.png").read_bytes())
    content[60] ^= 255  # within the pixels: only decoding shows it
    (scene / "depth/0.png").write_bytes(content)
    expected = {"image_missing", "image_truncated", "image_size", "depth_truncated"}
    quick = check(tmp_path, quick=True)
    assert {f.cause for f in quick.findings if f.level == "error"} == expected
    whole = {f.cause for f in check(tmp_path).findings if f.level == "error"}
    assert whole == expected | {"depth_unreadable"}


def test_intrinsics(tmp_path):
    write_scenes(tmp_path)
    one, two = (tmp_path / s / "intrinsic/intrinsic_depth.txt" for s in SCENES)
    one.unlink()
    np.savetxt(two, np.diag([2.0, 2, 1]) @ K)
    report = check(tmp_path)
    assert causes(report) == {"K_missing": (1, 2), "K_other_size": (1, 2)}
    np.savetxt(two, np.diag([-1.0, 1, 1]) @ K)
    assert "K_impossible" in causes(check(tmp_path))


@pytest.mark.parametrize("factor", [0.001, 40])
def test_depth_in_another_unit(tmp_path, factor):
    write_scenes(tmp_path)
    for path in (tmp_path / SCENES[1] / "depth").glob("*.png"):
        depth = np.full(SIZE[::-1], 1500 * factor).clip(1, 65000).astype(np.uint16)
        cv2.imwrite(str(path), depth)
    fault = found(check(tmp_path), "depth_unit")
    assert fault.count == 1 and SCENES[1] in fault.first


def test_a_unit_is_forgiven_only_where_pairs_were_judged(tmp_path, monkeypatch):
    """Depth and poses of a scene may share another unit; its own pairs must say so."""
    write_scenes(tmp_path)
    for path in (tmp_path / SCENES[1] / "depth").glob("*.png"):
        cv2.imwrite(str(path), np.full(SIZE[::-1], 60000, np.uint16))

    def judged(*scenes):
        rows = tuple(PairRow(s, "a", "b", 50, 0.5, 2.0, 40.0, 9.0) for s in scenes)
        answer = GeometryReport("here", rows, (), 4, 0.0)
        assert answer.ok
        monkeypatch.setattr(run, "geometry_check", lambda *_, **__: answer)
        return found(check(tmp_path, geometry=True), "depth_unit").level

    assert judged(SCENES[0]) == "error"
    assert judged(*SCENES) == "warning"


def test_frames_without_pose_and_strays_of_a_bare_recording(tmp_path):
    write_scenes(tmp_path)
    for n in (1, 2):
        (tmp_path / SCENES[0] / f"pose/{n}.txt").unlink()
    report = check(tmp_path)
    fault = found(report, "pose_missing")
    assert (fault.count, fault.level) == (2, "warning") and "color/1.jpg" in fault.first
    stray = found(report, "stray")  # their depth maps
    assert (stray.count, stray.level) == (2, "info") and report.ok


def test_index_files_missing_damaged_and_refused(tmp_path):
    data = write_linked(tmp_path)
    cut(data / "index/train" / f"{SCENES[1]}.npz")
    with (data / "index/train.txt").open("a") as file:
        file.write("scene0003_00\nscene0004_00\n")

    class Evil:
        def __reduce__(self):
            return print, ("code ran",)

    (data / "index/train/scene0003_00.npz").write_bytes(pickle.dumps({"name": Evil()}))
    report = check(data, fix=True)
    assert causes(report)["index_missing"] == (1, 4)
    assert causes(report)["index_damaged"] == (1, 4)
    assert causes(report)["index_refused"] == (1, 4)
    assert "builtins.print" in found(report, "index_refused").first
    (fixed,) = report.fixed
    assert (fixed.new / "train.txt").read_text().split() == [SCENES[0]]
    assert [p.name for p in (fixed.new / "train").iterdir()] == [f"{SCENES[0]}.npz"]
    (data / "index").rename(data / "old")
    fixed.new.rename(data / "index")
    assert check(data).ok


def test_a_scene_that_is_not_there(tmp_path):
    data = write_linked(tmp_path)
    (data / "train" / SCENES[0]).rename(tmp_path / "elsewhere")
    report = check(tmp_path)
    fault = found(report, "scene_missing")
    assert (fault.count, fault.total) == (1, 2)
    assert causes(report)["row_no_file"] == (4, 8)
    assert "image_missing" not in causes(report)  # told once, not frame by frame


def test_cpp_export_is_recognised_and_explained(tmp_path, capsys):
    scene = tmp_path / "scene0707_00"
    scene.mkdir()
    for name in ("frame-000000.color.jpg", "frame-000000.depth.pgm", "_info.txt"):
        (scene / name).write_bytes(b"x")
    for folder in (scene, tmp_path):
        assert main(["data", "check", str(folder)]) == 2
        told = capsys.readouterr().err
        assert "C++" in told and "scannet-sens" in told


# MegaDepth


def poses_of(path: Path) -> dict:
    return dict(np.load(path, allow_pickle=True))


def put(path: Path, column: str, slot: int, value) -> None:
    data = poses_of(path)
    data[column][slot] = value
    np.savez(path, **data)


IMAGES = "Undistorted_SfM/0001/images"
PHOTO_CASES = {
    "image_missing": lambda r, i: (r / IMAGES / "2.jpg").unlink(),
    "image_truncated": lambda r, i: cut(r / IMAGES / "2.jpg"),
    "image_size": lambda r, i: grey(r / IMAGES / "2.jpg", (128, 96)),
    "image_ambiguous": lambda r, i: (
        (r / IMAGES / "2.jpg").rename(r / IMAGES / "2.png"),
        (r / IMAGES / "2.bmp").write_bytes(b"other"),
    ),
    "depth_missing": lambda r, i: (r / depth_path(2)).unlink(),
    "depth_truncated": lambda r, i: cut(r / depth_path(2), 0.6),
    "depth_unreadable": lambda r, i: (r / depth_path(2)).write_bytes(b"\0" * 4000),
    "depth_kind": lambda r, i: h5py.File(r / depth_path(2), "w").close(),
    "depth_empty": lambda r, i: h5py.File(r / depth_path(2), "w").create_dataset(
        "depth", data=np.zeros(SIZE[::-1])
    ),
    "pose_not_finite": lambda r, i: put(i, "poses", 2, np.full((4, 4), -np.inf)),
    "pose_not_rotation": lambda r, i: put(i, "poses", 2, np.diag([2.0, 2, 2, 1])),
    "pose_damaged": lambda r, i: put(i, "poses", 2, "text"),
    "K_impossible": lambda r, i: put(i, "intrinsics", 2, np.zeros((3, 3))),
    "row_empty": lambda r, i: put(i, "poses", 2, None),
}


@pytest.mark.parametrize("cause", PHOTO_CASES)
def test_each_fault_of_a_megadepth_tree(tmp_path, cause):
    index = write_photos(tmp_path)
    assert check(tmp_path).ok
    PHOTO_CASES[cause](tmp_path, index)
    report = check(tmp_path, fix=True)
    fault = found(report, cause)
    errors = {f.cause for f in report.findings if f.level == "error"}
    rows = errors & {"row_no_file", "row_unusable", "row_empty"}
    assert errors == {cause} | rows and len(rows) == 1
    assert found(report, rows.pop()).count == 2  # (1, 2) and (2, 3)
    assert fault.count == (2 if cause == "row_empty" else 1)
    fixed = report.fixed[0].new
    assert fixed == tmp_path / "scene_info.fixed"
    again = check(tmp_path, index=fixed)
    assert again.ok and again.pairs == 2
    assert len(list(MegaDepth(tmp_path, fixed, size=64))) == 2


def test_a_pickled_index_stays_a_pickle_of_plain_arrays(tmp_path):
    write_photos(tmp_path, as_pickle=True)
    (tmp_path / IMAGES / "0.jpg").unlink()
    (fixed,) = check(tmp_path, fix=True).fixed
    path = fixed.new / "0001_0.1_0.7.npz"
    assert b"loftr_nb" not in path.read_bytes() and path.read_bytes()[:2] != b"PK"
    data = pickle.loads(path.read_bytes())
    assert type(data["poses"]) is type(data["poses"][1]) is np.ndarray
    assert data["more"] == 7 and isinstance(data["pair_infos"], list)
    assert [tuple(row[0]) for row in data["pair_infos"]] == [(1, 2), (2, 3), (3, 4)]
    assert isinstance(data["pair_infos"][0], tuple)


@pytest.mark.parametrize("form", ["pairs", "overlap_matrix"])
def test_other_forms_of_a_megadepth_index(tmp_path, form):
    path = write_photos(tmp_path)
    data = poses_of(path)
    del data["pair_infos"]
    if form == "pairs":
        data |= {"pairs": np.array([[0, 1], [1, 9], [3, 4]]), "overlaps": np.ones(3)}
    else:
        data["overlap_matrix"] = np.triu(np.ones((6, 6)), 1) + np.tril(
            np.ones((6, 6)), -1
        )
    np.savez(path, **data)
    (tmp_path / IMAGES / "0.jpg").unlink()
    report = check(tmp_path, fix=True)
    assert report.pairs == (3 if form == "pairs" else 10)
    again = check(tmp_path, index=report.fixed[0].new)
    assert again.ok and again.pairs == (1 if form == "pairs" else 6)


@pytest.mark.parametrize("layout", ["scannet", "megadepth"])
def test_a_flat_index(tmp_path, layout):
    if layout == "scannet":
        data = write_linked(tmp_path)
        files = sorted((data / "index/train").glob("*.npz"))
        root, bad = data / "train", data / "train" / SCENES[0] / "color/3.jpg"
        tables = [load_scannet_pairs(f) for f in files]
    else:
        from loftr_nb.datasets import load_megadepth_scene

        tables = [load_megadepth_scene(write_photos(tmp_path))]
        root, bad = tmp_path, tmp_path / IMAGES / "2.jpg"
    flat = tmp_path / "own.h5"
    with FlatWriter(flat, layout) as writer:
        for table in tables:
            writer.add(table)
        if layout == "scannet":
            writer.add_intrinsics({name: K for name in SCENES})
    assert check(root, index=flat).ok
    bad.unlink()
    report = check(root, index=flat, fix=True)
    total = 8 if layout == "scannet" else 4
    assert causes(report)["row_no_file"] == (2, total)
    fixed = report.fixed[0].new
    assert fixed == tmp_path / "own.fixed.h5"
    assert len(open_flat(fixed)) == total - 2
    assert check(root, index=fixed).ok


# The command


def test_exit_statuses_and_json(tmp_path, capsys):
    write_scenes(tmp_path)
    base = ["data", "check", str(tmp_path), "--no-geometry", "--json"]
    assert main(base) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True
    (tmp_path / SCENES[0] / "color/3.jpg").write_bytes(b"")
    assert main([*base, "--fix"]) == 1
    told = json.loads(capsys.readouterr().out)
    (finding,) = [f for f in told["findings"] if f["level"] == "error"]
    assert finding.keys() == {"cause", "count", "total", "first", "way_out", "level"}
    assert finding["cause"] == "image_truncated" and "0 bytes" in finding["first"]
    keys = "root layouts ok quick stopped scenes frames pairs bytes seconds findings"
    assert told.keys() == {*keys.split(), "geometry", "notes", "fixed"}
    assert "loftr-nb data index" in told["fixed"][0]["note"]  # there was no index
    assert main(["data", "check", str(tmp_path / "nowhere")]) == 2
    assert "does not exist" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["data", "check", str(tmp_path / "empty")]) == 2


def test_the_table_names_cause_count_first_and_way_out(tmp_path, capsys):
    write_scenes(tmp_path)
    (tmp_path / SCENES[0] / "color/3.jpg").unlink()
    assert main(["data", "check", str(tmp_path), "--no-geometry"]) == 1
    lines = capsys.readouterr().out.splitlines()
    (row,) = [i for i, line in enumerate(lines) if line.startswith("  error")]
    assert lines[row].split() == "error image missing 1 of 10 images".split()
    assert lines[row + 1].strip().startswith(f"first: {SCENES[0]}/color/3.jpg")
    assert "NoneType has no attribute" in " ".join(lines[row:])
    assert lines[-1].startswith("FAULTS")


def test_mistyped_arguments(tmp_path):
    write_scenes(tmp_path)
    with pytest.raises(ConfigError, match="did you mean 'scannet'"):
        check(tmp_path, layout="scanet")
    with pytest.raises(ConfigError, match="workers"):
        check(tmp_path, workers=0)
    with pytest.raises(DataError):
        check(tmp_path, index=tmp_path / "none.npz")


def test_ctrl_c_gives_the_table_so_far(tmp_path, monkeypatch, capsys):
    write_scenes(tmp_path, frames=40)
    (tmp_path / SCENES[0] / "color/0.jpg").unlink()
    real, calls = run_module.check_frames, []

    def interrupted(*args):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(run_module, "check_frames", interrupted)
    assert main(["data", "check", str(tmp_path), "--workers", "1"]) == 130
    told = capsys.readouterr().out
    assert "image missing" in told and "stopped" in told


def test_a_fixed_index_never_replaces_a_file(tmp_path):
    data = write_linked(tmp_path)
    (data / "train" / SCENES[0] / "color/3.jpg").unlink()
    (data / "index.fixed").mkdir()
    (data / "index.fixed" / "mine").write_text("keep")
    first, second = (check(data, fix=True).fixed[0].new.name for _ in range(2))
    assert (first, second) == ("index.fixed-2", "index.fixed-3")
    assert (data / "index.fixed" / "mine").read_text() == "keep"


def test_each_file_is_opened_once(tmp_path, monkeypatch):
    data = write_linked(tmp_path)
    seen = []
    real = run_module.check_frames

    def noted(scene, ks, *args):
        seen.extend((scene.name, k) for k in ks)
        return real(scene, ks, *args)

    monkeypatch.setattr(run_module, "check_frames", noted)
    assert check(data).ok
    assert len(seen) == len(set(seen)) == 10


def test_any_damage_is_reported_or_harmless(tmp_path):
    """250 seeds of cut, changed and zeroed bytes in any file, index files too."""
    data = write_linked(tmp_path)
    photos = tmp_path / "photos"
    write_photos(photos, count=3, as_pickle=True)
    for root in (data, photos):
        files = sorted(p for p in root.rglob("*") if p.is_file())
        for seed in range(125):
            rng = np.random.default_rng(seed)
            path = files[rng.integers(len(files))]
            content = path.read_bytes()
            broken = bytearray(content)
            at = int(rng.integers(len(content)))
            if seed % 3 == 0:
                broken = broken[:at]
            elif seed % 3 == 1:
                broken[at : at + 8] = rng.bytes(len(broken[at : at + 8]))
            else:
                broken[at:] = bytes(len(broken) - at)
            path.write_bytes(broken)
            try:
                report = check(root, quick=seed % 5 == 0, fix=seed % 25 == 0)
                assert report.text() and json.dumps(report.to_dict())
                if seed % 3 == 0 and path.suffix in (".jpg", ".png", ".h5"):
                    assert not report.ok, path
            except (DataError, ConfigError):
                assert path.suffix in (".npz", ".txt")
            path.write_bytes(content)
    assert check(data).ok and check(photos).ok  # nothing else was touched


def test_every_cause_has_a_way_out_and_a_place():
    assert set(FRAME_FAULTS) <= CAUSES.keys()
    for cause in CAUSES.values():
        assert cause.way_out and len(cause.title) <= 40, cause.name


# Real data


@pytest.mark.parametrize(
    ("name", "layout", "ok"),
    [
        ("hololens", "scannet", True),
        ("fountain", "megadepth", True),
        ("megadepth_pair", "megadepth", True),
        ("tum_fr1_desk", "tum", True),
        ("redkitchen_raw", "sevenscenes", False),
    ],
)
def test_verdicts_on_real_data(shared_data, name, layout, ok):
    report = check_data(shared_data / name, quick=name == "hololens", pairs=4)
    assert report.layouts == (layout,)
    assert not [f for f in report.findings if f.level == "error"]
    geometry = report.geometry[layout]
    assert geometry.judged and report.ok == ok == geometry.ok
    if not ok:
        assert geometry.faults == ("depth not registered to colour",)


def test_an_excerpt_warns_of_what_is_not_there(shared_data):
    report = check_data(shared_data / "megadepth_pair", geometry=False)
    rows = found(report, "row_no_file")
    assert (rows.count, rows.total, rows.level) == (600, 601, "warning")
    index = shared_data / "megadepth_pair" / "sample.npz"
    strict = check_data(shared_data / "megadepth_pair", index=index, geometry=False)
    assert not strict.ok and found(strict, "row_no_file").level == "error"
