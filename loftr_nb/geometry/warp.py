"""Three ways to move points between two images, behind one interface.

Supervision asks one question: where does this pixel of image 0 lie in image 1,
and is the answer known? Depth and pose, a homography, and a list of given
correspondences all answer it, so all three can supervise the same training.

Pixels are those of the original image (x, y); B pairs, N points. An unknown
answer is NaN with ``valid`` False, never (0, 0): a corner is a real place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from .camera import inverse, matvec, project, unproject


class Warped(NamedTuple):
    """Where points land in the other image.

    points: (B, N, 2) original pixels, NaN where unknown.
    valid: (B, N) bool, True where the answer is known. A point may be valid and
        lie outside the other image: bounds are the caller's question.
    """

    points: Tensor
    valid: Tensor


class Warp(Protocol):
    """What supervision needs to know of a pair's geometry."""

    def to1(self, points0: Tensor) -> Warped:
        """Move (B, N, 2) pixels of image 0 into image 1."""

    def to0(self, points1: Tensor) -> Warped:
        """Move (B, N, 2) pixels of image 1 into image 0."""


@dataclass
class DepthMap:
    """Depth on a regular grid of pixels: a whole map, or coarse-cell corners only.

    values: (B, h, w) metres, 0 (or anything not positive and finite) = unknown.
    step: (B, 2) original pixels from one value to the next, x then y: 1 for a
        whole map, 8 * scale for the corners of coarse cells.
    """

    values: Tensor
    step: Tensor

    @classmethod
    def full(cls, depth: Tensor) -> DepthMap:
        """A whole map, (B, H, W)."""
        return cls(depth, depth.new_ones(depth.shape[0], 2))

    def at(self, points: Tensor) -> Tensor:
        """Depth (B, N) at (B, N, 2) pixels, rounded to the nearest value.

        0 outside the map. A map of corners answers for its corners: between
        them the nearest corner's depth is what you get.
        """
        B, h, w = self.values.shape
        cell = (points / self.step[:, None]).round()
        inside = (cell >= 0).all(-1) & (cell[..., 0] < w) & (cell[..., 1] < h)
        cell = torch.where(inside[..., None], cell, 0.0).long()
        flat = self.values.reshape(B, h * w)
        depth = flat.gather(1, cell[..., 1] * w + cell[..., 0])
        return torch.where(inside, depth, 0.0)


@dataclass
class DepthWarp:
    """Points moved by depth, relative pose and intrinsics.

    depth0, depth1: where depth is known. K0, K1: (B, 3, 3).
    T_0to1: (B, 4, 4), metres.

    Occlusion is not checked: the released training does not, and its authors
    found that checking depth consistency makes results worse.
    """

    depth0: DepthMap
    depth1: DepthMap
    K0: Tensor
    K1: Tensor
    T_0to1: Tensor

    def to1(self, points0: Tensor) -> Warped:
        """Move (B, N, 2) pixels of image 0 into image 1; no depth, no answer."""
        return _by_depth(points0, self.depth0, self.K0, self.K1, self.T_0to1)

    def to0(self, points1: Tensor) -> Warped:
        """Move (B, N, 2) pixels of image 1 into image 0; no depth, no answer."""
        return _by_depth(points1, self.depth1, self.K1, self.K0, inverse(self.T_0to1))


def _by_depth(
    points: Tensor, depth: DepthMap, K_from: Tensor, K_to: Tensor, T: Tensor
) -> Warped:
    z = depth.at(points)
    known = torch.isfinite(z) & (z > 0)
    here = unproject(points, torch.where(known, z, torch.nan), K_from)
    there = matvec(T[:, :3, :3], here) + T[:, None, :3, 3]
    moved, _ = project(there, K_to)
    return _answer(moved, torch.isfinite(moved).all(-1))


@dataclass
class HomographyWarp:
    """Points moved by a homography: a flat scene, or a camera that only turns.

    H_0to1: (B, 3, 3), original pixels of image 0 to original pixels of image 1,
        up to scale. The origin of image 0 lies on the visible side of its
        horizon; what lies beyond the horizon has no answer, both ways.
    """

    H_0to1: Tensor

    def to1(self, points0: Tensor) -> Warped:
        """Move (B, N, 2) pixels of image 0 into image 1."""
        return _by_homography(points0, self._signed())

    def to0(self, points1: Tensor) -> Warped:
        """Move (B, N, 2) pixels of image 1 into image 0."""
        return _by_homography(points1, inverse(self._signed()))

    def _signed(self) -> Tensor:
        # H and -H are the same homography. With w > 0 at the origin of image 0,
        # visible points have w > 0, and so they have under this H's inverse.
        return torch.where(self.H_0to1[:, 2:, 2:] < 0, -self.H_0to1, self.H_0to1)


def _by_homography(points: Tensor, H: Tensor) -> Warped:
    ones = torch.ones_like(points[..., :1])
    moved = matvec(H, torch.cat([points, ones], -1))
    # Beyond the horizon w <= 0: dividing brings a point back from the other side.
    w = torch.where(moved[..., 2] > 0, moved[..., 2], torch.nan)
    moved = moved[..., :2] / w[..., None]
    return _answer(moved, torch.isfinite(moved).all(-1))


@dataclass
class CorrespondenceWarp:
    """Points moved by a list of known correspondences, and by nothing else.

    points0, points1: (B, N, 2) original pixels, row n of one shows what row n
        of the other shows; NaN rows pad a shorter list.
    radius: a queried pixel takes the motion of its nearest correspondence when
        that lies within this many original pixels, otherwise it has no answer.
        Half a coarse cell (4 input pixels) by default.
    """

    points0: Tensor
    points1: Tensor
    radius: float = 4.0

    def to1(self, points0: Tensor) -> Warped:
        """Move (B, N, 2) pixels of image 0 into image 1."""
        return _by_nearest(points0, self.points0, self.points1, self.radius)

    def to0(self, points1: Tensor) -> Warped:
        """Move (B, N, 2) pixels of image 1 into image 0."""
        return _by_nearest(points1, self.points1, self.points0, self.radius)


def _by_nearest(query: Tensor, here: Tensor, there: Tensor, radius: float) -> Warped:
    if here.shape[1] == 0:
        return _answer(query, torch.zeros_like(query[..., 0], dtype=torch.bool))
    known = torch.isfinite(here).all(-1) & torch.isfinite(there).all(-1)
    # Padding rows go far away instead of NaN: cdist would spread NaN to a min.
    far = torch.where(known[..., None], here, 1e12)
    # The matrix-product form of cdist cancels: 0.3 px wrong at pixel 1000.
    exact = "donot_use_mm_for_euclid_dist"
    distance, nearest = torch.cdist(query, far, compute_mode=exact).min(dim=2)
    index = nearest[..., None].expand(-1, -1, 2)
    motion = torch.where(known[..., None], there - here, 0.0)
    return _answer(query + motion.gather(1, index), distance <= radius)


def _answer(points: Tensor, valid: Tensor) -> Warped:
    return Warped(torch.where(valid[..., None], points, torch.nan), valid)
