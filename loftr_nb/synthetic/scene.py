"""Random rooms: textured walls, pictures on them, furniture, balls and columns.

World axes: z is up, the floor is z = 0, the room's middle is x = y = 0; metres.
"""

from __future__ import annotations

import numpy as np

from .atlas import Atlas
from .render import Lights, Scene
from .shapes import FACES, Box, Cylinder, Skin, Sphere, Surface
from .textures import collage, picture

_WALL = (1024, 512)  # texels
_GROUND = (512, 512)
_OBJECT = (256, 256)


class _Builder:
    """Collects shapes and their textures, one new texture for every skin."""

    def __init__(
        self, photos: tuple[np.ndarray, ...], rng: np.random.Generator
    ) -> None:
        self.photos, self.rng = photos, rng
        self.textures: list[np.ndarray] = []
        self.shapes: list[Surface] = []

    def wall(self, size: tuple[int, int], length: float) -> Skin:
        """A large texture that spans ``length`` metres without repeating."""
        patches = int(self.rng.integers(5, 15))
        self.textures.append(collage(self.photos, size, patches, self.rng))
        return Skin(len(self.textures) - 1, size[0] / length, np.zeros((FACES, 2)))

    def object(self, length: float) -> Skin:
        """A texture for something about ``length`` metres large."""
        if self.rng.random() < 0.5:
            texture = collage(self.photos, _OBJECT, 4, self.rng)
        else:
            texture = picture(self.photos, _OBJECT, self.rng)
        self.textures.append(texture)
        density = _OBJECT[0] / length * self.rng.uniform(0.6, 1.1)
        offsets = self.rng.uniform(0, 2 * _OBJECT[0], (FACES, 2))
        solid = self.rng.random() > 0.06
        return Skin(len(self.textures) - 1, density, offsets, bool(solid))

    def poster(self, length: float) -> Skin:
        """One picture, as large as the thing it hangs on."""
        self.textures.append(picture(self.photos, _OBJECT, self.rng))
        density = _OBJECT[0] / length
        return Skin(len(self.textures) - 1, density, np.zeros((FACES, 2)))


def random_scene(photos: tuple[np.ndarray, ...], rng: np.random.Generator) -> Scene:
    """A furnished room, another one for every state of ``rng``."""
    build = _Builder(photos, rng)
    room = np.array([*rng.uniform(4.0, 7.0, 2), rng.uniform(2.5, 3.2)])
    build.shapes.append(_room(build, room))
    for _ in range(rng.integers(6, 11)):
        build.shapes.append(_poster(build, room))
    for _ in range(rng.integers(2, 5)):
        build.shapes.append(_shelf(build, room))
    for _ in range(rng.integers(7, 12)):
        build.shapes.extend(_furniture(build, room))
    return Scene(tuple(build.shapes), Atlas(build.textures))


def _room(build: _Builder, room: np.ndarray) -> Box:
    walls = [build.wall(_WALL, side) for side in room[[1, 1, 0, 0]]]
    walls += [build.wall(_GROUND, max(room[:2])) for _ in range(2)]
    center = np.array([0.0, 0.0, room[2] / 2])
    return Box(center, room / 2, 0.0, tuple(walls), inside=True)


def _on_wall(
    build: _Builder, room: np.ndarray, half: np.ndarray, z: float
) -> tuple[np.ndarray, float]:
    """Centre and yaw of a box whose depth (half[1]) touches a random wall."""
    wall = build.rng.integers(4)
    yaw = wall * np.pi / 2
    # Walls in turn at +y, -x, -y, +x of the box's own frame.
    wide, deep = (room[0], room[1]) if wall % 2 == 0 else (room[1], room[0])
    along = build.rng.uniform(-1, 1) * (wide / 2 - half[0])
    c, s = np.cos(yaw), np.sin(yaw)
    out = deep / 2 - half[1]
    return np.array([c * along - s * out, s * along + c * out, z]), yaw


