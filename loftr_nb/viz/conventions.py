"""The right reading of depth, pose and K beside the wrong ones.

Nothing on disk says whether a pose is world to camera, whether K belongs to the
image or to a copy of half its size, or whether depth is in millimetres. A picture
does: under the right reading, image 1 rebuilt from image 0 lies on image 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from ..datasets.images import resize_grey
from ..geometry import DepthMap, DepthWarp
from ..recordings import RawPair
from .places import Matches, shared_places, spread
from .rebuilt import grey_difference, overlay, rebuild
from .style import CHOSEN, INK, RIGHT, WRONG, Picture, draw_image

_WIDTH = 320  # pixels of the longer side that is drawn
_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Reading:
    """One way to read a pair's numbers: name, what it does, and the pair under it."""

    name: str
    detail: str
    pair: RawPair


def readings(
    pair: RawPair, poses: tuple[np.ndarray, np.ndarray] | None = None
) -> list[Reading]:
    """The pair as given, and the usual misreadings of it.

    poses: (4, 4) world to camera of both frames; with them, poses read in the
        wrong direction (camera to world) are among the misreadings.
    """
    T, turned = pair.T_0to1, np.linalg.inv(pair.T_0to1)
    found = [
        Reading("as given", "depth, pose and K", pair),
        Reading("pose backwards", "T_1to0 for T_0to1", _with(pair, T=turned)),
        Reading("OpenGL camera axes", "y up, z backwards", _with(pair, T=_gl(T))),
        Reading("K of half the size", "f and c times 0.5", _with(pair, K=0.5)),
        Reading("K of twice the size", "f and c times 2", _with(pair, K=2.0)),
        Reading("unit of depth", "10 times too large", _with(pair, unit=10)),
    ]
    if poses is not None:
        wrong = np.linalg.inv(poses[1]) @ poses[0]
        inverted = Reading("pose inverted", "camera to world", _with(pair, T=wrong))
        found[4] = inverted
    return found


def show_conventions(
    pair: RawPair,
    poses: tuple[np.ndarray, np.ndarray] | None = None,
    matches: Matches | None = None,
    title: str | None = None,
) -> Picture:
    """The right reading of a pair and the wrong ones, side by side.

    Each panel lays image 1, rebuilt from image 0 through depth, pose and K, over
    image 1: grey where both agree, orange and blue where they do not. Rings are
    places in image 1 that image 0 shows too, found in the images alone; a line
    leads from each to where the reading puts it.

    Args:
        pair: two frames as stored.
        poses: world to camera of both frames, (4, 4) each: adds the reading of
            poses in the wrong direction.
        matches: (N, 2) and (N, 2) pixels of the stored images that show the same
            places; None finds some with SIFT.

    The panel whose points land nearest has the blue frame. It need not be the one
    "as given": then that is what is wrong with the data.
    """
    if matches is None:
        matches = shared_places(pair.image0, pair.image1)
    tried = readings(pair, poses)
    scored = [_score(r.pair, matches) for r in tried]
    best = _best(scored)
    h, w = _shown_size(pair.depth1.shape)
    picture = Picture(10.0, 2 * (2.35 * h / w + 0.5) + 0.5)
    axes = picture.subplots(2, 4).ravel()
    _draw_views(axes[:2], pair, matches)
    for n, (ax, reading) in enumerate(zip(axes[2:], tried, strict=True)):
        mark = "wrong" if n != best else _mark(best, scored[n], pair)
        _draw_reading(ax, reading, scored[n], matches, mark)
    return picture.titled(title or _headline(tried, best, scored, pair))


def _with(
    pair: RawPair, T: np.ndarray | None = None, K: float = 1.0, unit: float = 1.0
) -> RawPair:
    by = np.diag([K, K, 1.0])
    return replace(
        pair,
        T_0to1=pair.T_0to1 if T is None else T,
        K0=by @ pair.K0,
        K1=by @ pair.K1,
        depth0=pair.depth0 * np.float32(unit),
        depth1=pair.depth1 * np.float32(unit),
    )


