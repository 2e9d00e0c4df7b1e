"""How much two views with depth show of the same surface, and an index from it.

Training needs pairs that see the same thing from different places. The released
ScanNet index scores each pair by the share of surface both images show, and so
does this: a pixel counts when it lands inside the other image on a surface at
its own depth, to 15 percent. A wall that hides it fails the depth test.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..files import (
    read_depth_png,
    read_intrinsics_txt,
    read_pose_txt,
    require_file,
    safe_load,
    save_npz,
    write_whole,
)
from ..geometry import check_intrinsics, relative_pose

SCENE_NAME = re.compile(r"scene(\d{4})_(\d{2})$")
DEPTH_AGREEMENT = 0.15  # relative; the tolerance behind the released scores
CELL = 8  # pixels between the depths that an index compares


def pair_overlap(
    depth0: np.ndarray,
    depth1: np.ndarray,
    K0: np.ndarray,
    K1: np.ndarray,
    T_0to1: np.ndarray,
    step: int = 8,
) -> float:
    """Share of the surface that both views show, in [0, 1].

    Every ``step``-th pixel with depth is moved into the other view; it counts
    when it lands inside, on a depth within 15 percent of its own. The result is
    the mean of both directions, so swapping the views does not change it.

    Args:
        depth0, depth1: (H, W) metres, 0 or not finite = unknown.
        K0, K1: (3, 3) in pixels of the depth maps.
        T_0to1: (4, 4) camera 0 to camera 1, metres.

    Returns:
        0.0 when either view has no depth at all.
    """
    T_0to1 = np.asarray(T_0to1, np.float64)
    forth = _seen(depth0, depth1, K0, K1, T_0to1, step)
    back = _seen(depth1, depth0, K1, K0, np.linalg.inv(T_0to1), step)
    return float(forth + back) / 2


def _seen(
    here: np.ndarray,
    there: np.ndarray,
    K_here: np.ndarray,
    K_there: np.ndarray,
    T: np.ndarray,
    step: int,
) -> float:
    """Share of known grid points of ``here`` that ``there`` shows as well."""
    y, x = np.mgrid[0 : here.shape[0] : step, 0 : here.shape[1] : step]
    z = here[y, x]
    known = np.isfinite(z) & (z > 0)
    if not known.any():
        return 0.0
    pixels = np.stack([x[known], y[known], np.ones(known.sum())])
    points = np.linalg.inv(K_here) @ pixels * z[known]
    points = T[:3, :3] @ points + T[:3, 3:]
    points = points[:, points[2] > 0]
    u, v, w = np.asarray(K_there, np.float64) @ points
    u, v = np.rint(u / w), np.rint(v / w)
    height, width = there.shape
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    seen = there[v[inside].astype(int), u[inside].astype(int)]
    # Unknown depth there (0) never agrees: the tolerance is a share of it.
    agree = np.abs(points[2, inside] - seen) < DEPTH_AGREEMENT * seen
    return agree.sum() / known.sum()


@dataclass(frozen=True)
class SceneReport:
    """What became of one scene: written into ``report.json`` beside the index.

    frames: frames in use. left_out: a line for each frame that is not, with its
    file and what is wrong (ScanNet writes -inf poses where tracking was lost).
    compared: pairs looked at. pairs: those that overlap enough.
    """

    scene: str
    frames: int
    left_out: tuple[str, ...]
    compared: int
    pairs: int


def build_scannet_index(
    root: Path,
    out: Path,
    max_gap: int = 40,
    min_overlap: float = 0.1,
    every: int = 1,
    intrinsics: Path | None = None,
    progress: Callable[[SceneReport], None] | None = None,
) -> Path:
    """Write the pair index of a folder of ScanNet scenes that has none.

    One ``sceneXXXX_YY.npz`` a scene with ``name`` (N, 4): scene, sub-scene,
    frame 0, frame 1, and ``score`` (N,): :func:`pair_overlap`. Each depth image
    is read once. A frame with a missing or damaged file, or a pose that is not
    finite, is left out and listed in ``report.json``.

    Args:
        root: holds ``sceneXXXX_YY/{color,depth,pose}``.
        out: folder to write; files appear whole or not at all.
        max_gap: frames compared with each frame, counted in usable frames and
            not in ids: the cost grows with frames x max_gap, not frames squared.
        min_overlap: pairs below are not written.
        every: use every n-th usable frame (a video at 30 Hz repeats itself).
        intrinsics: npz keyed by scene; None reads
            ``<scene>/intrinsic/intrinsic_depth.txt``.
        progress: called with the report of each finished scene.

    Returns:
        ``out``.

    Raises:
        DataError: no scene folders, impossible intrinsics, or no pair overlaps
            enough; the message then holds the first frame that was left out.
    """
    root, out = Path(root), Path(out)
    scenes = scene_folders(root)
    out.mkdir(parents=True, exist_ok=True)
    reports = []
    for scene in scenes:
        K = _depth_intrinsics(scene, intrinsics)
        report, name, score = _index_scene(scene, K, max_gap, min_overlap, every)
        if len(name):
            save_npz(out / f"{scene.name}.npz", name=name, score=score)
        reports.append(report)
        if progress:
            progress(report)
    _require_pairs(root, reports, min_overlap)
    text = json.dumps([asdict(r) for r in reports], indent=1)
    write_whole(out / "report.json", lambda f: f.write(text.encode()))
    return out


def scene_folders(root: Path) -> list[Path]:
    """Folders ``sceneXXXX_YY`` directly inside ``root``, sorted.

    Raises:
        DataError: ``root`` is missing or holds none.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"{root} is no folder: expected sceneXXXX_YY folders in it")
    found = sorted(p for p in root.iterdir() if SCENE_NAME.match(p.name) and p.is_dir())
    if not found:
        raise DataError(
            f"{root} holds no folder named like scene0707_00 (four digits, an "
            "underscore, two digits), each with color, depth and pose"
        )
    return found


