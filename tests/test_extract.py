"""Unpacking downloads: complete, or refused, or stopped and gone on with.

The fuzz test changes archives at random bytes. What it holds the code to is what the
formats can tell: a zip and a tar.gz carry checksums of the content, so every file that
is there must be equal to the original. A plain tar has checksums over its headers only.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import signal
import stat
import subprocess
import sys
import tarfile
import time
import traceback
import zipfile
from pathlib import Path

import numpy as np
import pytest

from loftr_nb.cli.main import main
from loftr_nb.errors import DataError, LoftrNbError, RunError
from loftr_nb.setup.extract import extract, plan_extraction
from loftr_nb.setup.extract import plan as extract_plan
from loftr_nb.setup.extract import write as extract_write

WORK = ".loftr_nb_extract"


def content_of(seed: int, size: int) -> bytes:
    return np.random.default_rng(seed).bytes(size)


TREE = {
    "scannet_indices/intrinsics.npz": content_of(1, 900),
    "scannet_indices/scene_data/train/scene0000_00.npz": content_of(2, 3000),
    "scannet_indices/scene_data/train/scene0001_00.npz": content_of(3, 513),
    "scannet_indices/scene_data/train_list/scannet_all.txt": b"scene0000_00\n",
    "scannet_indices/empty.txt": b"",
}


def tar_bytes(files: dict[str, bytes], mode: str = "w", **options) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, **options) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def zip_bytes(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def archives(tree: dict[str, bytes]) -> dict[str, bytes]:
    """The same tree, packed in each way that people meet it."""
    nested = {"train-data/scannet_indices.tar": tar_bytes(tree), "README": b"read me"}
    return {
        "plain.zip": zip_bytes(tree),
        "plain.tar": tar_bytes(tree),
        "pax.tar": tar_bytes(tree, format=tarfile.PAX_FORMAT),
        "plain.tgz": tar_bytes(tree, "w:gz"),
        "plain.tar.xz": tar_bytes(tree, "w:xz"),
        "nested.zip": zip_bytes(nested),
        "nested.tar": tar_bytes({"x/scannet_indices.tar.gz": tar_bytes(tree, "w:gz")}),
    }


def written(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() or p.is_symlink()
    }


def save(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", archives({}))
def test_every_kind_of_archive(name: str, tmp_path: Path) -> None:
    file = save(tmp_path / name, archives(TREE)[name])
    report = extract([file], tmp_path / "data")
    there = written(tmp_path / "data")
    assert there.pop("README", b"read me") == b"read me"
    assert there == TREE
    again = extract([file], tmp_path / "data")
    assert (again.written, again.skipped) == ([], len(report.written))


def test_the_release_as_the_guide_unpacks_it(tmp_path: Path, capsys) -> None:
    """One zip with four tars: the index folders are named, and the next commands."""
    pairs = b"0022_0.1_0.3\n"
    tars = {
        "train-data/scannet_indices.tar": TREE,
        "train-data/megadepth_indices.tar": {
            "megadepth_indices/scene_info_0.1_0.7/0001_0.1_0.3.npz": b"x",
            "megadepth_indices/trainvaltest_list/train_list.txt": b"0001_0.1_0.3\n",
        },
        "testdata/scannet_test_1500.tar": {
            "scannet_test_1500/scene0707_00/color/15.jpg": b"x"
        },
        "testdata/megadepth_test_1500.tar": {
            "megadepth_test_1500/megadepth_test_1500.txt": pairs,
            "megadepth_test_1500/Undistorted_SfM/0022/images/1.jpg": b"x",
        },
    }
    packed = {name: tar_bytes(files) for name, files in tars.items()}
    file = save(tmp_path / "download ed.zip", zip_bytes(packed))
    to = tmp_path / "data"
    assert main(["data", "extract", str(file), "--to", str(to), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    everything = {name: c for files in tars.values() for name, c in files.items()}
    assert written(to) == everything
    assert told["places"] == {
        "scannet index": [f"{to}/scannet_indices"],
        "scannet images": [f"{to}/scannet_test_1500"],
        "megadepth index": [f"{to}/megadepth_indices", f"{to}/megadepth_test_1500"],
        "megadepth images": [f"{to}/megadepth_test_1500"],
    }
    assert main(["data", "extract", str(file), "--to", str(to)]) == 0
    shown = capsys.readouterr().out
    assert "0 files written" in shown and f"{len(everything)} were there" in shown
    assert f"link scannet --images DIR --test-images {to}/scannet_test_1500" in shown


def test_list_writes_nothing(tmp_path: Path, capsys) -> None:
    file = save(tmp_path / "a.zip", archives(TREE)["nested.zip"])
    argv = ["data", "extract", str(file), "--to", str(tmp_path / "data"), "--list"]
    assert main(argv) == 0
    shown = capsys.readouterr().out
    assert "2     3.5 kB  scannet_indices/scene_data/train" in shown
    assert not (tmp_path / "data").exists()
    assert main([*argv, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["files"] == {n: len(c) for n, c in TREE.items()} | {"README": 7}


# --- hostile archives


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def tar_of(*infos: tarfile.TarInfo) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(entry("good.txt"))
        for info in infos:
            archive.addfile(info, io.BytesIO(b"\1" * info.size))
    return out.getvalue()


SYM, HARD = tarfile.SYMTYPE, tarfile.LNKTYPE
HOSTILE = {
    "parent": ([entry("a/../../escaped.txt")], "leaves the target through '..'"),
    "absolute": ([entry("/tmp/escaped.txt")], "is an absolute path"),
    "link out": ([entry("l", SYM, "../../escaped")], "leaves the target"),
    "absolute link": ([entry("l", SYM, "/etc/passwd")], "is an absolute path"),
    "hard link out": ([entry("l", HARD, "../secret")], "leaves the target"),
    "file through a link": (
        [entry("d", tarfile.DIRTYPE), entry("l", SYM, "d"), entry("l/x.txt")],
        "goes through 'l', which is a link",
    ),
    "chain of links": (
        [
            entry("a/b", tarfile.DIRTYPE),
            entry("a/b/up", SYM, "../.."),
            entry("out", SYM, "a/b/up/../escaped"),
        ],
        "leaves the target",
    ),
    "circle of links": ([entry("a", SYM, "b"), entry("b", SYM, "a")], "in a circle"),
    "link to nothing": ([entry("a", SYM, "b")], "which is not there"),
    "device": ([entry("null", tarfile.CHRTYPE)], "is a character device"),
    "disk": ([entry("sda", tarfile.BLKTYPE)], "is a block device"),
    "pipe": ([entry("pipe", tarfile.FIFOTYPE)], "is a named pipe"),
    "drive": ([entry("C:/x.txt")], "starts with a Windows drive"),
    "backslash": ([entry("..\\..\\x.txt")], "holds a backslash"),
    "reserved": ([entry("a/NUL.txt")], "reserves for a device"),
    "trailing dot": ([entry("a/x.")], "ends in a dot"),
    "overlong": ([entry("x" * 300)], "is too long (300 bytes)"),
    "file and folder": ([entry("x"), entry("x/y")], "is a file in the archive"),
    "folder and file": ([entry("x/y"), entry("x")], "folder elsewhere"),
    "our own folder": ([entry(WORK + "/lock")], "this program's own folder"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_tar(name: str, tmp_path: Path) -> None:
    infos, why = HOSTILE[name]
    file = save(tmp_path / "hostile.tar", tar_of(*infos))
    (tmp_path / "deep").mkdir()
    (tmp_path / "secret").write_text("secret")
    with pytest.raises(DataError, match="nothing was extracted") as caught:
        extract([file], tmp_path / "deep" / "data")
    assert why in str(caught.value) and str(file) in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "deep",
        "hostile.tar",
        "secret",
    ]
    assert not any((tmp_path / "deep").iterdir())


def hostile_zip(path: Path, name: str, mode: int = 0, content: bytes = b"x") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("good.txt", b"x")
        info = zipfile.ZipInfo("placeholder")
        info.filename, info.external_attr = name, mode << 16
        info.create_system = 3
        archive.writestr(info, content)
    return path


@pytest.mark.parametrize(
    ("name", "mode", "content", "why"),
    [
        ("../escaped.txt", 0, b"x", "leaves the target"),
        ("/escaped.txt", 0, b"x", "absolute"),
        ("l", stat.S_IFLNK | 0o777, b"../../x", "leaves the target"),
        ("l", stat.S_IFLNK | 0o777, b"/etc", "is an absolute path"),
        ("dev", stat.S_IFCHR | 0o600, b"", "is a device"),
        ("..\\x", 0, b"x", "backslash"),
        ("a\0b", 0, b"x", "control character"),
        ("a\nb", 0, b"x", "control character"),
    ],
)
def test_hostile_zip(name, mode, content, why, tmp_path: Path) -> None:
    file = hostile_zip(tmp_path / "h.zip", name, mode, content)
    with pytest.raises(DataError, match=why):
        extract([file], tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_link_in_the_target_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "scannet_indices").symlink_to(tmp_path / "elsewhere")
    file = save(tmp_path / "a.tar", tar_bytes(TREE))
    with pytest.raises(DataError, match="outside the target, through the link"):
        extract([file], tmp_path / "data")
    assert not any((tmp_path / "elsewhere").iterdir())


def test_folders_alone_are_judged_too(tmp_path: Path) -> None:
    """An empty folder would be made on the other side of a link."""
    folder = entry("l/made", tarfile.DIRTYPE)
    file = save(tmp_path / "a.tar", tar_of(folder))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "l").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="outside the target, through the link"):
        extract([file], tmp_path / "data")
    assert not any((tmp_path / "elsewhere").iterdir())
    for name in ("l/x.txt", "L/x.txt"):  # one name where case does not count
        infos = [entry("d", tarfile.DIRTYPE), entry("l", SYM, "d"), entry(name)]
        with pytest.raises(DataError, match="which is a link in the archive"):
            extract([save(tmp_path / "b.tar", tar_of(*infos))], tmp_path / "other")


def test_a_link_that_appears_meanwhile(tmp_path: Path) -> None:
    """The second look, right before a file is written."""
    file = save(tmp_path / "a.tar", tar_bytes(TREE))
    (tmp_path / "elsewhere").mkdir()
    made = tmp_path / "data" / "scannet_indices" / "scene_data"

    def progress(stage: str, *told) -> None:
        if stage == "extracting" and not made.is_symlink():
            for folder in ("train", "train_list"):
                (made / folder).rmdir()
            made.rmdir()
            made.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(DataError, match="would be written outside"):
        extract([file], tmp_path / "data", progress=progress)
    assert not any(p.is_file() for p in (tmp_path / "elsewhere").rglob("*"))


def test_a_target_that_cannot_be_written(tmp_path, capsys, monkeypatch) -> None:
    file = save(tmp_path / "a.tar", tar_bytes({"x": b"1"}))

    def mkdir(self, *args, **kwargs) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", mkdir)
    to = tmp_path / "locked" / "data"
    assert main(["data", "extract", str(file), "--to", str(to)]) == 2
    assert f"{to} could not be written (Permission" in capsys.readouterr().err


def test_links_that_stay_inside_are_made(tmp_path: Path) -> None:
    first = entry("a/x.txt")
    first.size = 5
    links = entry("b/y.txt", SYM, "../a/x.txt"), entry("z.txt", HARD, "a/x.txt")
    file = save(tmp_path / "a.tar", tar_of(first, *links, entry("c", SYM, "a")))
    for count in (5, 0):
        assert len(extract([file], tmp_path / "data").written) == count
    data = tmp_path / "data"
    assert os.readlink(data / "b" / "y.txt") == "../a/x.txt"
    assert (data / "z.txt").read_bytes() == (data / "c" / "x.txt").read_bytes()


def test_the_same_name_twice(tmp_path: Path) -> None:
    twice = tar_of(*[entry("x.txt"), entry("x.txt")])
    assert len(extract([save(tmp_path / "a.tar", twice)], tmp_path).written) == 2
    longer = entry("x.txt")
    longer.size = 4
    with pytest.raises(DataError, match="comes twice, with different content"):
        other = save(tmp_path / "b.tar", tar_of(entry("x.txt"), longer))
        extract([other], tmp_path / "data")
    # Of the same size, a tar tells them apart only while it is read.
    one, two = tar_bytes({"x": b"1"}), tar_bytes({"x": b"2"})
    files = [save(tmp_path / "1.tar", one), save(tmp_path / "2.tar", two)]
    with pytest.raises(DataError, match="with other content"):
        extract(files, tmp_path / "both", overwrite=True)
    assert written(tmp_path / "both") == {"x": b"1"}


def test_encrypted_and_overlapping_zips(tmp_path: Path) -> None:
    content = bytearray(zip_bytes({"a": b"1" * 50}))
    at = content.index(b"PK\1\2")
    content[6] |= 1
    content[at + 8] |= 1
    with pytest.raises(DataError, match="is encrypted"):
        extract([save(tmp_path / "e.zip", content)], tmp_path / "data")
    bomb = bytearray(zip_bytes({"a": b"1" * 50, "b": b"1" * 50}))
    second = bomb.index(b"PK\1\2", bomb.index(b"PK\1\2") + 4)
    bomb[second + 42 : second + 46] = b"\0\0\0\0"  # both entries start at byte 0
    with pytest.raises(DataError, match="overlap in the file"):
        extract([save(tmp_path / "b.zip", bomb)], tmp_path / "data")


def test_side_files_of_macos_are_left_out(tmp_path: Path) -> None:
    files = {"a.npz": b"1", "._a.npz": b"2", "__MACOSX/a.npz": b"3", ".DS_Store": b"4"}
    report = extract([save(tmp_path / "a.zip", zip_bytes(files))], tmp_path / "data")
    assert written(tmp_path / "data") == {"a.npz": b"1"}
    assert report.left_out == 3


def test_names_that_differ_in_case_only_are_a_warning(tmp_path: Path) -> None:
    file = save(tmp_path / "a.zip", zip_bytes({"A.jpg": b"1", "a.JPG": b"2"}))
    (warning,) = extract([file], tmp_path / "data").warnings
    assert "'A.jpg' and 'a.JPG' are one file on Windows" in warning


# --- what is there already


def test_other_content_is_never_overwritten_unasked(tmp_path: Path) -> None:
    for name, size in (("a.zip", 900), ("a.tar", 900), ("b.zip", 7), ("b.tar", 7)):
        make = zip_bytes if name.endswith("zip") else tar_bytes
        file = save(tmp_path / name, make(TREE))
        to = tmp_path / f"to {name}"
        mine = to / "scannet_indices" / "intrinsics.npz"
        mine.parent.mkdir(parents=True)
        mine.write_bytes(b"m" * size)
        with pytest.raises(DataError, match="intrinsics.npz is there with (oth|anoth)"):
            extract([file], to)
        assert mine.read_bytes() == b"m" * size
        extract([file], to, overwrite=True)
        assert written(to) == TREE


def test_a_folder_in_the_way(tmp_path: Path) -> None:
    file = save(tmp_path / "a.tar", tar_bytes(TREE))
    (tmp_path / "scannet_indices" / "intrinsics.npz").mkdir(parents=True)
    for overwrite in (False, True):
        with pytest.raises(DataError, match="intrinsics.npz is a folder"):
            extract([file], tmp_path, overwrite=overwrite)
    save(tmp_path / "file", b"")
    with pytest.raises(DataError, match="is a file: choose a folder"):
        extract([file], tmp_path / "file")


# --- damage


def test_damage_in_the_middle_keeps_what_is_whole(tmp_path: Path) -> None:
    good = zip_bytes(TREE)
    bad = bytearray(good)
    at = good.index(TREE["scannet_indices/scene_data/train/scene0000_00.npz"][:50])
    bad[at + 30] ^= 1
    file, to = save(tmp_path / "a.zip", bad), tmp_path / "data"
    with pytest.raises(DataError, match="a.zip cannot be read, at .*scene0000_00.npz"):
        extract([file], to)
    assert written(to) == dict(list(TREE.items())[:1])
    extract([save(file, good)], to)
    assert written(to) == TREE


@pytest.mark.parametrize("name", ["plain.tar", "nested.zip", "plain.tgz"])
def test_streams_are_read_to_the_end_before_anything_is_written(
    name: str, tmp_path: Path
) -> None:
    good = archives(TREE)[name]
    for bad in (good[: len(good) // 2], good[: int(len(good) * 0.7)], good[:512]):
        with pytest.raises(DataError):
            extract([save(tmp_path / name, bad)], tmp_path / "data")
        assert not (tmp_path / "data").exists()


def test_a_damaged_tar_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    """tarfile alone would stop there and report success."""
    content = bytearray(tar_bytes(TREE))
    at = content.index(b"scannet_indices/scene_data/train/scene0001")
    content[at] ^= 4
    file = save(tmp_path / "a.tar", content)
    assert len(tarfile.open(file).getnames()) == 2
    with pytest.raises(DataError, match=f"byte {at:,}: bad checksum"):
        extract([file], tmp_path / "data")


def test_what_is_no_archive(tmp_path: Path) -> None:
    for content in (b"", b"x", b"<html>404</html>" * 99, gzip.compress(b"no tar")):
        with pytest.raises(DataError, match="a.zip cannot be read"):
            extract([save(tmp_path / "a.zip", content)], tmp_path / "data")
    with pytest.raises(DataError, match="nothing.zip"):
        extract([tmp_path / "nothing.zip"], tmp_path / "data")


def _damage(rng: random.Random, content: bytes) -> bytes:
    bad = bytearray(content)
    if rng.random() < 0.25:
        return bytes(bad[: rng.randrange(len(bad))])
    for _ in range(rng.choice((1, 1, 1, 2, 5, 40))):
        at = rng.randrange(len(bad))
        kind = rng.random()
        if kind < 0.6:
            bad[at] ^= 1 << rng.randrange(8)
        elif kind < 0.8:
            bad[at] = rng.randrange(256)
        else:
            bad[at : at + rng.randrange(600)] = bytes(rng.randrange(300))
    return bytes(bad)


def test_fuzz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """500 damaged archives: an error of ours, or right files; nothing elsewhere."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    deep = {"a/" + "d" * 110 + "/long.txt": b"long", **TREE, "README": b"read me"}
    packed = list(archives(deep).items())
    outcome = {"refused": 0, "taken": 0}
    for seed in range(500):
        rng = random.Random(seed)
        name, good = packed[seed % len(packed)]
        box = tmp_path / str(seed)
        box.mkdir()
        file = save(box / name, _damage(rng, good))
        to = box / "inside" / "data"
        try:
            extract([file], to)
            outcome["taken"] += 1
        except LoftrNbError as error:
            assert str(error)
            outcome["refused"] += 1
        assert {p.name for p in box.iterdir()} <= {name, "inside"}
        there = written(to) if to.exists() else {}
        assert not any(WORK in n for n in there)
        # No checksum over names in pax records and over content: sizes only.
        bare = name in ("plain.tar", "pax.tar")
        sizes = {len(c) for c in deep.values()}
        for path, found in there.items():
            if bare:
                assert len(found) in sizes, (seed, path)
            else:
                assert found == deep.get(path), (seed, path)
    assert outcome["refused"] > 300 and outcome["taken"] > 10, outcome


