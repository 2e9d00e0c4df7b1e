"""Verdicts of the exercises on warps, cells and supervision.

Each runs the learner's function on a case with a known answer. A wrong answer
is compared with those of the usual mistakes, so that the verdict names the
mistake and not only the distance.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ..geometry import COARSE_STRIDE
from .verdict import Verdict, judge


def warp_pixel(answer: Callable) -> Verdict:
    """Exercise: ``answer(pixel, depth, K0, K1, T_0to1)`` moves one pixel.

    pixel: (2,) tensor; returns (2,), NaN where there is no answer.
    """
    K0, K1, T = _cameras()
    x, z = torch.tensor([40.0, 25.0], dtype=torch.float64), 2.5

    def formula(K0=K0, K1=K1, T=T, pixel=x, z=z, divide=True):
        ray = torch.linalg.inv(K0) @ torch.cat([pixel, pixel.new_ones(1)])
        seen = K1 @ (T[:3, :3] @ (ray * z) + T[:3, 3])
        return seen[:2] / seen[2] if divide else seen[:2]

    right = formula()
    mistakes = {
        "the pose is used the wrong way round: T_0to1 takes points of camera 0 "
        "to camera 1": formula(T=torch.linalg.inv(T)),
        "the division by the third coordinate is missing": formula(divide=False),
        "the depth is not used: multiply the ray by it": formula(z=1.0),
        "K0 and K1 are swapped: K0 makes the ray, K1 the pixel": formula(K0=K1, K1=K0),
        "x and y are swapped": right.flip(0),
        "the translation is missing: add T[:3, 3]": formula(T=_without_move(T)),
    }
    verdict = judge(lambda: answer(x, z, K0, K1, T), right, mistakes)
    if not verdict:
        return verdict
    nowhere = torch.full((2,), torch.nan, dtype=torch.float64)
    no_depth = judge(
        lambda: answer(x, 0.0, K0, K1, T),
        nowhere,
        {
            "a pixel without depth (0) still gets a place: the epipole, where "
            "camera 0 stands in image 1. Give NaN": formula(z=0.0)
        },
    )
    if not no_depth:
        return no_depth
    away = T.clone()
    away[2, 3] = -6.0
    behind = judge(
        lambda: answer(x, z, K0, K1, away),
        nowhere,
        {
            "a point behind camera 1 (third coordinate not above 0) is mirrored "
            "into the picture by the division. Give NaN": formula(T=away)
        },
    )
    if not behind:
        return behind
    return Verdict(True, "a seen pixel, one without depth and one behind camera 1")


def _cameras() -> tuple[Tensor, Tensor, Tensor]:
    """Two unlike cameras and a motion that no mistake leaves unchanged."""
    K0 = torch.tensor([[60.0, 0, 32], [0, 62, 24], [0, 0, 1]], dtype=torch.float64)
    K1 = torch.tensor([[80.0, 0, 40], [0, 78, 30], [0, 0, 1]], dtype=torch.float64)
    c, s = np.cos(0.2), np.sin(0.2)
    T = torch.eye(4, dtype=torch.float64)
    T[:3, :3] = torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    T[:3, 3] = torch.tensor([0.3, -0.1, 0.2])
    return K0, K1, T


def _without_move(T: Tensor) -> Tensor:
    still = T.clone()
    still[:3, 3] = 0
    return still


def nearest_cell(answer: Callable) -> Verdict:
    """Exercise: ``answer(points, grid)`` numbers the cell nearest to each point.

    points: (N, 2) input pixels, NaN where unknown; grid: (rows, columns).
    Returns (N,) int64, -1 where there is no cell.
    """
    grid = (3, 5)
    points = torch.tensor(
        [[0, 0], [13, 2], [6, 9], [33, 17], [35, 3], [37, 9], [-6, 8], [9, 21]]
    ).float()
    points = torch.cat([points, torch.full((1, 2), torch.nan)])
    right = torch.tensor([0, 2, 6, 14, 4, -1, -1, -1, -1])
    x, y = (points / COARSE_STRIDE).round().nan_to_num(-9).long().unbind(-1)
    floor_x, floor_y = (points / COARSE_STRIDE).floor().nan_to_num(-9).long().unbind(-1)
    in_x, in_y = (x >= 0) & (x < grid[1]), (y >= 0) & (y < grid[0])
    floor_in = (floor_x >= 0) & (floor_x < grid[1]) & (floor_y >= 0) & (floor_y < 3)
    number = y * grid[1] + x
    mistakes = {
        "floor takes the square a point lies in; a cell sits on its corner, so the "
        "nearest cell comes from round": torch.where(
            floor_in, floor_y * grid[1] + floor_x, -1
        ),
        "the count runs down the columns: it is y * columns + x": torch.where(
            in_x & in_y, x * grid[0] + y, -1
        ),
        "points without a cell are sent to cell 0, which is a real place: give "
        "-1": torch.where(in_x & in_y, number, 0),
        "points outside are moved to the border's cells (clamp): give -1": torch.where(
            torch.isfinite(points[:, 0]),
            y.clamp(0, grid[0] - 1) * grid[1] + x.clamp(0, grid[1] - 1),
            -1,
        ),
        "the number alone was tested: a point left or right of the image then gets "
        "a cell of the next row. Test x and y apart": torch.where(
            (number >= 0) & (number < 15), number, -1
        ),
    }
    return judge(
        lambda: answer(points, grid),
        right,
        mistakes,
        "9 points, inside, at the border, outside and unknown",
    )


def mutual_cells(answer: Callable) -> Verdict:
    """Exercise: ``answer(lands0, lands1)`` finds the mutual nearest cells.

    lands0: (L,) cell of image 1 that each cell of image 0 lands on, -1 = none;
    lands1: (S,) the other way. Returns i and j, (M,) each, sorted by i.
    """
    lands0 = torch.tensor([0, 2, 2, -1, 4, 1])
    lands1 = torch.tensor([0, 5, 2, -1, 5, 3])
    right = torch.tensor([[0, 2, 5], [0, 2, 1]])
    known = (lands0 >= 0).nonzero()[:, 0]
    mistakes = {
        "one direction only: also ask that j lands back on i": torch.stack(
            [known, lands0[known]]
        ),
        "cell 0 is lost: compare with >= 0, it is a cell like any other": right[:, 1:],
        "-1 is used as an index and reads the last entry: leave those cells out "
        "first": torch.tensor([[0, 2, 3, 5], [0, 2, -1, 1]]),
        "i and j are swapped: i counts cells of image 0": right.flip(0),
    }
    return judge(
        lambda: torch.stack([torch.as_tensor(n) for n in answer(lands0, lands1)]),
        right,
        mistakes,
        "3 matches of 6 cells, cell 0 among them",
    )


def fine_offset(answer: Callable) -> Verdict:
    """Exercise: ``answer(landed, cells, grid, radius)`` gives the fine targets.

    landed: (M, 2) input pixels of image 1; cells: (M,) matched cells; grid:
    (rows, columns). Returns (M, 2) offsets in units of radius and (M,) bool.
    """
    grid, radius = (4, 6), 4.0
    cells = torch.tensor([0, 8, 15, 21])
    landed = torch.tensor([[1.0, -2], [13.0, 7], [29.0, 21], [24.5, 16]])
    pixels = torch.tensor([[1.0, -2], [-3, -1], [5, 5], [0.5, -8]])
    inside = torch.tensor([1.0, 1, 0, 0])

    def table(offset: Tensor, kept: Tensor = inside) -> Tensor:
        return torch.cat([offset, kept[:, None]], 1)

    def read() -> Tensor:
        offset, kept = answer(landed, cells, grid, radius)
        return table(torch.as_tensor(offset), torch.as_tensor(kept).float())

    unit = pixels / radius
    either = (unit.abs() < 1).any(1).float()
    mistakes = {
        "the sign is turned: it is where the point landed minus the corner": table(
            -unit
        ),
        "the offset is in pixels: divide by the radius": table(pixels),
        "the offset is in pixels, and `inside` compares pixels with 1": table(
            pixels, (pixels.abs() < 1).all(1).float()
        ),
        "it is measured from the middle of the cell: a cell sits on its corner": table(
            unit - 1, ((unit - 1).abs() < 1).all(1).float()
        ),
        "`inside` must hold in x and in y, not in one of them": table(unit, either),
        "every offset is kept: one that leaves the window has no target": table(
            unit, torch.ones(4)
        ),
    }
    return judge(read, table(unit), mistakes, "4 matches, 2 of them inside the window")
