"""Small algebra on (3, N) arrays: coordinates first, each of them contiguous.

Sums are written out. A fixed order gives the same bits on any machine load and
any number of threads, which BLAS does not promise.
"""

from __future__ import annotations

import numpy as np


def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Inner products: (3,) or (3, N) with (3, N) to (N,)."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def turn(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """``matrix @ points`` for a (3, 3) and a (3, N)."""
    return np.stack([dot(row, points) for row in matrix])


def cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cross products of the columns of two (3, N)."""
    return np.stack(
        [
            a[1] * b[2] - a[2] * b[1],
            a[2] * b[0] - a[0] * b[2],
            a[0] * b[1] - a[1] * b[0],
        ]
    )


def along(vectors: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """The part of ``vectors`` that lies in the surface, as unit vectors (3, N)."""
    flat = vectors - normal * dot(vectors, normal)
    return flat / np.sqrt(dot(flat, flat))