# --- disks that fill up, runs that are stopped


def test_a_disk_that_is_too_small_is_found_before(tmp_path: Path, monkeypatch) -> None:
    file = save(tmp_path / "a.tar", tar_bytes(TREE))
    monkeypatch.setattr(extract_plan, "free_bytes", lambda to: 16 << 20)
    with pytest.raises(DataError, match="needs .* and its disk has 16.8 MB free"):
        extract([file], tmp_path / "data")
    assert not (tmp_path / "data").exists()
    monkeypatch.setattr(extract_plan, "free_bytes", lambda to: 17 << 20)
    extract([file], tmp_path / "data")
    # What is there needs no space.
    monkeypatch.setattr(extract_plan, "free_bytes", lambda to: 0)
    assert extract([file], tmp_path / "data").written == []


def test_a_bomb_is_not_read_to_its_end(tmp_path: Path, monkeypatch) -> None:
    """Half a gigabyte of zeros in 500 kB, on a disk with 100 MB free."""
    path = tmp_path / "bomb.tgz"
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for k in range(8):
            info = entry(f"zeros{k}")
            info.size = 64 << 20
            archive.addfile(info, io.BytesIO(bytes(64 << 20)))
    monkeypatch.setattr(extract_plan, "free_bytes", lambda to: 100 << 20)
    seen = []
    with pytest.raises(DataError, match="needs at least 134.2 MB"):
        extract([path], tmp_path / "data", progress=lambda *told: seen.append(told))
    assert seen[-1][1] < 0.5 * path.stat().st_size
    info.size = 1 << 60  # a tar may state any size
    header = info.tobuf(tarfile.GNU_FORMAT)
    with pytest.raises(DataError):
        extract([save(tmp_path / "b.tar", header)], tmp_path / "data")


