"""From a stored image and its depth map to the :class:`View` a network reads.

The image is resized and padded; K and depth stay as they are, in the pixels of
the depth map ("original pixels"), and ``scale`` relates the two: original pixel
= input pixel x scale. Sizes of images are (w, h), shapes of arrays (H, W).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from ..errors import DataError
from ..geometry import COARSE_STRIDE
from .pair import View

_MIN_SIDE = COARSE_STRIDE  # an image must hold one coarse cell each way


def require_size(size: tuple[int, int], name: str) -> None:
    """Refuse an image (w, h) that does not even fill one coarse cell.

    Raises:
        DataError: naming the image and its size.
    """
    if min(size) < _MIN_SIDE:
        raise DataError(
            f"{name} is {size[0]}x{size[1]} pixels; an image needs at least "
            f"{_MIN_SIDE} each way. Drop it from the index"
        )


def fit_longer_side(
    size: tuple[int, int], longer: int | None, divisor: int, name: str
) -> tuple[int, int]:
    """Input size (w, h) of an image: longer side resized, sides made divisible.

    Args:
        size: (w, h) of the stored image.
        longer: what the longer side becomes, up or down; None keeps the size.
        divisor: both sides are rounded down to a multiple of this.
        name: the image, for the error.

    Raises:
        DataError: a side is, or comes out, smaller than ``divisor``.
    """
    factor = 1.0 if longer is None else longer / max(size)
    fitted = tuple(round(s * factor) // divisor * divisor for s in size)
    require_size(size, name)
    if min(fitted) < divisor:
        raise DataError(
            f"{name} is {size[0]}x{size[1]} pixels, too narrow: with its longer side "
            f"at {longer or max(size)} it must keep {divisor} pixels each way. Drop "
            "it from the index, or ask for a larger size"
        )
    return fitted


def resize_grey(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W) uint8 grey to (h, w) float32 in [0, 1] of ``size`` (w, h)."""
    return as_float(resize_bytes(image, size))


def as_float(image: np.ndarray) -> np.ndarray:
    """Grey uint8 to float32 in [0, 1]."""
    return image.astype(np.float32) / 255


