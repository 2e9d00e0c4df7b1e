"""Images as people have them, brought to what the network takes and back.

Pixels are (x, y) of the image that was given; sizes in messages are width x height.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import psutil
import torch
from torch import Tensor, nn

from ..errors import ConfigError, DataError
from ..geometry import COARSE_STRIDE

if TYPE_CHECKING:
    from .loftr import LoFTR, MatchResult

ImageLike = str | os.PathLike | np.ndarray | Tensor  # or a PIL image

MIN_SIDE = COARSE_STRIDE  # pixels: one coarse cell


def match_images(
    model: LoFTR, image0: ImageLike, image1: ImageLike, max_size: int | None = None
) -> MatchResult:
    """What :meth:`LoFTR.match` does; its arguments and errors are there."""
    from .loftr import MatchResult

    if max_size is not None and max_size < MIN_SIDE:
        raise ConfigError(f"max_size={max_size} px must be at least {MIN_SIDE}")
    grey0, grey1 = read_image(image0, "image0"), read_image(image1, "image1")
    input0, scale0 = to_input(grey0, max_size)
    input1, scale1 = to_input(grey1, max_size)
    parameter = next(model.parameters())
    sizes = (tuple(input0.shape[-2:]), tuple(input1.shape[-2:]))
    check_memory(*sizes, model.config.fine_dim, parameter.device)
    with evaluating(model), torch.inference_mode():
        found = model(
            input0.to(parameter), input1.to(parameter),
            scale0=scale0.to(parameter.device), scale1=scale1.to(parameter.device),
        )  # fmt: skip
    arrays = (found.keypoints0, found.keypoints1, found.confidence)
    return MatchResult(*(a.float().cpu().numpy() for a in arrays))


def read_image(image: ImageLike, name: str = "image") -> np.ndarray:
    """Any image as (H, W) float32 grey in [0, 1].

    Args:
        image: a path; a PIL image; or a numpy array or tensor, grey or colour
            (RGB or RGBA; channels last or first), uint8, uint16, bool, or float.
            Floats are in [0, 1], or in [0, 255] when any value is above 2.
        name: what messages call it, when it is not a path.

    Raises:
        DataError: the file is missing or not an image, the shape, dtype or values
            cannot be an image's, or a side is below 8 pixels.
    """
    if isinstance(image, str | os.PathLike):
        name, values = str(image), _read_file(Path(image))
    elif hasattr(image, "convert"):  # PIL, without importing it
        deep = image.mode[0] in "IF"  # 16 bits and more: "L" would clip them to 255
        values = np.asarray(image if deep else image.convert("L"))
    elif isinstance(image, Tensor):
        values = _single(image.detach().cpu().numpy(), name)
        values = _to_grey(values, name, channels_first=True)
    elif isinstance(image, np.ndarray):
        values = _to_grey(_single(image, name), name, channels_first=False)
    else:
        raise DataError(
            f"{name} is a {type(image).__name__}: give a path, a PIL image, a numpy "
            "array or a tensor"
        )
    height, width = values.shape
    if min(height, width) < MIN_SIDE:
        raise DataError(
            f"{name} is {width}x{height} px; the smallest that can be matched is "
            f"{MIN_SIDE}x{MIN_SIDE} px, one coarse cell: enlarge it"
        )
    return _to_unit(values, name)


def _read_file(path: Path) -> np.ndarray:
    if not path.is_file():
        raise DataError(f"image {path} does not exist: check the path")
    # From memory: OpenCV itself cannot open every path that Windows has.
    content = np.fromfile(path, np.uint8)
    grey = cv2.imdecode(content, cv2.IMREAD_GRAYSCALE) if content.size else None
    if grey is None:
        raise DataError(
            f"{path} ({content.size} bytes) is not an image that OpenCV can read: "
            "it is cut short or another kind of file"
        )
    return grey


def _single(values: np.ndarray, name: str) -> np.ndarray:
    """Drop a leading batch dimension of one."""
    if values.ndim == 4 and values.shape[0] == 1:
        return values[0]
    if values.ndim not in (2, 3):
        raise DataError(
            f"{name} has shape {values.shape}; one image is needed: (H, W), (H, W, 3) "
            "or (3, H, W)"
        )
    return values


def _to_grey(values: np.ndarray, name: str, channels_first: bool) -> np.ndarray:
    if values.ndim == 2:
        return values
    axes = (0, 2) if channels_first else (2, 0)
    axis = next((a for a in axes if values.shape[a] in (1, 3, 4)), None)
    if axis is None:
        raise DataError(
            f"{name} has shape {values.shape}; no side of it is 1 (grey), 3 (RGB) or 4 "
            "(RGBA) channels"
        )
    channels = np.moveaxis(values, axis, -1)
    if channels.shape[-1] == 1:
        return channels[..., 0]
    if values.dtype not in (np.uint8, np.uint16):
        channels = channels.astype(np.float32)
    return cv2.cvtColor(np.ascontiguousarray(channels[..., :3]), cv2.COLOR_RGB2GRAY)


def _to_unit(values: np.ndarray, name: str) -> np.ndarray:
    """(H, W) of any dtype to float32 in [0, 1]."""
    if values.dtype == bool:
        return values.astype(np.float32)
    if values.dtype.kind not in "uif":
        raise DataError(f"{name} has dtype {values.dtype}: give uint8 or float")
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise DataError(f"{name} holds values that are not finite (NaN or inf)")
    if values.dtype == np.uint16:
        top = 65535.0
    elif values.dtype.kind in "ui":
        top = 255.0
    else:
        top = 255.0 if high > 2 else 1.0
    # Interpolation overshoots a little; anything more is no brightness.
    if low < -0.1 * top or (top != 1.0 and high > 1.1 * top):
        raise DataError(
            f"{name} holds values from {low:g} to {high:g}: bring it to [0, 1] as "
            "float or to [0, 255]"
        )
    return np.clip(values.astype(np.float32) / top, 0.0, 1.0)


def to_input(grey: np.ndarray, max_size: int | None = None) -> tuple[Tensor, Tensor]:
    """A grey image as network input, and the way back to its pixels.

    An image longer than ``max_size`` is shrunk to sides that 8 divides. Others
    keep their pixels; up to 7 more at the bottom and right repeat the edge, so
    every coarse cell still sits on a real pixel and no mask is needed.

    Returns:
        (1, 1, H, W) float32, and scale (1, 2): given pixels per input pixel.
    """
    height, width = grey.shape
    if max_size is not None and max(height, width) > max_size:
        small = shrunk((width, height), max_size)
        grey = cv2.resize(grey, small, interpolation=cv2.INTER_AREA)
        scale = torch.tensor([[width / small[0], height / small[1]]])
    else:
        down, right = -height % COARSE_STRIDE, -width % COARSE_STRIDE
        grey = np.pad(grey, ((0, down), (0, right)), mode="edge")
        scale = torch.ones(1, 2)
    return torch.from_numpy(np.ascontiguousarray(grey))[None, None], scale


def shrunk(size: tuple[int, int], max_size: int) -> tuple[int, int]:
    """Sides that 8 divides, the longer one at most ``max_size``, at least 8."""
    factor = min(1.0, max_size / max(size)) / COARSE_STRIDE
    first, second = (max(1, int(side * factor)) * COARSE_STRIDE for side in size)
    return first, second


def needed_bytes(size0: tuple[int, int], size1: tuple[int, int], channels: int) -> int:
    """Memory that matching two inputs needs at most, about.

    The backbone sets it: about ten maps at half size. Confidences are streamed and
    cost less. Measured at 320x240 and 640x480 px: 8.1 and 6.6 such maps are used.

    Args:
        size0, size1: both sides in pixels. channels: of the fine map.
    """
    areas = [a * b for a, b in (size0, size1)]
    maps = 4 * channels * sum(areas) // 4
    return 10 * maps


def check_memory(
    size0: tuple[int, int],
    size1: tuple[int, int],
    channels: int,
    device: torch.device,
) -> None:
    """Refuse images whose maps do not fit, before the machine stalls.

    Arguments as in :func:`needed_bytes`, sides as (height, width).

    Raises:
        ConfigError: naming sizes, need, what is free, and a ``max_size`` that fits.
    """
    need, free = needed_bytes(size0, size1, channels), free_bytes(device)
    if need <= free:
        return
    sizes = " and ".join(f"{w}x{h} px" for h, w in (size0, size1))
    fits = max(*size0, *size1)
    while fits > MIN_SIDE:
        fits -= COARSE_STRIDE
        small = [shrunk(size, fits) for size in (size0, size1)]
        if needed_bytes(*small, channels) <= 0.9 * free:
            break
    raise ConfigError(
        f"matching {sizes} needs about {need / 2**30:.1f} GiB, {free / 2**30:.1f} GiB "
        f"are free on {device}: pass max_size={fits} or less"
    )


def free_bytes(device: torch.device) -> int:
    """Memory that is free on a device, in bytes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[Any]:
    """Eval mode within the block, and afterwards what each module was before.

    A backbone whose batch norm is frozen inside a training model stays frozen.
    """
    before = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield model
    finally:
        for module, training in before.items():
            module.training = training
