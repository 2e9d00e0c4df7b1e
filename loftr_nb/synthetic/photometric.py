"""From light to a photograph, and from exact depth to a sensor's.

Every frame gets its own exposure, white balance, vignette, blur and noise.
"""

from __future__ import annotations

import cv2
import numpy as np

from .render import GAMMA, Frame

MAX_DEPTH = 8.0  # metres that the depth sensor reaches


def photograph(color: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Linear RGB (H, W, 3) to a noisy, blurred, exposed 8-bit photograph."""
    # The camera's automatic exposure follows the scene halfway, and then is off
    # by a factor of 0.35 to 1.6.
    gain = np.exp(rng.uniform(np.log(0.35), np.log(1.6)))
    gain *= (0.2 / max(float(color.mean()), 1e-3)) ** 0.5
    balance = np.exp(rng.normal(0, 0.06, 3))
    image = color * (gain * balance).astype(np.float32)
    image *= _vignette(image.shape[:2], rng.uniform(0, 0.35))[..., None]
    image = _blur(image, rng)
    shot, read = rng.uniform(0.0, 0.02), rng.uniform(0.004, 0.02)
    image = np.clip(image, 0, 1) ** np.float32(rng.uniform(0.85, 1.2) / GAMMA)
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    image += noise * (read + shot * (1 - image)).astype(np.float32)
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)


def _vignette(shape: tuple[int, int], amount: float) -> np.ndarray:
    """Brightness falling to ``1 - amount`` in the corners, (H, W) float32."""
    h, w = shape
    y = np.linspace(-1, 1, h, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, w, dtype=np.float32)
    return 1 - np.float32(amount / 2) * (x * x + y * y)


def _blur(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Defocus always, and in nearly half of the frames motion blur."""
    sigma, length, angle, moves = rng.uniform(
        [0.7, 2.0, 0.0, 0.0], [2.4, 12.0, np.pi, 1.0]
    )
    image = cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    if moves > 0.45:
        return image
    side = 2 * int(np.ceil(length / 2)) + 1
    kernel = np.zeros((side, side), np.float32)
    for t in np.linspace(-length / 2, length / 2, 25):
        x, y = t * np.cos(angle) + side // 2, t * np.sin(angle) + side // 2
        _splat(kernel, x, y)
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)


def _splat(kernel: np.ndarray, x: float, y: float) -> None:
    x0, y0 = int(np.floor(x)), int(np.floor(y))
    for dy in (0, 1):
        for dx in (0, 1):
            weight = (1 - abs(x - x0 - dx)) * (1 - abs(y - y0 - dy))
            if weight > 0:
                kernel[y0 + dy, x0 + dx] += weight


def sensor_depth(frame: Frame, rng: np.random.Generator) -> np.ndarray:
    """Depth (H, W) with 0 where a sensor would have none.

    Beyond :data:`MAX_DEPTH`, on glass and screens, at grazing angles, along
    most depth edges, and in a few random blobs. The rest stays exact.
    """
    depth = frame.depth
    known = (depth < MAX_DEPTH) & (frame.facing > 0.1) & frame.solid
    # Where depth jumps by over 5 %, and right beside it.
    low = cv2.erode(depth, np.ones((3, 3)))
    jump = (cv2.dilate(depth, np.ones((3, 3))) > 1.05 * low).astype(np.uint8)
    known &= (jump == 0) | (rng.random(depth.shape) > 0.8)
    holes = np.zeros(depth.shape, np.uint8)
    for _ in range(rng.integers(1, 5)):
        middle = rng.integers(0, depth.shape[::-1])
        axes = rng.uniform(0.02, 0.09, 2) * depth.shape[1]
        angle = rng.uniform(0, 180)
        cv2.ellipse(
            holes,
            tuple(int(m) for m in middle),
            tuple(int(a) for a in axes),
            angle,
            0,
            360,
            1,
            -1,
        )
    return np.where(known & (holes == 0), depth, 0.0)
