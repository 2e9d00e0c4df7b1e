"""Textures for surfaces, mixed from the photographs in the scikit-image wheel.

Ten photographs texture the training scenes and five others the test scenes, so
a matcher is tested on pictures it never saw. One photograph gives many
textures: crops at any angle and scale, inverted, re-coloured, pasted together.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

TRAIN_PHOTOS = (
    "brick",
    "camera",
    "chelsea",
    "coins",
    "grass",
    "hubble_deep_field",
    "moon",
    "retina",
    "rocket",
    "text",
)
TEST_PHOTOS = ("astronaut", "coffee", "gravel", "immunohistochemistry", "page")

# Photographs without much to see in large parts: cut closer to their middle.
_MIDDLE = {"retina": 0.62, "chelsea": 0.9, "rocket": 0.9}


@lru_cache(maxsize=2)
def load_photos(split: str) -> tuple[np.ndarray, ...]:
    """The photographs of ``"train"`` or ``"test"``, (H, W, 3) uint8 RGB each.

    They lie in the scikit-image wheel: nothing is downloaded.
    """
    import skimage.data

    names = {"train": TRAIN_PHOTOS, "test": TEST_PHOTOS}[split]
    return tuple(_prepare(name, getattr(skimage.data, name)()) for name in names)


def _prepare(name: str, photo: np.ndarray) -> np.ndarray:
    if photo.ndim == 2:
        photo = np.repeat(photo[..., None], 3, axis=2)
    keep = _MIDDLE.get(name, 1.0)
    h, w = photo.shape[:2]
    top, left = round(h * (1 - keep) / 2), round(w * (1 - keep) / 2)
    photo = photo[top : h - top, left : w - left, :3]
    # At most 640 px on the longer side each: one magnification then means the
    # same for all photographs.
    shrink = 640 / max(photo.shape[:2])
    if shrink < 1:
        photo = cv2.resize(
            photo, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA
        )
    return np.ascontiguousarray(photo)


def crop(
    photo: np.ndarray, size: tuple[int, int], magnify: float, rng: np.random.Generator
) -> np.ndarray:
    """A crop at a random place and angle.

    Args:
        photo: (H, W, 3) uint8.
        size: (w, h) of the result in texels.
        magnify: texels per pixel of the photograph. What lies beyond the
            photograph's border is its mirror image.
    """
    if magnify < 0.8:
        photo = cv2.resize(
            photo, None, fx=magnify, fy=magnify, interpolation=cv2.INTER_AREA
        )
        magnify = 1.0
    w, h = size
    turn = rng.integers(4) * np.pi / 2 + rng.normal(0, 0.25)
    c, s = np.cos(turn) / magnify, np.sin(turn) / magnify
    back = np.array([[c, -s, 0.0], [s, c, 0.0]])
    back[:, 0] *= rng.choice([-1, 1])
    middle = rng.uniform(0.25, 0.75, 2) * photo.shape[1::-1]
    back[:, 2] = middle - back[:, :2] @ (np.array([w, h]) / 2)
    return cv2.warpAffine(
        photo,
        back,
        (w, h),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )


def recolor(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Stretch the contrast, perhaps invert, and give other colours; uint8 to uint8."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    low, high = np.percentile(grey[::4, ::4], [3, 97])
    # A gain of at most 4: an empty crop stays calm instead of turning to noise.
    gain = min(1.0 / max(high - low, 1.0), 4 / 255)
    x = np.clip((np.arange(256) - (low + high) / 2) * gain + 0.5, 0, 1)
    x = x ** rng.uniform(0.7, 1.5)
    if rng.random() < 0.3:
        x = 1 - x
    if rng.random() < 0.5 or not _has_color(image):
        # Dark and light of related hues: paint and paper, not neon.
        dark = rng.uniform(0.05, 0.3) * np.exp(rng.normal(0, 0.35, 3))
        light = rng.uniform(0.6, 1.0) * np.exp(rng.normal(0, 0.2, 3))
        table = dark + (light - dark) * x[:, None]
        flat = cv2.merge([grey, grey, grey])
    else:
        span = np.array([rng.uniform(0.02, 0.2), rng.uniform(0.75, 1.0)])
        span = span * np.exp(rng.normal(0, 0.12, (3, 2)))
        table = span[:, 0] + (span[:, 1] - span[:, 0]) * x[:, None]
        swap = rng.permutation(3) if rng.random() < 0.4 else np.arange(3)
        flat = np.ascontiguousarray(image[..., swap])
    table = np.clip(table, 0, 1)
    return cv2.LUT(flat, np.round(table * 255).astype(np.uint8).reshape(1, 256, 3))


def _has_color(image: np.ndarray) -> bool:
    return bool(np.ptp(image[::8, ::8], axis=2).any())


def picture(
    photos: tuple[np.ndarray, ...], size: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """A re-coloured crop of one photograph, as hangs on a wall; (h, w, 3) uint8."""
    for _ in range(3):
        photo = photos[rng.integers(len(photos))]
        fit = max(size) / max(photo.shape)
        piece = crop(photo, size, fit * rng.uniform(0.9, 2.5), rng)
        if not _is_flat(piece):
            break
    return recolor(piece, rng)


def _is_flat(image: np.ndarray) -> bool:
    """Nothing to see: a piece of sky, or of a dark background."""
    return float(image[::4, ::4, 1].std()) < 14


def collage(
    photos: tuple[np.ndarray, ...],
    size: tuple[int, int],
    patches: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """A texture that repeats nowhere: two materials and pasted crops.

    A third photograph, thresholded, decides where which material shows: the
    border between them has structure at every place. Returns (h, w, 3) uint8.
    """
    w, h = size
    one, two, three = rng.choice(len(photos), 3)
    base = recolor(crop(photos[one], size, rng.uniform(2.5, 6.0), rng), rng)
    other = recolor(crop(photos[two], size, rng.uniform(1.5, 4.0), rng), rng)
    mask = cv2.cvtColor(
        crop(photos[three], size, rng.uniform(1.5, 4.0), rng), cv2.COLOR_RGB2GRAY
    )
    mask = cv2.GaussianBlur(mask, (0, 0), 3)
    level = np.percentile(mask[::4, ::4], rng.uniform(25, 75))
    ramp = np.clip((np.arange(256) - level) * 0.15 + 0.5, 0, 1)
    keep = rng.uniform(0.0, 0.3)
    table = np.round(255 * (keep + (1 - 2 * keep) * ramp)).astype(np.uint8)
    mixed = _blend(base, other, cv2.LUT(mask, table))
    for _ in range(patches):
        _paste(mixed, photos, rng)
    return mixed


def _blend(base: np.ndarray, other: np.ndarray, weight: np.ndarray) -> np.ndarray:
    weight = weight[..., None].astype(np.uint16)
    return ((base * (255 - weight) + other * weight + 127) // 255).astype(np.uint8)


def _paste(
    image: np.ndarray, photos: tuple[np.ndarray, ...], rng: np.random.Generator
) -> None:
    h, w = image.shape[:2]
    pw, ph = (int(s) for s in rng.uniform(0.08, 0.4, 2) * min(h, w))
    pw, ph = max(pw, 8), max(ph, 8)
    photo = photos[rng.integers(len(photos))]
    patch = crop(photo, (pw, ph), rng.uniform(0.8, 2.5), rng)
    if _is_flat(patch):
        return
    patch = recolor(patch, rng)
    turn = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(turn), np.sin(turn)
    middle = rng.uniform(0, 1, 2) * [w, h]
    # Only the part of the image that the turned patch can reach.
    reach = np.hypot(pw, ph) / 2 + 1
    left, top = (int(max(m - reach, 0)) for m in middle)
    part = image[top : int(middle[1] + reach), left : int(middle[0] + reach)].copy()
    place = np.array([[c, -s, 0.0], [s, c, 0.0]])
    place[:, 2] = middle - [left, top] - place[:, :2] @ [pw / 2, ph / 2]
    size = part.shape[1::-1]
    cv2.warpAffine(patch, place, size, dst=part, borderMode=cv2.BORDER_TRANSPARENT)
    image[top : top + size[1], left : left + size[0]] = part
