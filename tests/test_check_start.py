"""Verdicts of the first exercises: right answers pass, mistakes are named."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from loftr_nb import check
from loftr_nb.geometry import cell_corners


def named(judge, mistake, words):
    verdict = judge(mistake)
    assert not verdict and words in repr(verdict), verdict


def stub(*args):
    raise NotImplementedError


@pytest.mark.parametrize("judge", [check.cell_place, check.seen_pixel])
def test_stubs_and_nothing_and_errors_are_told_apart(judge):
    named(judge, stub, "still the stub")
    named(judge, lambda a, b, c: 1 / 0, "ZeroDivisionError")
    named(judge, lambda a, b, c: (1.0, 2.0, 3.0), "shape")
    named(judge, lambda a, b, c: (-1.0, 7.0), "for one case the answer is")


def place_by_package(n, columns, scale):
    corners = cell_corners((4, columns), torch.tensor([scale]))
    return corners[0, n].tolist()


def test_cell_place_is_judged_by_the_package():
    assert check.cell_place(place_by_package)


def cell(n, columns, scale, half=0):
    return 8 * (n % columns) + half, 8 * (n // columns) + half


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda n, c, s: place_by_package(n, c, s)[::-1], "x first"),
        (lambda n, c, s: (s[0] * (n // c) * 8, s[1] * (n % c) * 8), "exchanged"),
        (lambda n, c, s: (n % c, n // c), "8 input pixels wide"),
        (lambda n, c, s: cell(n, c, s), "network's input"),
        (lambda n, c, s: np.array(cell(n, c, s)) / s, "divided by the scale"),
        (lambda n, c, s: np.array(cell(n, c, s, 4)) * s, "top-left"),
        (lambda n, c, s: np.array(cell(n, c, s)) * s[0], "an x and a y"),
        (lambda n, c, s: (s[0] * (n % c), s[1] * (n // c)), "the 8 is missing"),
    ],
)
def test_cell_place_mistakes_are_named(mistake, words):
    named(check.cell_place, mistake, words)


def seen_by_opencv(point, T, K):
    T = T.double().numpy()
    vector, _ = cv2.Rodrigues(T[:3, :3])
    pixels, _ = cv2.projectPoints(
        point.double().numpy()[None], vector, T[:3, 3], K.double().numpy(), None
    )
    return pixels.reshape(2)


def test_seen_pixel_is_judged_by_opencv():
    assert check.seen_pixel(seen_by_opencv)


def moved(p, T):
    return (T @ torch.cat([p, torch.ones(1)]))[:3]


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda p, T, K: (K @ moved(p, T))[:2], "not divided"),
        (lambda p, T, K: seen_by_opencv(p, torch.linalg.inv(T), K), "without an inv"),
        (lambda p, T, K: seen_by_opencv(p, torch.eye(4), K), "not moved"),
        (lambda p, T, K: ((v := K @ T[:3, :3] @ p) / v[2])[:2], "translation is miss"),
        (lambda p, T, K: ((v := K @ (p + T[:3, 3])) / v[2])[:2], "rotation is missing"),
        (
            lambda p, T, K: ((v := K @ (T[:3, :3] @ p - T[:3, 3])) / v[2])[:2],
            "subtracted",
        ),
        (lambda p, T, K: seen_by_opencv(p, T, K)[::-1], "x first"),
        (lambda p, T, K: ((v := moved(p, T)) / v[2])[:2], "K1 is missing"),
        (lambda p, T, K: ((K @ moved(p, T)) / p[2])[:2], "depth in camera 0"),
        (lambda p, T, K: ((v := moved(p, T) @ K) / v[2])[:2], "transposed"),
    ],
)
def test_seen_pixel_mistakes_are_named(mistake, words):
    named(
        check.seen_pixel,
        lambda p, T, K: torch.tensor([float(v) for v in mistake(p, T, K)]),
        words,
    )


def share_by_counting(errors, threshold):
    known = [e for e in errors.tolist() if e == e]
    return sum(e < threshold for e in known) / max(1, len(known))


def test_share_right_is_judged_by_counting():
    assert check.share_right(share_by_counting)
    named(check.share_right, stub, "still the stub")


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda e, t: (e < t).float().mean(), "count as wrong"),
        (lambda e, t: (~(e >= t)).float().mean(), "count as right"),
        (lambda e, t: torch.where(e.isnan(), e, (e < t).float()).mean(), "is NaN"),
        (lambda e, t: share_by_counting(e, t + 0.01), "4.0 itself"),
        (lambda e, t: 1 - share_by_counting(e, t), "wrong matches"),
        (lambda e, t: (e < t).sum(), "number of right"),
        (lambda e, t: 100 * share_by_counting(e, t), "percent"),
        (lambda e, t: e[e.isfinite()].mean(), "mean error"),
        (lambda e, t: (e[e.isfinite()] < t).float().mean(), "mean of nothing"),
    ],
)
def test_share_right_mistakes_are_named(mistake, words):
    named(check.share_right, mistake, words)
