"""Verdicts of the exercises on indices and photos of one's own.

As in :mod:`.supervision`: a wrong answer is compared with those of the usual
mistakes, so that the verdict names the mistake and not only the distance.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..geometry import COARSE_STRIDE
from .verdict import Verdict, judge

_AGREE = 0.15  # of the depth there, as in the released scores


def shifted_overlap(answer: Callable) -> Verdict:
    """Exercise: ``answer(depth0, depth1, shift)`` gives the share that is seen.

    depth0, depth1: (H, W) metres, 0 = unknown; shift: (H, W) whole pixels that each
    pixel of image 0 moves to the left, its depth unchanged. Returns one number.
    """
    depth0 = torch.tensor([[2.0, 2, 1, 1, 0], [3, 2, 2, 1, 1], [2, 2, 2, 2, 2]])
    depth1 = torch.tensor([[1.0, 1, 2, 0, 2], [3.1, 1, 1, 2, 2], [1, 0, 2.2, 2, 2]])
    shift = torch.tensor([[1, 1, 2, 2, 2], [1, 1, 1, 2, 2], [-1, -1, -1, -1, -1]])

    def share(
        test=True, whole=False, wrap=False, unit=False, sign=-1, known=False
    ) -> Tensor:
        seen = 0
        for y, x in (depth0 > 0).nonzero().tolist():
            u = x + sign * int(shift[y, x])
            if not wrap and not 0 <= u < depth0.shape[1]:
                continue
            there = float(depth1[y, u % depth0.shape[1]])
            if known and there <= 0:
                continue
            limit = _AGREE if unit else _AGREE * there
            seen += not test or abs(float(depth0[y, x]) - there) < limit
        pixels = depth0.numel() if whole else int((depth0 > 0).sum())
        return torch.tensor(seen / pixels, dtype=torch.float64)

    mistakes = {
        "hidden pixels are counted: compare the depth with the one it lands on": share(
            test=False
        ),
        "hidden pixels are counted, though not where the depth there is unknown: "
        "compare the two depths": share(test=False, known=True),
        "it is a share of all pixels: divide by those whose depth is known": share(
            whole=True
        ),
        "a pixel that leaves on the left comes back on the right: an index below 0 "
        "counts from the end, so test 0 <= x < W first": share(wrap=True),
        "15 percent was taken as 0.15 metres: the limit is a share of the depth "
        "there": share(unit=True),
        "the shift goes the wrong way: pixels move to the left, x - shift": share(
            sign=1
        ),
    }
    return judge(
        lambda: answer(depth0, depth1, shift),
        share(),
        mistakes,
        "15 pixels: seen, hidden, outside and unknown",
    )


def balanced_rows(answer: Callable) -> Verdict:
    """Exercise: ``answer(overlap, edges, most)`` chooses pairs of each range.

    overlap: (N,); edges: rising; most: pairs of a range. Returns the rows, rising:
    the first ``most`` of each range, which holds its lower edge and not its upper.
    """
    overlap = torch.tensor(
        [0.95, 0.55, 0.05, 0.3, 0.62, 0.58, 0.2, 0.1, 0.45, 0.66, 0.8, 0.02, 0.51, 0.5]
    )
    edges, most = (0.1, 0.3, 0.5, 0.7), 2

    def chosen(inside: Callable, most: int | None = most) -> Tensor:
        ranges = zip(edges, edges[1:], strict=False)
        rows = [inside(a, b).nonzero()[:, 0][:most] for a, b in ranges]
        return torch.cat(rows).sort().values

    right = chosen(lambda a, b: (overlap >= a) & (overlap < b))
    used = (overlap >= edges[0]) & (overlap < edges[-1])
    total = most * (len(edges) - 1)
    best = overlap.argsort(descending=True)
    mistakes = {
        "no range is cut: take at most `most` pairs of each": chosen(
            lambda a, b: (overlap >= a) & (overlap < b), None
        ),
        "the limit holds for all ranges together: easy pairs then take all "
        "places": used.nonzero()[:total, 0],
        "these are the pairs that overlap most: near-identical pictures teach "
        "nothing": best[:total].sort().values,
        "a pair on an edge belongs to the range above it: >= below, < above": chosen(
            lambda a, b: (overlap > a) & (overlap <= b)
        ),
        "a pair on an edge is in two ranges, or in none: >= below, < above": chosen(
            lambda a, b: (overlap > a) & (overlap < b)
        ),
        "pairs above the last edge are taken in: they are nearly the same "
        "picture": chosen(
            lambda a, b: (overlap >= a) & ((overlap < b) | (b == edges[-1]))
        ),
        "pairs below the first edge are taken in: they share almost nothing": chosen(
            lambda a, b: ((overlap >= a) | (a == edges[0])) & (overlap < b)
        ),
    }
    return judge(
        lambda: answer(overlap, edges, most),
        right,
        mistakes,
        "14 pairs, two on an edge, five outside the ranges",
    )


def homography_cell(answer: Callable) -> Verdict:
    """Exercise: ``answer(cell, H, grid)`` gives the cell that a cell lands on.

    cell: number of a cell; H: (3, 3) input pixels to input pixels; grid: (rows,
    columns) of both images. Returns a number, -1 outside.
    """
    grid = (6, 8)
    H = torch.tensor(
        [[1.1, 0.15, -9.0], [-0.1, 0.95, 9.0], [2e-3, -1e-3, 1.0]], dtype=torch.float64
    )
    cells = [0, 6, 9, 19, 30, 45, 47]

    def landed(cell: int, H=H, step=COARSE_STRIDE, divide=True, half=0.0) -> Tensor:
        x, y = cell % grid[1], cell // grid[1]
        at = torch.tensor([x * step + half, y * step + half, 1], dtype=torch.float64)
        p = H @ at
        return (p[:2] / p[2] if divide else p[:2]) / step

    def number(place: Tensor, outside=-1, floor=False) -> int:
        x, y = (place.floor() if floor else place.round()).tolist()
        inside = 0 <= x < grid[1] and 0 <= y < grid[0]
        return int(y * grid[1] + x) if inside else outside

    def all_cells(outside=-1, floor=False, **kwargs) -> Tensor:
        return torch.tensor(
            [number(landed(c, **kwargs), outside, floor) for c in cells]
        )

    mistakes = {
        "the division by the third coordinate is missing": all_cells(divide=False),
        "H moves pixels, not cells: multiply by 8 first, divide by 8 last": all_cells(
            step=1
        ),
        "H is used backwards: it takes pixels of image 0 to image 1": all_cells(
            H=torch.linalg.inv(H)
        ),
        "floor takes the square a point lies in; the nearest corner comes from "
        "round": all_cells(floor=True),
        "a cell sits on its corner, not in the middle of its square": all_cells(
            half=4.0
        ),
        "cells that land outside are sent to cell 0, a real place: give -1": all_cells(
            outside=0
        ),
    }
    return judge(
        lambda: torch.tensor([int(answer(c, H, grid)) for c in cells]),
        all_cells(),
        mistakes,
        "7 cells, inside and outside",
    )
