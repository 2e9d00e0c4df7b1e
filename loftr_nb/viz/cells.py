"""Pictures of few cells: small cases in which every cell and entry can be seen."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from .pairs import Image
from .style import INK, RIGHT, UNKNOWN, WRONG, Picture, as_array, heading

Grid = tuple[int, int]


def show_cell_matches(
    panels: Mapping[str, tuple[Image, Image]],
    grid0: Grid,
    grid1: Grid,
    truth: Mapping[str, tuple[Image, Image]],
    columns: int = 4,
    title: str | None = None,
) -> Picture:
    """Several small matrices of matches, judged: right, false and missing ones.

    Args:
        panels: name to (i, j), cells of image 0 (rows) and 1 (columns).
        truth: the same names; a match that is not in there is false (orange),
            one that is there and not in the panel is missing (hollow).
    """
    rows = -(-len(panels) // columns)
    picture = Picture(8.6, (7.6 / columns + 0.45) * rows + 0.6)
    for n, (name, found) in enumerate(panels.items()):
        ax = picture.add_subplot(rows, columns, n + 1)
        _draw_judged(ax, _pairs(*found), _pairs(*truth[name]), grid0, grid1)
        heading(
            ax,
            name,
            "cell of image 1" if n // columns == rows - 1 else "",
            "cell of image 0" if n % columns == 0 else "",
        )
    names = ("a right match", "a false match", "a match that is missing")
    marks = [
        Line2D([], [], ls="", marker="s", mfc=face, mec=edge, label=name)
        for name, (face, edge) in zip(names, _MARKS, strict=True)
    ]
    picture.legend(
        handles=marks, loc="outside lower center", ncols=3, fontsize=8, frameon=False
    )
    return picture.titled(title)


_MARKS = ((RIGHT, RIGHT), (WRONG, WRONG), ("white", INK))  # face and edge


def _pairs(i: Image, j: Image) -> set[tuple[int, int]]:
    return set(zip(as_array(i).tolist(), as_array(j).tolist(), strict=True))


def _draw_judged(ax: Axes, found: set, real: set, grid0: Grid, grid1: Grid) -> None:
    groups = (found & real, found - real, real - found)
    for group, (face, edge) in zip(groups, _MARKS, strict=True):
        if group:
            i, j = np.array(sorted(group)).T
            ax.scatter(j, i, s=26, marker="s", fc=face, ec=edge, lw=1)
    for axis, (h, w), line in (
        (ax.yaxis, grid0, ax.axhline),
        (ax.xaxis, grid1, ax.axvline),
    ):
        for row in range(1, h):
            line(row * w - 0.5, color=INK, lw=0.4, alpha=0.35)
        axis.set_ticks([row * w for row in range(h)])
    ax.set_xlim(-0.7, grid1[0] * grid1[1] - 0.3)
    ax.set_ylim(grid0[0] * grid0[1] - 0.3, -0.7)
    ax.set_aspect("equal")


def show_supervised(matrix: Image, title: str | None = None) -> Picture:
    """Which entries of a small matrix each kind of supervision looks at.

    matrix: (L, S) 0/1. The last row and column are the dustbins, which only
        optimal transport has.
    """
    ones = as_array(matrix) > 0
    L, S = ones.shape
    positive = np.zeros((L + 1, S + 1), bool)
    positive[:L, :S] = ones
    bins = np.zeros_like(positive)
    bins[:L, S] = ~ones.any(1)
    bins[L, :S] = ~ones.any(0)
    inner = np.zeros_like(positive)
    inner[:L, :S] = True
    cases = {
        "sparse, dual-softmax": (positive, inner & False),
        "sparse, optimal transport": (positive | bins, inner & False),
        "dense, both matchers": (positive, inner & ~positive),
    }
    picture = Picture(9.4, 3.9)
    for n, (name, (up, down)) in enumerate(cases.items()):
        ax = picture.add_subplot(1, 3, n + 1)
        _draw_entries(ax, up, down)
        counts = f"{up.sum()} pushed up, {down.sum()} down"
        heading(ax, f"{name}\n{counts}", "cell of image 1", "cell of image 0")
    picture.legend(
        [Patch(color=RIGHT), Patch(color="#F6C49B"), Patch(fc="white", ec=UNKNOWN)],
        ["pushed up", "pushed down", "not looked at"],
        loc="outside lower center",
        ncols=3,
        fontsize=8,
        frameon=False,
    )
    return picture.titled(title)


def _draw_entries(ax: Axes, up: np.ndarray, down: np.ndarray) -> None:
    colours = ListedColormap(["white", "#F6C49B", RIGHT])
    ax.imshow(np.where(up, 2, np.where(down, 1, 0)), colours, vmin=0, vmax=2)
    L, S = up.shape[0] - 1, up.shape[1] - 1
    ax.axhline(L - 0.5, color=INK, lw=1)
    ax.axvline(S - 0.5, color=INK, lw=1)
    ax.set_xticks([0, S // 2, S], ["0", str(S // 2), "bin"])
    ax.set_yticks([0, L // 2, L], ["0", str(L // 2), "bin"])
