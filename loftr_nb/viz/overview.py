"""The project in one picture, for a first page: data, answer key, training, matches.

Everything in it is made: rendered rooms, their supervision, the log and the weights
that come with the repository, and the one photograph pair that every machine has.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes

from ..datasets import collate, motorcycle, open_dataset
from ..datasets.pair import Batch
from ..model import LoFTR
from ..model.shipped import shipped
from ..supervision import supervise
from ..synthetic import make_mini
from .curves import read_metrics, running_mean, series
from .matches import show_matches
from .steps import steps_of
from .style import HEAT, RIGHT, WRONG, Picture, draw_image, heading

PAIR = 68  # of the test rooms: the one that notebook 00 looks at
HALF_CELL = 4.0  # input pixels, within which a match is right


def show_overview(data: Path | str, title: str | None = None) -> Picture:
    """Four things at a glance: pairs, answer key, training curve, and matches.

    Args:
        data: folder of the embedded data; it is rendered there if it is missing.

    Raises:
        CheckpointError: the weights of the repository are not there.
    """
    mini = make_mini(data)
    rooms = open_dataset(mini, "test", "scannet", size=(160, 120))
    batch, depth = collate([rooms[PAIR]]), rooms.full_depth(PAIR)[0]
    model = LoFTR.load(shipped("mini_ds"))
    picture = Picture(11.0, 5.6)
    picture.colours = 200
    rows = picture.add_gridspec(2, 1, height_ratios=(1, 1.05))
    top = rows[0].subgridspec(1, 3, width_ratios=(1.55, 0.9, 1.1))
    bottom = rows[1].subgridspec(1, 2)
    _draw_data(picture.add_subplot(top[0]), batch, depth)
    _draw_key(picture.add_subplot(top[1]), batch)
    _draw_training(picture.add_subplot(top[2]))
    photograph = collate([motorcycle((320, 224))])
    for n, (name, pair, limit) in enumerate(
        (("4 a room it never saw", batch, 70),
         ("5 a photograph", photograph, 70))
    ):  # fmt: skip
        _draw_matches(picture.add_subplot(bottom[n]), model, pair, name, limit)
    return picture.titled(title)


def _draw_data(ax: Axes, batch: Batch, depth: np.ndarray) -> None:
    """Both images, and the depth of the first between them, as one strip."""
    images = [i[0, 0].numpy() for i in (batch.image0, batch.image1)]
    h, w = images[0].shape
    gap = w // 20
    for n, image in enumerate((images[0], None, images[1])):
        left = n * (w + gap)
        place = (left - 0.5, left + w - 0.5, h - 0.5, -0.5)
        if image is None:
            ax.imshow(np.where(depth > 0, depth, np.nan), HEAT, extent=place)
            ax.images[-1].set_interpolation("nearest")
        else:
            draw_image(ax, image)
            ax.images[-1].set_extent(place)
    ax.set_xlim(-0.5, 3 * w + 2 * gap - 0.5)
    ax.set_ylim(h - 0.5, -0.5)
    ax.set_xticks([w / 2 + n * (w + gap) for n in range(3)])
    ax.set_xticklabels(["image 0", "its depth", "image 1"])
    ax.tick_params(bottom=False)
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    heading(ax, "1 pairs, with depth and pose: rendered, no download")


def _draw_key(ax: Axes, batch: Batch) -> None:
    truth = supervise(batch)
    ax.scatter(truth.j, truth.i, s=5, c=RIGHT, marker="s", lw=0)
    L, S = (h * w for h, w in (truth.grid0, truth.grid1))
    ax.set_xlim(0, S)
    ax.set_ylim(L, 0)
    ax.set_aspect("equal")
    heading(
        ax,
        f"2 the answer key: {len(truth)} true\nmatches of {L}x{S} pairs of cells",
        "cell of image 1",
        "cell of image 0",
    )


def _draw_training(ax: Axes) -> None:
    """The share of right cells in the log that lies beside the weights."""
    rows = read_metrics(shipped("mini_ds", "metrics.jsonl"))
    steps, right = series(rows, "coarse_accuracy")
    ax.plot(steps, 100 * right, color=WRONG, lw=0.7, alpha=0.35)
    ax.plot(steps, 100 * running_mean(right, 9), color=WRONG, lw=2)
    ax.set_ylim(0, 100)
    ax.grid(alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)
    summary = json.loads(shipped("mini_ds", "summary.json").read_text())
    a_step = summary["pairs_seen"] // summary["steps"]
    minutes = summary["seconds"] / 60
    words = f"3 training: {summary['steps']:,} steps\nin {minutes:.0f} minutes, on CPUs"
    heading(ax, words, f"step of {a_step} pairs", "right cells (percent)")


@torch.no_grad()
def _draw_matches(ax: Axes, model: LoFTR, batch: Batch, name: str, limit: int) -> None:
    steps = steps_of(model, batch)
    there = batch.warp().to1((steps.points0 * batch.scale0)[None]).points[0]
    error = (there / batch.scale1 - steps.points1).norm(dim=1)
    known = error[error.isfinite()]
    share = (known < HALF_CELL).float().mean()
    show_matches(
        batch.image0, batch.image1, steps.points0, steps.points1, error, None,
        HALF_CELL, limit=limit, ax=ax,
        title=f"{name}: {len(error)} matches, {share:.0%} right",
    )  # fmt: skip
    below = ax.get_legend()
    below.set_bbox_to_anchor((0.5, -0.17), ax.transAxes)  # these axes are low
    for handle in below.legend_handles:
        handle.set(linewidth=2.5, alpha=1)
