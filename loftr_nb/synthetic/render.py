"""The ray-caster: a scene and a camera to colour, depth and surface coordinates.

Pixel (x, y) with integer x and y is the ray through ``K^-1 [x, y, 1]``: the
convention of the package's warp. Depth is that ray's own, never an average;
colour is filtered over the pixel. Letters: N rays, H and W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .atlas import Atlas
from .shapes import FACES, Surface
from .vectors import dot, turn

GAMMA = 2.2


@dataclass(frozen=True)
class Camera:
    """K: (3, 3). pose: (4, 4) camera to world. size: (w, h) pixels."""

    K: np.ndarray
    pose: np.ndarray
    size: tuple[int, int]

    @property
    def center(self) -> np.ndarray:
        """(3,) where the camera stands, in the world."""
        return self.pose[:3, 3]

    def rays(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """World directions (3, N) through N pixels, 1 along the optical axis."""
        there = turn(np.linalg.inv(self.K), np.stack([x, y, np.ones_like(x)]))
        return turn(self.pose[:3, :3], there)


@dataclass(frozen=True)
class Lights:
    """ambient: (3,) linear RGB. positions: (n, 3) metres. colors: (n, 3)."""

    ambient: np.ndarray
    positions: np.ndarray
    colors: np.ndarray


@dataclass(frozen=True)
class Scene:
    """Shapes and their textures; ``shapes[0]`` is the room around everything."""

    shapes: tuple[Surface, ...]
    atlas: Atlas


@dataclass(frozen=True)
class Frame:
    """What a camera sees.

    color: (H, W, 3) float32 linear RGB, not yet exposed.
    depth: (H, W) float64 metres along the optical axis, exact.
    surface: (H, W) int, ``FACES * shape + face``.
    uv: (H, W, 2) texels on that surface. facing: (H, W) cosine between ray and
    normal, small where the surface is seen at a grazing angle.
    solid: (H, W) bool, False on glass and screens.
    """

    color: np.ndarray
    depth: np.ndarray
    surface: np.ndarray
    uv: np.ndarray
    facing: np.ndarray
    solid: np.ndarray


def cast(
    scene: Scene, origin: np.ndarray, rays: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """First hit of each ray: (N,) z-depth and (N,) surface number."""
    depth, face = scene.shapes[0].hit(origin, rays)
    surface = face.astype(np.int32)
    unit = rays / np.sqrt(dot(rays, rays))
    for number, shape in enumerate(scene.shapes[1:], start=1):
        near = _in_cone(shape, origin, unit)
        t, face = shape.hit(origin, rays[:, near])
        closer = t < depth[near]
        near = near[closer]
        depth[near] = t[closer]
        surface[near] = FACES * number + face[closer]
    return depth, surface


def _in_cone(shape: Surface, origin: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Rays that come near a shape: most shapes fill a small part of the picture."""
    way = shape.center - origin
    far = np.linalg.norm(way)
    if far <= shape.radius * 1.001:
        return np.arange(unit.shape[1])
    limit = np.sqrt(1 - (shape.radius / far) ** 2) - 1e-6
    return np.flatnonzero(dot(way / far, unit) > limit)


@dataclass(frozen=True)
class Hits:
    """What N rays meet.

    points: (3, N) in the world. normal: (3, N) unit. uv: (2, N) texels.
    texture: (N,) which. density: (N,) texels per metre. facing: (N,) cosine
    between ray and normal. stretch: (2, N) the ray's own direction along u and
    v. solid: (N,) bool.
    """

    points: np.ndarray
    normal: np.ndarray
    uv: np.ndarray
    texture: np.ndarray
    density: np.ndarray
    facing: np.ndarray
    stretch: np.ndarray
    solid: np.ndarray


def locate(
    scene: Scene,
    origin: np.ndarray,
    rays: np.ndarray,
    depth: np.ndarray,
    surface: np.ndarray,
) -> Hits:
    """Surface coordinates of what :func:`cast` found, surface by surface."""
    count, points = len(depth), origin[:, None] + depth * rays
    unit = rays / np.sqrt(dot(rays, rays))
    normal, uv, stretch = (np.zeros((n, count)) for n in (3, 2, 2))
    texture, density = np.zeros(count, np.int32), np.zeros(count)
    solid = np.ones(count, bool)
    order = np.argsort(surface, kind="stable")
    starts = np.flatnonzero(np.diff(surface[order], prepend=-1))
    for rows in np.split(order, starts[1:]) if count else ():
        number, face = divmod(int(surface[rows[0]]), FACES)
        shape = scene.shapes[number]
        skin = shape.skin[face % len(shape.skin)]
        faces = np.full(len(rows), face)
        where, first, second, normal[:, rows] = shape.locate(points[:, rows], faces)
        uv[:, rows] = where * skin.density + skin.offsets[face][:, None]
        stretch[:, rows] = dot(first, unit[:, rows]), dot(second, unit[:, rows])
        texture[rows], density[rows] = skin.texture, skin.density
        solid[rows] = skin.solid
    facing = np.abs(dot(normal, unit))
    return Hits(points, normal, uv, texture, density, facing, stretch, solid)