def test_full_disk(tmp_path: Path, monkeypatch) -> None:
    """A real disk of 1 MB where that can be had, else a write that fails."""
    tree = {f"{k}.bin": content_of(k, 300_000) for k in range(5)}
    file = save(tmp_path / "a.zip", zip_bytes(tree))
    to = tmp_path / "disk"
    to.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(to)]
    real = not subprocess.run(mount, capture_output=True, check=False).returncode
    monkeypatch.setattr(extract_plan, "free_bytes", lambda to: 1 << 40)
    if not real:
        _fail_after(monkeypatch, 1_000_000)
    try:
        with pytest.raises(DataError, match=r"3.bin could not be written \(No space"):
            extract([file], to)
        assert written(to) == {n: tree[n] for n in ("0.bin", "1.bin", "2.bin")}
    finally:
        if real:
            subprocess.run(["umount", str(to)], check=True)
    monkeypatch.undo()
    extract([file], to)
    assert written(to) == tree


def _fail_after(monkeypatch, limit: int) -> None:
    total = 0
    chunks = extract_write.Workspace._put

    def put(self, final, source):
        def counted():
            nonlocal total
            for chunk in source:
                total += len(chunk)
                if total > limit:
                    raise OSError(28, "No space left on device")
                yield chunk

        chunks(self, final, counted())

    monkeypatch.setattr(extract_write.Workspace, "_put", put)


