"""The rooms of ``data/mini`` again, by night: other pictures, the same geometry.

Data to fine-tune on that needs no download. A dark picture is not a dimmed one: with
little light, what the sensor adds is no longer small beside it, and it is drawn anew
for each picture.
"""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from ..errors import DataError
from ..files import require_folder

LIGHT = 0.15  # what is left of white
GAMMA = 1.5  # shadows lose more than lights
NOISE = 4 / 255  # standard deviation, of the full range


def at_night(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(H, W) uint8 grey as a small sensor sees it with little light."""
    light = LIGHT * (image / 255.0) ** GAMMA
    seen = light + rng.normal(0, NOISE, image.shape)
    return (255 * seen).clip(0, 255).round().astype(np.uint8)


def write_night(
    mini: Path | str,
    out: Path | str,
    dark: Callable[[str], bool] = lambda scene: True,
    seed: int = 0,
) -> Path:
    """Copy the ScanNet half of ``data/mini``, with some of its scenes by night.

    Depth, poses, K and index are those of the day. A picture depends on its name and
    the seed alone. The copy appears whole or not at all.

    Args:
        mini: folder that :func:`make_mini` wrote.
        out: new folder.
        dark: says of a scene's name (``scene0003_00``) whether it is night there.

    Returns:
        ``out``.

    Raises:
        DataError: ``mini`` has no such half, ``out`` exists, or a picture is damaged.
    """
    source, out = Path(mini) / "scannet", Path(out)
    require_folder(source, "the ScanNet half of data/mini")
    if out.exists():
        raise DataError(f"{out} exists: give a new folder, or remove it first")
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        shutil.copytree(source, partial / "scannet")
        for path in sorted(partial.rglob("color/*.jpg")):
            if dark(path.parts[-3]):
                _darken(path, path.relative_to(partial).as_posix(), seed)
        os.replace(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


def _darken(path: Path, name: str, seed: int) -> None:
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise DataError(f"{name} is not an image that OpenCV can read: make the mini "
                        "data again with `loftr-nb data mini`")  # fmt: skip
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    # Noise is what JPEG throws away first: little of it here.
    cv2.imwrite(str(path), at_night(image, rng), [cv2.IMWRITE_JPEG_QUALITY, 95])
