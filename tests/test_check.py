"""Verdicts: right answers pass, usual mistakes are named in words."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from loftr_nb import check
from loftr_nb.geometry import DepthMap, DepthWarp
from loftr_nb.losses import LossConfig
from loftr_nb.losses.focal import positive_term
from loftr_nb.training import get_recipe, make_plan, override


def test_same_says_what_how_many_and_how_far():
    verdict = check.same("a with b", [1.0, 2.0], torch.tensor([1.0, 2.25]), 0.5, "px")
    assert verdict
    assert repr(verdict) == "ok: a with b: 2 numbers, largest difference 2.5e-01 px"
    verdict = check.same("a with b", [1.0, 2.0], [1.0, 2.25], 0.1)
    assert not verdict
    assert "at most 0.1 is right" in repr(verdict)


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ([1, 2], [1, 2, 3], "shapes differ, (2,) and (3,)"),
        ([1, np.nan], [1, 2], "NaN at (1,)"),
        ([np.inf, 1], [1, 1], "inf"),
    ],
)
def test_same_does_not_pass_what_cannot_be_compared(a, b, words):
    verdict = check.same("x", a, b, tolerance=1.0)
    assert not verdict and words in repr(verdict)


def test_same_takes_nan_for_nan_and_infinity_for_infinity():
    assert check.same("x", [np.nan, np.inf, 1], [np.nan, np.inf, 1])
    assert check.same("nothing", [], [])


def by_package(pixel, depth, K0, K1, T):
    """The same question answered by the package's warp."""
    everywhere = torch.full((1, 2), 1e6).to(pixel)  # one value for all pixels
    maps = DepthMap(torch.full((1, 1, 1), float(depth)).to(pixel), everywhere)
    return DepthWarp(maps, maps, K0[None], K1[None], T[None]).to1(pixel[None, None])[0][
        0, 0
    ]


def careless(pixel, depth, K0, K1, T):
    ray = torch.linalg.inv(K0) @ torch.cat([pixel, pixel.new_ones(1)])
    seen = K1 @ (T[:3, :3] @ (ray * depth) + T[:3, 3])
    return seen[:2] / seen[2]


def test_warp_is_judged_by_an_independent_warp():
    assert check.warp_pixel(by_package)


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (careless, "without depth"),
        (lambda p, d, a, b, T: careless(p, d, a, b, torch.linalg.inv(T)), "wrong way"),
        (lambda p, d, a, b, T: careless(p, d, b, a, T), "swapped"),
        (lambda p, d, a, b, T: careless(p, 1.0, a, b, T), "depth is not used"),
        (lambda p, d, a, b, T: careless(p, d, a, b, T).flip(0), "x and y"),
        (
            lambda p, d, a, b, T: careless(p, d, a, b, T) if d > 0 else p * torch.nan,
            "behind camera 1",
        ),
        (lambda p, d, a, b, T: careless(p, d, a, b, T)[:1], "shape"),
        (lambda p, d, a, b, T: None, "returns nothing"),
        (lambda p, d, a, b, T: p / "x", "raises TypeError"),
        (lambda p, d, a, b, T: p, "right is"),
    ],
)
def test_warp_mistakes_are_named(mistake, words):
    verdict = check.warp_pixel(mistake)
    assert not verdict and words in repr(verdict)


def cell_by_search(points, grid):
    """Nearest corner by trying all of them, in float64."""
    rows, columns = grid
    found = []
    for x, y in points.double().tolist():
        best = [
            (abs(x - 8 * (n % columns)), abs(y - 8 * (n // columns)), n)
            for n in range(rows * columns)
        ]
        best = [n for dx, dy, n in best if dx < 4 and dy < 4]
        found.append(best[0] if best else -1)
    return torch.tensor(found)


def rounded(points, grid, step=torch.round, outside=-1):
    x, y = step(points / 8).unbind(-1)
    inside = (x >= 0) & (x < grid[1]) & (y >= 0) & (y < grid[0])
    return torch.where(inside, y * grid[1] + x, outside).long()


def test_cells_are_judged_by_search():
    assert check.nearest_cell(cell_by_search)


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda p, g: rounded(p, g, torch.floor), "floor"),
        (lambda p, g: rounded(p, g, outside=0), "cell 0"),
        (lambda p, g: cell_by_search(p.flip(1), g[::-1]), "columns"),
        (lambda p, g: rounded(p.clamp(0, 8.0 * g[1] - 8), g), "right is"),
        (
            lambda p, g: rounded(
                torch.stack(
                    [p[:, 0].clamp(0, 8 * g[1] - 8), p[:, 1].clamp(0, 8 * g[0] - 8)], 1
                ),
                g,
            ),
            "clamp",
        ),
    ],
)
def test_cell_mistakes_are_named(mistake, words):
    verdict = check.nearest_cell(mistake)
    assert not verdict and words in repr(verdict)


def mutual_by_loops(lands0, lands1):
    found = [
        (i, j)
        for i, j in enumerate(lands0.tolist())
        for k, back in enumerate(lands1.tolist())
        if j == k and back == i
    ]
    i, j = zip(*found, strict=True)
    return torch.tensor(i), torch.tensor(j)


def wraps_around(lands0, lands1):
    i = (lands1[lands0] == torch.arange(len(lands0))).nonzero()[:, 0]
    return i, lands0[i]


def one_way(lands0, lands1):
    i = (lands0 >= 0).nonzero()[:, 0]
    return i, lands0[i]


def loses_zero(lands0, lands1):
    i, j = mutual_by_loops(lands0, lands1)
    return i[j > 0], j[j > 0]