def test_two_runs_in_one_folder(tmp_path: Path) -> None:
    file = save(tmp_path / "a.tar", tar_bytes(TREE))
    with extract_write.Workspace(tmp_path / "data", lambda n: None):
        with pytest.raises(RunError, match="another extraction is at work"):
            extract([file], tmp_path / "data")
    extract([file], tmp_path / "data")
    assert written(tmp_path / "data") == TREE


def test_what_a_killed_run_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    work = tmp_path / "data" / WORK
    work.mkdir(parents=True)
    (work / "file.part").write_bytes(b"half")
    (tmp_path / "data" / "mine.part").write_bytes(b"mine")
    (work / "mine.txt").write_bytes(b"mine")
    extract([save(tmp_path / "a.tar", tar_bytes(TREE))], tmp_path / "data")
    left = {n for n in written(tmp_path / "data") if n not in TREE}
    assert left == {"mine.part", f"{WORK}/mine.txt"}


@pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")
def test_killed_and_interrupted_at_random_moments(tmp_path: Path, monkeypatch) -> None:
    """Real processes; after each, only whole files; then the run is gone on with."""
    tree = {f"f/{k:03}.bin": content_of(k, 20_000) for k in range(60)}
    nested = zip_bytes({"t.tar": tar_bytes(tree), "big.bin": content_of(9, 3_000_000)})
    tree["big.bin"] = content_of(9, 3_000_000)
    file, to = save(tmp_path / "a.zip", nested), tmp_path / "data"
    monkeypatch.setattr(os, "fsync", lambda handle: time.sleep(0.003))
    argv = ["data", "extract", str(file), "--to", str(to)]
    rng, statuses = random.Random(0), []
    for attempt in range(12):
        child = os.fork()
        if child == 0:
            _run_and_exit(argv, tmp_path / "said")
        time.sleep(rng.uniform(0.01, 0.15))
        os.kill(child, signal.SIGKILL if attempt % 2 else signal.SIGINT)
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        assert "Traceback" not in (tmp_path / "said").read_text()
        there = written(to) if to.exists() else {}
        final = {n: c for n, c in there.items() if not n.startswith(WORK)}
        assert all(tree[n] == c for n, c in final.items())
    assert 130 in statuses and -signal.SIGKILL in statuses, statuses
    assert main(argv) == 0
    assert written(to) == tree


