"""How a colour camera is turned against its depth camera, from a recording itself.

Corresponding points of two colour images, found in the images alone, have to land
on one another when they are moved by depth, pose and the rig. What is left over is
made small over the rotation between the two cameras: three numbers, from thousands
of points. Offset and focal length stay as documented: from motions of a hand-held
camera they come out with errors larger than what is known of them.

Letters: N correspondences, over all pairs of frames and both directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from ...recordings import Scene
from ..geometry.correspond import LEAST, correspond, detect
from .register import Rig

RUNS, RUN = 4, 12  # frames looked at: evenly placed runs of neighbours
SOURCE_STEP = 10  # source frames between neighbours, a third of a second
GAPS = (1, 2, 4, 8)
FOLDS = 3
SOFT = 2.0  # pixels at which a residual begins to count less (Cauchy)
STEPS = 15
_SMOOTH = 1.03  # depths around a point differ by less: no edge of an object there


@dataclass(frozen=True)
class Correspondences:
    """Points that show the same in two frames of a recording.

    points, there: (N, 2) pixels in the first and the second colour image.
    frame: (N,) row of ``depth``. pair: (N,) number of the pair. motion: (N, 4, 4),
    depth camera of the first frame to that of the second.
    depth: (F, H, W) metres.
    """

    points: np.ndarray
    there: np.ndarray
    frame: np.ndarray
    pair: np.ndarray
    motion: np.ndarray
    depth: np.ndarray


@dataclass(frozen=True)
class Calibration:
    """A rig fitted to a recording, and what it is worth.

    rig: fitted to all pairs where fits to two thirds of them are better on the last
    third, whichever that is; the documented one otherwise (``fitted`` says which).
    before, after: typical distance in pixels on pairs held out of the fit. pairs: in
    all.
    """

    rig: Rig
    fitted: bool
    before: float
    after: float
    pairs: int

    def __str__(self) -> str:
        if not self.fitted:
            return (
                "registered with the documented rig: fitting it to these frames "
                f"({self.pairs} pairs) does not make it better for sure"
            )
        turn = Rotation.from_matrix(self.rig.T_depth_to_colour[:3, :3])
        degrees = ", ".join(f"{d:.2f}" for d in np.degrees(turn.as_rotvec()))
        return (
            f"registered with a rig fitted to these frames: turned by ({degrees}) "
            f"degrees; on pairs held out of the fit, points land {self.after:.2f} px "
            f"off, {self.before:.2f} px with the documented rig"
        )


def calibrate(scenes: Sequence[Scene], rig: Rig) -> Calibration:
    """Fit the rotation of a rig to recordings that were made with it.

    Each third of the pairs is held out once, and has to come out better by a fit to
    the others.

    Args:
        scenes: colour, and depth that is not registered to it.
        rig: where to start from; its offset and K are kept.

    Raises:
        DataError: a frame is unusable; the message names its file.
    """
    found = _gather([c for scene in scenes if (c := find_points(scene)) is not None])
    pairs = 0 if found is None else int(found.pair.max()) + 1
    if pairs < 3 * FOLDS:
        return Calibration(rig, False, np.nan, np.nan, pairs)
    errors = []
    for fold in range(FOLDS):
        held = found.pair % FOLDS == fold
        judge, fitted = _rows(found, held), _fit(_rows(found, ~held), rig)
        errors.append([typical_error(judge, r) for r in (rig, fitted)])
    before, after = np.mean(errors, axis=0)
    better = all(with_fit < without for without, with_fit in errors)
    used = _fit(found, rig) if better else rig
    return Calibration(used, better, float(before), float(after), pairs)


def find_points(scene: Scene) -> Correspondences | None:
    """Correspondences of a scene, both directions of each pair; None without any."""
    runs = _runs(scene)
    used = sorted({k for run in runs for k in run})
    row = {k: n for n, k in enumerate(used)}
    keypoints = {k: detect(scene.image(k)) for k in used}
    poses = [np.linalg.inv(scene.world_to_camera(k)) for k in used]
    parts, pair = [], 0
    for run in runs:
        for gap in GAPS:
            for a, b in zip(run, run[gap:], strict=False):
                p, q = correspond(keypoints[a], keypoints[b])
                if len(p) < LEAST:
                    continue
                motion = np.linalg.inv(poses[row[b]]) @ poses[row[a]]
                back = np.linalg.inv(motion)
                parts += [(p, q, row[a], pair, motion), (q, p, row[b], pair, back)]
                pair += 1
    if not parts:
        return None
    counts = [len(part[0]) for part in parts]
    points, there, frame, number, motion = zip(*parts, strict=True)
    return Correspondences(
        points=np.concatenate(points),
        there=np.concatenate(there),
        frame=np.repeat(frame, counts),
        pair=np.repeat(number, counts),
        motion=np.repeat(np.array(motion), counts, axis=0),
        depth=np.stack([scene.depth(k) for k in used]),
    )


def typical_error(found: Correspondences, rig: Rig) -> float:
    """How far from where they are points land, in pixels.

    The geometric mean over pairs of each pair's median: a pair whose poses are wrong
    says nothing of the rig, and must not decide.
    """
    off, known = residuals(found, rig)
    distance = np.linalg.norm(off, axis=1)
    medians = [
        np.median(distance[rows])
        for pair in np.unique(found.pair)
        if (rows := known & (found.pair == pair)).sum() >= LEAST // 2
    ]
    return float(np.exp(np.mean(np.log(medians)))) if medians else np.nan


def residuals(found: Correspondences, rig: Rig) -> tuple[np.ndarray, np.ndarray]:
    """How far from ``there`` the points land, (N, 2) pixels, and where that is known.

    Depth at a colour pixel is where its ray meets the depth map: found by going to
    and fro between ray and map, which a smooth surface settles in a few rounds.
    """
    T = rig.T_depth_to_colour
    back = np.linalg.inv(T)
    ones = np.ones((len(found.points), 1))
    rays = np.hstack([found.points, ones]) @ np.linalg.inv(rig.K_colour).T
    z = np.full(len(rays), 2.0)
    for _ in range(5):
        at = _apply(back, rays * z[:, None])
        pixel = at[:, :2] / at[:, 2:] * rig.K_depth[[0, 1], [0, 1]] + rig.K_depth[:2, 2]
        depth, known = _bilinear(found.depth, found.frame, pixel)
        surface = np.hstack([pixel, ones]) @ np.linalg.inv(rig.K_depth).T
        z = np.where(known, _apply(T, surface * depth[:, None])[:, 2], z)
    here = _apply(back, rays * z[:, None])
    there = np.einsum("nij,nj->ni", found.motion[:, :3, :3], here)
    there = _apply(T, there + found.motion[:, :3, 3])
    known &= there[:, 2] > 0
    ahead = np.where(there[:, 2:] > 0, there[:, 2:], 1.0)
    landed = (there / ahead) @ rig.K_colour.T
    return landed[:, :2] - found.there, known


def _fit(found: Correspondences, rig: Rig) -> Rig:
    """Gauss-Newton over a small rotation, points far off weighing little."""
    delta = 1e-3  # radians, half a pixel: smaller ones drown in rounded depth
    for _ in range(STEPS):
        off, known = residuals(found, rig)
        slopes = []
        for axis in np.eye(3):
            ahead, known_ahead = residuals(found, _turned(rig, delta * axis))
            behind, known_behind = residuals(found, _turned(rig, -delta * axis))
            known = known & known_ahead & known_behind
            slopes.append((ahead - behind) / (2 * delta))
        J, e = np.stack(slopes, -1)[known], off[known]
        weight = 1 / (1 + (e**2).sum(1) / SOFT**2)
        A = np.einsum("nij,n,nik->jk", J, weight, J)
        b = np.einsum("nij,n,ni->j", J, weight, e)
        step = -np.linalg.lstsq(A, b, rcond=None)[0]
        rig = _turned(rig, np.clip(step, -0.01, 0.01))
        if np.abs(step).max() < 1e-5:
            break
    return rig


def _turned(rig: Rig, turn: np.ndarray) -> Rig:
    T = rig.T_depth_to_colour.copy()
    T[:3, :3] = Rotation.from_rotvec(turn).as_matrix() @ T[:3, :3]
    return replace(rig, T_depth_to_colour=T)


def _apply(T: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ T[:3, :3].T + T[:3, 3]


def _bilinear(
    depth: np.ndarray, frame: np.ndarray, pixel: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Depth between four pixels, and whether all four lie on one surface."""
    h, w = depth.shape[1:]
    corner = np.floor(np.nan_to_num(pixel, nan=-1.0))
    known = (corner >= 0).all(1) & (corner[:, 0] < w - 1) & (corner[:, 1] < h - 1)
    x, y = np.where(known[:, None], corner, 0).astype(int).T
    four = np.stack([depth[frame, y + j, x + i] for j in (0, 1) for i in (0, 1)])
    known &= (four.min(0) > 0) & (four.max(0) < _SMOOTH * four.min(0))
    a, b = np.where(known[:, None], pixel - corner, 0).T
    shares = np.stack([(1 - a) * (1 - b), a * (1 - b), (1 - a) * b, a * b])
    return (four * shares).sum(0), known


