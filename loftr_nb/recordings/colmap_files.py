"""COLMAP's own files: cameras, images and dense depth maps, text and binary.

The formats are COLMAP's documented ones (its pages "Output Format" and "Dense
Reconstruction"). They are three short tables, so they are read here: its Python
package would be 38 MB more to install, and reads all 3D points along the way.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..files import require_file
from ..geometry import check_intrinsics, check_pose

# Number in binary files, name in text files, count of parameters.
_MODELS = {
    0: ("SIMPLE_PINHOLE", 3),
    1: ("PINHOLE", 4),
    2: ("SIMPLE_RADIAL", 4),
    3: ("RADIAL", 5),
    4: ("OPENCV", 8),
    5: ("OPENCV_FISHEYE", 8),
    6: ("FULL_OPENCV", 12),
    7: ("FOV", 5),
    8: ("SIMPLE_RADIAL_FISHEYE", 4),
    9: ("RADIAL_FISHEYE", 5),
    10: ("THIN_PRISM_FISHEYE", 12),
}


@dataclass(frozen=True)
class ColmapCamera:
    """A camera of a model: size (w, h), and K in pixels whose centres are integers.

    COLMAP's own coordinates have the first pixel's centre at (0.5, 0.5); here, as
    everywhere in this package, it is (0, 0): cx and cy are smaller by a half.
    """

    size: tuple[int, int]
    K: np.ndarray


@dataclass(frozen=True)
class ColmapImage:
    """A registered image: its name below ``images/``, its camera and pose.

    world_to_camera: (4, 4) float64, in the model's own unit of length.
    """

    name: str
    camera: int
    world_to_camera: np.ndarray


def read_model(folder: Path) -> tuple[dict[int, ColmapCamera], list[ColmapImage]]:
    """Cameras by number, and images by name, of a sparse model.

    Args:
        folder: holds ``cameras`` and ``images`` as ``.bin`` or ``.txt``.

    Raises:
        DataError: missing, truncated, not a rotation, or a camera that is distorted.
    """
    read = {".bin": (_cameras_bin, _images_bin), ".txt": (_cameras_txt, _images_txt)}
    for suffix, (read_cameras, read_images) in read.items():
        if (folder / f"cameras{suffix}").is_file():
            path = folder / f"images{suffix}"
            cameras = read_cameras(folder / f"cameras{suffix}")
            images = sorted(read_images(path), key=lambda image: image.name)
            for image in images:
                if image.camera not in cameras:
                    raise DataError(
                        f"{path}: {image.name} was taken with camera {image.camera}, "
                        f"which cameras{suffix} does not have"
                    )
            return cameras, images
    raise DataError(f"{folder} holds neither cameras.bin nor cameras.txt of a model")


def read_depth_map(path: Path) -> np.ndarray:
    """A dense depth map as (h, w) float32, 0 = unknown, in the model's unit.

    The file is ``width&height&channels&`` in ASCII, then float32 values, little
    endian: x runs fastest, then y, then the channel.

    Raises:
        DataError: missing, truncated, or not such a file.
    """
    (w, h), start = _depth_map_header(path)
    content = path.read_bytes()
    if len(content) != start + 4 * w * h:
        raise DataError(
            f"{path} says {w}x{h} pixels, which are {4 * w * h} bytes, and holds "
            f"{len(content) - start}. It may be truncated, or a normal map: run "
            "`colmap patch_match_stereo` again"
        )
    depth = np.frombuffer(content, "<f4", offset=start).reshape(h, w)
    known = np.isfinite(depth) & (depth > 0)
    return np.where(known, depth, np.float32(0))


def depth_map_size(path: Path) -> tuple[int, int]:
    """(w, h) of a dense depth map, from its first bytes.

    Raises:
        DataError: missing, or not such a file.
    """
    return _depth_map_header(path)[0]


def _depth_map_header(path: Path) -> tuple[tuple[int, int], int]:
    """Size (w, h), and where the values start."""
    require_file(path)
    with path.open("rb") as file:
        start = file.read(60)
    parts = start.split(b"&", 3)
    numbers = [int(part) for part in parts[:3] if part.isdigit()]
    if len(parts) < 4 or len(numbers) < 3 or min(numbers) < 1:
        raise DataError(
            f"{path} is no COLMAP depth map: it starts with {start[:12]!r} instead of "
            "width&height&1&"
        )
    return (numbers[0], numbers[1]), sum(len(part) + 1 for part in parts[:3])


def _camera(model: str, size: tuple[int, int], numbers, where: str) -> ColmapCamera:
    if model not in ("SIMPLE_PINHOLE", "PINHOLE"):
        raise DataError(
            f"{where} is a {model} camera: its images are distorted, and depth and "
            "pose do not fit them. Run `colmap image_undistorter` and import the "
            "folder that it writes"
        )
    if len(numbers) != (3 if model == "SIMPLE_PINHOLE" else 4):
        raise DataError(f"{where}: {model} with {len(numbers)} parameters")
    fx, fy, cx, cy = numbers if len(numbers) == 4 else (numbers[0], *numbers)
    K = np.array([[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1]])
    if min(size) < 1:
        raise DataError(f"{where} is {size[0]}x{size[1]} pixels")
    return ColmapCamera(size, check_intrinsics(K, where))


def _pose(quaternion, translation, where: str) -> np.ndarray:
    """From w x y z (of any length) and a translation, world to camera."""
    q = np.array(quaternion, np.float64)
    with np.errstate(over="ignore"):
        length = np.linalg.norm(q)
    if not length > 0 or not math.isfinite(length):
        raise DataError(f"{where}: the quaternion is {q}, which is no rotation")
    w, x, y, z = q / length
    pose = np.eye(4)
    pose[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    pose[:3, 3] = translation
    return check_pose(pose, where)


class _Bytes:
    """A binary file read front to back, with a message where it ends early."""

    def __init__(self, path: Path) -> None:
        require_file(path)
        self.path, self.content, self.at = path, path.read_bytes(), 0

    def take(self, layout: str) -> tuple:
        size = struct.calcsize("<" + layout)
        if self.at + size > len(self.content):
            self.end()
        values = struct.unpack_from("<" + layout, self.content, self.at)
        self.at += size
        return values

    def text(self) -> str:
        end = self.content.find(b"\0", self.at)
        if end < 0:
            self.end()
        text = self.content[self.at : end].decode("utf-8", "replace")
        self.at = end + 1
        return text

    def skip(self, size: int) -> None:
        if self.at + size > len(self.content):
            self.end()
        self.at += size

    def end(self) -> None:
        raise DataError(
            f"{self.path} ends at byte {len(self.content)} in the middle of an "
            "entry. It is truncated or damaged: export the model again"
        )


def _cameras_bin(path: Path) -> dict[int, ColmapCamera]:
    file = _Bytes(path)
    cameras = {}
    for _ in range(file.take("Q")[0]):
        number, model, w, h = file.take("IiQQ")
        where = f"{path}, camera {number}"
        if model not in _MODELS:
            raise DataError(
                f"{where}: model number {model} is not known here. Run `colmap "
                "image_undistorter`, which writes PINHOLE"
            )
        name, count = _MODELS[model]
        cameras[number] = _camera(name, (w, h), file.take(f"{count}d"), where)
    return cameras


def _images_bin(path: Path) -> Iterator[ColmapImage]:
    file = _Bytes(path)
    for _ in range(file.take("Q")[0]):
        number, *numbers, camera = file.take("I7dI")
        name = file.text()
        file.skip(24 * file.take("Q")[0])  # x, y and the number of a 3D point
        where = f"{path}, image {number} ({name})"
        yield ColmapImage(name, camera, _pose(numbers[:4], numbers[4:], where))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    require_file(path)
    text = path.read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith("#"):
            yield number, line


def _cameras_txt(path: Path) -> dict[int, ColmapCamera]:
    cameras = {}
    for line_number, line in _lines(path):
        if not line.strip():
            continue
        where = f"{path}, line {line_number}"
        try:
            number, model, w, h, *numbers = line.split()
            values = int(number), (int(w), int(h)), [float(n) for n in numbers]
        except ValueError:
            raise DataError(f"{where}: {line[:60]!r} is no camera of a model") from None
        cameras[values[0]] = _camera(model, values[1], values[2], where)
    return cameras


def _images_txt(path: Path) -> Iterator[ColmapImage]:
    lines = _lines(path)
    for line_number, line in lines:
        if not line.strip():
            continue
        where = f"{path}, line {line_number}"
        try:
            # A name may hold spaces; everything before it may not.
            _, *numbers, camera, name = line.rstrip("\r\n").split(maxsplit=9)
            values = [float(n) for n in numbers]
            camera = int(camera)
        except ValueError:
            raise DataError(f"{where}: {line[:60]!r} is no image of a model") from None
        next(lines, None)  # its 2D points, perhaps an empty line
        yield ColmapImage(name, camera, _pose(values[:4], values[4:], where))
