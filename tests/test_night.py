"""Rooms by night: other pictures, the same geometry, the same files every time."""

from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest
import torch

from loftr_nb.datasets import open_dataset
from loftr_nb.errors import DataError
from loftr_nb.synthetic.night import LIGHT, NOISE, at_night, write_night


def grey(path):
    return cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)


def test_a_picture_is_darker_and_noisier():
    """Against the formula's mean and spread, on flat grey of many pixels."""
    seen = at_night(np.full((200, 200), 255, np.uint8), np.random.default_rng(1))
    assert seen.dtype == np.uint8
    assert seen.mean() == pytest.approx(255 * LIGHT, abs=0.1)
    assert seen.std() == pytest.approx(255 * NOISE, rel=0.03)
    dim = at_night(np.full((200, 200), 64, np.uint8), np.random.default_rng(1))
    assert dim.mean() == pytest.approx(255 * LIGHT * (64 / 255) ** 1.5, abs=0.5)


def test_only_pictures_of_dark_scenes_change(tiny_mini, tmp_path):
    out = write_night(tiny_mini, tmp_path / "night", lambda s: s == "scene0001_00")
    root = tiny_mini / "scannet"
    changed = []
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        twin = out / "scannet" / path.relative_to(root)
        if path.read_bytes() != twin.read_bytes():
            changed.append(path.relative_to(root).as_posix())
    pictures = (root / "train/scene0001_00").glob("color/*.jpg")
    assert changed == sorted(p.relative_to(root).as_posix() for p in pictures)
    day, night = (
        open_dataset(f, "train", "scannet", size=(96, 72)) for f in (tiny_mini, out)
    )
    n = next(i for i in range(len(day)) if day[i].scene == "scene0001_00")
    assert torch.equal(day[n].T_0to1, night[n].T_0to1)
    assert torch.equal(day[n].view0.cell_depth, night[n].view0.cell_depth)
    assert night[n].view0.image.mean() < 0.3 * day[n].view0.image.mean()


def test_the_same_seed_gives_the_same_files(tiny_mini, tmp_path):
    twice = [write_night(tiny_mini, tmp_path / name) for name in ("a", "b")]
    colour = "scannet/train/scene0000_00/color"
    first, again = (sorted((f / colour).glob("*.jpg")) for f in twice)
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in again]
    other = write_night(tiny_mini, tmp_path / "c", seed=1)
    assert (
        first[0].read_bytes() != sorted((other / colour).glob("*.jpg"))[0].read_bytes()
    )


def test_two_pictures_of_one_place_have_noise_of_their_own(tiny_mini, tmp_path):
    """Noise that moved along with the scene could be matched."""
    shutil.copytree(tiny_mini / "scannet", tmp_path / "flat" / "scannet")
    colour = "scannet/train/scene0000_00/color"
    for path in sorted((tmp_path / "flat" / colour).glob("*.jpg"))[:2]:
        cv2.imwrite(str(path), np.full((72, 96), 230, np.uint8))
    out = write_night(tmp_path / "flat", tmp_path / "night")
    seen = [grey(p).ravel() for p in sorted((out / colour).glob("*.jpg"))[:2]]
    assert min(s.std() for s in seen) > 3  # levels of 255
    assert abs(np.corrcoef(*seen)[0, 1]) < 5 / np.sqrt(72 * 96)


def test_what_is_there_is_not_touched(tiny_mini, tmp_path):
    (tmp_path / "night").mkdir()
    with pytest.raises(DataError, match="night exists"):
        write_night(tiny_mini, tmp_path / "night")
    with pytest.raises(DataError, match="ScanNet half"):
        write_night(tmp_path, tmp_path / "out")

    def broken(scene):
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        write_night(tiny_mini, tmp_path / "out", broken)
    assert [p.name for p in tmp_path.iterdir()] == ["night"]
