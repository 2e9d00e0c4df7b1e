"""The course as data, and its map: which notebook is about which part of LoFTR."""

from __future__ import annotations

from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from .style import CHOSEN, INK, RIGHT, SERIES, UNKNOWN, Picture


class Chapter(NamedTuple):
    """One notebook.

    number, title: as its first line has them. file: its name. lane: the part of the
    way it belongs to. heart: what it is about, two short lines.
    """

    number: str
    title: str
    file: str
    lane: str
    heart: str


LANES = ("start", "data", "network", "training", "use")

COURSE = (
    Chapter(
        "00", "Start here", "00_start_here.ipynb", "start", "one pair,\nevery step"
    ),
    Chapter(
        "01",
        "Dataset setup",
        "01_dataset_setup.ipynb",
        "data",
        "unpack, link,\nprove it right",
    ),
    Chapter(
        "02",
        "Your own data",
        "02_your_own_data.ipynb",
        "data",
        "an index from\nframes or photos",
    ),
    Chapter(
        "03",
        "Coarse supervision",
        "03_coarse_supervision.ipynb",
        "data",
        "depth and pose\nbecome an answer key",
    ),
    Chapter(
        "04",
        "Backbone and positions",
        "04_backbone_and_positions.ipynb",
        "network",
        "what a cell holds,\nwhere it lies",
    ),
    Chapter(
        "05",
        "The transformer",
        "05_transformer.ipynb",
        "network",
        "cells look at\none another",
    ),
    Chapter(
        "06",
        "Coarse matching",
        "06_coarse_matching.ipynb",
        "network",
        "from scores to\nconfidence",
    ),
    Chapter(
        "07",
        "Fine matching",
        "07_fine_matching.ipynb",
        "network",
        "from a cell to\nabout a pixel",
    ),
    Chapter(
        "08",
        "Losses",
        "08_losses.ipynb",
        "training",
        "what each cell is\npushed to",
    ),
    Chapter(
        "09",
        "Training",
        "09_training.ipynb",
        "training",
        "overfit, plan,\ntrain, read curves",
    ),
    Chapter(
        "10",
        "Many GPUs",
        "10_many_gpus.ipynb",
        "training",
        "ranks, kills,\nresume, cost",
    ),
    Chapter(
        "11",
        "Evaluation",
        "11_evaluation.ipynb",
        "use",
        "pose AUC by hand,\nprotocols, failures",
    ),
    Chapter(
        "12",
        "Take it with you",
        "12_take_it_with_you.ipynb",
        "use",
        "fine-tune, export,\nyour own program",
    ),
)

_BOX = (2.2, 1.22)  # width and height of a box, in units of the map
_STEP = (2.55, 1.7)  # from box to box, from lane to lane
_LEFT = 1.35  # room for the names of the lanes


def show_course(here: str | None = None, title: str | None = None) -> Picture:
    """The map of all notebooks: lanes from data to use, arrows in reading order.

    here: number of the notebook to fill, such as ``"03"``.
    """
    places = _places()
    width = _LEFT + 4 * _STEP[0]
    height = len(LANES) * _STEP[1]
    picture = Picture(8.8, 8.8 * height / width + 0.35)
    picture.colours = 200  # its pale grounds are many and near to white
    ax = picture.subplots()
    ax.set_xlim(0, width)
    ax.set_ylim(height, 0)
    ax.axis("off")
    for row, lane in enumerate(LANES):
        y = (row + 0.5) * _STEP[1]
        colour = _colour(lane)
        ax.text(0.05, y, lane, fontsize=11, color=colour, weight="bold", va="center")
    for before, after in zip(COURSE, COURSE[1:], strict=False):
        _draw_arrow(ax, places[before.number], places[after.number])
    for chapter in COURSE:
        _draw_box(ax, chapter, places[chapter.number], chapter.number == here)
    return picture.titled(title)


def _places() -> dict[str, tuple[float, float]]:
    """Centre of each notebook's box, by its number."""
    places, filled = {}, dict.fromkeys(LANES, 0)
    for chapter in COURSE:
        column, row = filled[chapter.lane], LANES.index(chapter.lane)
        filled[chapter.lane] += 1
        x = _LEFT + (column + 0.5) * _STEP[0] - 0.2
        places[chapter.number] = (x, (row + 0.5) * _STEP[1])
    return places


def _colour(lane: str) -> str:
    named = {"start": INK, "data": RIGHT, "network": SERIES[2], "use": CHOSEN}
    return named.get(lane, SERIES[1])


def _draw_box(
    ax: Axes, chapter: Chapter, place: tuple[float, float], here: bool
) -> None:
    colour = _colour(chapter.lane)
    corner = (place[0] - _BOX[0] / 2, place[1] - _BOX[1] / 2)
    pale = tuple(0.12 * c + 0.88 for c in to_rgb(colour))
    ax.add_patch(
        FancyBboxPatch(
            corner, *_BOX, boxstyle="round,pad=0.0,rounding_size=0.12",
            fc=colour if here else pale, ec=colour, lw=1.5, zorder=2,
        )
    )  # fmt: skip
    ink = "white" if here else INK
    text = {"color": ink, "ha": "center", "zorder": 3}
    number = {"fontsize": 9.5, "color": "white" if here else colour}
    ax.text(
        place[0], place[1] - 0.19, chapter.number, va="bottom", weight="bold",
        **text | number,
    )  # fmt: skip
    ax.text(*place, chapter.title, va="center", fontsize=8.2, weight="bold", **text)
    ax.text(
        place[0],
        place[1] + 0.15,
        chapter.heart,
        va="top",
        fontsize=7.4,
        linespacing=1.1,
        **text,
    )


def _draw_arrow(
    ax: Axes, before: tuple[float, float], after: tuple[float, float]
) -> None:
    """From box to box; to the next lane by way of the gap between the lanes."""
    style = {"color": UNKNOWN, "lw": 1.6, "zorder": 1}
    if before[1] == after[1]:
        ends = (
            (before[0] + _BOX[0] / 2, before[1]),
            (after[0] - _BOX[0] / 2, after[1]),
        )
    else:
        down = before[1] + _BOX[1] / 2
        between = (down + after[1] - _BOX[1] / 2) / 2
        xs = [before[0], before[0], after[0]]
        ax.plot(xs, [down, between, between], solid_joinstyle="round", **style)
        ends = ((after[0], between), (after[0], after[1] - _BOX[1] / 2))
    ax.add_patch(
        FancyArrowPatch(
            *ends, arrowstyle="-|>", mutation_scale=11, shrinkA=0, shrinkB=0, **style
        )
    )
