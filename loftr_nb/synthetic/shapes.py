"""Rooms, boxes, spheres and cylinders that a ray can hit.

A ray leaves the camera's centre along a direction whose component along the
optical axis is 1: the distance along it is then z-depth, without conversion.
Arrays are (3, N), coordinates first, so that each coordinate is contiguous.
World axes: z is up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from .vectors import along, cross, dot, turn

FACES = 8  # room in a surface's number for the faces of a shape

_NEAR = 1e-6


Hit = tuple[np.ndarray, np.ndarray]
Place = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Skin:
    """What covers a shape: a texture of the atlas.

    density: texels per metre. offsets: (FACES, 2) texels by which each face
    starts elsewhere, so that the faces of a box differ. solid: False for glass
    and screens, of which a depth sensor sees nothing.
    """

    texture: int
    density: float
    offsets: np.ndarray
    solid: bool = True


class Surface(Protocol):
    """What the ray-caster asks of a shape."""

    skin: tuple[Skin, ...]
    center: np.ndarray

    @property
    def radius(self) -> float:
        """Radius of a sphere about ``center`` that holds the shape."""

    def hit(self, origin: np.ndarray, rays: np.ndarray) -> Hit:
        """First hits of N rays: (N,) distance (inf: none) and (N,) face."""

    def locate(self, points: np.ndarray, face: np.ndarray) -> Place:
        """Where (3, N) points lie on their faces.

        Returns (2, N) metres along the face, and as (3, N) the face's two
        tangents and its normal.
        """


@dataclass(frozen=True)
class Box:
    """A box that stands on the floor plan at any angle; a room when ``inside``.

    half: (3,) half its sides. yaw: radians about the vertical.
    """

    center: np.ndarray
    half: np.ndarray
    yaw: float
    skin: tuple[Skin, ...]
    inside: bool = False
    axes: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        axes = np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
        object.__setattr__(self, "axes", axes)

    @property
    def radius(self) -> float:
        return float(np.linalg.norm(self.half))

    def hit(self, origin: np.ndarray, rays: np.ndarray) -> Hit:
        start = self.axes @ (origin - self.center)
        enter, leave, face = -np.inf, np.inf, np.zeros(rays.shape[1], np.int32)
        for axis in range(3):
            speed = dot(self.axes[axis], rays)
            speed = np.where(np.abs(speed) < 1e-12, 1e-12, speed)
            positive = speed > 0
            near = (np.where(positive, -1, 1) * self.half[axis] - start[axis]) / speed
            far = (np.where(positive, 1, -1) * self.half[axis] - start[axis]) / speed
            if self.inside:
                face = np.where(far < leave, 2 * axis + positive, face)
            else:
                face = np.where(near > enter, 2 * axis + ~positive, face)
            enter, leave = np.maximum(enter, near), np.minimum(leave, far)
        if self.inside:
            return leave, face
        return np.where((enter < leave) & (enter > _NEAR), enter, np.inf), face

    def locate(self, points: np.ndarray, face: np.ndarray) -> Place:
        local = turn(self.axes, points - self.center[:, None])
        axis = face // 2
        first, second = np.array([1, 0, 0])[axis], np.array([2, 2, 1])[axis]
        column = np.arange(points.shape[1])
        where = np.stack([local[first, column], local[second, column]])
        where += np.stack([self.half[first], self.half[second]])
        sign = (2 * (face % 2) - 1) * (-1 if self.inside else 1)
        tangents = self.axes[first].T, self.axes[second].T
        return where, *tangents, self.axes[axis].T * sign


@dataclass(frozen=True)
class Sphere:
    """A ball, textured as a cube blown up: six faces, cut along the diagonals."""

    center: np.ndarray
    size: float
    skin: tuple[Skin, ...]

    @property
    def radius(self) -> float:
        return self.size

    def hit(self, origin: np.ndarray, rays: np.ndarray) -> Hit:
        start = origin - self.center
        a, b = dot(rays, rays), dot(start, rays)
        c = start @ start - self.size**2
        root = b * b - a * c
        t = (-b - np.sqrt(np.maximum(root, 0))) / a
        t = np.where((root > 0) & (t > _NEAR), t, np.inf)
        normal = start[:, None] + np.where(np.isfinite(t), t, 0) * rays
        axis = np.abs(normal).argmax(0)
        sign = np.take_along_axis(normal, axis[None], 0)[0] > 0
        return t, (2 * axis + sign).astype(np.int32)

    def locate(self, points: np.ndarray, face: np.ndarray) -> Place:
        normal = (points - self.center[:, None]) / self.size
        axis = face // 2
        first, second = np.array([1, 0, 0])[axis], np.array([2, 2, 1])[axis]
        column = np.arange(points.shape[1])
        main = np.abs(normal[axis, column])
        where = np.stack(
            [
                np.arctan2(normal[first, column], main),
                np.arctan2(normal[second, column], main),
            ]
        )
        tangent = along(np.eye(3)[first].T, normal)
        return where * self.size, tangent, cross(normal, tangent), normal


@dataclass(frozen=True)
class Cylinder:
    """An upright cylinder with lids. Face 0 is its side, 1 its foot, 2 its top."""

    center: np.ndarray
    size: float
    half_height: float
    skin: tuple[Skin, ...]

    @property
    def radius(self) -> float:
        return float(np.hypot(self.size, self.half_height))

    def hit(self, origin: np.ndarray, rays: np.ndarray) -> Hit:
        start = origin - self.center
        a = np.maximum(rays[0] ** 2 + rays[1] ** 2, 1e-18)
        b = start[0] * rays[0] + start[1] * rays[1]
        c = start[0] ** 2 + start[1] ** 2 - self.size**2
        root = b * b - a * c
        side = (-b - np.sqrt(np.maximum(root, 0))) / a
        height = start[2] + side * rays[2]
        good = (root > 0) & (side > _NEAR) & (np.abs(height) < self.half_height)
        side = np.where(good, side, np.inf)
        # From outside only the lid on the camera's side can be seen.
        lid = np.sign(start[2]) * self.half_height
        up = np.where(np.abs(rays[2]) < 1e-12, 1e-12, rays[2])
        flat = (lid - start[2]) / up
        away = (start[0] + flat * rays[0]) ** 2 + (start[1] + flat * rays[1]) ** 2
        good = (away < self.size**2) & (flat > _NEAR) & (abs(start[2]) > abs(lid))
        flat = np.where(good, flat, np.inf)
        face = np.where(flat < side, 2 if start[2] > 0 else 1, 0)
        return np.minimum(side, flat), face.astype(np.int32)

    def locate(self, points: np.ndarray, face: np.ndarray) -> Place:
        x, y, z = points - self.center[:, None]
        wall = face == 0
        angle = np.arctan2(y, x)
        where = np.stack([np.where(wall, angle * self.size, x), np.where(wall, z, y)])
        c, s, zero = x / self.size, y / self.size, np.zeros_like(x)
        first = np.where(wall, [-s, c, zero], np.array([[1.0], [0.0], [0.0]]))
        second = np.where(wall, np.eye(3)[2][:, None], np.eye(3)[1][:, None])
        up = np.where(face == 2, 1.0, -1.0)
        normal = np.where(wall, [c, s, zero], [zero, zero, up])
        return where, first, second, normal