def _require_pairs(root: Path, reports: list[SceneReport], min_overlap: float) -> None:
    if any(r.pairs for r in reports):
        return
    left_out = [line for r in reports for line in r.left_out]
    raise DataError(
        f"{root}: no pair of frames overlaps by {min_overlap} or more "
        f"({sum(r.frames for r in reports)} frames in use, {len(left_out)} left "
        f"out{': ' + left_out[0] if left_out else ''}). Check that poses are camera "
        "to world and depth is in millimetres"
    )


@dataclass
class _Frame:
    number: int
    from_world: np.ndarray  # (4, 4)
    depth: np.ndarray  # (h, w) metres at every CELL-th pixel


def _index_scene(
    scene: Path, K: np.ndarray, max_gap: int, min_overlap: float, every: int
) -> tuple[SceneReport, np.ndarray, np.ndarray]:
    # On a map of every CELL-th pixel, K shrinks by CELL and corners stay put.
    K = np.diag([1 / CELL, 1 / CELL, 1.0]) @ K
    rows, scores, left_out = [], [], []
    frames = compared = 0
    window: deque[_Frame] = deque(maxlen=max_gap)
    for frame in _frames(scene, every, left_out):
        for other in window:
            T = relative_pose(other.from_world, frame.from_world)
            overlap = pair_overlap(other.depth, frame.depth, K, K, T, step=1)
            if overlap >= min_overlap:
                rows.append((other.number, frame.number))
                scores.append(overlap)
        compared += len(window)
        frames += 1
        window.append(frame)
    name = _names(scene, np.array(rows, np.int64).reshape(-1, 2))
    report = SceneReport(scene.name, frames, tuple(left_out), compared, len(rows))
    return report, name, np.array(scores, np.float32)


def _frames(scene: Path, every: int, left_out: list[str]) -> Iterator[_Frame]:
    """Every n-th usable frame in order of its number, each file read once."""
    files = [p for p in (scene / "pose").glob("*.txt") if p.stem.isdigit()]
    if not files:
        raise DataError(f"{scene / 'pose'} holds no pose files like 0.txt")
    usable = 0
    for path in sorted(files, key=lambda p: int(p.stem)):
        try:
            pose = read_pose_txt(path)
            require_file(scene / "color" / f"{path.stem}.jpg")
            if usable % every == 0:
                depth = read_depth_png(scene / "depth" / f"{path.stem}.png")
                grid = np.ascontiguousarray(depth[::CELL, ::CELL])
                yield _Frame(int(path.stem), np.linalg.inv(pose), grid)
            usable += 1
        except DataError as error:
            left_out.append(str(error))


def _names(scene: Path, frames: np.ndarray) -> np.ndarray:
    """(N, 4) scene, sub-scene, frame 0, frame 1; uint16 as released, if it fits."""
    number, sub = (int(g) for g in SCENE_NAME.match(scene.name).groups())
    head = np.broadcast_to([number, sub], (len(frames), 2))
    name = np.concatenate([head, frames], axis=1)
    fits = name.size == 0 or name.max() <= np.iinfo(np.uint16).max
    return name.astype(np.uint16 if fits else np.int32)


def _depth_intrinsics(scene: Path, intrinsics: Path | None) -> np.ndarray:
    if intrinsics is None:
        return read_intrinsics_txt(scene / "intrinsic" / "intrinsic_depth.txt")
    table = safe_load(intrinsics, keys=[scene.name])
    if scene.name not in table:
        raise DataError(f"{intrinsics} has no intrinsics of {scene.name}")
    return check_intrinsics(table[scene.name], f"{intrinsics}[{scene.name}]")
