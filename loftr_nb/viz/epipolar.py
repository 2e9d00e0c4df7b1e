"""Pictures of two-view geometry: epipolar lines, the four poses, pairs that fail.

Letters: M matches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from ..datasets.pair import Batch
from .matches import show_matches
from .pairs import Image, unpadded
from .style import (
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
)


def show_epipolar(
    batch: Batch,
    points0: Image,
    points1: Image,
    E: np.ndarray,
    title: str | None = None,
) -> Picture:
    """Points of image 0, and in image 1 the line that each of them draws.

    Args:
        batch: its first pair is drawn.
        points0, points1: (M, 2) original pixels; M of at most 6, one colour each.
        E: (3, 3) essential matrix.
    """
    picture = Picture(9.2, 3.7)
    first, second = picture.subplots(1, 2)
    image0 = unpadded(batch.image0[0], batch.mask0[0])
    image1 = unpadded(batch.image1[0], batch.mask1[0])
    for ax, image in ((first, image0), (second, image1)):
        draw_image(ax, image, fade=0.3)
    height, width = as_image(image1).shape[:2]
    p0, p1 = as_array(points0), as_array(points1)
    scale0, scale1 = as_array(batch.scale0[0]), as_array(batch.scale1[0])
    for n, line in enumerate(_lines(batch, p0, E)):
        look = {"color": SERIES[n], "ms": 7, "mec": "white"}
        first.plot(*p0[n] / scale0, "o", **look)
        second.axline(*_two_on(line), color=SERIES[n], lw=1.5)
        second.plot(*p1[n] / scale1, "o", **look)
    second.set_xlim(-0.5, width - 0.5)
    second.set_ylim(height - 0.5, -0.5)
    heading(first, "points in image 0", "x (input pixels)", "y (input pixels)")
    heading(second, "their lines and partners in image 1", "x (input pixels)")
    return picture.titled(title)


def _lines(batch: Batch, points0: np.ndarray, E: np.ndarray) -> np.ndarray:
    """(M, 3) lines ``a x + b y + c = 0`` in input pixels of image 1."""
    K0, K1 = (as_array(K[0].double()) for K in (batch.K0, batch.K1))
    F = np.linalg.inv(K1).T @ E @ np.linalg.inv(K0)
    lines = np.c_[points0, np.ones(len(points0))] @ F.T
    return lines * np.append(as_array(batch.scale1[0]), 1.0)


def _two_on(line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two points of a line: the one next to (0, 0), and one further along."""
    normal, c = line[:2], line[2]
    foot = -c * normal / (normal @ normal)
    return foot, foot + np.array([-normal[1], normal[0]]) / np.linalg.norm(normal)


class SeenPose(NamedTuple):
    """One of the four poses, and where it puts the points.

    R: (3, 3), t: (3,) of length 1, camera 0 to camera 1. points: (M, 3) in the
    frame of camera 0. front: (M,) bool, in front of both cameras.
    """

    R: np.ndarray
    t: np.ndarray
    points: np.ndarray
    front: np.ndarray


def show_four_poses(poses: Sequence[SeenPose], title: str | None = None) -> Picture:
    """Both cameras and the points from above, for each pose of an essential matrix."""
    picture = Picture(9.6, 3.4)
    axes = picture.subplots(1, len(poses), sharex=True, sharey=True)
    far = max(np.percentile(np.abs(p.points[:, [0, 2]]), 90) for p in poses)
    reach = 1.15 * max(far, 1.5)
    for n, (ax, pose) in enumerate(zip(axes, poses, strict=True)):
        for group, colour in ((pose.front, RIGHT), (~pose.front, WRONG)):
            ax.scatter(*pose.points[group][:, [0, 2]].T, s=9, c=colour, lw=0)
        _camera(ax, np.zeros(3), np.array([0.0, 0.0, 1.0]), "0", reach)
        _camera(ax, -pose.R.T @ pose.t, pose.R[2], "1", reach)
        ax.set_aspect("equal")
        ax.set_xlim(-reach, reach)
        ax.set_ylim(-reach, reach)
        front = f"{pose.front.sum()} of {len(pose.front)} in front"
        heading(ax, front, "x (baselines)", "" if n else "z, ahead (baselines)")
    return picture.titled(title)


def _camera(
    ax: Axes, centre: np.ndarray, ahead: np.ndarray, name: str, reach: float
) -> None:
    """A camera from above: its number, and an arrow along its optical axis."""
    tip = centre + 0.3 * reach * ahead / np.linalg.norm(ahead)
    arrow = {"arrowstyle": "-|>", "color": INK, "lw": 1.6}
    ax.annotate("", tip[[0, 2]], centre[[0, 2]], arrowprops=arrow)
    ax.text(
        *centre[[0, 2]],
        name,
        ha="center",
        va="center",
        fontsize=9,
        bbox={"boxstyle": "circle,pad=0.15", "fc": "white", "ec": INK},
    )


class Failure(NamedTuple):
    """A pair to show in a gallery.

    keypoints0, keypoints1: (M, 2) pixels of the original images. errors: (M,)
    input pixels from the true place, NaN where the depth does not say.
    """

    batch: Batch
    keypoints0: np.ndarray
    keypoints1: np.ndarray
    errors: np.ndarray


def show_failures(
    failures: Mapping[str, Failure],
    threshold: float = 5.0,
    title: str | None = None,
) -> Picture:
    """Pairs with their matches, two in a row, each under the words that explain it."""
    rows = -(-len(failures) // 2)
    picture = Picture(10.8, 2.65 * rows + 0.7)
    axes = picture.subplots(rows, 2, squeeze=False).ravel()
    for ax, (words, (batch, points0, points1, errors)) in zip(
        axes, failures.items(), strict=False
    ):
        show_matches(
            unpadded(batch.image0[0], batch.mask0[0]),
            unpadded(batch.image1[0], batch.mask1[0]),
            points0 / as_array(batch.scale0[0]),
            points1 / as_array(batch.scale1[0]),
            errors,
            threshold=threshold,
            title=words,
            ax=ax,
        )
        ax.get_legend().remove()
    for ax in axes[len(failures) :]:
        ax.remove()
    _key(picture, axes[0], threshold)
    return picture.titled(title)


def _key(picture: Picture, ax: Axes, threshold: float) -> None:
    lines = [
        ax.plot([], [], color=colour, lw=2, label=words)[0]
        for colour, words in (
            (RIGHT, f"within {threshold:g} input pixels"),
            (WRONG, "further away"),
            (UNKNOWN, "depth unknown"),
        )
    ]
    picture.legend(
        handles=lines, loc="outside lower center", ncols=3, fontsize=9, frameon=False
    )
