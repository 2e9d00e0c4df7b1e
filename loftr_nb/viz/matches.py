"""Pictures of matches: lines between two images, coloured by error or confidence."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from torch import Tensor

from ..datasets.pair import Batch
from .pairs import Image, unpadded
from .style import (
    HEAT,
    INK,
    RIGHT,
    UNKNOWN,
    WRONG,
    Picture,
    as_array,
    as_image,
    canvas,
    draw_image,
    heading,
    legend,
)


def show_matches(
    image0: Image,
    image1: Image,
    keypoints0: Image,
    keypoints1: Image,
    errors: Image | None = None,
    confidence: Image | None = None,
    threshold: float = 5.0,
    unit: str = "px",
    limit: int = 200,
    title: str | None = None,
    ax: Axes | None = None,
) -> Picture:
    """Matches as lines between two images laid side by side.

    Args:
        image0, image1: any size each.
        keypoints0, keypoints1: (M, 2) pixels of these images.
        errors: (M,) in ``unit``; below ``threshold`` a match is right (blue),
            otherwise wrong (orange); NaN is unknown (grey).
        confidence: (M,), colours the lines where no errors are given.
        limit: so many matches are drawn at most, spread evenly over all of
            them; counts in the legend are of all.
    """
    first, second = as_image(image0), as_image(image1)
    gap = max(4, first.shape[1] // 40)
    shift = first.shape[1] + gap
    height = max(first.shape[0], second.shape[0])
    width = shift + second.shape[1]
    picture, ax = canvas(ax, 8.0, 8.0 * height / width + 0.7)
    for image, left in ((image0, 0), (image1, shift)):
        shown = draw_image(ax, image, fade=0.15)
        h, w = shown.shape[:2]
        ax.images[-1].set_extent((left - 0.5, left + w - 0.5, h - 0.5, -0.5))
    ax.set_xlim(-0.5, width - 0.5)
    ax.set_ylim(height - 0.5, -0.5)
    k0 = as_array(keypoints0).reshape(-1, 2)
    k1 = as_array(keypoints1).reshape(-1, 2) + np.array([shift, 0])
    lines = np.stack([k0, k1], axis=1)
    drawn = np.unique(np.linspace(0, len(k0) - 1, min(limit, len(k0))).astype(int))
    if errors is not None:
        _lines_by_error(ax, lines, as_array(errors), drawn, threshold, unit)
    else:
        _lines_by_confidence(picture, ax, lines, confidence, drawn)
    ax.set_xticks([])
    ax.set_yticks([])
    left_out = f" ({len(drawn)} of {len(k0)} drawn)" if len(drawn) < len(k0) else ""
    heading(ax, (title or f"{len(k0)} matches") + left_out)
    return picture


def _lines_by_error(ax: Axes, lines, errors, drawn, threshold: float, unit: str):
    errors = errors.reshape(-1)
    known = np.isfinite(errors)
    right = known & (errors < threshold)
    groups = [
        (~known, UNKNOWN, "unknown"),
        (right, RIGHT, f"right (below {threshold:g} {unit})"),
        (known & ~right, WRONG, f"wrong ({threshold:g} {unit} or more)"),
    ]
    for group, colour, name in groups:
        if not group.any() and colour == UNKNOWN:
            continue
        chosen = lines[drawn[group[drawn]]]
        ax.add_collection(
            LineCollection(
                chosen,
                colors=colour,
                linewidths=0.9,
                alpha=0.8,
                label=f"{name}: {group.sum()}",
            )
        )
        ax.scatter(*chosen.reshape(-1, 2).T, s=5, c=colour, lw=0)
    legend(ax, loc="lower center", bbox_to_anchor=(0.5, -0.1), ncols=3, frameon=False)


def _lines_by_confidence(picture, ax: Axes, lines, confidence, drawn) -> None:
    chosen = LineCollection(lines[drawn], linewidths=0.9, alpha=0.85, colors=RIGHT)
    if confidence is not None:
        chosen = LineCollection(lines[drawn], linewidths=0.9, alpha=0.85, cmap=HEAT)
        chosen.set_array(as_array(confidence).reshape(-1)[drawn])
        chosen.set_clim(0, 1)
        bar = picture.colorbar(chosen, ax=ax, shrink=0.8, pad=0.01)
        bar.set_label("confidence", fontsize=9)
        bar.ax.tick_params(labelsize=8)
    ax.add_collection(chosen)
    ax.scatter(*lines[drawn].reshape(-1, 2).T, s=4, c=INK, lw=0)


def matches_picture(
    batch: Batch,
    keypoints0: Tensor,
    keypoints1: Tensor,
    errors: Tensor | None = None,
    confidence: Tensor | None = None,
    row: int = 0,
    **kwargs,
) -> Picture:
    """Matches of one pair of a batch, given in pixels of the original images.

    keypoints0, keypoints1, errors, confidence: of pair ``row`` only. Other
        arguments as in :func:`show_matches`.
    """
    images = [
        unpadded(image[row], mask[row])
        for image, mask in ((batch.image0, batch.mask0), (batch.image1, batch.mask1))
    ]
    return show_matches(
        *images,
        torch.as_tensor(keypoints0).cpu() / batch.scale0[row].cpu(),
        torch.as_tensor(keypoints1).cpu() / batch.scale1[row].cpu(),
        errors,
        confidence,
        **kwargs,
    )