def shade(
    scene: Scene, camera: Camera, lights: Lights, rays: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Hits]:
    """Follow N rays: (N, 3) linear RGB, (N,) z-depth, (N,) surface, and the hits."""
    depth, surface = cast(scene, camera.center, rays)
    hits = locate(scene, camera.center, rays, depth, surface)
    footprint = hits.density * depth * np.sqrt(dot(rays, rays)) / camera.K[0, 0]
    color = _filtered(scene.atlas, hits, footprint) ** np.float32(GAMMA)
    return color * _light(lights, hits.points, hits.normal), depth, surface, hits


def _filtered(atlas: Atlas, hits: Hits, footprint: np.ndarray) -> np.ndarray:
    """Texture over the ellipse that a pixel covers: 1 to 4 samples along it."""
    long = 1 / np.maximum(hits.facing, 0.05)
    taps = np.clip(np.ceil(long - 0.3), 1, 4).astype(np.int32)
    lod = np.log2(np.maximum(footprint * long / taps, 1e-6)).astype(np.float32)
    # The ellipse's long axis points along the ray, seen from above the surface.
    norm = np.maximum(np.hypot(*hits.stretch), 1e-9)
    axis = (hits.stretch / norm * (footprint * long)).astype(np.float32)
    u, v = hits.uv.astype(np.float32)
    color = np.empty((len(u), 3), np.float32)
    for n in range(1, 5):
        some = np.flatnonzero(taps == n)
        if len(some) == 0:
            continue
        total = np.float32(0)
        for k in range(n):
            at = np.float32((k + 0.5) / n - 0.5)
            total = total + atlas.sample(
                hits.texture[some],
                u[some] + at * axis[0, some],
                v[some] + at * axis[1, some],
                lod[some],
            )
        color[some] = total / n
    return color


def _light(lights: Lights, points: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Ambient light and point lights on matt surfaces, (N, 3) float32."""
    total = np.repeat(lights.ambient[None], points.shape[1], 0).astype(np.float32)
    for position, color in zip(lights.positions, lights.colors, strict=True):
        way = position[:, None] - points
        square = dot(way, way)
        lambert = np.maximum(dot(way, normal), 0) / np.sqrt(square)
        # Softer than 1 / r^2: lamps have a size, and a room returns their light.
        strength = (lambert / (1 + square / 6)).astype(np.float32)
        total += strength[:, None] * color.astype(np.float32)
    return total


def render(scene: Scene, camera: Camera, lights: Lights) -> Frame:
    """One picture. Pixels on an edge take the mean colour of four more rays."""
    w, h = camera.size
    y, x = (a.reshape(-1) for a in np.mgrid[:h, :w].astype(np.float64))
    rays = camera.rays(x, y)
    color, depth, surface, hits = shade(scene, camera, lights, rays)
    edge = np.flatnonzero(_edges(surface.reshape(h, w)))
    if len(edge):
        offsets = ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25))
        more = camera.rays(
            np.concatenate([x[edge] + dx for dx, _ in offsets]),
            np.concatenate([y[edge] + dy for _, dy in offsets]),
        )
        extra = shade(scene, camera, lights, more)[0]
        color[edge] = extra.reshape(4, -1, 3).mean(0)
    return Frame(
        color.reshape(h, w, 3),
        depth.reshape(h, w),
        surface.reshape(h, w),
        hits.uv.T.reshape(h, w, 2),
        hits.facing.reshape(h, w),
        hits.solid.reshape(h, w),
    )


def _edges(surface: np.ndarray) -> np.ndarray:
    """Pixels with a neighbour on another surface."""
    edge = np.zeros(surface.shape, bool)
    across = surface[:, 1:] != surface[:, :-1]
    down = surface[1:] != surface[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    return edge


def depth_only(scene: Scene, camera: Camera, step: int) -> np.ndarray:
    """Exact depth at every ``step``-th pixel: a quick look before a full picture."""
    w, h = camera.size
    y, x = np.mgrid[:h:step, :w:step].astype(np.float64)
    depth, _ = cast(scene, camera.center, camera.rays(x.ravel(), y.ravel()))
    return depth.reshape(x.shape)
