"""What a single file is, by its first and last bytes; and what is wrong with it."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import h5py
import numpy as np

_HEAD, _TAIL = 1 << 16, 1 << 12
_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0 ... SOF15
_PNG = b"\x89PNG\r\n\x1a\n"


class Fault(NamedTuple):
    """cause: its name. detail: the file, and what it holds."""

    cause: str
    detail: str


def quick_size(path: Path, kind: str) -> tuple[int, int] | Fault | None:
    """(w, h) from a file's header, or what is wrong; None where only decoding says.

    Missing and truncated files show, damage in the middle does not.

    Args:
        kind: "image" or "depth", for the names of faults.
    """
    if not path.is_file():
        return Fault(f"{kind}_missing", f"{path} does not exist")
    try:
        if path.suffix.lower() == ".h5":
            return _h5_size(path, kind)
        return _header_size(path, kind)
    except OSError as error:
        return Fault(f"{kind}_unreadable", f"{path} cannot be read ({error})")


def diagnose(path: Path, kind: str, error: Exception) -> Fault:
    """Why a reader refused an image or depth map.

    Args:
        error: the reader's, whose message becomes the detail.
    """
    quick = quick_size(path, kind)
    if isinstance(quick, Fault):
        return Fault(quick.cause, str(error))
    if kind == "depth":
        return Fault(_depth_cause(path), str(error))
    return Fault(f"{kind}_unreadable", str(error))


def diagnose_pose(path: Path | None, numbers: Any, error: Exception) -> Fault:
    """Why a pose was refused.

    Args:
        path: of a text file; its numbers are read where ``numbers`` is None.
    """
    if numbers is None and path is not None:
        if not path.is_file():
            return Fault("pose_missing", f"{path} does not exist")
        try:
            numbers = [float(n) for n in path.read_text().split()]
        except (ValueError, OSError):
            return Fault("pose_damaged", str(error))
    try:
        pose = np.asarray(numbers, np.float64)
    except (TypeError, ValueError):
        return Fault("pose_damaged", str(error))
    if pose.size != 16 and pose.shape != (3, 4):
        return Fault("pose_damaged", str(error))
    finite = np.isfinite(pose).all()
    return Fault("pose_not_rotation" if finite else "pose_not_finite", str(error))


def torn_png(path: Path) -> str | None:
    """What is wrong with the checksums of a PNG; None: nothing, or another format.

    A decoder that meets a wrong checksum leaves the rest of the picture empty.
    """
    content = path.read_bytes()
    if not content.startswith(_PNG):
        return None
    at = len(_PNG)
    while at + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        kind, end = content[at + 4 : at + 8], at + 8 + length
        if end + 4 > len(content):
            return f"{path} ends inside its part {kind!r} at byte {len(content)}"
        (stored,) = struct.unpack_from(">I", content, end)
        if zlib.crc32(content[at + 4 : end]) != stored:
            return f"{path} is damaged: the part {kind!r} at byte {at} has changed"
        if kind == b"IEND":
            return None
        at = end + 4
    return f"{path} has no end mark"


def _header_size(path: Path, kind: str) -> tuple[int, int] | Fault | None:
    with path.open("rb") as file:
        head = file.read(_HEAD)
        length = file.seek(0, 2)
        file.seek(max(0, length - _TAIL))
        tail = file.read()
    if not head:
        return Fault(f"{kind}_truncated", f"{path} is empty: 0 bytes")
    if head.startswith(_PNG):
        if b"IEND" not in tail or len(head) < 24:
            return _no_end(path, kind, length)
        return struct.unpack(">II", head[16:24])
    if head.startswith(b"\xff\xd8\xff"):
        size = _jpeg_size(head)
        # A camera may append more than a tail's worth after the end of the image.
        if b"\xff\xd9" not in tail and (size is None or _jpeg_cut(path)):
            return _no_end(path, kind, length)
        return size
    if not any(head):
        return Fault(f"{kind}_unreadable", f"{path}: {length} bytes that start with 0")
    return None


def _no_end(path: Path, kind: str, length: int) -> Fault:
    detail = f"{path} is truncated: {length} bytes without the end of the image"
    return Fault(f"{kind}_truncated", detail)


def _jpeg_cut(path: Path) -> bool:
    content = path.read_bytes()
    return content.find(b"\xff\xd9", content.find(b"\xff\xda") + 1) < 0


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(head) and head[at] == 0xFF:
        marker = head[at + 1]
        if marker in _JPEG_SIZES:
            h, w = struct.unpack_from(">HH", head, at + 5)
            return w, h
        if marker == 0xFF:  # a fill byte
            at += 1
        else:
            at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return None


def _h5_size(path: Path, kind: str) -> tuple[int, int] | Fault | None:
    if path.stat().st_size == 0:
        return Fault(f"{kind}_truncated", f"{path} is empty: 0 bytes")
    try:
        with h5py.File(path, "r") as file:
            dataset = file.get("depth")
            if not isinstance(dataset, h5py.Dataset):
                held = ", ".join(file) or "nothing"
                return Fault(f"{kind}_kind", f"{path} holds {held}, and no 'depth'")
            if dataset.ndim != 2 or dataset.dtype.kind not in "fiu":
                what = f"{dataset.dtype} of shape {dataset.shape}"
                return Fault(f"{kind}_kind", f"{path}: 'depth' is {what}")
            return dataset.shape[::-1]
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        cut = "truncated" in str(error)
        cause = f"{kind}_truncated" if cut else f"{kind}_unreadable"
        return Fault(cause, f"{path} cannot be read as HDF5 ({error})")


def _depth_cause(path: Path) -> str:
    """Of a depth map whose header is well: what its pixels are like."""
    if path.suffix.lower() == ".h5":
        try:
            with h5py.File(path, "r") as file:
                depth = np.asarray(file["depth"][()], np.float32)
        except (OSError, RuntimeError, KeyError, ValueError, TypeError):
            return "depth_unreadable"
        known = np.isfinite(depth) & (depth > 0)
        return "depth_unreadable" if known.any() else "depth_empty"
    try:
        content = np.frombuffer(path.read_bytes(), np.uint8)
        depth = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    except (cv2.error, OSError):
        depth = None
    if depth is None:
        return "depth_unreadable"
    if depth.dtype != np.uint16 or depth.ndim != 2:
        return "depth_kind"
    known = (depth > 0) & (depth < 65535)
    return "depth_unreadable" if known.any() else "depth_empty"
