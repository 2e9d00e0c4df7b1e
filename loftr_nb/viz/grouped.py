"""Several answers to one question: bars in groups, matches one under the other."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from ..datasets.pair import Batch
from .matches import matches_picture
from .pairs import Image
from .style import SERIES, Picture, heading, legend


def show_grouped(
    names: Sequence[str],
    groups: Mapping[str, Sequence[float]],
    unit: str,
    title: str | None = None,
    decimals: int = 0,
) -> Picture:
    """Several numbers of each name, as bars with their values.

    Args:
        names: what is compared, from top to bottom.
        groups: what each number is, to one value a name.
        unit: what is drawn, with its unit, for the axis.
    """
    picture = Picture(7.2, (0.3 * len(groups) + 0.2) * len(names) + 1.2)
    ax = picture.subplots()
    height = 0.8 / len(groups)
    rows = np.arange(len(names))
    for n, (name, values) in enumerate(groups.items()):
        at = rows + (n - (len(groups) - 1) / 2) * height
        bars = ax.barh(at, list(values), 0.9 * height, color=SERIES[n], label=name)
        ax.bar_label(bars, fmt=f"{{:,.{decimals}f}}", padding=4, fontsize=9)
    top = max(max(values) for values in groups.values())
    ax.set_yticks(rows, names)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.15 * top if top > 0 else 1)
    ax.spines[["top", "right"]].set_visible(False)
    legend(ax, loc="best")
    heading(ax, None, unit)
    ax.tick_params(axis="y", labelsize=9)
    return picture.titled(title)


def show_answers(
    batch: Batch,
    answers: Mapping[str, tuple[Image, Image, Image]],
    threshold: float = 3.0,
    brighter: float = 1.0,
    title: str | None = None,
) -> Picture:
    """Matches of the same pair by several matchers, one under the other.

    Args:
        batch: of one pair.
        answers: name to keypoints0 and keypoints1, (M, 2) original pixels, and errors
            (M,); below ``threshold`` input pixels a match is right, NaN is unknown.
        brighter: factor on the images, to see dark ones.
    """
    light = [(brighter * image).clamp(max=1) for image in (batch.image0, batch.image1)]
    shown = dataclasses.replace(batch, image0=light[0], image1=light[1])
    h, w = batch.image0.shape[-2:]
    picture = Picture(8.0, len(answers) * (8.0 * h / (2 * w) + 0.4) + 0.3)
    axes = picture.subplots(len(answers), 1, squeeze=False)[:, 0]
    for ax, (name, (k0, k1, errors)) in zip(axes, answers.items(), strict=True):
        head = f"{name}: {len(errors)} matches"
        matches_picture(shown, k0, k1, errors, threshold=threshold, title=head, ax=ax)
    return picture.titled(title)
