"""Images, depth maps, poses and intrinsics from disk, one file at a time.

Everything that can be wrong with a file ends in a :class:`DataError` that names
the file, says what it holds and what to do. Sizes are (H, W), depth is metres
with 0 = unknown.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import h5py
import numpy as np

from ..errors import DataError, nearest
from ..geometry import check_intrinsics, check_pose

GREY = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION
_NO_READING = 65535  # what sensors write into a 16-bit map for "no reading"


def read_image_grey(path: Path) -> np.ndarray:
    """An image as (H, W) uint8 grey, in the orientation it is stored in.

    The orientation tag of a photograph is ignored: depth and intrinsics belong
    to the stored pixels, not to the way a viewer turns them.

    Raises:
        DataError: missing, truncated, or not an image.
    """
    return _decode(path, GREY)


def read_depth_png(path: Path) -> np.ndarray:
    """A 16-bit depth PNG in millimetres as (H, W) float32 metres, 0 = unknown.

    65535 counts as unknown: it is the largest number that the file can hold.

    Raises:
        DataError: missing, truncated, not 16 bit, of several channels, or
            without a single known depth.
    """
    depth = _decode(path, cv2.IMREAD_UNCHANGED)
    if depth.dtype != np.uint16 or depth.ndim != 2:
        raise DataError(
            f"{path} holds {depth.dtype} of shape {depth.shape}; depth is one channel "
            "of uint16 millimetres. Export it again without conversion to 8 bit"
        )
    depth = np.where(depth == _NO_READING, 0, depth).astype(np.float32) / 1000
    return _check_known(depth, path)


def read_depth_h5(path: Path) -> np.ndarray:
    """The dataset ``depth`` of an h5 file as (H, W) float32, 0 = unknown.

    Values that are not finite or not positive count as unknown.

    Raises:
        DataError: missing, damaged, without ``depth``, not two-dimensional, or
            without a single known depth.
    """
    require_file(path)
    try:
        with h5py.File(path, "r") as file:
            if not isinstance(file.get("depth"), h5py.Dataset):
                raise DataError(
                    f"{path} has no dataset 'depth'; it has {sorted(file) or 'none'}. "
                    "Write the depth map under the name 'depth'"
                )
            depth = file["depth"][()]
    except (OSError, RuntimeError, KeyError) as error:
        raise DataError(
            f"{path} cannot be read as HDF5 ({error}). It may be truncated: copy or "
            "download it again"
        ) from None
    depth = np.asarray(depth)
    if depth.ndim != 2 or depth.dtype.kind not in "fiu":
        raise DataError(
            f"{path}: 'depth' is {depth.dtype} of shape {depth.shape}; it must be "
            "(height, width) numbers"
        )
    return _check_known(depth.astype(np.float32), path)


def _check_known(depth: np.ndarray, path: Path) -> np.ndarray:
    known = np.isfinite(depth) & (depth > 0)
    if not known.any():
        raise DataError(
            f"{path} of size {depth.shape[1]}x{depth.shape[0]} has no known depth: "
            "every value is zero, negative or not finite. Drop this frame from the "
            "index, or export its depth again"
        )
    return np.where(known, depth, np.float32(0))


def read_pose_txt(path: Path) -> np.ndarray:
    """A 4x4 pose from a text file, float64, checked to be a rigid motion.

    Raises:
        DataError: missing, not 16 numbers, not finite, or not a rotation.
    """
    return check_pose(_read_numbers(path, 16).reshape(4, 4), str(path))


def read_intrinsics_txt(path: Path) -> np.ndarray:
    """3x3 intrinsics from a text file of 9 or (ScanNet's own) 16 numbers.

    Raises:
        DataError: missing, another count of numbers, or impossible values.
    """
    numbers = _read_numbers(path, 9, 16)
    side = 3 if numbers.size == 9 else 4
    return check_intrinsics(numbers.reshape(side, side), str(path))


def _read_numbers(path: Path, *counts: int) -> np.ndarray:
    require_file(path)
    try:
        numbers = np.array([float(n) for n in path.read_text().split()])
    except (ValueError, OSError) as error:
        raise DataError(f"{path} is not a text file of numbers ({error})") from None
    if numbers.size not in counts:
        wanted = " or ".join(str(c) for c in counts)
        raise DataError(
            f"{path} holds {numbers.size} numbers instead of {wanted}. It may be "
            "truncated: export it again"
        )
    return numbers


def require_file(path: Path) -> None:
    """Raise a DataError that shows how far the path exists, unless it is a file."""
    if path.is_file():
        return
    if path.is_dir():
        raise DataError(f"{path} is a folder where a file is needed")
    parent = path.parent
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    if parent == path.parent:
        siblings = sorted(p.name for p in parent.iterdir())[:2000]
        hint = f"its folder is there; {nearest(path.name, siblings)}"
        if not siblings or len(hint) > 200:
            hint = f"its folder is there and holds {len(siblings)} other entries"
    else:
        hint = f"the last folder that exists is {parent}"
    raise DataError(f"{path} does not exist ({hint})")


def require_folder(path: Path, what: str) -> None:
    """Raise a DataError that says how to get data, unless ``path`` is a folder."""
    if not path.is_dir():
        state = "is a file" if path.exists() else "does not exist"
        raise DataError(
            f"{what}: {path} {state}. Point to a folder of images, or build the "
            "embedded data with `loftr-nb data mini` (`make train` does so)"
        )


def _decode(path: Path, flags: int) -> np.ndarray:
    require_file(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error})") from None
    if _is_truncated(content):
        raise DataError(
            f"{path} is truncated: {len(content)} bytes without the end of the "
            "image. Copy or download it again"
        )
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:  # an empty file, or a size beyond OpenCV's limit
        image = None
    if image is None:
        raise DataError(
            f"{path} is not an image that OpenCV can read: {len(content)} bytes that "
            f"start with {content[:8]!r}. Copy or export it again"
        )
    return image


def _is_truncated(content: bytes) -> bool:
    """Whether a JPEG or PNG lacks its end mark.

    A decoder fills the missing part of a JPEG with grey and only warns, and a
    grey half would be trained on. Looking for the mark costs nothing; decoding
    twice would.
    """
    if content.startswith(b"\xff\xd8\xff"):
        return content.rfind(b"\xff\xd9", _first_scan(content)) < 0
    if content.startswith(b"\x89PNG"):
        return content.rfind(b"IEND") < 0
    return False


def _first_scan(content: bytes) -> int:
    """Where a JPEG's pixels start: a preview in its header has an end mark too."""
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        if content[at + 1] == 0xDA:
            return at
        if content[at + 1] == 0xFF:  # a fill byte
            at += 1
        else:
            at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return len(content)
