"""Verdicts on indices and photos of one's own: mistakes are named in words."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from loftr_nb import check
from loftr_nb.geometry import HomographyWarp
from loftr_nb.indexing import shared_pixels
from loftr_nb.indexing.choose import choose_pairs


def by_numpy(depth0, depth1, shift, test=True, columns=None, count=None):
    """Arrays at once, in float64: no loop over pixels."""
    z, there = depth0.double().numpy(), depth1.double().numpy()
    y, x = np.indices(z.shape)
    u = x - shift.numpy()
    inside = (u >= 0) & (u < z.shape[1]) & (z > 0)
    landed = there[y, u.clip(0, z.shape[1] - 1)]
    agree = np.abs(z - landed) < 0.15 * landed if test else True
    return (inside & agree).sum() / (count or (z > 0).sum())


def test_overlap_is_judged_by_arrays():
    assert check.shifted_overlap(by_numpy)


def test_the_rule_of_the_exercise_is_that_of_the_package():
    """A flat wall that moves two pixels: the exercise's answer and the package's."""
    depth = np.full((4, 8), 2.0)
    depth[1, 3] = 0
    K, T = np.diag([8.0, 8.0, 1.0]), np.eye(4)
    T[0, 3] = -0.5  # 8 * 0.5 / 2 = 2 pixels to the left
    shared, known = shared_pixels(depth, depth, K, K, T, step=1)
    expected = shared.sum() / known.sum()
    wall, shift = torch.from_numpy(depth), torch.full((4, 8), 2)
    assert by_numpy(wall, wall, shift) == pytest.approx(expected)


def wrapping(depth0, depth1, shift):
    seen, known = 0, (depth0 > 0).nonzero().tolist()
    for y, x in known:
        there = depth1[y, x - int(shift[y, x]) - depth0.shape[1] * (shift[y, x] < 0)]
        seen += bool((depth0[y, x] - there).abs() < 0.15 * there)
    return seen / len(known)


def metres(depth0, depth1, shift):
    y, x = np.indices(depth0.shape)
    u = x - shift.numpy()
    inside = (u >= 0) & (u < 5) & (depth0.numpy() > 0)
    there = depth1.numpy()[y, u.clip(0, 4)]
    near = np.abs(depth0.numpy() - there) < 0.15
    return (inside & near).sum() / (depth0 > 0).sum()


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda a, b, s: by_numpy(a, b, s, test=False), "hidden pixels are counted"),
        (lambda a, b, s: by_numpy(a, b, s, count=15), "share of all pixels"),
        (lambda a, b, s: by_numpy(a, b, -s), "wrong way"),
        (wrapping, "counts from the end"),
        (metres, "0.15 metres"),
        (lambda a, b, s: None, "returns nothing"),
        (lambda a, b, s: 2.0, "right is"),
    ],
)
def test_overlap_mistakes_are_named(mistake, words):
    verdict = check.shifted_overlap(mistake)
    assert not verdict and words in repr(verdict)


def in_ranges(overlap, edges, most, low=np.greater_equal, high=np.less, slack=(0, 0)):
    """Plain loops over the rows."""
    taken = []
    for n in range(len(edges) - 1):
        a = 0.0 if n == 0 and slack[0] else edges[n]
        b = 1.0 if n == len(edges) - 2 and slack[1] else edges[n + 1]
        rows = [k for k, o in enumerate(overlap.double().numpy().round(6))
                if low(o, a) and high(o, b)]  # fmt: skip
        taken += rows[:most]
    return torch.tensor(sorted(taken))


def test_choices_are_judged_by_loops():
    assert check.balanced_rows(in_ranges)


def test_the_package_fills_the_same_ranges():
    overlap = np.array([0.95, 0.55, 0.05, 0.3, 0.62, 0.2, 0.1, 0.45, 0.51, 0.5])
    pairs = np.stack([np.arange(10), np.arange(10) + 1], 1)
    rows = choose_pairs(pairs, overlap, per_bin=None).rows
    mine = in_ranges(torch.from_numpy(overlap), (0.1, 0.3, 0.5, 0.7), None)
    assert sorted(rows.tolist()) == mine.tolist()


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda o, e, m: in_ranges(o, e, None), "no range is cut"),
        (lambda o, e, m: in_ranges(o, e, None)[: 3 * m], "all ranges together"),
        (
            lambda o, e, m: o.argsort(descending=True)[: 3 * m].sort().values,
            "near-identical",
        ),
        (
            lambda o, e, m: in_ranges(o, e, m, np.greater, np.less_equal),
            "range above it",
        ),
        (lambda o, e, m: in_ranges(o, e, m, np.greater), "in two ranges, or in none"),
        (lambda o, e, m: in_ranges(o, e, m, slack=(0, 1)), "above the last edge"),
        (lambda o, e, m: in_ranges(o, e, m, slack=(1, 0)), "below the first edge"),
        (lambda o, e, m: torch.arange(3), "shape"),
    ],
)
def test_choice_mistakes_are_named(mistake, words):
    verdict = check.balanced_rows(mistake)
    assert not verdict and words in repr(verdict)


def by_package(cell, H, grid):
    """The package's warp, and the nearest corner by trying all of them."""
    corner = torch.tensor([[[cell % grid[1] * 8.0, cell // grid[1] * 8.0]]]).to(H)
    x, y = HomographyWarp(H[None]).to1(corner).points[0, 0].tolist()
    best = -1
    for n in range(grid[0] * grid[1]):
        if abs(x - n % grid[1] * 8) < 4 and abs(y - n // grid[1] * 8) < 4:
            best = n
    return best


def careless(cell, H, grid, step=8.0, divide=True, half=0.0, outside=-1, turn=round):
    x, y = cell % grid[1] * step + half, cell // grid[1] * step + half
    u, v, w = (H @ torch.tensor([x, y, 1.0]).to(H)).tolist()
    w = w if divide else 1.0
    u, v = turn(u / w / step), turn(v / w / step)
    inside = 0 <= u < grid[1] and 0 <= v < grid[0]
    return v * grid[1] + u if inside else outside


def test_cells_are_judged_by_the_package():
    assert check.homography_cell(by_package)


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda *a: careless(*a, divide=False), "division"),
        (lambda *a: careless(*a, step=1.0), "not cells"),
        (lambda c, H, g: careless(c, torch.linalg.inv(H), g), "backwards"),
        (lambda *a: careless(*a, turn=lambda n: int(n // 1)), "floor"),
        (lambda *a: careless(*a, half=4.0), "middle of its square"),
        (lambda *a: careless(*a, outside=0), "a real place"),
        (lambda c, H, g: 1 / 0, "raises ZeroDivisionError"),
    ],
)
def test_cell_mistakes_are_named(mistake, words):
    verdict = check.homography_cell(mistake)
    assert not verdict and words in repr(verdict)


def test_an_empty_stub_is_not_an_error():
    def stub(*_):
        raise NotImplementedError

    for judge in (check.shifted_overlap, check.balanced_rows, check.homography_cell):
        assert repr(judge(stub)).startswith("not yet: still the stub")
