"""Verdicts of the first exercises: cells and pixels, two cameras, right matches.

As in :mod:`.supervision`: a known case, and the answers that usual mistakes give.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .verdict import Verdict, judge


def cell_place(answer: Callable) -> Verdict:
    """Exercise: ``answer(n, columns, scale)`` is the place of a coarse cell.

    n: number of the cell, row by row from 0. columns: cells in a row. scale: (w, h)
    original pixels per input pixel. Returns x, y in pixels of the original image.
    """
    columns, scale = 20, (2.0, 3.0)
    cells = (0, 7, 20, 53)
    x = torch.tensor([8.0 * (n % columns) for n in cells])
    y = torch.tensor([8.0 * (n // columns) for n in cells])
    sx, sy = scale

    def pixels(x: Tensor, y: Tensor) -> Tensor:
        return torch.stack([x, y], 1)

    mistakes = {
        "it is y, x: a pixel is x first, then y": pixels(sy * y, sx * x),
        "row and column are exchanged: cells are counted along a row, so the column "
        "is what is left over": pixels(sx * y, sy * x),
        "that is the column and the row: a cell is 8 input pixels wide": pixels(
            x / 8, y / 8
        ),
        "these are pixels of the network's input: times scale gives the "
        "original's": pixels(x, y),
        "it is divided by the scale: an original pixel is an input pixel times "
        "scale": pixels(x / sx, y / sy),
        "that is the middle of the cell: it sits on its top-left corner, "
        "8 times the column": pixels(sx * (x + 4), sy * (y + 4)),
        "the scale of x is used for y too: it has an x and a y": pixels(sx * x, sx * y),
        "the 8 is missing: column and row are multiplied by the scale alone": pixels(
            sx * x / 8, sy * y / 8
        ),
    }
    return judge(
        lambda: _numbers([answer(n, columns, scale) for n in cells]),
        pixels(sx * x, sy * y),
        mistakes,
        "4 cells of an image whose scale differs in x and y",
    )


def seen_pixel(answer: Callable) -> Verdict:
    """Exercise: ``answer(point0, T_0to1, K1)`` is where camera 1 sees a point.

    point0: (3,) metres in camera 0. T_0to1: (4, 4). K1: (3, 3). All float32 tensors.
    Returns x, y in pixels of image 1.
    """
    T = torch.eye(4)
    angle = torch.tensor(0.3)
    T[0, 0] = T[2, 2] = angle.cos()
    T[0, 2], T[2, 0] = angle.sin(), -angle.sin()
    T[:3, 3] = torch.tensor([-0.4, 0.1, 0.2])
    K = torch.tensor([[300.0, 0, 160], [0, 310, 120], [0, 0, 1]])
    points = torch.tensor([[0.0, 0.0, 2.0], [0.6, -0.3, 3.0], [-0.8, 0.5, 4.0]])

    def see(points: Tensor, T: Tensor, K: Tensor, divide: bool = True) -> Tensor:
        moved = (points @ T[:3, :3].T + T[:3, 3]) @ K.T
        return moved[:, :2] / (moved[:, 2:] if divide else 1)

    turn = T.clone()
    turn[:3, 3] = 0
    shift = torch.eye(4)
    shift[:3, 3] = T[:3, 3]
    back = torch.linalg.inv(T)
    late = points @ turn[:3, :3].T - T[:3, 3]
    homogeneous = points @ T[:3, :3].T + T[:3, 3]
    mistakes = {
        "it is not divided by the depth in camera 1: the last of the three numbers "
        "that K1 gives": see(points, T, K, divide=False),
        "the pose leads from 1 to 0: T_0to1 takes points of camera 0 as it is, "
        "without an inverse": see(points, back, K),
        "the point is not moved: before K1 it has to be a point of camera 1": see(
            points, torch.eye(4), K
        ),
        "the translation is missing: add the last column of T_0to1": see(
            points, turn, K
        ),
        "the rotation is missing": see(points, shift, K),
        "the translation is subtracted: add it": see(late, torch.eye(4), K),
        "it is y, x: a pixel is x first, then y": see(points, T, K).flip(1),
        "K1 is missing: divide, then it is a direction, and K1 makes it a pixel": see(
            points, T, torch.eye(3)
        ),
        "it is divided by the depth in camera 0: take the moved point's": (
            homogeneous @ K.T
        )[:, :2]
        / points[:, 2:],
        "K1 is transposed: it stands to the left of the point, K1 @ point": see(
            points, T, K.T
        ),
    }
    return judge(
        lambda: _numbers([answer(p.clone(), T.clone(), K.clone()) for p in points]),
        see(points, T, K),
        mistakes,
        "3 points, seen by a camera that turned and moved",
    )


def share_right(answer: Callable) -> Verdict:
    """Exercise: ``answer(errors, threshold)`` is the share of right matches.

    errors: (M,) float tensor of pixels, NaN where no depth tells. Returns a share of
    the matches whose error is known, right being below the threshold; 0 for none.
    """
    nan = float("nan")
    errors = torch.tensor([0.5, nan, 3.9, 4.0, 12.0, nan, 1.0, 80.0, 2.0])
    known = errors[errors.isfinite()]
    right = (known < 4).float().mean()
    count = (known < 4).sum()

    def first(share: Tensor | float) -> Tensor:
        return torch.stack([torch.as_tensor(share, dtype=torch.float32)])

    mistakes = {
        "unknown matches count as wrong: where no depth tells, nobody knows. Leave "
        "them out": first(count / len(errors)),
        "unknown matches count as right: leave them out": first(
            (len(errors) - (known >= 4).sum()) / len(errors)
        ),
        "the answer is NaN: NaN is never below anything, and a mean with NaN is NaN. "
        "Take the finite errors first": first(nan),
        "4.0 itself counts as right: below the threshold is right": first(
            (known <= 4).float().mean()
        ),
        "this is the share of wrong matches": first(1 - right),
        "this is the number of right matches: divide by the known ones": first(count),
        "it is in percent: a share is at most 1": first(100 * right),
        "this is the mean error, in pixels": first(known.mean()),
    }
    verdict = judge(lambda: first(answer(errors.clone(), 4.0)), first(right), mistakes)
    if not verdict:
        return verdict
    empty = judge(
        lambda: first(answer(torch.full((3,), nan), 4.0)),
        first(0.0),
        {
            "where no error is known the answer is NaN: the mean of nothing. Give 0": (
                first(nan)
            )
        },
    )
    if not empty:
        return empty
    return Verdict(True, "7 known matches and 2 unknown, and a pair without depth")


def _numbers(rows: list) -> Tensor:
    """Answers as a list of pairs, whether they are tuples, lists or tensors."""
    return torch.stack(
        [torch.stack([torch.as_tensor(v).float() for v in row]) for row in rows]
    )