def _gl(T: np.ndarray) -> np.ndarray:
    return _OPENGL @ T @ _OPENGL


def _mark(best: int, score: tuple[float, float], pair: RawPair) -> str:
    """What the best reading is called: it may be the best of a bad lot."""
    if _far_off(score, pair):
        return "nearest"
    return "right" if best == 0 else "fits"


def _far_off(score: tuple[float, float], pair: RawPair) -> bool:
    """Whether points land too far away for the reading to be right.

    5 px at 640x480, as in the geometry check. Without points nobody knows.
    """
    return score[0] > max(0.00625 * np.hypot(*pair.depth1.shape), 1.5)


def _headline(
    tried: list[Reading], best: int, scored: list[tuple], pair: RawPair
) -> str:
    if best < 0:
        return "No reading of depth, pose and K can be told from the others here"
    words = tried[best].name
    if _far_off(scored[best], pair):
        return f"None of these readings is right: '{words}' is the nearest"
    if best == 0:
        return "Only one reading lays the images together: depth, pose and K as given"
    return f"As given the images do not meet: '{words}' undone brings them together"


def _best(scored: list[tuple[float, float]]) -> int:
    """Least pixels; without correspondences least grey difference; -1: no answer."""
    pixels = np.array([p for p, _ in scored])
    if np.isfinite(pixels).any():
        return int(np.nanargmin(np.where(np.isfinite(pixels), pixels, np.inf)))
    grey = np.array([g for _, g in scored])
    return int(np.nanargmin(grey)) if np.isfinite(grey).any() else -1


def _shown_size(shape: tuple[int, int]) -> tuple[int, int]:
    """(h, w) of a panel, from the shape of a depth map."""
    factor = min(1.0, _WIDTH / max(shape))
    return max(round(shape[0] * factor), 1), max(round(shape[1] * factor), 1)


def _to_depth(points: np.ndarray, image: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Pixels of a stored image as pixels of its depth map, centres on whole numbers."""
    factor = np.array(depth.shape[::-1]) / image.shape[::-1]
    return (points + 0.5) * factor - 0.5


def _warp(pair: RawPair) -> DepthWarp:
    """From image 1 (as the warp's image 0) into image 0."""

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, np.float64))[None]

    return DepthWarp(
        DepthMap.full(tensor(pair.depth1)),
        DepthMap.full(tensor(pair.depth0)),
        tensor(pair.K1),
        tensor(pair.K0),
        tensor(np.linalg.inv(pair.T_0to1)),
    )


def _landed(pair: RawPair, points0: np.ndarray) -> np.ndarray:
    """(N, 2) pixels of depth map 1 where pixels of image 0 land; NaN: nowhere."""
    at = torch.from_numpy(_to_depth(points0, pair.image0, pair.depth0))[None]
    return _warp(pair).to0(at).points[0].numpy()


def _overlaid(pair: RawPair) -> tuple[torch.Tensor, float]:
    """Image 1 with its twin rebuilt from image 0, (h, w, 3), and their difference."""
    size = _shown_size(pair.depth1.shape)
    small = _shown_size(pair.depth0.shape)
    image1 = torch.from_numpy(resize_grey(pair.image1, size[::-1]))
    image0 = torch.from_numpy(resize_grey(pair.image0, small[::-1]))
    scale1 = np.array(pair.depth1.shape[::-1]) / size[::-1]
    scale0 = np.array(pair.depth0.shape[::-1]) / small[::-1]
    rebuilt = rebuild(
        _warp(pair),
        image0[None, None].double(),
        size,
        torch.from_numpy(scale1)[None],
        torch.from_numpy(scale0)[None],
    )[0]
    # Exposure differs between photos: the twin takes image 1's brightness.
    known = torch.isfinite(rebuilt)
    twin = rebuilt
    if known.sum() > 1:
        spread = image1.std() / rebuilt[known].std().clamp(min=1e-3)
        twin = (rebuilt - rebuilt[known].mean()) * spread + image1[known].mean()
    return overlay(image1, twin.clamp(0, 1).float()), grey_difference(
        image1.double(), rebuilt
    )


