"""Changes of light, exposure and sharpness, each image of a pair on its own.

The released training has none. Geometry never changes here: a match stays a
match.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Augment:
    """Random photometric change of one grey image.

    The result depends on ``(seed, epoch, row)`` alone, which the dataset turns
    into ``rng``: not on the number of workers, nor on the order of rows.

    seed: of the whole run.
    gamma, contrast: factors are drawn from 1/(1+x) to 1+x, evenly in log.
    brightness: added, drawn from -x to +x of the full range.
    blur: largest standard deviation of a Gaussian, in input pixels.
    noise: largest standard deviation of added noise, of the full range.
    """

    seed: int = 0
    gamma: float = 0.5
    contrast: float = 0.3
    brightness: float = 0.1
    blur: float = 1.0
    noise: float = 0.02

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(H, W) float32 in [0, 1] to the same, changed."""
        gamma, contrast = np.exp(
            rng.uniform(-1, 1, 2) * np.log1p([self.gamma, self.contrast])
        )
        brightness = rng.uniform(-1, 1) * self.brightness
        image = image**gamma
        mean = image.mean()
        image = (image - mean) * contrast + mean + brightness
        sigma = rng.uniform(0, 1) * self.blur
        if sigma > 0.2:  # narrower than this, the kernel is a single pixel
            image = cv2.GaussianBlur(image, (0, 0), sigma)
        noise = rng.standard_normal(image.shape, np.float32)
        image = image + noise * np.float32(rng.uniform(0, 1) * self.noise)
        return image.clip(0, 1).astype(np.float32)

    def generator(self, epoch: int, row: int) -> np.random.Generator:
        """The random numbers of one row in one epoch."""
        return np.random.default_rng([self.seed, epoch, row])