def resize_bytes(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W) uint8 grey to (h, w) uint8 of ``size`` (w, h).

    Shrinking averages over areas: taking single pixels makes texture that the
    other, differently scaled image does not have.
    """
    if image.shape[::-1] != tuple(size):
        shrinks = size[0] <= image.shape[1] and size[1] <= image.shape[0]
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        image = cv2.resize(image, tuple(size), interpolation=how)
    return image


def pad_bottom_right(image: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Pad (h, w) with zeros to a square, keeping pixel (0, 0) where it is.

    Returns:
        (side, side) image, and the (side / 8, side / 8) bool mask of coarse
        cells, True = image. Sides of ``image`` are divisible by 8.
    """
    h, w = image.shape
    padded = np.zeros((side, side), np.float32)
    padded[:h, :w] = image
    mask = np.zeros((side // COARSE_STRIDE, side // COARSE_STRIDE), bool)
    mask[: h // COARSE_STRIDE, : w // COARSE_STRIDE] = True
    return padded, mask


def scale_to_original(
    original: tuple[int, int], resized: tuple[int, int]
) -> np.ndarray:
    """(2,) float32 original pixels per input pixel, from two sizes (w, h)."""
    return (np.array(original, np.float64) / resized).astype(np.float32)


def sample_cell_depth(
    depth: np.ndarray, mask: np.ndarray, scale: np.ndarray
) -> np.ndarray:
    """Depth at the corners of coarse cells, read at the rounded original pixel.

    Supervision asks for no other depths: 4,800 numbers of a 640x480 pair travel
    to the training step instead of 307,200, and no map needs padding.

    Args:
        depth: (H, W) metres, 0 = unknown.
        mask: (h, w) bool over coarse cells; a padded cell gets 0.
        scale: (2,) float32, original pixels per input pixel.

    Returns:
        (h * w,) float32, row by row.
    """
    h, w = mask.shape
    # float32 throughout, as `cell_corners` computes: a corner that falls between
    # two pixels must round to the same one there and here.
    step = np.float32(COARSE_STRIDE) * scale.astype(np.float32)
    x = np.rint(np.arange(w, dtype=np.float32) * step[0]).astype(int)
    y = np.rint(np.arange(h, dtype=np.float32) * step[1]).astype(int)
    # Rounding can step one pixel over the border where an image was enlarged.
    x = x.clip(max=depth.shape[1] - 1)
    y = y.clip(max=depth.shape[0] - 1)
    return np.where(mask, depth[np.ix_(y, x)], np.float32(0)).reshape(-1)


def check_same_aspect(
    colour: tuple[int, int], depth: tuple[int, int], name: str
) -> None:
    """Refuse a colour image that cannot lie on its depth map (1 % in aspect).

    Raises:
        DataError: naming the image and both sizes.
    """
    ratio = (colour[0] / colour[1]) / (depth[0] / depth[1])
    if abs(ratio - 1) > 0.01:
        raise DataError(
            f"{name} is {colour[0]}x{colour[1]} and its depth map {depth[0]}x"
            f"{depth[1]}: their aspects differ by {abs(ratio - 1):.1%}, so depth "
            "does not lie on the image. Export both from the same camera"
        )


@dataclass(frozen=True)
class InputFrame:
    """A stored frame at the network's size, before light is changed or padding added.

    Training reads nothing else of a frame's pixels: it is what a pack keeps.

    grey: (h, w) uint8, sides divisible by 8. cell_depth: (h/8 * w/8,) float32
    metres at the corners of coarse cells, None where there is no depth map.
    original: (w, h) of the pixels that K and depth are in. name: the image's path.
    """

    grey: np.ndarray
    cell_depth: np.ndarray | None
    original: tuple[int, int]
    name: str

    @classmethod
    def of(
        cls,
        image: np.ndarray,
        depth: np.ndarray | None,
        original: tuple[int, int],
        size: tuple[int, int],
        name: str,
    ) -> InputFrame:
        """From (H, W) uint8 grey and its depth map, resized to ``size`` (w, h)."""
        if depth is not None:
            corners = np.ones([s // COARSE_STRIDE for s in size[::-1]], bool)
            scale = scale_to_original(original, size)
            depth = sample_cell_depth(depth, corners, scale)
        return cls(resize_bytes(image, size), depth, original, name)


def make_view(
    image: np.ndarray,
    depth: np.ndarray | None,
    K: np.ndarray,
    original: tuple[int, int],
    size: tuple[int, int],
    pad: bool,
    name: str,
) -> View:
    """A :class:`View` from an image already resized to ``size``.

    Args:
        image: (h, w) float32 in [0, 1], of ``size``.
        depth: (H, W) metres, or None where it is not known (all corners get 0).
        K: (3, 3) in original pixels.
        original: (w, h) of the pixels that K and depth are in.
        size: (w, h) of ``image``, divisible by 8.
        pad: whether to pad to a square at the bottom and the right.
    """
    if depth is not None:
        corners = np.ones([s // COARSE_STRIDE for s in image.shape], bool)
        scale = scale_to_original(original, size)
        depth = sample_cell_depth(depth, corners, scale)
    return view_of_cells(image, depth, K, original, pad, name)


def view_of_cells(
    image: np.ndarray,
    cell_depth: np.ndarray | None,
    K: np.ndarray,
    original: tuple[int, int],
    pad: bool,
    name: str,
) -> View:
    """As :func:`make_view`, from (h/8 * w/8,) depths of the unpadded cells."""
    size = image.shape[::-1]
    h, w = (s // COARSE_STRIDE for s in image.shape)
    mask = np.ones((h, w), bool)
    if pad and max(size) != min(size):
        image, mask = pad_bottom_right(image, max(size))
    cells = np.zeros(mask.shape, np.float32)
    if cell_depth is not None:
        cells[:h, :w] = cell_depth.reshape(h, w)
    return View(
        image=torch.from_numpy(np.ascontiguousarray(image))[None],
        cell_depth=torch.from_numpy(cells.reshape(-1)),
        K=torch.from_numpy(np.asarray(K, np.float32)),
        scale=torch.from_numpy(scale_to_original(original, size)),
        mask=torch.from_numpy(mask),
        name=name,
    )
