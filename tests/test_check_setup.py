"""Verdicts on depth files, poses and K: right answers pass, mistakes are named."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from loftr_nb import check
from loftr_nb.files import read_depth_png


def by_reader(tmp_path):
    """The same question answered by the package's reader, through a file."""

    def answer(stored):
        assert cv2.imwrite(str(tmp_path / "depth.png"), stored)
        return read_depth_png(tmp_path / "depth.png")

    return answer


def test_depth_is_judged_by_the_reader(tmp_path):
    assert check.depth_metres(by_reader(tmp_path))


def known(stored):
    return np.where(stored == 65535, 0, stored).astype(np.float64)


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda s: known(s), "still millimetres: divide"),
        (lambda s: s.astype(float), "still millimetres, and 65535"),
        (lambda s: known(s) / 5000, "TUM"),
        (lambda s: s / 1000, "65535 is the largest"),
        (lambda s: known(s) // 1000, "whole metres"),
        (lambda s: np.where(known(s) > 0, known(s) / 1000, np.nan), "unknown depth"),
        (lambda s: known(s).astype(np.uint16).view(np.int16) / 1000, "unsigned"),
        (lambda s: known(s)[0] / 1000, "shape"),
        (lambda s: None, "returns nothing"),
        (lambda s: known(s) / 10, "right is"),
    ],
)
def test_depth_mistakes_are_named(mistake, words):
    verdict = check.depth_metres(mistake)
    assert not verdict and words in repr(verdict)


def by_scipy(pose0, pose1):
    """Rotation and centre apart, without a matrix inverse."""
    world = Rotation.from_matrix(pose1[:3, :3]).inv()
    T = np.eye(4)
    T[:3, :3] = (world * Rotation.from_matrix(pose0[:3, :3])).as_matrix()
    T[:3, 3] = world.apply(pose0[:3, 3] - pose1[:3, 3])
    return T


def minus_t(pose):
    wrong = np.eye(4)
    wrong[:3, :3], wrong[:3, 3] = pose[:3, :3].T, -pose[:3, 3]
    return wrong


def test_relative_poses_are_judged_by_scipy():
    assert check.relative_pose(by_scipy)


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda a, b: by_scipy(b, a), "T_1to0"),
        (lambda a, b: b @ np.linalg.inv(a), "world to camera"),
        (lambda a, b: a @ np.linalg.inv(b), "order"),
        (lambda a, b: b.T @ a, "transpose"),
        (lambda a, b: b @ a, "no pose is inverted"),
        (lambda a, b: minus_t(b) @ a, "-R^T t"),
        (lambda a, b: b - a, "subtract"),
        (lambda a, b: by_scipy(a, b)[:3], "shape"),
        (lambda a, b: a / "x", "raises"),
        (lambda a, b: a, "right is"),
    ],
)
def test_relative_pose_mistakes_are_named(mistake, words):
    verdict = check.relative_pose(mistake)
    assert not verdict and words in repr(verdict)


def by_fit(folders):
    """Least squares with the wrong matches thrown out: the scale of the motion."""
    scales = {}
    for name, (points, found, landed) in folders.items():
        moved, went = found - points, landed - points
        kept = np.linalg.norm(moved, axis=1) < 80
        moved, went = moved[kept].ravel(), went[kept].ravel()
        scales[name] = np.linalg.lstsq(moved[:, None], went, rcond=None)[0][0]
    return min(scales, key=lambda name: abs(scales[name] - 0.5))


def error(folder):
    return np.median(np.linalg.norm(folder[1] - folder[2], axis=1))


def test_the_folder_is_judged_by_a_fit():
    assert check.half_K(by_fit)


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda f: max(f, key=lambda n: error(f[n])), "largest error"),
        (lambda f: min(f, key=lambda n: error(f[n])), "that is right"),
        (lambda f: "a", "not the same mistake"),
        (lambda f: "scene", "none of the names a, b, c"),
        (lambda f: None, "returns nothing"),
    ],
)
def test_mistaken_folders_are_named(mistake, words):
    verdict = check.half_K(mistake)
    assert not verdict and words in repr(verdict)


@pytest.mark.parametrize(
    "judge", [check.depth_metres, check.relative_pose, check.half_K]
)
def test_an_empty_stub_is_not_an_error(judge):
    def stub(*_):
        raise NotImplementedError

    assert repr(judge(stub)).startswith("not yet: still the stub")
