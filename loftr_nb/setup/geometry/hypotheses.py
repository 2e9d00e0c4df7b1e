"""What else could be true of the pairs: the usual mistakes, one change each.

A mistake is told by undoing it: with the poses inverted once more, or the depth
divided by ten, real correspondences land where they should.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import permutations, product

import numpy as np

from .views import Sample, View, median_error

Change = Callable[[Sample], Sample | None]


@dataclass(frozen=True)
class Hypothesis:
    """One thing that may be wrong.

    fault: short name of the mistake. words: what was found and what to do.
    change: undoes it; None where a sample cannot say. rank: simpler ones first,
        where several explain the data as well.
    """

    fault: str
    words: str
    change: Change
    rank: int = 1


def pooled(samples: Sequence[Sample], change: Change | None = None) -> float:
    """Median over pairs of their median errors, infinite where most cannot say."""
    medians = []
    for sample in samples:
        changed = sample if change is None else change(sample)
        error = np.nan if changed is None else median_error(changed)
        medians.append(np.inf if np.isnan(error) else error)
    return float(np.median(medians)) if medians else float("inf")


# --- poses -------------------------------------------------------------------------


def _with_pose(sample: Sample, invert: bool, axes: np.ndarray) -> Sample | None:
    """Poses read in the other direction, camera axes turned."""
    T = sample.T_0to1
    if invert:
        poses = sample.view0.pose, sample.view1.pose
        if any(p is None for p in poses):
            return None
        T = np.linalg.inv(poses[1]) @ poses[0]
    return replace(sample, T_0to1=axes @ T @ axes.T)


def pose_hypotheses() -> Iterator[Hypothesis]:
    """Poses inverted, of another direction, or with other camera axes."""
    yield Hypothesis(
        "pose inverted",
        "the relative poses are T_1to0 where T_0to1 is expected: invert them",
        lambda s: replace(s, T_0to1=np.linalg.inv(s.T_0to1)),
        rank=0,
    )
    for axes, invert in product(_signed_axes(), (False, True)):
        plain = np.allclose(axes, np.eye(4))
        if plain and not invert:
            continue
        yield Hypothesis(
            "pose inverted" if plain else "camera axes",
            _pose_words(axes, invert),
            lambda s, a=axes, i=invert: _with_pose(s, i, a),
            rank=0 if plain else 1 if _is_opengl(axes) else 3,
        )


def _pose_words(axes: np.ndarray, invert: bool) -> str:
    ways = (
        "poses are read as world to camera and are camera to world, or the other way "
        "round: invert each pose file"
    )
    if np.allclose(axes, np.eye(4)):
        return ways
    kind = (
        "OpenGL's (x right, y up, z backwards)"
        if _is_opengl(axes)
        else f"x, y, z = {_axis_names(axes)} of what is expected"
    )
    turned = (
        f"the poses' camera axes are {kind}; expected are x right, y down, z forward: "
        "multiply camera-to-world poses from the right by "
        f"diag({', '.join(f'{v:g}' for v in np.diag(axes)[:3])})"
        if np.count_nonzero(np.diag(axes)[:3]) == 3
        else f"the poses' camera axes are {kind}: turn them to x right, y down, "
        "z forward"
    )
    return f"{turned}. Also, {ways}" if invert else turned


def _signed_axes() -> list[np.ndarray]:
    """The 48 ways to name and point three axes."""
    found = []
    for order, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
        axes = np.eye(4)
        axes[:3, :3] = np.diag(signs) @ np.eye(3)[list(order)]
        found.append(axes)
    return found


def _is_opengl(axes: np.ndarray) -> bool:
    return np.allclose(axes, np.diag([1, -1, -1, 1]))


def _axis_names(axes: np.ndarray) -> str:
    rows = axes[:3, :3].T
    names = ["xyz"[int(np.abs(row).argmax())] for row in rows]
    signs = ["-" if row.sum() < 0 else "" for row in rows]
    return ", ".join(s + n for s, n in zip(signs, names, strict=True))


# --- images ------------------------------------------------------------------------

_TURNS = {
    "mirrored left to right": lambda u, v: (1 - u, v),
    "mirrored top to bottom": lambda u, v: (u, 1 - v),
    "turned by 180 degrees": lambda u, v: (1 - u, 1 - v),
    "transposed": lambda u, v: (v, u),
    "turned by 90 degrees": lambda u, v: (v, 1 - u),
    "turned by 270 degrees": lambda u, v: (1 - v, u),
    "transposed and turned by 180 degrees": lambda u, v: (1 - v, 1 - u),
}


def _turned(points: np.ndarray, view: View, turn: Callable) -> np.ndarray:
    size = np.array(view.size, float)
    u, v = ((points + 0.5) / size).T
    return np.stack(turn(u, v), 1) * size - 0.5


def orientation_hypotheses() -> Iterator[Hypothesis]:
    """Images that lie otherwise than their depth maps."""
    for name, turn in _TURNS.items():
        yield Hypothesis(
            "image and depth turned",
            f"the images are {name} against their depth maps (a viewer that obeys the "
            "orientation tag, or arrays written column by column): write both in one "
            "orientation",
            lambda s, t=turn: replace(
                s,
                points0=_turned(s.points0, s.view0, t),
                points1=_turned(s.points1, s.view1, t),
            ),
        )


ViewOf = Callable[[str, int], View | None]


def image_hypotheses(
    view_of: ViewOf | None = None, frames_of: Callable[[str], int] | None = None
) -> Iterator[Hypothesis]:
    """Images that belong to the depth and pose of another frame.

    view_of: gives a scene's frame by number; None where only pairs are known.
    """
    yield Hypothesis(
        "images swapped",
        "image 0 and image 1 of the pairs are exchanged against their depth and pose: "
        "exchange the images, or the depths, poses and K",
        lambda s: replace(s, points0=s.points1, points1=s.points0),
        rank=0,
    )
    if view_of is None or frames_of is None:
        return
    moves: dict[str, Callable[[int, int], int]] = {
        "the colour images of frames 0 and 1, 2 and 3, ... are exchanged": (
            lambda k, n: k ^ 1
        ),
        "the colour images of frames 1 and 2, 3 and 4, ... are exchanged": (
            lambda k, n: ((k + 1) ^ 1) - 1
        ),
        "the colour images run in the reverse order of depths and poses": (
            lambda k, n: n - 1 - k
        ),
    }
    for d in (1, -1, 2, -2, 3, -3, 4, -4, 5, -5):
        late = "later" if d > 0 else "earlier"
        words = f"colour images belong to depths and poses {abs(d)} frames {late}"
        moves[words] = lambda k, n, d=d: k + d
    for words, move in moves.items():
        yield Hypothesis(
            "images swapped",
            words + ": pair the files up again",
            lambda s, m=move: _of_other_frames(s, m, view_of, frames_of),
            rank=1,
        )


def _of_other_frames(
    sample: Sample,
    move: Callable[[int, int], int],
    view_of: ViewOf,
    frames_of: Callable[[str], int],
) -> Sample | None:
    views = []
    for view in (sample.view0, sample.view1):
        other = view_of(view.scene, move(view.frame, frames_of(view.scene)))
        if other is None or other.size != view.size:
            return None
        views.append(other)
    moved = replace(sample, view0=views[0], view1=views[1])
    return moved.with_poses(views[0].pose, views[1].pose)


# --- numbers that are searched for -------------------------------------------------


def scaled_K(sample: Sample, factor: float, whole: bool = True) -> Sample:
    """K of images ``factor`` times as large; not ``whole``: focal lengths only."""
    by = np.diag([factor, factor, 1.0])

    def changed(view: View) -> View:
        K = by @ view.K
        if not whole:
            K[:2, 2] = view.K[:2, 2]
        return replace(view, K=K)

    return replace(sample, view0=changed(sample.view0), view1=changed(sample.view1))


def scaled_depth(sample: Sample, factor: float) -> Sample:
    """Depths multiplied by ``factor``."""
    return replace(sample, unit0=factor * sample.unit0, unit1=factor * sample.unit1)


def other_depth(sample: Sample, make: Callable[[View], np.ndarray]) -> Sample:
    """Depth maps replaced by what ``make`` gives for each view."""
    views = [replace(v, depth=make(v)) for v in (sample.view0, sample.view1)]
    return replace(sample, view0=views[0], view1=views[1])


def along_ray(view: View) -> np.ndarray:
    """Depth along the optical axis from distances along each pixel's ray."""
    h, w = view.depth.shape
    y, x = np.mgrid[:h, :w] * float(view.step)
    rays = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(view.K).T
    return view.depth / np.linalg.norm(rays, axis=-1)


def inverse_depth(view: View) -> np.ndarray:
    """Depth from its inverse, 0 where unknown."""
    return np.where(view.depth > 0, 1 / np.maximum(view.depth, 1e-9), 0)


def search(
    samples: Sequence[Sample],
    change: Callable[[Sample, float], Sample],
    lowest: float,
    highest: float,
    steps: int = 49,
) -> tuple[float, float]:
    """The factor, searched between two bounds in equal ratios, with least error.

    Returns:
        The factor and the pooled error in pixels.
    """
    low, high = np.log(lowest), np.log(highest)
    best, least = 1.0, np.inf
    for _ in range(4):
        factors = np.exp(np.linspace(low, high, steps))
        found = [pooled(samples, lambda s, f=f: change(s, f)) for f in factors]
        k = int(np.argmin(found))
        if found[k] < least:
            best, least = float(factors[k]), found[k]
        width = (high - low) / (steps - 1) * 1.5
        low, high, steps = np.log(best) - width, np.log(best) + width, 9
    return best, least
