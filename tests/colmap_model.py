"""A COLMAP dense folder written by hand, text or binary, for tests."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

MODELS = {"SIMPLE_PINHOLE": 0, "PINHOLE": 1, "SIMPLE_RADIAL": 2}


def write_cameras(folder: Path, cameras: list[tuple], binary: bool) -> None:
    """``cameras``: (number, model, w, h, parameters), as COLMAP counts pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    if not binary:
        lines = ["# Camera list with one line of data per camera:"]
        for number, model, w, h, numbers in cameras:
            lines.append(" ".join(map(repr, [number, w, h, *map(float, numbers)])))
            lines[-1] = lines[-1].replace(f"{number} ", f"{number} {model} ", 1)
        (folder / "cameras.txt").write_text("\n".join(lines) + "\n")
        return
    content = struct.pack("<Q", len(cameras))
    for number, model, w, h, numbers in cameras:
        content += struct.pack("<IiQQ", number, MODELS[model], w, h)
        content += struct.pack(f"<{len(numbers)}d", *numbers)
    (folder / "cameras.bin").write_bytes(content)


def write_images(folder: Path, images: list[tuple], binary: bool, points=2) -> None:
    """``images``: (number, world to camera 4x4, camera, name)."""
    folder.mkdir(parents=True, exist_ok=True)
    content, lines = struct.pack("<Q", len(images)), ["# two lines per image"]
    for number, pose, camera, name in images:
        x, y, z, w = Rotation.from_matrix(pose[:3, :3]).as_quat()
        numbers = [float(n) for n in (w, x, y, z, *pose[:3, 3])]
        lines.append(" ".join(map(repr, [number, *numbers, camera])) + f" {name}")
        lines.append(" ".join(f"{10.5 * n} {7.25 * n} -1" for n in range(points)))
        content += struct.pack("<I7dI", number, *numbers, camera)
        content += name.encode() + b"\0" + struct.pack("<Q", points)
        for n in range(points):
            content += struct.pack("<ddq", 10.5 * n, 7.25 * n, -1)
    if binary:
        (folder / "images.bin").write_bytes(content)
    else:
        (folder / "images.txt").write_text("\n".join(lines) + "\n")


def write_depth_map(path: Path, depth: np.ndarray) -> None:
    """(h, w) float32; the header is COLMAP's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    h, w = depth.shape
    path.write_bytes(f"{w}&{h}&1&".encode() + depth.astype("<f4").tobytes())