def _poster(build: _Builder, room: np.ndarray) -> Box:
    rng = build.rng
    half = np.array([rng.uniform(0.25, 0.75), 0.012, rng.uniform(0.25, 0.6)])
    z = rng.uniform(half[2] + 0.3, room[2] - half[2] - 0.1)
    center, yaw = _on_wall(build, room, half, z)
    return Box(center, half, yaw, (build.poster(2 * max(half)),))


def _shelf(build: _Builder, room: np.ndarray) -> Box:
    rng = build.rng
    half = rng.uniform([0.25, 0.08, 0.08], [0.7, 0.22, 0.4])
    center, yaw = _on_wall(build, room, half, rng.uniform(0.8, 2.0))
    return Box(center, half, yaw, (build.object(2 * max(half)),))


def _furniture(build: _Builder, room: np.ndarray) -> list[Surface]:
    """Something on the floor, and perhaps something smaller on top of it."""
    rng = build.rng
    x, y = rng.uniform(-1, 1, 2) * (room[:2] / 2 - 0.4)
    kind = rng.random()
    if kind < 0.65:
        half = rng.uniform([0.15, 0.15, 0.15], [0.55, 0.45, 0.7])
        center, yaw = np.array([x, y, half[2]]), rng.uniform(0, np.pi)
        base: Surface = Box(center, half, yaw, (build.object(2 * max(half)),))
        top = 2 * half[2]
    elif kind < 0.85:
        size, tall = rng.uniform(0.12, 0.35), rng.uniform(0.2, 0.7)
        base = Cylinder(np.array([x, y, tall]), size, tall, (build.object(2 * tall),))
        top = 2 * tall
    else:
        size = rng.uniform(0.2, 0.45)
        return [Sphere(np.array([x, y, size]), size, (build.object(2 * size),))]
    if rng.random() < 0.4:
        return [base]
    return [base, _small(build, x, y, top)]


def _small(build: _Builder, x: float, y: float, z: float) -> Surface:
    rng = build.rng
    size = rng.uniform(0.08, 0.22)
    kind = rng.random()
    if kind < 0.4:
        center = np.array([x, y, z + size])
        return Sphere(center, size, (build.object(2.5 * size),))
    if kind < 0.6:
        tall = size * rng.uniform(0.8, 1.8)
        center = np.array([x, y, z + tall])
        return Cylinder(center, size * 0.6, tall, (build.object(2 * tall),))
    half = size * rng.uniform(0.6, 1.4, 3)
    center, yaw = np.array([x, y, z + half[2]]), rng.uniform(0, np.pi)
    return Box(center, half, yaw, (build.object(2 * max(half)),))


def room_lights(scene: Scene, rng: np.random.Generator) -> Lights:
    """Two lamps below the ceiling and the light that the room returns."""
    half = scene.shapes[0].half
    positions = rng.uniform(-0.7, 0.7, (2, 3)) * half
    positions[:, 2] = 2 * half[2] - 0.3
    colors = rng.uniform(0.8, 1.6, (2, 1)) * rng.uniform(0.85, 1.0, (2, 3))
    return Lights(rng.uniform(0.25, 0.5) * np.ones(3), positions, colors)


def other_light(lights: Lights, rng: np.random.Generator) -> Lights:
    """The same lamps at another hour: moved, dimmed, of another colour."""
    count = len(lights.positions)
    positions = lights.positions + rng.normal(0, [0.6, 0.6, 0.1], (count, 3))
    # Lamps stay below the ceiling: from above it they would light nothing.
    positions[:, 2] = np.minimum(positions[:, 2], lights.positions[:, 2])
    strength = np.exp(rng.uniform(np.log(0.35), np.log(1.6), (count, 1)))
    tint = np.exp(rng.normal(0, 0.1, (1, 3)))
    ambient = lights.ambient * rng.uniform(0.6, 1.4) * np.exp(rng.normal(0, 0.06, 3))
    return Lights(ambient, positions, lights.colors * strength * tint)