def _runs(scene: Scene) -> list[list[int]]:
    """Runs of frames about ``SOURCE_STEP`` apart, over the whole scene."""
    numbers = [int(name.rpartition("-")[2]) for name in scene.frames]
    between = max(1, round(float(np.median(np.diff(numbers)))) if numbers[1:] else 1)
    frames = list(range(0, len(scene), max(1, SOURCE_STEP // between)))
    if len(frames) <= RUNS * RUN:
        return [frames]
    starts = np.linspace(0, len(frames) - RUN, RUNS).round().astype(int)
    return [frames[s : s + RUN] for s in starts]


def _rows(found: Correspondences, rows: np.ndarray) -> Correspondences:
    names = ("points", "there", "frame", "pair", "motion")
    return replace(found, **{name: getattr(found, name)[rows] for name in names})


def _gather(parts: list[Correspondences]) -> Correspondences | None:
    if not parts:
        return None
    frames = np.cumsum([0, *(len(p.depth) for p in parts)])
    pairs = np.cumsum([0, *(p.pair.max() + 1 for p in parts)])
    return Correspondences(
        points=np.concatenate([p.points for p in parts]),
        there=np.concatenate([p.there for p in parts]),
        frame=np.concatenate(
            [p.frame + n for p, n in zip(parts, frames, strict=False)]
        ),
        pair=np.concatenate([p.pair + n for p, n in zip(parts, pairs, strict=False)]),
        motion=np.concatenate([p.motion for p in parts]),
        depth=np.concatenate([p.depth for p in parts]),
    )
