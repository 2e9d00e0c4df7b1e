"""Pinhole cameras: projection, relative poses, and checks of K and pose.

Conventions: K is 3x3 in pixels of the original image, a pose ``T_0to1`` is 4x4
and takes points of camera 0 to camera 1. Letters: B pairs, N points.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError


def matvec(matrix: Tensor, points: Tensor) -> Tensor:
    """Each pair's (B, 3, 3) matrix applied to its (B, N, 3) points.

    Written as a sum of products, not as ``@``: under autocast or TF32 a matrix
    product keeps 8 to 10 bits, which moves pixels by whole cells.
    """
    return (matrix[:, None] * points[..., None, :]).sum(dim=-1)


def inverse(matrix: Tensor) -> Tensor:
    """Inverse of (B, n, n), without the check that makes a GPU wait.

    A matrix that is not finite gives one that is not finite, and no error.
    """
    return torch.linalg.inv_ex(matrix).inverse


def unproject(points: Tensor, depth: Tensor, K: Tensor) -> Tensor:
    """Pixels with depth to points in the camera's frame.

    Args:
        points: (B, N, 2) pixels.
        depth: (B, N) metres along the optical axis.
        K: (B, 3, 3) intrinsics.

    Returns:
        (B, N, 3) metres.
    """
    ones = torch.ones_like(points[..., :1])
    return matvec(inverse(K), torch.cat([points, ones], dim=-1)) * depth[..., None]


def project(points: Tensor, K: Tensor) -> tuple[Tensor, Tensor]:
    """Points in the camera's frame to pixels.

    Args:
        points: (B, N, 3) metres.
        K: (B, 3, 3) intrinsics.

    Returns:
        (B, N, 2) pixels, NaN for a point on or behind the camera's plane (a
        division would mirror it into the picture), and (B, N) depth in metres.
    """
    z = points[..., 2]
    safe = torch.where(z > 0, z, torch.nan)
    pixels = matvec(K, points)[..., :2] / safe[..., None]
    return pixels, z


def relative_pose(world_to_0: np.ndarray, world_to_1: np.ndarray) -> np.ndarray:
    """``T_0to1 = T1 @ inv(T0)`` from two 4x4 world-to-camera poses, in float64."""
    return np.asarray(world_to_1, np.float64) @ np.linalg.inv(
        np.asarray(world_to_0, np.float64)
    )


def check_pose(pose: np.ndarray, where: str) -> np.ndarray:
    """Return ``pose`` as a 4x4 float64 array if it is a rigid motion.

    Args:
        pose: 4x4, or 3x4 without its last row.
        where: file (and entry) to name in the error.

    Raises:
        DataError: not finite, of another shape, or its 3x3 is no rotation.
    """
    pose = np.asarray(pose, np.float64)
    if pose.shape == (3, 4):
        pose = np.vstack([pose, [0.0, 0.0, 0.0, 1.0]])
    if pose.shape != (4, 4):
        raise DataError(f"{where}: a pose has 4x4 numbers, this has {pose.shape}")
    if not np.isfinite(pose).all():
        raise DataError(
            f"{where} is not finite (ScanNet writes -inf where tracking was "
            "lost): drop this frame from the index"
        )
    R = pose[:3, :3]
    # Real pose files carry 5 to 7 digits: a threshold of 1e-2 lets their
    # rounding pass and stops scaled, mirrored and transposed-in-error matrices.
    off = np.abs(R @ R.T - np.eye(3)).max()
    if off > 1e-2 or np.linalg.det(R) < 0:
        raise DataError(
            f"{where} is not a rotation: |R R^T - 1| is {off:.3g} and det R is "
            f"{np.linalg.det(R):.3g}, they should be 0 and 1. Check that it is "
            "a 4x4 rigid pose without scale"
        )
    return pose


def check_intrinsics(K: np.ndarray, where: str) -> np.ndarray:
    """Return ``K`` as a 3x3 float64 array if it can be a camera's.

    Raises:
        DataError: not 9 (or 4x4) numbers, not finite, or a focal length that is
            not positive.
    """
    K = np.asarray(K, np.float64)
    if K.shape == (4, 4):
        K = K[:3, :3]
    if K.size != 9:
        raise DataError(f"{where}: intrinsics have 9 numbers, this has {K.shape}")
    K = K.reshape(3, 3)
    if not np.isfinite(K).all() or K[0, 0] <= 0 or K[1, 1] <= 0:
        raise DataError(
            f"{where}: focal lengths are fx = {K[0, 0]:g}, fy = {K[1, 1]:g}; they "
            "must be finite and positive, in pixels of the original image"
        )
    return K
