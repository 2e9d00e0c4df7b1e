"""The picture of an index says what the index holds."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from loftr_nb.datasets import MegaDepth, PairTable, open_dataset
from loftr_nb.errors import DataError
from loftr_nb.indexing import build_index
from loftr_nb.viz import save, show_index


def table(overlap: list[float], scene: list[int], scenes: int) -> PairTable:
    n = len(overlap)
    return PairTable(
        scene=np.array(scene, np.int32),
        frame0=np.arange(n, dtype=np.int32),
        frame1=np.arange(1, n + 1, dtype=np.int32),
        overlap=np.array(overlap, np.float32),
        row=np.arange(n, dtype=np.int32),
        file=np.zeros(n, np.int32),
        scenes=tuple(f"scene{k:04d}_00" for k in range(scenes)),
        files=(Path("some.npz"),),
    )


def words(picture) -> list[str]:
    """All texts inside the picture's axes."""
    return [" ".join(t.get_text().split()) for ax in picture.axes for t in ax.texts]


def bars(ax) -> np.ndarray:
    return np.array([p.get_height() for p in ax.patches])


def test_counts_of_each_range_are_written():
    picture = show_index(table([0.12, 0.2, 0.3, 0.45, 0.5, 0.7], [0] * 6, 1))
    assert words(picture) == ["0.1-0.3 2", "0.3-0.5 2", "0.5-0.7 2"]
    assert bars(picture.axes[0]).sum() == 6
    assert "6 pairs of 1 scene" in repr(picture)


def test_pairs_beyond_the_ranges_get_their_own():
    picture = show_index(table([0.05, 0.2, 0.9, 1.0, np.nan], [0] * 5, 1))
    assert words(picture)[0] == "0-0.1 1" and words(picture)[-1] == "0.7-1 2"
    assert bars(picture.axes[0]).sum() == 4
    picture = show_index(table([0.2, 0.6], [0, 0], 1), bins=(0.0, 0.4, 1.0))
    assert words(picture) == ["0-0.4 1", "0.4-1 1"]


def test_balance_of_a_few_scenes_is_bars_with_names():
    picture = show_index(table([0.2, 0.4, 0.2, 0.2], [0, 0, 2, 2], 3))
    ax = picture.axes[1]
    labels = [t.get_text() for t in ax.get_yticklabels()]
    assert labels == ["scene0000_00", "scene0002_00"]
    widths = np.array([p.get_width() for p in ax.patches]).reshape(3, 2)
    assert widths.tolist() == [[1, 2], [1, 0], [0, 0]]


def test_balance_of_many_scenes_is_a_curve():
    scene = np.repeat(np.arange(40), np.arange(1, 41))
    picture = show_index(table([0.2] * len(scene), scene.tolist(), 40))
    ax = picture.axes[1]
    assert ax.get_yscale() == "log"
    assert ax.lines[0].get_ydata().tolist() == list(range(40, 0, -1))
    assert "1 to 40" in ax.get_title()


def test_one_scene_shows_how_often_its_frames_are_used():
    ax = show_index(table([0.2] * 5, [0] * 5, 1)).axes[1]
    assert "Each of 6 frames is in 2 pairs" in ax.get_title()
    assert bars(ax).tolist() == [2, 4]


def test_no_scores_is_said():
    with pytest.raises(DataError, match=r"some.npz, row 0: no pair has an overlap"):
        show_index(table([np.nan, np.nan], [0, 0], 1))


def test_real_photographs_are_shown_with_what_they_share(shared_data, tmp_path):
    root = shared_data / "fountain"
    data = MegaDepth(root, root / "scene_info" / "fountain.npz")
    picture = show_index(data)
    assert save(picture, tmp_path / "a.png").stat().st_size > 50_000
    assert sum(bool(ax.images) for ax in picture.axes) == 8  # two of each of 4 ranges
    shares = [w for w in words(picture) if "of the left" in w]
    assert len(shares) == 4 and "is shown" not in shares[0]
    # Shared surface keeps its colour: the fountain is red, the rest is grey.
    first, last = (
        [ax.images[0].get_array() for ax in picture.axes if ax.images][n]
        for n in (0, -1)
    )
    coloured = [
        float((np.ptp(image, axis=-1) > 0.02).mean()) for image in (first, last)
    ]
    assert coloured[0] < 0.4 < coloured[1]
    assert not any(ax.images for ax in show_index(data, samples=False).axes)


def test_a_folder_of_ours_is_opened_by_its_path(shared_data, tmp_path):
    report = build_index(shared_data / "hololens", tmp_path / "out", per_bin=9)
    picture = show_index(tmp_path / "out")
    assert words(picture)[:3] == ["0.1-0.3 9", "0.3-0.5 9", "0.5-0.7 9"]
    names = [ax.get_title() for ax in picture.axes if ax.images]
    assert len(names) == 6 and all(n.endswith(".jpg") for n in names)
    assert report.total("train") == [9, 9, 9]


def test_an_image_that_is_gone_is_named_in_its_place(tmp_path):
    scene = tmp_path / "data" / "scene0000_00"
    for kind in ("color", "depth", "pose", "intrinsic"):
        (scene / kind).mkdir(parents=True)
    K = np.array([[80.0, 0, 40], [0, 80, 40], [0, 0, 1]])
    np.savetxt(scene / "intrinsic" / "intrinsic_depth.txt", K)
    for n in range(10):
        cv2.imwrite(str(scene / "color" / f"{n}.jpg"), np.zeros((80, 80, 3), np.uint8))
        wall = np.full((80, 80), 2000, np.uint16)
        cv2.imwrite(str(scene / "depth" / f"{n}.png"), wall)
        pose = np.eye(4)
        pose[0, 3] = 0.2 * n
        np.savetxt(scene / "pose" / f"{n}.txt", pose)
    build_index(scene.parent, tmp_path / "out", split=0)
    for path in (scene / "color").iterdir():
        path.unlink()
    data = open_dataset(tmp_path / "out", "train", size=(80, 80))
    picture = show_index(data)
    assert any(".jpg does not exist" in w for w in words(picture))
    assert not any(ax.images for ax in picture.axes)
