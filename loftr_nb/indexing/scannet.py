"""The pair index of bare ScanNet scenes: neighbours in time, all that overlap.

What a folder of scenes gets by itself when it is opened for training without an
index. :func:`build_index` also finds returns to a place, balances and divides.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..files import read_intrinsics_txt, safe_load, write_whole
from ..geometry import check_intrinsics
from ..recordings.scannet import SCENE_NAME, ScanNetScene
from .grids import read_grids
from .report import SceneReport
from .score import score_pairs
from .write import write_scannet


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
    scenes = [_Scene(folder, intrinsics) for folder in scene_folders(root)]
    out.mkdir(parents=True, exist_ok=True)
    reports = []
    for scene in scenes:
        report, frames, score = _index_scene(scene, max_gap, min_overlap, every)
        if len(frames):
            write_scannet(out / f"{scene.name}.npz", scene.name, frames, score)
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


class _Scene(ScanNetScene):
    """A scene whose K may come from a table of all scenes."""

    def __init__(self, folder: Path, intrinsics: Path | None) -> None:
        super().__init__(folder)
        self.table_K = _depth_intrinsics(folder, intrinsics)

    def K(self, k: int) -> np.ndarray:
        """(3, 3) float64, of the depth camera."""
        return self.table_K


def _depth_intrinsics(scene: Path, intrinsics: Path | None) -> np.ndarray:
    if intrinsics is None:
        return read_intrinsics_txt(scene / "intrinsic" / "intrinsic_depth.txt")
    table = safe_load(intrinsics, keys=[scene.name])
    if scene.name not in table:
        raise DataError(f"{intrinsics} has no intrinsics of {scene.name}")
    return check_intrinsics(table[scene.name], f"{intrinsics}[{scene.name}]")


def _index_scene(
    scene: ScanNetScene, max_gap: int, min_overlap: float, every: int
) -> tuple[SceneReport, np.ndarray, np.ndarray]:
    """The report, frame numbers (N, 2) and scores (N,) of the pairs to write."""
    grids, left_out = read_grids(scene, every=every)
    pairs = _window(len(grids), max_gap)
    overlap = score_pairs(grids, pairs).mean(1)
    enough = overlap >= min_overlap
    numbers = np.array([int(scene.frames[k]) for k in grids.number], np.int64)
    report = SceneReport(
        scene.name, len(grids), left_out, len(pairs), int(enough.sum())
    )
    return report, numbers[pairs[enough]], overlap[enough]


def _window(frames: int, max_gap: int) -> np.ndarray:
    """Pairs (N, 2) of up to ``max_gap`` apart, by their second frame."""
    second, gap = np.mgrid[0:frames, -max_gap:0]
    first = second + gap
    return np.stack([first, second], axis=-1)[first >= 0]


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
