"""LoFTR in one picture: every step of one pair, with the network's own numbers.

Letters: L and S coarse cells of image 0 and 1, C channels, W side of the window.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor

from ..datasets.pair import Batch
from ..errors import DataError
from ..geometry import COARSE_STRIDE, FINE_STRIDE
from ..model import LoFTR
from ..model.images import evaluating
from .features import pca_colours
from .matches import show_matches
from .pairs import Image
from .style import CHOSEN, HEAT, INK, Picture, as_array, draw_image, heading


class Steps(NamedTuple):
    """What a LoFTR makes of one pair, step by step.

    maps: two (C, h, w), the 1/8 maps of the backbone, each of its own image.
    mixed: two (C, h, w), after the transformer: each has seen the other image.
    confidence: (L, S) P of every pair of cells.
    i, j: (M,) cells that match. heats: (M, W, W) over the windows of image 1.
    points0, points1: (M, 2) input pixels, the answer.
    """

    maps: tuple[Tensor, Tensor]
    mixed: tuple[Tensor, Tensor]
    confidence: Tensor
    i: Tensor
    j: Tensor
    heats: Tensor
    points0: Tensor
    points1: Tensor


@torch.no_grad()
def steps_of(model: LoFTR, batch: Batch) -> Steps:
    """Run the network on a batch of one pair and keep what it passes on.

    Raises:
        DataError: the batch has more than one pair.
    """
    if len(batch) != 1:
        raise DataError(f"one pair can be drawn, the batch has {len(batch)}")
    with evaluating(model):
        maps = [model.backbone(image)[0][0] for image in (batch.image0, batch.image1)]
        f = model.features(batch.image0, batch.image1)
        log_p = model.coarse_matching.log_confidence(f.coarse0, f.coarse1)
        found = model.coarse_matching.predict(log_p, f.grid0, f.grid1)
        b, i, j = found.b, found.i, found.j
        w0 = model.fine_preprocess(f.fine0, f.coarse0, f.grid0, b, i)
        w1 = model.fine_preprocess(f.fine1, f.coarse1, f.grid1, b, j)
        w0, w1 = model.loftr_fine(w0, w1)
        offset = model.refine(f, b, i, j).offset
    mixed = tuple(
        tokens[0].T.unflatten(1, grid)
        for tokens, grid in ((f.coarse0, f.grid0), (f.coarse1, f.grid1))
    )
    radius = model.config.window // 2 * FINE_STRIDE
    corners = [_corners(cells, grid) for cells, grid in ((i, f.grid0), (j, f.grid1))]
    return Steps(
        tuple(maps), mixed, log_p.cells[0].exp(), i, j, heat_maps(w0, w1),
        corners[0], corners[1] + radius * offset,
    )  # fmt: skip


def heat_maps(window0: Tensor, window1: Tensor) -> Tensor:
    """(M, W, W) probabilities: the centre of window 0 over the places of window 1.

    window0, window1: (M, W * W, C) after the fine transformer.
    """
    places, channels = window1.shape[1:]
    scores = window1 @ window0[:, places // 2, :, None]
    side = round(places**0.5)
    return (scores[..., 0] / channels**0.5).softmax(1).unflatten(1, (side, side))


def _corners(cells: Tensor, grid: tuple[int, int]) -> Tensor:
    return COARSE_STRIDE * torch.stack([cells % grid[1], cells // grid[1]], -1).float()


def show_steps(
    model: LoFTR,
    batch: Batch,
    errors: Image | None = None,
    match: int | None = None,
    threshold: float = 4.0,
    title: str | None = None,
) -> Picture:
    """All steps of LoFTR on one pair: images, features, confidence, window, matches.

    Args:
        batch: one pair, without padding.
        errors: (M,) input pixels of the network's matches, to colour the last
            panel; below ``threshold`` is right.
        match: number of the match that the middle panels follow, in pink; None
            takes the one with the largest confidence.

    Raises:
        DataError: the batch has more than one pair, or the network finds no match.
    """
    steps = steps_of(model, batch)
    if not len(steps.i):
        raise DataError(
            f"{batch.names0[0]} and {batch.names1[0]}: the network finds no match, so "
            "there is nothing to follow. Lower the threshold or take another pair"
        )
    if match is None:
        match = int(steps.confidence[steps.i, steps.j].argmax())
    h, w = batch.image0.shape[-2:]
    picture = Picture(9.6, 9.6 * 0.5 * h / w + 5.0)
    picture.colours = 200
    grid = picture.add_gridspec(3, 6, height_ratios=(0.55, 1, 1.45))
    cells = [(0, slice(0, 2)), (0, slice(2, 4)), (0, slice(4, 6))]
    cells += [(1, slice(0, 2)), (1, slice(2, 4)), (1, slice(4, 6)), (2, slice(0, 6))]
    axes = [picture.add_subplot(grid[place]) for place in cells]
    _draw_images(axes[0], batch)
    for ax, maps, words in (
        (axes[1], steps.maps, "2 backbone: one feature a cell"),
        (axes[2], steps.mixed, "3 transformer: cells have seen\nboth images"),
    ):
        _draw_maps(ax, maps, words)
    _draw_confidence(axes[3], steps, match)
    _draw_row(axes[4], steps, match, batch)
    _draw_heat(axes[5], steps, match)
    show_matches(
        batch.image0[0], batch.image1[0], steps.points0, steps.points1, errors,
        None, threshold, limit=80, ax=axes[6],
        title=f"7 answer: {len(steps.i)} matches, each with a place between pixels",
    )  # fmt: skip
    for handle in axes[6].get_legend().legend_handles if errors is not None else ():
        handle.set(linewidth=2.5, alpha=1)  # thin and pale they change their colour
    return picture.titled(title)


def _beside(ax: Axes, left: Image, right: Image) -> None:
    """Two arrays of one height side by side, with a gap, without axes."""
    left, right = as_array(left), as_array(right)
    gap = np.ones((left.shape[0], max(1, left.shape[1] // 20), *left.shape[2:]))
    draw_image(ax, np.concatenate([left, gap, right], axis=1))
    ax.set_xticks([])
    ax.set_yticks([])


def _draw_images(ax: Axes, batch: Batch) -> None:
    _beside(ax, batch.image0[0, 0], batch.image1[0, 0])
    h, w = batch.image0.shape[-2:]
    heading(ax, f"1 two images, grey, {w}x{h} pixels")


def _draw_maps(ax: Axes, maps: tuple[Tensor, Tensor], words: str) -> None:
    _beside(ax, *pca_colours(maps))
    c, h, w = maps[0].shape
    heading(ax, words, f"{w}x{h} cells, {c} numbers each, as 3 colours")


def _draw_confidence(ax: Axes, steps: Steps, match: int) -> None:
    """The matrix, its root taken: most of it would be black otherwise."""
    ax.imshow(steps.confidence.sqrt().numpy(), HEAT, vmin=0, interpolation="nearest")
    i, j = int(steps.i[match]), int(steps.j[match])
    ax.axhline(i, color=CHOSEN, lw=1)
    ax.scatter(j, i, s=60, fc="none", ec=CHOSEN, lw=2)
    L, S = steps.confidence.shape
    heading(
        ax, f"4 P of all {L}x{S} pairs of cells", "cell of image 1", "cell of image 0"
    )


def _draw_row(ax: Axes, steps: Steps, match: int, batch: Batch) -> None:
    """One row of P, laid over image 1."""
    draw_image(ax, batch.image1[0], fade=0.3)
    row = steps.confidence[steps.i[match]].unflatten(0, steps.maps[1].shape[1:])
    h, w = batch.image1.shape[-2:]
    # A cell sits on its top-left pixel, the centre of its square in the picture.
    half = COARSE_STRIDE / 2
    extent = (-half, w - half, h - half, -half)
    ax.imshow(row.sqrt().numpy(), HEAT, vmin=0, alpha=0.6, extent=extent)
    y, x = divmod(int(row.argmax()), row.shape[1])
    corner = COARSE_STRIDE * np.array([x, y])
    side = {"fill": False, "ec": CHOSEN, "lw": 2}
    ax.add_patch(Rectangle(corner - half, COARSE_STRIDE, COARSE_STRIDE, **side))
    ax.set_xlim(-0.5, w - 0.5)
    ax.set_ylim(h - 0.5, -0.5)
    ax.set_xticks([])
    ax.set_yticks([])
    heading(ax, "5 the pink row, over image 1:\none cell answers", f"P {row.max():.2f}")


def _draw_heat(ax: Axes, steps: Steps, match: int) -> None:
    heat = steps.heats[match]
    reach = FINE_STRIDE * (len(heat) // 2)
    half = reach + FINE_STRIDE / 2
    ax.imshow(heat.numpy(), HEAT, vmin=0, extent=(-half, half, half, -half))
    corner = _corners(steps.j[match : match + 1], steps.maps[1].shape[1:])[0]
    at = (steps.points1[match] - corner).tolist()
    ax.scatter(*at, s=110, marker="P", fc=CHOSEN, ec=INK, lw=0.8)
    heading(
        ax,
        f"6 its window, {len(heat)}x{len(heat)}: the mean is\n"
        f"{at[0]:+.1f}, {at[1]:+.1f} px from the cell",
        "x (input pixels)",
        "y (input pixels)",
    )
