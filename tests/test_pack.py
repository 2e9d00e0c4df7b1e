"""Packs: the plain reader's samples to the bit, whatever becomes of run and files."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import loftr_nb.datasets.pack_work as pack_work
from loftr_nb.cli.main import main
from loftr_nb.datasets import Augment, collate, convert_index, open_dataset
from loftr_nb.datasets.pack import pack_dataset
from loftr_nb.datasets.pack_folder import is_pack
from loftr_nb.errors import ConfigError, DataError
from loftr_nb.supervision import supervise

SIZES = {"scannet": (64, 48), "megadepth": 64}


@pytest.fixture
def mini(tiny_mini: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_mini, tmp_path / "mini"))


def assert_same(plain, packed, rows=None) -> None:
    """Every field of every pair, names and row order too."""
    assert len(plain) == len(packed) > 0
    for i in rows or range(len(plain)):
        a, b = plain[i], packed[i]
        for x, y in ((a.view0, b.view0), (a.view1, b.view1)):
            for field in dataclasses.fields(x):
                one, two = getattr(x, field.name), getattr(y, field.name)
                if field.name == "name":
                    assert one == two
                else:
                    assert one.dtype == two.dtype and torch.equal(one, two), field.name
        assert torch.equal(a.T_0to1, b.T_0to1) and a.scene == b.scene
        assert np.array_equal(a.overlap, b.overlap, equal_nan=True)
        assert plain.describe(i).split("(")[0] == packed.describe(i).split("(")[0]


def both(data: Path, pack: Path, split: str = "train", cache=None, **options):
    augment = Augment(seed=5) if split == "train" else None
    opened = [
        open_dataset(d, split, cache=cache, augment=augment, **options)
        for d in (data, pack)
    ]
    for one in opened:
        one.set_epoch(3)
    return opened


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("layout", ["scannet", "megadepth"])
def test_samples_are_the_plain_readers(mini, tmp_path, layout, compress) -> None:
    pack, size = tmp_path / "pack", SIZES[layout]
    report = pack_dataset(mini / layout, pack, size, compress=compress)
    assert report.ok and report.written == sum(
        s["scenes"] for s in report.splits.values()
    )
    on_disk = sum(p.stat().st_size for p in pack.rglob("*") if p.is_file())
    assert report.bytes == on_disk and report.need > 0.5 * on_disk
    for split in ("train", "test"):
        depth = "required" if split == "train" else "optional"
        plain, packed = both(mini / layout, pack, split, size=size, depth=depth)
        assert_same(plain, packed)
    labels = [
        supervise(collate([d[0], d[1]]))
        for d in both(mini / layout, pack, layout=layout, size=size)
    ]
    assert len(labels[0]) > 0
    assert torch.equal(labels[0].i, labels[1].i)
    assert torch.equal(labels[0].warped0.nan_to_num(), labels[1].warped0.nan_to_num())


def test_least_overlap_flat_index_and_workers(mini, tmp_path) -> None:
    index = mini / "scannet" / "index"
    convert_index(index / "train", index / "train.h5")
    pack = tmp_path / "pack"
    pack_dataset(mini / "scannet", pack, (64, 48), min_overlap=0.3)
    plain, packed = both(mini / "scannet", pack, size=(64, 48), min_overlap=0.45)
    assert_same(plain, packed)
    batches = [
        list(DataLoader(d, batch_size=2, collate_fn=collate, num_workers=2))
        for d in (plain, packed)
    ]
    for a, b in zip(*batches, strict=True):
        assert torch.equal(a.image0, b.image0) and a.names1 == b.names1
    with pytest.raises(
        ConfigError, match=r"0\.3 or more, and 0\.1.*--min-overlap 0\.1"
    ):
        open_dataset(pack, "train", min_overlap=0.1)
    assert len(open_dataset(pack, "train")) == len(
        open_dataset(mini / "scannet", "train", min_overlap=0.3, size=(64, 48))
    )


def test_real_data_without_a_split(shared_data, tmp_path) -> None:
    """Bare ScanNet scenes, whose index is built, and a MegaDepth tree, divided."""
    fountain, pack = shared_data / "fountain", tmp_path / "fountain"
    pack_dataset(fountain, pack, 320)
    for split in ("train", "test"):
        assert_same(*both(fountain, pack, split, size=320))
    bare = tmp_path / "walk"
    shutil.copytree(shared_data / "hololens", bare, ignore=_every_tenth)
    pack_dataset(bare, tmp_path / "packed", (320, 240))
    plain, packed = both(
        bare, tmp_path / "packed", cache=tmp_path / "cache", size=(320, 240)
    )
    assert_same(plain, packed, range(0, len(plain), 5))
    frame = min((bare / "scene9000_00" / "pose").iterdir())
    frame.unlink()
    with pytest.raises(DataError, match="frames in .* are other ones"):
        open_dataset(tmp_path / "packed", "train")


def _every_tenth(folder: str, names: list[str]) -> list[str]:
    frames = sorted((n for n in names if n.split(".")[0].isdigit()), key=_number)
    return [] if "intrinsic" in folder else [n for n in frames if n not in frames[::10]]


def _number(name: str) -> int:
    return int(name.split(".")[0])


def test_a_stopped_run_goes_on(mini, tmp_path, monkeypatch) -> None:
    data, pack = mini / "scannet", tmp_path / "pack"

    def stop(done: int, total: int, text: str) -> None:
        if done == 7:  # in the second scene
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack_dataset(data, pack, (64, 48), workers=1, progress=stop)
    (first,) = pack.rglob("train/*.h5")
    assert not list(pack.rglob("*.part-*"))
    with pytest.raises(DataError, match="unfinished pack: run `loftr-nb data pack"):
        open_dataset(pack, "train")
    half = first.with_name(".scene0001_00.h5.part-999999999")  # of a killed one
    half.write_bytes(first.read_bytes()[:500])
    before = first.stat()
    report = pack_dataset(data, pack, (64, 48))
    assert (report.kept, report.written) == (1, 2) and not half.exists()
    assert first.stat().st_ino == before.st_ino
    assert_same(*both(data, pack, size=(64, 48)))
    again = pack_dataset(data, pack, (64, 48))
    assert (again.kept, again.written, again.need) == (3, 0, 0)


def test_other_files_are_packed_again_and_no_others(mini, tmp_path) -> None:
    data, pack = mini / "scannet", tmp_path / "pack"
    pack_dataset(data, pack, (64, 48))
    image = min((data / "train").glob("*/color/*.jpg"))
    image.write_bytes(max((data / "train").glob("*/color/*.jpg")).read_bytes())
    report = pack_dataset(data, pack, (64, 48))
    assert report.written == 1 and report.kept == 2
    assert_same(*both(data, pack, size=(64, 48)))


def test_a_faulty_file_leaves_its_scene_out_and_is_named(mini, tmp_path, capsys):
    data, pack = mini / "scannet", tmp_path / "pack"
    image = min((data / "train").glob("*/color/*.jpg"))
    content = image.read_bytes()
    image.write_bytes(content[: len(content) // 2])
    argv = ["data", "pack", str(data), "--out", str(pack), "--size", "64x48"]
    assert main(argv) == 1
    said = capsys.readouterr().out
    assert str(image) in said and "truncated" in said and "--fix" in said
    with pytest.raises(DataError, match="unfinished"):
        open_dataset(pack, "train")
    image.write_bytes(content)
    assert main(argv) == 0
    assert "1 scenes packed, 2 kept" in capsys.readouterr().out
    assert_same(*both(data, pack, size=(64, 48)))


def test_another_size_or_layout_is_refused_with_the_command(mini, tmp_path) -> None:
    data, pack = mini / "scannet", tmp_path / "pack"
    pack_dataset(data, pack, (64, 48))
    with pytest.raises(ConfigError, match="64x48, and 96x72 is.*pack .*--size 96x72"):
        open_dataset(pack, "train", size=(96, 72))
    with pytest.raises(ConfigError, match="scannet's layout, and megadepth"):
        open_dataset(pack, "train", layout="megadepth", size=64)
    with pytest.raises(ConfigError, match="size .*64.*48.*not .*32.*24.*another --out"):
        pack_dataset(data, pack, (32, 24))
    with pytest.raises(ConfigError, match="does not suit scannet"):
        pack_dataset(data, tmp_path / "b", 64)
    assert len(open_dataset(pack, "train")) > 0  # size: the pack's own


def test_missing_and_damaged_files_are_named(mini, tmp_path) -> None:
    pack = tmp_path / "pack"
    pack_dataset(mini / "scannet", pack, (64, 48))
    path = min((pack / "train").glob("*.h5"))
    content = path.read_bytes()
    path.unlink()
    with pytest.raises(DataError, match=f"{path.name} is missing"):
        open_dataset(pack, "train")
    path.write_bytes(content[:-100])
    with pytest.raises(
        DataError, match=f"{path.name} has [0-9,]+ bytes; [0-9,]+ bytes"
    ):
        open_dataset(pack, "train")
    path.write_bytes(content)
    with h5py.File(path, "r+") as file:
        for image in file["image"].values():
            image[0, 0] ^= 1  # one bit of each picture
    with pytest.raises(DataError, match=f"{path.name} is damaged .*not those written"):
        _read_all(open_dataset(pack, "train"))
    path.write_bytes(b"\0" * len(content))
    with pytest.raises(DataError, match=f"{path.name} is damaged"):
        _read_all(open_dataset(pack, "train"))
    (pack / "pack.json").write_text("{")
    with pytest.raises(DataError, match="pack.json is damaged"):
        open_dataset(pack, "train")


def _read_all(dataset) -> None:
    for i in range(len(dataset)):
        dataset[i]


def test_a_changed_index_is_noticed_and_packed_again(mini, tmp_path) -> None:
    data, pack = mini / "scannet", tmp_path / "pack"
    pack_dataset(data, pack, (64, 48))
    path = min((data / "index" / "train").glob("*.npz"))
    os.utime(path, (1, 1))
    open_dataset(pack, "train")  # another time, the same content
    with np.load(path) as rows:
        fewer = {name: column[1:] for name, column in rows.items()}
    np.savez(path, **fewer)
    with pytest.raises(DataError, match=f"{path.name} has changed since.*data pack"):
        open_dataset(pack, "train")
    pack_dataset(data, pack, (64, 48))
    assert_same(*both(data, pack, size=(64, 48)))
    convert_index(data / "index" / "train", data / "index" / "train.h5")
    with pytest.raises(DataError, match="is another one, now with .*train.h5"):
        open_dataset(pack, "train")


def test_a_pack_needs_nothing_of_its_source(mini, tmp_path) -> None:
    pack_dataset(mini / "megadepth", tmp_path / "pack", 64)
    plain = open_dataset(mini / "megadepth", "train", size=64)
    pairs = [plain[i] for i in range(len(plain))]
    shutil.move(mini, tmp_path / "elsewhere")
    moved = shutil.move(tmp_path / "pack", tmp_path / "other disk")
    packed = open_dataset(Path(moved), "train", layout="megadepth", size=64)
    for i, pair in enumerate(pairs):
        assert torch.equal(packed[i].view1.image, pair.view1.image)
        assert torch.equal(packed[i].view0.cell_depth, pair.view0.cell_depth)
    with pytest.raises(DataError, match="cell corners only"):
        packed.full_depth(0)


def test_too_small_a_disk_is_refused_before_anything(mini, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(pack_work.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DataError, match="needs 0.00 GB and its disk has 0.00 GB free"):
        pack_dataset(mini / "scannet", tmp_path / "pack", (64, 48))
    assert not (tmp_path / "pack").exists()


def test_dry_run_json_and_what_cannot_be_packed(mini, tmp_path, capsys) -> None:
    pack = tmp_path / "pack"
    argv = ["data", "pack", str(mini / "megadepth"), "--out", str(pack), "--size", "64"]
    assert main([*argv, "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["need"] > 0 and told["free"] > 0 and not pack.exists()
    assert main([*argv, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bytes"] > 0 and is_pack(pack)
    for action in (["check", str(pack)], ["report", str(pack), "--out", "x.html"]):
        assert main(["data", *action]) == 2
        said = capsys.readouterr().err
        assert "is a pack" in said and str(mini / "megadepth") in said
    assert main(["data", "pack", str(pack), "--out", str(tmp_path / "b")]) == 2
    assert "is a pack" in capsys.readouterr().err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    argv[4] = str(tmp_path / "full")
    assert main(argv) == 2 and "is no pack" in capsys.readouterr().err
    argv[-1] = "64y48"
    assert main(argv) == 2 and "64y48" in capsys.readouterr().err
