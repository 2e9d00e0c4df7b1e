"""Pictures of the fine stage: windows, heat maps, and how far they are off.

Offsets are (x, y) in units of the window's radius, as the network gives them;
distances on axes are in input pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Ellipse, Rectangle

from ..geometry import COARSE_STRIDE, FINE_STRIDE
from .pairs import Image
from .style import (
    CHOSEN,
    HEAT,
    INK,
    RIGHT,
    SERIES,
    UNKNOWN,
    WRONG,
    Picture,
    as_array,
    as_image,
    draw_image,
    heading,
    ink_on,
    legend,
)

Grid = tuple[int, int]


def show_window(
    image: Image, cell: int, grid: Grid, window: int = 5, title: str | None = None
) -> Picture:
    """A coarse cell in its image, and the places that its fine window reads."""
    picture = Picture(8.0, 3.9)
    whole, near = picture.subplots(1, 2, width_ratios=(1.25, 1))
    corner = COARSE_STRIDE * np.array([cell % grid[1], cell // grid[1]])
    reach = FINE_STRIDE * (window // 2)
    for ax, fade in ((whole, 0.2), (near, 0.35)):
        draw_image(ax, image, fade=fade)
        side = {"fill": False, "ec": CHOSEN, "lw": 1.8}
        ax.add_patch(
            Rectangle(corner - reach - 1, 2 * reach + 2, 2 * reach + 2, **side)
        )
    heading(whole, "the window in the image", "x (input pixels)", "y (input pixels)")
    _draw_strides(near, corner, reach)
    heading(near, f"cell {cell}, enlarged", "x (input pixels)", "y (input pixels)")
    return picture.titled(title)


def _draw_strides(ax: Axes, corner: np.ndarray, reach: int) -> None:
    far = reach + COARSE_STRIDE
    coarse = COARSE_STRIDE * np.arange(-3, 4)
    x, y = np.meshgrid(corner[0] + coarse, corner[1] + coarse)
    ax.scatter(x, y, s=70, marker="s", fc="none", ec=INK, lw=1.4, label="coarse cells")
    steps = np.arange(-reach, reach + 1, FINE_STRIDE)
    x, y = np.meshgrid(corner[0] + steps, corner[1] + steps)
    ax.scatter(x, y, s=18, c=RIGHT, lw=0, label="places of the window")
    ax.scatter(*corner, s=60, marker="x", c=WRONG, lw=2, label="the cell's corner")
    ax.set_xlim(corner[0] - far, corner[0] + far)
    ax.set_ylim(corner[1] + far, corner[1] - far)
    legend(ax, loc="lower right", fontsize=7)


def show_heat(
    panels: Mapping[str, Image],
    offsets: Mapping[str, Sequence[float]] | None = None,
    spreads: Mapping[str, Sequence[float]] | None = None,
    truth: Mapping[str, Sequence[float]] | None = None,
    numbers: bool = False,
    title: str | None = None,
) -> Picture:
    """Heat maps over a window, their expectation (pink) and the truth (white ring).

    Args:
        panels: name to (W, W) probabilities.
        offsets: the same names to (x, y), radii. spreads: to the standard
            deviations in x and in y, radii, drawn as an ellipse.
        truth: the same names to the true (x, y), radii; beyond the window it is
            drawn where it lies.
        numbers: write every probability into its place.
    """
    picture = Picture(max(4.2, min(8.6, 3.0 * len(panels))), 3.5)
    axes = picture.subplots(1, len(panels), squeeze=False)[0]
    far = 1.0
    for places in (truth or {}).values():
        far = max(far, float(np.abs(as_array(places)).max()))
    for n, (ax, (name, heat)) in enumerate(zip(axes, panels.items(), strict=True)):
        heat = as_array(heat)
        half = 1 + 1 / (heat.shape[0] - 1)
        ax.imshow(heat, HEAT, vmin=0, extent=(-half, half, half, -half))
        if numbers:
            _write_heat(ax, heat)
        for found, colour, mark in ((offsets, CHOSEN, "P"), (truth, "white", "o")):
            if found and name in found:
                face = "none" if mark == "o" else colour
                edge = colour if mark == "o" else INK
                lw = 2.2 if mark == "o" else 0.8
                ax.scatter(
                    *as_array(found[name]), s=110, marker=mark, fc=face, ec=edge, lw=lw,
                    zorder=3, clip_on=False,
                )  # fmt: skip
        if spreads and name in spreads:
            x, y = 2 * as_array(spreads[name])
            ax.add_patch(Ellipse(offsets[name], x, y, fill=False, ec=CHOSEN, lw=1.6))
        if far > 1:  # a truth outside: room for it, on the ground of an empty heat
            ax.set_facecolor(UNKNOWN)
            ax.set_xlim(-far - 0.3, far + 0.3)
            ax.set_ylim(far + 0.3, -far - 0.3)
        heading(ax, name, "x (radii)", "y (radii)" if n == 0 else "")
    return picture.titled(title)


def _write_heat(ax: Axes, heat: np.ndarray) -> None:
    side = np.linspace(-1, 1, heat.shape[0])
    for (r, c), p in np.ndenumerate(heat):
        ink = ink_on(p, 0.0, float(heat.max()))
        ax.text(side[c], side[r] - 0.22, f"{p:.2f}", ha="center", size=8, color=ink)


def show_refined(
    image0: Image,
    image1: Image,
    points0: Image,
    corners1: Image,
    heats: Image,
    refined: Image,
    truth: Image,
    title: str | None = None,
) -> Picture:
    """A few matches as the fine stage sees them: a point, a heat map, an answer.

    Args:
        points0: (M, 2) input pixels of image 0. corners1, refined, truth: (M, 2)
            of image 1, the coarse cell, the answer and the true place.
        heats: (M, W, W) over the windows of image 1.
    """
    p0, c1, r1, t1 = map(as_array, (points0, corners1, refined, truth))
    picture = Picture(8.6, 4.5)
    picture.colours = 200  # heat over grey
    axes = picture.subplots(2, len(p0), squeeze=False)
    for m, (top, bottom) in enumerate(axes.T):
        draw_image(top, image0)
        top.scatter(*p0[m], s=90, marker="x", c=WRONG, lw=2)
        _look_at(top, p0[m])
        draw_image(bottom, image1)
        view = as_image(image1).shape
        _draw_heat_over(bottom, as_array(heats)[m], c1[m], view)
        bottom.scatter(*c1[m], s=45, marker="x", c=WRONG, lw=2, label="cell's corner")
        ring = {"s": 110, "marker": "o", "fc": "none", "ec": "white", "lw": 2.2}
        bottom.scatter(*t1[m], label="true place", **ring)
        cross = {"s": 70, "marker": "P", "fc": CHOSEN, "ec": INK, "lw": 0.8}
        bottom.scatter(*r1[m], label="expectation", **cross)
        _look_at(bottom, c1[m])
        before, after = (np.linalg.norm(n[m] - t1[m]) for n in (c1, r1))
        heading(top, f"match {m + 1}")
        heading(bottom, f"{before:.1f} px -> {after:.1f} px", "x (input pixels)")
    axes[0, 0].set_ylabel("image 0", fontsize=9)
    axes[1, 0].set_ylabel("image 1 and heat map", fontsize=9)
    handles, names = axes[1, 0].get_legend_handles_labels()
    place = {"loc": "outside lower center", "ncols": 3, "fontsize": 8}
    box = picture.legend(handles, names, frameon=True, facecolor=UNKNOWN, **place)
    box.get_frame().set_linewidth(0)
    return picture.titled(title)


def _draw_heat_over(
    ax: Axes, heat: np.ndarray, corner: np.ndarray, view: tuple
) -> None:
    half = FINE_STRIDE * (heat.shape[0] // 2) + FINE_STRIDE / 2
    x, y = corner
    extent = (x - half, x + half, y + half, y - half)
    ax.imshow(heat, HEAT, vmin=0, extent=extent, alpha=0.8)
    ax.add_patch(
        Rectangle((x - half, y - half), 2 * half, 2 * half, fill=False, ec=INK)
    )


def _look_at(ax: Axes, point: np.ndarray, reach: float = 12.0) -> None:
    ax.set_xlim(point[0] - reach, point[0] + reach)
    ax.set_ylim(point[1] + reach, point[1] - reach)
    ax.tick_params(labelsize=7)


def show_error_histogram(
    errors: Mapping[str, Image],
    most: float = 6.0,
    unit: str = "input pixels",
    title: str | None = None,
) -> Picture:
    """Histograms of errors, filled and outlined in turn, each with its median."""
    picture = Picture(7.2, 3.3)
    ax = picture.subplots()
    bins = np.linspace(0, most, 49)
    for n, (name, values) in enumerate(errors.items()):
        values = as_array(values)
        share = np.full(len(values), 1 / len(values))
        label = f"{name}: median {np.median(values):.2f}"
        kept = np.minimum(values, most - 1e-6)  # the last bin holds all that is beyond
        style = {"color": SERIES[n], "histtype": "step", "lw": 1.8}
        ax.hist(kept, bins, weights=share, label=label, **style)
        ax.axvline(np.median(values), color=SERIES[n], lw=1, ls=":")
    ax.set_xlim(0, most)
    legend(ax)
    heading(ax, title, f"distance from the true place ({unit})", "share of matches")
    return picture


def show_calibration(
    std: Image, error: Image, bins: int = 8, title: str | None = None
) -> Picture:
    """Error against the network's own spread, both in one unit.

    Matches are sorted by spread and cut into groups of equal size: each gives
    its median error, and the band holds the middle 80 % of it.
    """
    std, error = as_array(std), as_array(error)
    groups = np.array_split(std.argsort(), bins)
    at = [std[g].mean() for g in groups]
    low, middle, high = np.array(
        [np.quantile(error[g], (0.1, 0.5, 0.9)) for g in groups]
    ).T
    picture = Picture(6.0, 3.9)
    ax = picture.subplots()
    step = max(1, len(std) // 3000)
    ax.scatter(std[::step], error[::step], s=2, c=UNKNOWN, lw=0, label="a match")
    ax.fill_between(at, low, high, color=RIGHT, alpha=0.2, lw=0, label="middle 80 %")
    ax.plot(at, middle, color=RIGHT, marker="o", ms=5, label="median of a group")
    top = float(np.quantile(error, 0.995))
    ax.plot([0, top], [0, top], color=INK, lw=0.8, ls=":", label="error = spread")
    ax.set_xlim(0, float(np.quantile(std, 0.999)))
    ax.set_ylim(0, top)
    legend(ax, loc="upper left")
    heading(
        ax,
        title,
        "std of the heat map, x plus y (input pixels)",
        "error (input pixels)",
    )
    return picture


def show_offset_agreement(
    true: Image, panels: Mapping[str, Image], title: str | None = None
) -> Picture:
    """Answered offsets over true ones, x and y together, input pixels."""
    picture = Picture(3.9 * len(panels), 3.9)
    axes = picture.subplots(1, len(panels), squeeze=False)[0]
    right = as_array(true).reshape(-1)
    step = max(1, len(right) // 4000)
    for ax, (name, answer) in zip(axes, panels.items(), strict=True):
        given = as_array(answer).reshape(-1)
        ax.scatter(right[::step], given[::step], s=3, c=RIGHT, lw=0, alpha=0.6)
        slope = np.polyfit(right, given, 1)
        ends = np.array([-4.0, 4.0])
        label = f"best line, slope {slope[0]:.2f}"
        ax.plot(ends, ends, color=INK, lw=0.9, ls=":", label="right")
        ax.plot(ends, np.polyval(slope, ends), color=WRONG, lw=1.6, label=label)
        ax.set_aspect("equal")
        legend(ax, loc="upper left")
        heading(ax, name, "true offset (input pixels)", "answer (input pixels)")
    return picture.titled(title)


def show_shares(
    panels: Mapping[str, Image], chosen: int, title: str | None = None
) -> Picture:
    """Shares of a sum by sample, one panel a rule; the chosen sample is orange."""
    picture = Picture(8.0, 2.9)
    axes = picture.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for n, (ax, (name, shares)) in enumerate(zip(axes, panels.items(), strict=True)):
        shares = as_array(shares)
        colours = [WRONG if k == chosen else RIGHT for k in range(len(shares))]
        ax.bar(range(len(shares)), shares, color=colours)
        ax.set_ylim(0, 1)
        share = f"sample {chosen} has {shares[chosen]:.1%}"
        heading(
            ax, f"{name}: {share}", "sample", "share of all weight" if n == 0 else ""
        )
    return picture.titled(title)
