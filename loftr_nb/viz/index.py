"""What an index holds: overlaps, balance, and pairs to look at.

A number such as 0.2 says little until one has seen two images that overlap by it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator
from PIL import Image

from ..datasets import PairTable, PosedPairs, open_dataset
from ..errors import DataError
from ..indexing import shared_pixels
from ..indexing.choose import BINS, check_bins
from .style import INK, RIGHT, SERIES, UNKNOWN, Picture, draw_image, heading

_STEP = 0.05  # of the histogram
_MOST_SCENES = 24  # as bars with names; more are a curve
_PIXELS = 480  # width of a sample image in the picture


def show_index(
    source: PosedPairs | PairTable | Path | str,
    bins: Sequence[float] = BINS,
    samples: bool = True,
    title: str | None = None,
) -> Picture:
    """The overlaps of an index, its balance, and a pair of each range.

    Args:
        source: a dataset; a table of pairs (which has no images to show); or a
            folder of data that :func:`open_dataset` opens, such as one that
            ``loftr-nb data index`` wrote (training pairs).
        bins: edges of the ranges. Pairs beyond them get ranges of their own.
        samples: draw a pair of each range, the one nearest to its middle. What the
            other image shows too is in colour.

    Raises:
        DataError: the folder cannot be opened, or no pair has an overlap.
    """
    if isinstance(source, (str, Path)):
        source = open_dataset(Path(source), "train")
    table = source if isinstance(source, PairTable) else source.table
    overlap = np.asarray(table.overlap)
    if not np.isfinite(overlap).any():
        raise DataError(
            f"{table.where(0)}: no pair has an overlap score (the 1,500 test pairs of "
            "ScanNet have none): there is nothing to draw"
        )
    edges = _edges(overlap, bins)
    rows = _sample_rows(overlap, edges) if isinstance(source, PosedPairs) else []
    rows = rows if samples else []
    picture = Picture(8.0, 3.0 + 2.6 * len(rows))
    heights = [2.9] + [2.55] * len(rows)
    grid = picture.add_gridspec(1 + len(rows), 1, height_ratios=heights)
    top = grid[0].subgridspec(1, 2)
    _draw_overlaps(picture.add_subplot(top[0]), overlap, edges)
    _draw_balance(picture.add_subplot(top[1]), table, overlap, edges)
    for n, (row, low, high) in enumerate(rows, 1):
        line = grid[n].subgridspec(1, 3, width_ratios=[1.25, 3.3, 3.3])
        axes = [picture.add_subplot(line[k]) for k in range(3)]
        name = f"{low:g}-{high:g}", _colour(edges.index(low))
        _draw_sample(axes, source, row, *name)
    return picture.titled(title or _title(table, bool(rows)))


def _title(table: PairTable, samples: bool) -> str:
    scenes = len(np.unique(table.scene))
    words = "scene" if scenes == 1 else "scenes"
    shown = "; below, in colour: what the other image shows too" if samples else ""
    return f"{len(table):,} pairs of {scenes:,} {words} by overlap{shown}"


def _colour(n: int) -> str:
    return SERIES[n % (len(SERIES) - 1)]


def _edges(overlap: np.ndarray, bins: Sequence[float]) -> list[float]:
    """The ranges asked for, and one below and above where there are such pairs."""
    known = overlap[np.isfinite(overlap)]
    edges = list(check_bins(bins))
    if (known < edges[0]).any():
        edges = [0.0, *edges]
    if (known > edges[-1] + 1e-6).any():
        edges = [*edges, 1.0]
    return edges


def _inside(overlap: np.ndarray, edges: list[float], n: int) -> np.ndarray:
    last = n == len(edges) - 2
    above = overlap <= edges[n + 1] + 1e-6 if last else overlap < edges[n + 1]
    return (overlap >= edges[n]) & above


def _sample_rows(
    overlap: np.ndarray, edges: list[float]
) -> list[tuple[int, float, float]]:
    """Of each range with pairs: the row nearest to its middle, and the range."""
    rows = []
    for n, (low, high) in enumerate(zip(edges, edges[1:], strict=False)):
        inside = np.flatnonzero(_inside(overlap, edges, n))
        if len(inside):
            away = np.abs(overlap[inside] - (low + high) / 2)
            rows.append((int(inside[away.argmin()]), low, high))
    return rows


def _draw_overlaps(ax: Axes, overlap: np.ndarray, edges: list[float]) -> None:
    """Bars of 0.05, in the colour of their range, with the range's count above."""
    steps = np.unique(np.round(np.r_[np.arange(0, 1 + _STEP / 2, _STEP), edges], 6))
    counts, _ = np.histogram(overlap[np.isfinite(overlap)], steps)
    number = np.clip(np.digitize((steps[1:] + steps[:-1]) / 2, edges) - 1, 0, None)
    colours = [_colour(n) for n in number]
    ax.bar(steps[:-1], counts, np.diff(steps), align="edge", color=colours, ec="white")
    top = max(counts.max(), 1)
    for n, (low, high) in enumerate(zip(edges, edges[1:], strict=False)):
        pairs = int(_inside(overlap, edges, n).sum())
        ax.text(
            (low + high) / 2,
            1.05 * top,
            f"{low:g}-{high:g}\n{pairs:,}",
            ha="center",
            va="bottom",
            fontsize=8,
            color=_colour(n),
            weight="bold",
        )
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.32 * top)
    ax.xaxis.set_major_locator(MultipleLocator(0.1))
    _plain_counts(ax)
    heading(ax, "Pairs in each range of overlap", "overlap (share of surface)", "pairs")


