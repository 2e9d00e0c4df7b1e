"""Camera poses that look at a cluttered place from near, far, left and right.

A pose is camera to world, 4x4: x right, y down, z forward, as in ScanNet.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .render import Camera, Scene, depth_only
from .shapes import Box


@dataclass(frozen=True)
class _View:
    """A viewpoint on a circle about a target; radians and metres."""

    azimuth: float
    distance: float
    height: float
    roll: float
    aim: np.ndarray


def look_at(center: np.ndarray, target: np.ndarray, roll: float) -> np.ndarray:
    """Pose (4, 4), camera to world, of a camera that looks at ``target``."""
    forward = (target - center) / np.linalg.norm(target - center)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    c, s = np.cos(roll), np.sin(roll)
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1] = c * right + s * down, c * down - s * right
    pose[:3, 2], pose[:3, 3] = forward, center
    return pose


def intrinsics(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """K (3, 3) of a camera that sees 55 to 65 degrees along the longer side."""
    w, h = size
    focal = max(size) / 2 / np.tan(np.deg2rad(rng.uniform(55, 65)) / 2)
    stretch = 1 + rng.normal(0, 0.003)
    cx, cy = (np.array([w, h]) - 1) / 2 + rng.normal(0, 0.01, 2) * size
    K = np.array([[focal, 0, cx], [0, focal * stretch, cy], [0, 0, 1]])
    # Index files hold K in float32 or as text: round it, so that they are exact.
    return K.astype(np.float32).astype(np.float64)


def camera_path(
    scene: Scene,
    cameras: list[tuple[np.ndarray, tuple[int, int]]],
    rng: np.random.Generator,
    targets: int = 2,
) -> list[Camera]:
    """One camera for each (K, size), in runs that look at the same target.

    About every second pose stays near an earlier one (narrow baselines), the
    others are drawn anew: up to 68 degrees apart, up to 1.9 times as far. Roll is
    that of a camera held by hand, at most 10 degrees in a new view.
    """
    runs = np.array_split(np.arange(len(cameras)), targets)
    path: list[Camera] = []
    for run in runs:
        path += _run(scene, [cameras[n] for n in run], rng)
    return path


def _run(
    scene: Scene,
    cameras: list[tuple[np.ndarray, tuple[int, int]]],
    rng: np.random.Generator,
) -> list[Camera]:
    for _ in range(50):
        target = _target(scene, rng)
        base = np.arctan2(-target[1], -target[0]) + rng.normal(0, 0.4)
        views: list[_View] = []
        path: list[Camera] = []
        for K, size in cameras:
            view, camera = _place(scene, K, size, target, base, views, rng)
            if camera is None:
                break
            views.append(view)
            path.append(camera)
        if len(path) == len(cameras):
            return path
    raise RuntimeError("no free viewpoints in this scene")


def _target(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """A place among the furniture, away from the room's middle."""
    room = scene.shapes[0].half
    shape = scene.shapes[rng.integers(1, len(scene.shapes))]
    target = shape.center + rng.normal(0, 0.15, 3)
    target[2] = np.clip(target[2], 0.6, 1.5)
    return np.clip(target, [-room[0], -room[1], 0], [room[0], room[1], 9])


def _place(
    scene: Scene,
    K: np.ndarray,
    size: tuple[int, int],
    target: np.ndarray,
    base: float,
    views: list[_View],
    rng: np.random.Generator,
) -> tuple[_View | None, Camera | None]:
    for _ in range(40):
        if views and rng.random() < 0.5:
            view = _near(views[rng.integers(len(views))], rng)
        else:
            view = _fresh(target, base, rng)
        reach = view.distance * np.array([np.cos(view.azimuth), np.sin(view.azimuth)])
        center = np.array([*(target[:2] + reach), view.height])
        pose = look_at(center, view.aim, view.roll)
        camera = Camera(K, np.round(pose, 9), size)
        if _is_free(scene, camera):
            return view, camera
    return None, None


def _fresh(target: np.ndarray, base: float, rng: np.random.Generator) -> _View:
    return _View(
        azimuth=base + np.deg2rad(rng.uniform(-34, 34)),
        distance=np.exp(rng.uniform(np.log(1.6), np.log(3.0))),
        height=rng.uniform(0.8, 2.1),
        roll=np.deg2rad(np.clip(rng.normal(0, 3), -10, 10)),
        aim=target + rng.normal(0, 0.2, 3),
    )


def _near(view: _View, rng: np.random.Generator) -> _View:
    return replace(
        view,
        azimuth=view.azimuth + np.deg2rad(rng.normal(0, 6)),
        distance=view.distance * np.exp(rng.normal(0, 0.08)),
        height=np.clip(view.height + rng.normal(0, 0.1), 0.7, 2.2),
        roll=view.roll + np.deg2rad(rng.normal(0, 2)),
        aim=view.aim + rng.normal(0, 0.12, 3),
    )


def _is_free(scene: Scene, camera: Camera) -> bool:
    """Inside the room, outside every shape, and nothing close before the lens."""
    room = scene.shapes[0]
    if (np.abs(camera.center - room.center) > room.half - 0.2).any():
        return False
    for shape in scene.shapes[1:]:
        way = camera.center - shape.center
        if isinstance(shape, Box):
            apart = np.abs(shape.axes @ way) - shape.half
            if (apart < 0.15).all():
                return False
        elif np.linalg.norm(way) < shape.radius + 0.15:
            return False
    depth = depth_only(scene, camera, step=max(camera.size) // 24)
    return np.percentile(depth, 5) > 0.5 and np.median(depth) > 1.0