def test_mutual_cells_are_judged_by_loops():
    assert check.mutual_cells(mutual_by_loops)


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (wraps_around, "-1 is used as an index"),
        (one_way, "one direction only"),
        (loses_zero, "cell 0 is lost"),
        (lambda a, b: mutual_by_loops(a, b)[::-1], "swapped"),
    ],
)
def test_mutual_mistakes_are_named(mistake, words):
    verdict = check.mutual_cells(mistake)
    assert not verdict and words in repr(verdict)


def offset_by_loop(landed, cells, grid, radius, middle=0.0, unit=1.0, sign=1):
    """Plain floats, one match at a time."""
    rows = []
    for (x, y), cell in zip(landed.tolist(), cells.tolist(), strict=True):
        corner = (8 * (cell % grid[1]) + middle, 8 * (cell // grid[1]) + middle)
        rows.append([sign * (x - corner[0]) * unit, sign * (y - corner[1]) * unit])
    offset = torch.tensor(rows) / radius
    return offset, (offset.abs() < 1).all(1)


def test_offsets_are_judged_by_a_loop():
    assert check.fine_offset(offset_by_loop)


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda *a: offset_by_loop(*a, sign=-1), "sign"),
        (lambda *a: offset_by_loop(*a, unit=4.0), "in pixels"),
        (lambda *a: offset_by_loop(*a, middle=4.0), "middle of the cell"),
        (
            lambda *a: ((o := offset_by_loop(*a)[0]), (o.abs() < 1).any(1)),
            "in x and in y",
        ),
        (
            lambda *a: (offset_by_loop(*a)[0], torch.ones(4, dtype=torch.bool)),
            "every offset is kept",
        ),
    ],
)
def test_offset_mistakes_are_named(mistake, words):
    verdict = check.fine_offset(mistake)
    assert not verdict and words in repr(verdict)


def test_an_empty_stub_is_not_an_error():
    def stub(*_):
        raise NotImplementedError

    for judge in (
        check.warp_pixel,
        check.nearest_cell,
        check.mutual_cells,
        check.fine_offset,
        check.scaled_plan,
        check.focal_positive,
        check.right_cells,
    ):
        assert repr(judge(stub)).startswith("not yet: still the stub")


def plan_by_package(lr, warmup, processes, batch):
    recipe = override(
        get_recipe("indoor_ds"), [f"optim.lr={lr}", f"optim.warmup_steps={warmup}"]
    )
    plan = make_plan(recipe, processes, batch)
    return plan.learning_rate, plan.warmup_steps


def test_plans_are_judged_by_the_package():
    assert check.scaled_plan(plan_by_package)


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda lr, w, p, b: (lr * p * b / 64, w * p * b // 64), "multiplied by s"),
        (lambda lr, w, p, b: (lr * 64 / (p * b), w * 64 // (p * b)), "divided by s"),
        (lambda lr, w, p, b: (lr * p * b / 64, w / (p * b / 64)), "whole number"),
        (lambda lr, w, p, b: (lr * (p * b / 64) ** 0.5, w * 64 // (p * b)), "square"),
        (lambda lr, w, p, b: (lr * p / 64, w * 64 // p), "batch is left out"),
        (lambda lr, w, p, b: (lr * b / 64, w * 64 // b), "processes are left out"),
        (lambda lr, w, p, b: (lr, w), "nothing is scaled"),
        (lambda lr, w, p, b: lr, "raises TypeError"),
    ],
)
def test_plan_mistakes_are_named(mistake, words):
    verdict = check.scaled_plan(mistake)
    assert not verdict and words in repr(verdict)


def focal_by_package(log_p, alpha, gamma):
    return positive_term(log_p, LossConfig(alpha=alpha, gamma=gamma))


def test_focal_terms_are_judged_by_the_package():
    assert check.focal_positive(focal_by_package)


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda x, a, g: a * (1 - x.exp()) ** g * x, "sign"),
        (lambda x, a, g: -((1 - x.exp()) ** g) * x, "alpha is missing"),
        (lambda x, a, g: focal_by_package(x, 0.25, 2.0), "handed in"),
        (lambda x, a, g: -a * x, "(1 - P) ** gamma is missing"),
        (lambda x, a, g: -a * x.exp() ** g * x, "without a match"),
        (lambda x, a, g: -a * (1 - x.exp()) ** g * x.exp().log(), "not finite"),
        (
            lambda x, a, g: positive_term(
                x, LossConfig(alpha=a, gamma=g, clamp="released")
            ),
            "gradient of exactly 0",
        ),
        (lambda x, a, g: -a * (1 - x) ** g * x.log(), "it is log P"),
        (lambda x, a, g: focal_by_package(x, a, g).mean(), "shape"),
    ],
)
def test_focal_mistakes_are_named(mistake, words):
    verdict = check.focal_positive(mistake)
    assert not verdict and words in repr(verdict)


def share_by_loop(log_conf, i, j):
    rows = log_conf.tolist()
    pairs = list(zip(i.tolist(), j.tolist(), strict=True))
    return sum(max(rows[a]) == rows[a][b] for a, b in pairs) / max(1, len(pairs))


def test_right_cells_are_judged_by_a_loop():
    assert check.right_cells(share_by_loop)


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda c, i, j: share_by_loop(c.T, j, i), "best of each column"),
        (lambda c, i, j: share_by_loop(c, i, j) * len(i) / len(c), "of all rows"),
        (lambda c, i, j: share_by_loop(c, i, j) * len(i), "count"),
        (lambda c, i, j: (c[i, j].exp() > 0.2).float().mean(), "threshold"),
        (lambda c, i, j: (c.argmax(1)[i] == j).float().mean(), "NaN"),
    ],
)
def test_right_cell_mistakes_are_named(mistake, words):
    verdict = check.right_cells(mistake)
    assert not verdict and words in repr(verdict)