def _draw_balance(
    ax: Axes, table: PairTable, overlap: np.ndarray, edges: list[float]
) -> None:
    """Pairs of each scene; of a single scene, how often each frame is used."""
    scenes, of_scene = np.unique(table.scene, return_inverse=True)
    if len(scenes) == 1:
        _draw_frames(ax, table)
    elif len(scenes) <= _MOST_SCENES:
        left = np.zeros(len(scenes))
        for n in range(len(edges) - 1):
            rows = _inside(overlap, edges, n)
            width = np.bincount(of_scene[rows], minlength=len(scenes))
            ax.barh(range(len(scenes)), width, left=left, color=_colour(n), ec="white")
            left += width
        names = [table.scenes[s] for s in scenes]
        ax.set_yticks(range(len(scenes)), names)
        ax.invert_yaxis()
        heading(ax, "Pairs of each scene", "pairs")
        ax.tick_params(axis="y", labelsize=8 if len(scenes) <= 12 else 6)
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    else:
        _draw_many(ax, np.sort(np.bincount(of_scene))[::-1])


def _draw_many(ax: Axes, counts: np.ndarray) -> None:
    """Pairs of each of many scenes, the largest first."""
    place = np.arange(1, len(counts) + 1)
    ax.fill_between(place, counts, color=RIGHT, alpha=0.35, lw=0)
    ax.plot(place, counts, color=RIGHT)
    if counts[0] > 30 * counts[-1]:
        ax.set_yscale("log")
    else:
        ax.set_ylim(0, 1.1 * counts[0])
        _plain_counts(ax)
    ax.set_xlim(1, len(counts))
    head = f"Pairs of each scene: {counts[-1]:,} to {counts[0]:,}"
    heading(ax, head, "scenes, the largest first", "pairs")


def _draw_frames(ax: Axes, table: PairTable) -> None:
    """How often the frames of a single scene are used."""
    frames, uses = np.unique(
        np.concatenate([table.frame0, table.frame1]), return_counts=True
    )
    low, high = uses.min(), uses.max()
    width = max(1, -(-(high - low + 1) // 20))
    bars = np.arange(low, high + width + 1, width) - 0.5
    ax.hist(uses, bars, color=UNKNOWN, ec="white")
    ax.set_xlim(max(bars[0] - 2 * width, 0), bars[-1] + 2 * width)
    ax.axvline(np.median(uses), color=INK, lw=1)
    head = f"Each of {len(frames):,} frames is in {np.median(uses):g} pairs (median)"
    heading(ax, head, "pairs that a frame is in", "frames")
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    _plain_counts(ax)


def _plain_counts(ax: Axes) -> None:
    ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _draw_sample(
    axes: list[Axes], data: PosedPairs, row: int, name: str, colour: str
) -> None:
    """In words which pair, then its images, in colour what the other shows too."""
    words, *panels = axes
    words.axis("off")
    try:
        shares = _draw_views(panels, data, row, colour)
    except (DataError, OSError) as error:
        for ax in panels:
            ax.axis("off")
        lines = "\n".join(textwrap.wrap(str(error), 70)[:6])
        panels[0].text(0, 0.5, lines, fontsize=8, color=INK, va="center")
        shares = []
    overlap = float(data.table.overlap[row])
    words.text(0, 0.72, name, fontsize=12, weight="bold", color=colour)
    words.text(0, 0.60, f"overlap {overlap:.2f}", fontsize=10, color=INK)
    if shares:
        told = (
            f"{shares[0]:.0%} of the left\nand {shares[1]:.0%} of the\nright is shared"
        )
        words.text(0, 0.54, told, fontsize=8, color=INK, va="top")


def _draw_views(
    panels: list[Axes], data: PosedPairs, row: int, colour: str
) -> list[float]:
    """Draw both images; returns the share of each that the other shows."""
    pair, depths = data[row], data.full_depth(row)
    views, T = (pair.view0, pair.view1), pair.T_0to1.double().numpy()
    K = [view.K.double().numpy() for view in views]
    sides = ((0, 1, T), (1, 0, np.linalg.inv(T)))
    shares = []
    for ax, (a, b, motion) in zip(panels, sides, strict=True):
        step = max(depths[a].shape[1] // 160, 1)
        shared, known = shared_pixels(depths[a], depths[b], K[a], K[b], motion, step)
        shares.append(shared.sum() / max(known.sum(), 1))
        draw_image(ax, _coloured(Path(views[a].name), shared, known))
        heading(ax, Path(views[a].name).name)
        ax.set_xticks([])
        ax.set_yticks([])
        for spine in ax.spines.values():
            spine.set(color=colour, linewidth=2)
    return shares


def _coloured(path: Path, shared: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The image, small: in colour where ``shared``, pale elsewhere.

    A pixel without depth goes with what is around it.
    """
    with Image.open(path) as opened:  # as stored, whatever its orientation tag says
        image = opened.convert("RGB")
    image.thumbnail((_PIXELS, _PIXELS))
    image = np.asarray(image) / 255
    around = [cv2.blur(m.astype(np.float32), (7, 7)) for m in (shared, known)]
    share = around[0] / np.maximum(around[1], 1e-6)
    mask = cv2.resize(share, image.shape[1::-1])[..., None] > 0.5
    grey = image.mean(-1, keepdims=True)
    return np.where(mask, image, 0.3 * grey + 0.65)
