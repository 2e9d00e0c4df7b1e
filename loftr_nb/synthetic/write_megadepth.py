"""A scene in MegaDepth's layout: photographs of several sizes and h5 depth.

``Undistorted_SfM/0000/images/x.jpg``, ``phoenix/S6/zl548/MegaDepth_v1/0000/
dense0/depths/x.h5`` and ``index/<split>/0000_0.1_0.7.npz``.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from .rooms import Job, Shot, has_parallax, motion, overlaps, shoot
from .write_scannet import write_jpeg

TEST_SCENE = 1000  # number of the first test scene
OVERLAP = (0.1, 0.7)
SIZES = ((360, 240), (320, 240), (240, 320), (400, 300), (240, 360), (352, 264))
_UNUSED = 3  # every third slot of the index is empty, as in the released files


def scene_name(job: Job) -> str:
    """``0003`` for training, from ``1000`` on for testing."""
    return f"{job.number + (TEST_SCENE if job.split == 'test' else 0):04d}"


def write_scene(job: Job, root: Path) -> tuple[str, int]:
    """Render and write one scene and its index; returns its name and pairs."""
    shots = shoot(job)
    name, base = scene_name(job), root / job.split
    images = Path("Undistorted_SfM") / name / "images"
    depths = Path("phoenix/S6/zl548/MegaDepth_v1") / name / "dense0" / "depths"
    (base / images).mkdir(parents=True)
    (base / depths).mkdir(parents=True)
    slots = [n for n in range(2 * len(shots)) if n % _UNUSED != 1][: len(shots)]
    info = {
        key: np.full(slots[-1] + 2, None, object)
        for key in ("image_paths", "depth_paths", "intrinsics", "poses")
    }
    for n, (slot, shot) in enumerate(zip(slots, shots, strict=True)):
        stem = f"{7919 * (n + 1) % 99991:05d}_{name}_o"
        write_jpeg(base / images / f"{stem}.jpg", shot.image)
        _write_depth(base / depths / f"{stem}.h5", shot.sensed)
        info["image_paths"][slot] = (images / f"{stem}.jpg").as_posix()
        info["depth_paths"][slot] = (depths / f"{stem}.h5").as_posix()
        info["intrinsics"][slot] = shot.camera.K
        info["poses"][slot] = np.linalg.inv(shot.camera.pose)
    info["pair_infos"] = _pairs(shots, slots)
    index = root / "index" / job.split / f"{name}_{OVERLAP[0]}_{OVERLAP[1]}.npz"
    index.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(index, **info)
    return name, len(info["pair_infos"])


def _write_depth(path: Path, depth: np.ndarray) -> None:
    # Rounded to 1/4096 m: float32 noise in the last bits does not compress.
    depth = (np.round(depth * 4096) / 4096).astype(np.float32)
    with h5py.File(path, "w") as file:
        file.create_dataset("depth", data=depth, compression="gzip", shuffle=True)


def _pairs(shots: list[Shot], slots: list[int]) -> np.ndarray:
    """Object array of ((slot i, slot j), overlap, central match x0 y0 x1 y1)."""
    rows = []
    for (i, j), score in zip(*overlaps(shots), strict=True):
        if not OVERLAP[0] <= score <= OVERLAP[1]:
            continue
        if not has_parallax(shots[i], shots[j]):
            continue
        ends = np.array([slots[i], slots[j]])
        rows.append((ends, float(score), _central_match(shots[i], shots[j])))
    pairs = np.empty(len(rows), object)
    pairs[:] = rows
    return pairs


def _central_match(shot0: Shot, shot1: Shot) -> np.ndarray:
    """The match nearest the middle of what both images show, (4,) pixels."""
    w, h = shot0.camera.size
    y, x = (a.ravel() for a in np.mgrid[4:h:8, 4:w:8])
    z = shot0.depth[y, x]
    there = np.linalg.inv(shot0.camera.K) @ np.stack([x, y, np.ones(len(x))]) * z
    T = motion(shot0, shot1)
    there = T[:3, :3] @ there + T[:3, 3:]
    u, v, d = shot1.camera.K @ there
    u, v = u / d, v / d
    w, h = shot1.camera.size
    inside = (d > 0) & (u >= 0) & (u <= w - 1) & (v >= 0) & (v <= h - 1)
    x, y, u, v, d = (a[inside] for a in (x, y, u, v, d))
    seen = shot1.depth[np.rint(v).astype(int), np.rint(u).astype(int)]
    both = np.stack([x, y, u, v], axis=1)[np.abs(seen - d) < 0.05 * seen]
    away = np.abs(both[:, :2] - both[:, :2].mean(0)).sum(1)
    return both[away.argmin()]