def _score(pair: RawPair, matches: Matches) -> tuple[float, float]:
    """Median pixels (of the depth map) that points land off, and grey difference."""
    _, grey = _overlaid(pair)
    if not len(matches[0]):
        return float("nan"), grey
    truth = _to_depth(matches[1], pair.image1, pair.depth1)
    off = np.linalg.norm(_landed(pair, matches[0]) - truth, axis=1)
    known = _landed(replace(pair, T_0to1=np.eye(4), K1=pair.K0), matches[0])
    off = off[np.isfinite(known).all(1)]
    # With depth and yet nowhere: behind the camera, as far off as can be.
    off = np.where(np.isnan(off), np.inf, off)
    return (float(np.median(off)) if off.size else float("nan")), grey


def _draw_views(axes: np.ndarray, pair: RawPair, matches: Matches) -> None:
    chosen = spread(matches[0])
    sides = (
        ("image 0", pair.image0, pair.depth0, matches[0]),
        ("image 1", pair.image1, pair.depth1, matches[1]),
    )
    for ax, (name, image, depth, points) in zip(axes, sides, strict=True):
        h, w = _shown_size(depth.shape)
        draw_image(ax, resize_grey(image, (w, h)))
        at = _on_panel(_to_depth(points[chosen], image, depth), depth.shape)
        ax.scatter(*at.T, s=30, fc="none", ec=CHOSEN, lw=1.6)
        _name(ax, name, f"{len(points)} places found in both", INK)


def _draw_reading(
    ax: Axes, reading: Reading, score: tuple[float, float], matches: Matches, mark: str
) -> None:
    pair, colour = reading.pair, WRONG if mark == "wrong" else RIGHT
    mixed, _ = _overlaid(pair)
    draw_image(ax, mixed)
    h, w = mixed.shape[:2]
    chosen = spread(matches[0])
    landed = _on_panel(_landed(pair, matches[0][chosen]), pair.depth1.shape)
    truth = _to_depth(matches[1][chosen], pair.image1, pair.depth1)
    truth = _on_panel(truth, pair.depth1.shape)
    known = np.isfinite(landed).all(1)
    lines = np.stack([truth, landed], 1)[known]
    ax.add_collection(LineCollection(lines, colors=CHOSEN, linewidths=1.2))
    ax.scatter(*truth.T, s=30, fc="none", ec=CHOSEN, lw=1.6)
    ax.scatter(*landed.T, s=9, c=CHOSEN, lw=0)
    ax.set_xlim(-0.5, w - 0.5)
    ax.set_ylim(h - 0.5, -0.5)
    if not torch.isfinite(torch.as_tensor(score[1])):
        ax.text(w / 2, h / 2, "nothing lands inside", ha="center", fontsize=9)
    for spine in ax.spines.values():
        spine.set(color=colour, linewidth=3)
    _name(ax, f"{mark}: {reading.name}", f"{reading.detail} · {_off(score)}", colour)


def _off(score: tuple[float, float]) -> str:
    pixels, grey = score
    if np.isfinite(pixels):
        return f"{pixels:.1f} px off" if pixels < 100 else f"{pixels:.0f} px off"
    if np.isinf(pixels):
        return "behind the camera"
    return "no answer" if np.isnan(grey) else f"grey {grey:.0%} off"


def _name(ax: Axes, name: str, detail: str, colour: str) -> None:
    ax.set_title(name, fontsize=9.5, color=colour, weight="bold")
    ax.set_xlabel(detail, fontsize=8.5, color=INK)
    ax.set_xticks([])
    ax.set_yticks([])


def _on_panel(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Pixels of a depth map as pixels of its panel."""
    size = _shown_size(shape)
    return (points + 0.5) * (np.array(size[::-1]) / shape[::-1]) - 0.5
