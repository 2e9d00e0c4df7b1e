"""All textures of a scene in one array, with mip levels, and filtered look-up.

Letters: N samples. Texture sides are powers of two, a texture continues beyond
its border as its mirror image.
"""

from __future__ import annotations

import cv2
import numpy as np

LEVELS = 8


class Atlas:
    """Textures with mip levels, looked up by (texture, u, v, level of detail)."""

    def __init__(self, textures: list[np.ndarray]) -> None:
        """Pack (h, w, 3) uint8 textures; sides must be powers of two."""
        pieces: list[np.ndarray] = []
        count = len(textures)
        self._offset = np.zeros((count, LEVELS), np.int32)
        self._bits = np.zeros((count, LEVELS, 2), np.int32)
        end = 0
        for n, texture in enumerate(textures):
            for level in range(LEVELS):
                h, w = texture.shape[:2]
                self._offset[n, level] = end
                self._bits[n, level] = _log2(w), _log2(h)
                pieces.append(_pack(texture))
                end += h * w
                half = (max(w // 2, 1), max(h // 2, 1))
                texture = cv2.resize(texture, half, interpolation=cv2.INTER_AREA)
        self._texels = np.concatenate(pieces)

    def sample(
        self, texture: np.ndarray, u: np.ndarray, v: np.ndarray, lod: np.ndarray
    ) -> np.ndarray:
        """Trilinear look-up.

        Args:
            texture: (N,) int, which texture.
            u, v: (N,) texels of the finest level; texel centres are integers.
            lod: (N,) log2 of the texels that one sample covers.

        Returns:
            (N, 3) float32 in [0, 1].
        """
        lod = np.clip(lod, 0, LEVELS - 1.001).astype(np.float32)
        fine = lod.astype(np.int32)
        mix = (lod - fine)[:, None]
        color = self._bilinear(texture, u, v, fine) * (1 - mix)
        color += self._bilinear(texture, u, v, fine + 1) * mix
        return color[:, :3] * np.float32(1 / 255)

    def _bilinear(
        self, texture: np.ndarray, u: np.ndarray, v: np.ndarray, level: np.ndarray
    ) -> np.ndarray:
        scale = np.ldexp(np.float32(1), -level)
        bits = self._bits[texture, level]
        x, fx = _split((u + 0.5) * scale - 0.5)
        y, fy = _split((v + 0.5) * scale - 0.5)
        x0, x1 = _mirror(x, bits[:, 0]), _mirror(x + 1, bits[:, 0])
        offset = self._offset[texture, level]
        row0 = offset + (_mirror(y, bits[:, 1]) << bits[:, 0])
        row1 = offset + (_mirror(y + 1, bits[:, 1]) << bits[:, 0])
        top = self._texel(row0 + x0) * (1 - fx) + self._texel(row0 + x1) * fx
        low = self._texel(row1 + x0) * (1 - fx) + self._texel(row1 + x1) * fx
        return top * (1 - fy) + low * fy

    def _texel(self, index: np.ndarray) -> np.ndarray:
        packed = self._texels[index]
        return packed.view(np.uint8).reshape(-1, 4).astype(np.float32)


def _log2(side: int) -> int:
    if side & (side - 1):
        raise ValueError(f"a texture side is {side}, no power of two")
    return side.bit_length() - 1


def _pack(texture: np.ndarray) -> np.ndarray:
    h, w = texture.shape[:2]
    four = np.zeros((h, w, 4), np.uint8)
    four[..., :3] = texture
    return four.reshape(-1).view(np.uint32)


def _split(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    whole = np.floor(x)
    return whole.astype(np.int32), (x - whole).astype(np.float32)[:, None]


def _mirror(index: np.ndarray, bits: np.ndarray) -> np.ndarray:
    # Sides are powers of two, so "modulo twice the side" is a bit mask.
    index = index & ((2 << bits) - 1)
    return np.minimum(index, (2 << bits) - 1 - index)