def test_an_interrupt_leaves_nothing_half_written(tmp_path: Path) -> None:
    file = save(tmp_path / "a.zip", archives(TREE)["nested.zip"])
    calls = stop = 0

    def progress(*told) -> None:
        nonlocal calls
        calls += 1
        if calls == stop:
            raise KeyboardInterrupt

    for stop in range(1, 100):
        to, calls = tmp_path / str(stop), 0
        try:
            extract([file], to, progress=progress)
            break
        except KeyboardInterrupt:
            there = written(to) if to.exists() else {}
            everything = {**TREE, "README": b"read me"}
            assert all(everything[n] == c for n, c in there.items())
            assert not (to / WORK).exists()
    assert stop > 8


def _run_and_exit(argv: list[str], said: Path) -> None:
    """The command in a process of its own, as a shell starts it."""
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with said.open("w") as out:
            sys.stdout = sys.stderr = out
            try:
                status = main(argv)
            except KeyboardInterrupt:
                status = 130  # before main() took over
            except BaseException:
                traceback.print_exc()
    finally:
        os._exit(status)


def test_a_plan_needs_no_place(tmp_path: Path) -> None:
    file = save(tmp_path / "a.tar", tar_bytes(TREE))
    plan = plan_extraction([file], tmp_path / "not" / "yet" / "there")
    assert plan.bytes == sum(map(len, TREE.values()))
    assert plan.needed == 4 * 4096  # whole blocks; the empty file needs none
