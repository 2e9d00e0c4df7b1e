"""ScanNet's .sens files: written, read, imported, damaged."""

from __future__ import annotations

import dataclasses
import json
import shutil
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from loftr_nb.cli.main import main
from loftr_nb.errors import ConfigError, DataError
from loftr_nb.recordings import find_recording
from loftr_nb.setup.importers import (
    SensFile,
    SensFrame,
    SensHeader,
    import_scannet_sens,
    write_sens,
)
from loftr_nb.setup.importers import output as output_module

K = np.array([[60.0, 0, 31.5], [0, 61.0, 23.5], [0, 0, 1]])


def header(**changes) -> SensHeader:
    known = SensHeader(K_colour=K, K_depth=K, colour_size=(64, 48), depth_size=(64, 48))
    return dataclasses.replace(known, **changes)


def jpeg(seed: int, size=(64, 48)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (*size[::-1], 3), np.uint8)
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def units(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(500, 4000, (48, 64)).astype("<u2")


def frame(seed: int, pose=None) -> SensFrame:
    pose = np.eye(4, dtype=np.float32) if pose is None else pose
    return SensFrame(pose, jpeg(seed), zlib.compress(units(seed).tobytes()), seed, seed)


def write(path: Path, count: int = 5, **changes) -> Path:
    write_sens(path, header(**changes), (frame(n) for n in range(count)))
    return path


def files_of(folder: Path) -> dict[str, bytes]:
    found = {str(p.relative_to(folder)): p for p in folder.rglob("*") if p.is_file()}
    return {name: p.read_bytes() for name, p in found.items()}


def test_hololens_through_a_sens_file_and_back(shared_data, tmp_path):
    """Colour byte for byte, depth exactly, pose to float32, K to float32."""
    (scene,) = find_recording(shared_data / "hololens").scenes
    chosen = range(0, len(scene), 12)
    frames = []
    for k in chosen:
        millimetres = cv2.imread(str(scene.depth_path(k)), cv2.IMREAD_UNCHANGED)
        pose = np.linalg.inv(scene.world_to_camera(k)).astype(np.float32)
        packed = zlib.compress(millimetres.astype("<u2").tobytes())
        frames.append(SensFrame(pose, scene.image_path(k).read_bytes(), packed))
    size = (640, 480)
    head = SensHeader(scene.K(0), scene.K(0), colour_size=size, depth_size=size)
    path = tmp_path / "scene9000_00.sens"
    assert write_sens(path, head, frames) == len(chosen)
    report = import_scannet_sens(path, tmp_path / "out")
    assert report.written == len(chosen) and report.scenes == ("scene9000_00",)
    (back,) = find_recording(tmp_path / "out").scenes
    assert back.frames == [str(n) for n in range(len(chosen))]
    for n, k in enumerate(chosen):
        assert back.image_path(n).read_bytes() == scene.image_path(k).read_bytes()
        assert np.array_equal(back.depth(n), scene.depth(k))
        text = (back.folder / "pose" / f"{n}.txt").read_text().split()
        stored = np.array(text, np.float64).astype(np.float32).reshape(4, 4)
        assert np.array_equal(stored, frames[n].pose)
    assert np.allclose(back.K(0), scene.K(0), rtol=1e-7)


def test_every_kth_frame_keeps_its_number(tmp_path):
    path = write(tmp_path / "a.sens", 7)
    import_scannet_sens(path, tmp_path / "out", every=3)
    scene = tmp_path / "out" / "scene7000_00"
    assert sorted(p.name for p in (scene / "color").iterdir()) == [
        "0.jpg",
        "3.jpg",
        "6.jpg",
    ]
    assert (scene / "color/3.jpg").read_bytes() == jpeg(3)


def test_lost_tracking_is_written_as_it_is(tmp_path):
    lost = np.full((4, 4), -np.inf, np.float32)
    write_sens(tmp_path / "a.sens", header(), [frame(0), frame(1, lost)])
    import_scannet_sens(tmp_path / "a.sens", tmp_path / "out")
    (scene,) = find_recording(tmp_path / "out").scenes
    assert scene.pose_path(1).read_text().split() == ["-inf"] * 16
    with pytest.raises(DataError, match="not finite"):
        scene.world_to_camera(1)


def test_depth_units_other_than_millimetres(tmp_path):
    path = write(tmp_path / "a.sens", 1, depth_shift=5000.0)
    import_scannet_sens(path, tmp_path / "out")
    (scene,) = find_recording(tmp_path / "out").scenes
    expected = units(0) / 5000
    assert np.abs(scene.depth(0) - expected).max() <= 0.0005 + 1e-6  # half a millimetre


@pytest.mark.parametrize("kind", ["raw", "png"])
def test_colour_that_is_no_jpeg_becomes_one(tmp_path, kind):
    grey = np.linspace(0, 255, 64).astype(np.uint8)
    pixels = np.dstack([np.tile(grey, (48, 1)), np.zeros((48, 64), np.uint8)] * 2)
    pixels = np.ascontiguousarray(pixels[..., :3])  # red and blue: a ramp
    data = pixels.tobytes()
    if kind == "png":
        data = cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()
    raw = SensFrame(np.eye(4, dtype=np.float32), data, units(0).tobytes())
    write_sens(tmp_path / "a.sens", header(colour=kind, depth="raw"), [raw])
    import_scannet_sens(tmp_path / "a.sens", tmp_path / "out")
    image = cv2.imread(str(tmp_path / "out/scene7000_00/color/0.jpg"))
    assert np.abs(image[..., ::-1].astype(int) - pixels).mean() < 4


def test_resized_colour_has_resized_intrinsics(tmp_path):
    path = write(tmp_path / "a.sens", 1)
    import_scannet_sens(path, tmp_path / "out", size=(32, 24))
    scene = tmp_path / "out/scene7000_00"
    assert cv2.imread(str(scene / "color/0.jpg")).shape == (24, 32, 3)
    colour = np.loadtxt(scene / "intrinsic/intrinsic_color.txt")
    # 31.5, the middle of 64 pixels, is 15.5, the middle of 32.
    assert colour[0, 0] == 30 and colour[0, 2] == 15.5 and colour[1, 2] == 11.5
    depth = np.loadtxt(scene / "intrinsic/intrinsic_depth.txt")
    assert depth[0, 0] == 60 and cv2.imread(str(scene / "depth/0.png"), -1).shape == (
        48,
        64,
    )


@pytest.mark.parametrize("seed", range(12))
def test_cut_off_anywhere_keeps_every_whole_frame(tmp_path, seed):
    path = write(tmp_path / "a.sens")
    entries = SensFile(path).entries()
    ends = [*(e.offset for e in entries[1:]), path.stat().st_size - 8]
    cut = int(np.random.default_rng(seed).integers(entries[0].offset, ends[-1]))
    path.write_bytes(path.read_bytes()[:cut])
    whole = sum(end <= cut for end in ends)
    with pytest.raises(DataError, match=f"frame {whole} of 5 at byte"):
        import_scannet_sens(path, tmp_path / "out")
    if whole:
        (scene,) = find_recording(tmp_path / "out").scenes
        assert len(scene) == whole
        assert all(
            np.array_equal(np.rint(scene.depth(k) * 1000), units(k))
            for k in range(whole)
        )


def test_three_hundred_damaged_files(tmp_path, monkeypatch):
    """A flipped byte gives valid files or a message, never another error."""
    monkeypatch.setattr("os.fsync", lambda _: None)  # 4,000 waits for the disk
    path = write(tmp_path / "a.sens", 2)
    whole = path.read_bytes()
    refused = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        damaged = bytearray(whole)
        # Half the seeds hit the header and the first frame's numbers.
        end = 500 if seed % 2 else len(whole)
        for at in rng.integers(0, end, rng.integers(1, 4)):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        out = tmp_path / f"{seed}"
        try:
            import_scannet_sens(path, out)
        except DataError as error:
            assert "a.sens" in str(error)
            refused += 1
        for depth in out.glob("*/depth/*.png"):
            assert cv2.imread(str(depth), cv2.IMREAD_UNCHANGED).dtype == np.uint16
        for colour in out.glob("*/color/*.jpg"):
            assert cv2.imread(str(colour)) is not None
        shutil.rmtree(out, ignore_errors=True)
    assert 50 < refused < 300


def test_a_forged_depth_stream_is_not_unpacked_whole(tmp_path):
    bomb = zlib.compress(bytes(50_000_000))
    forged = dataclasses.replace(frame(0), depth=bomb)
    write_sens(tmp_path / "a.sens", header(), [forged])
    with pytest.raises(DataError, match=r"6145 bytes instead of 6144"):
        import_scannet_sens(tmp_path / "a.sens", tmp_path / "out")


def test_a_stopped_import_goes_on_where_it_stopped(tmp_path):
    path = write(tmp_path / "a.sens", 6)

    def stop(done: int, total: int, what: str) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_scannet_sens(path, tmp_path / "out", progress=stop)
    (tmp_path / "out/scene7000_00/color/.9.jpg.abc").write_bytes(b"of a kill")
    (tmp_path / "out/scene7000_00/depth/1.png").write_bytes(b"cut off")
    report = import_scannet_sens(path, tmp_path / "out")
    assert (report.written, report.kept) == (4, 2)
    import_scannet_sens(path, tmp_path / "fresh")
    assert files_of(tmp_path / "out") == files_of(tmp_path / "fresh")
    assert import_scannet_sens(path, tmp_path / "out").written == 0


def test_what_others_wrote_is_never_touched(tmp_path):
    path = write(tmp_path / "scene0001_00.sens")
    theirs = tmp_path / "out/scene0001_00/color"
    theirs.mkdir(parents=True)
    (theirs / "0.jpg").write_text("mine")
    with pytest.raises(DataError, match="was not written by this command"):
        import_scannet_sens(path, tmp_path / "out")
    assert files_of(tmp_path / "out") == {"scene0001_00/color/0.jpg": b"mine"}
    report = import_scannet_sens(path, tmp_path / "out", scene="scene0001_01")
    assert report.scenes == ("scene0001_01",)


def test_other_options_are_another_import(tmp_path):
    path = write(tmp_path / "a.sens")
    import_scannet_sens(path, tmp_path / "out")
    with pytest.raises(DataError, match="every"):
        import_scannet_sens(path, tmp_path / "out", every=2)
    other = write(tmp_path / "b.sens")
    assert import_scannet_sens(other, tmp_path / "out").scenes == ("scene7001_00",)
    with pytest.raises(DataError, match="holds an import of"):
        import_scannet_sens(other, tmp_path / "out", scene="scene7000_00")


def test_a_dry_run_writes_nothing_and_is_about_right(tmp_path):
    path = write(tmp_path / "a.sens", 6)
    plan = import_scannet_sens(path, tmp_path / "out", dry_run=True)
    assert plan.planned and plan.frames == 6 and not (tmp_path / "out").exists()
    done = import_scannet_sens(path, tmp_path / "out")
    assert plan.size == pytest.approx(done.size, rel=0.1)


def test_a_small_disk_is_told_before_anything_is_written(tmp_path, monkeypatch):
    path = write(tmp_path / "a.sens")
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(output_module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DataError, match="1 kB free"):
        import_scannet_sens(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_impossible_arguments(tmp_path):
    path = write(tmp_path / "a.sens")
    with pytest.raises(ConfigError, match="every is 0"):
        import_scannet_sens(path, tmp_path / "out", every=0)
    with pytest.raises(ConfigError, match="scene7000_00"):
        import_scannet_sens(path, tmp_path / "out", scene="kitchen")
    (tmp_path / "b.sens").write_bytes(b"PK\x03\x04" + bytes(2000))
    with pytest.raises(DataError, match="version 4"):
        import_scannet_sens(tmp_path / "b.sens", tmp_path / "out")


def test_from_the_shell(tmp_path, capsys):
    path = write(tmp_path / "scene0002_00.sens", 4)
    out = str(tmp_path / "out")
    command = ["data", "import", "scannet-sens", str(path), "--out", out, "--json"]
    assert main([*command, "--every", "2", "--color-size", "32x24"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["scenes"] == ["scene0002_00"] and report["written"] == 2
    path.write_bytes(path.read_bytes()[:3000])
    assert main(["data", "import", "scannet-sens", str(path), "--out", out]) == 2
    assert "scene0002_00" in capsys.readouterr().err
