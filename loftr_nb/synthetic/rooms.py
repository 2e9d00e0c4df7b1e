"""A furnished room photographed from several places: what both writers write."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..geometry import relative_pose
from ..indexing import pair_overlap
from .cameras import camera_path, intrinsics
from .photometric import photograph, sensor_depth
from .render import Camera, render
from .scene import other_light, random_scene, room_lights
from .textures import load_photos

_LAYOUTS = {"scannet": 0, "megadepth": 1}
_SPLITS = {"train": 0, "test": 1}


@dataclass(frozen=True)
class Job:
    """One scene to render: which one, how many frames, of which sizes.

    sizes: (w, h) of each frame. one_camera: all frames share one K, as in a
    video, or every frame has its own, as in photographs of tourists.
    """

    layout: str
    split: str
    number: int
    seed: int
    sizes: tuple[tuple[int, int], ...]
    one_camera: bool

    def rng(self) -> np.random.Generator:
        """This scene's own random numbers, whoever renders it and when."""
        key = _LAYOUTS[self.layout], _SPLITS[self.split], self.number
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))


@dataclass(frozen=True)
class Shot:
    """A photograph (H, W, 3) uint8 RGB with its camera.

    depth: (H, W) float64 metres, exact and everywhere. sensed: the same with 0
    where the sensor saw nothing.
    """

    camera: Camera
    image: np.ndarray
    depth: np.ndarray
    sensed: np.ndarray


def shoot(job: Job) -> list[Shot]:
    """Build the room of ``job`` and photograph it."""
    rng = job.rng()
    scene = random_scene(load_photos(job.split), rng)
    lights = room_lights(scene, rng)
    if job.one_camera:
        lenses = [(intrinsics(job.sizes[0], rng), size) for size in job.sizes]
        lenses = [(lenses[0][0], size) for size in job.sizes]
    else:
        lenses = [(intrinsics(size, rng), size) for size in job.sizes]
    shots = []
    for camera in camera_path(scene, lenses, rng, 2 if job.one_camera else 1):
        frame = render(scene, camera, other_light(lights, rng))
        image = photograph(frame.color, rng)
        shots.append(Shot(camera, image, frame.depth, sensor_depth(frame, rng)))
    return shots


def motion(shot0: Shot, shot1: Shot) -> np.ndarray:
    """T_0to1 (4, 4) between two shots."""
    return relative_pose(
        np.linalg.inv(shot0.camera.pose), np.linalg.inv(shot1.camera.pose)
    )


def overlaps(shots: list[Shot]) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of frames (N, 2) and the share of surface both show (N,).

    From exact depth, with occlusion: holes of the sensor do not count.
    """
    first, second = np.triu_indices(len(shots), k=1)
    score = [
        pair_overlap(
            shots[i].depth,
            shots[j].depth,
            shots[i].camera.K,
            shots[j].camera.K,
            motion(shots[i], shots[j]),
        )
        for i, j in zip(first, second, strict=True)
    ]
    return np.stack([first, second], axis=1), np.array(score, np.float32)


def has_parallax(shot0: Shot, shot1: Shot, least: float = 0.1) -> bool:
    """Whether the baseline is over ``least`` of the depth seen.

    Below, the direction of translation means nothing, and a pose error counts it.
    """
    apart = np.linalg.norm(shot0.camera.center - shot1.camera.center)
    return apart > least * max(np.median(shot0.depth), np.median(shot1.depth))


def spread(
    score: np.ndarray, count: int, rng: np.random.Generator, bins: int = 6
) -> np.ndarray:
    """Choose up to ``count`` rows with overlaps spread evenly over 0.2 to 0.8."""
    edge = np.linspace(0.2, 0.8, bins + 1)
    bin_of = np.digitize(score, edge) - 1
    piles = [rng.permutation(np.flatnonzero(bin_of == b)).tolist() for b in range(bins)]
    chosen: list[int] = []
    while len(chosen) < count and any(piles):
        for pile in piles:
            if pile and len(chosen) < count:
                chosen.append(pile.pop())
    return np.array(sorted(chosen), np.int64)
