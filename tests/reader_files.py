"""Small files in the layouts of ScanNet and MegaDepth, for tests of the readers."""

from __future__ import annotations

from pathlib import Path

import cv2
import h5py
import numpy as np

IDENTITY = np.eye(4)


def write_scannet_frame(
    scene: Path, frame: int, colour=(640, 480), pose=IDENTITY, depth=(640, 480)
) -> None:
    """A frame of noise with constant depth; ``pose=None`` writes no pose."""
    rng = np.random.default_rng(frame)
    for kind in ("color", "depth", "pose"):
        (scene / kind).mkdir(parents=True, exist_ok=True)
    image = rng.integers(0, 255, colour[::-1], np.uint8)
    cv2.imwrite(str(scene / "color" / f"{frame}.jpg"), image)
    millimetres = np.full(depth[::-1], 1500, np.uint16)
    cv2.imwrite(str(scene / "depth" / f"{frame}.png"), millimetres)
    if pose is not None:
        np.savetxt(scene / "pose" / f"{frame}.txt", pose, fmt="%.9f")


def write_scannet_index(folder: Path, rows: list[tuple[int, ...]]) -> Path:
    path = folder / "index.npz"
    np.savez(path, name=np.array(rows))
    return path


def write_intrinsics(folder: Path) -> Path:
    path = folder / "intrinsics.npz"
    np.savez(path, scene0707_00=np.array([577.0, 0, 319.5, 0, 577, 239.5, 0, 0, 1]))
    return path


def depth_path(k: int) -> str:
    return f"phoenix/S6/zl548/MegaDepth_v1/0001/dense0/depths/{k}.h5"


def scene_arrays(count: int, unused: tuple[int, ...] = ()) -> dict[str, np.ndarray]:
    """The per-image columns of a MegaDepth scene, None in unused slots."""
    columns = {
        "image_paths": lambda k: f"Undistorted_SfM/0001/images/{k}.jpg",
        "depth_paths": depth_path,
        "intrinsics": lambda k: np.diag([500.0 + k, 500.0, 1.0]),
        "poses": lambda k: np.eye(4),
    }
    scene = {}
    for name, value in columns.items():
        scene[name] = np.empty(count, object)
        for k in range(count):
            scene[name][k] = None if k in unused else value(k)
    return scene


def write_scene(folder: Path, count: int) -> Path:
    folder.mkdir()
    pairs = np.array([[0, 1]])
    np.savez(folder / "0001.npz", **scene_arrays(count), pairs=pairs)
    return folder / "0001.npz"


def write_photo(image: Path, depth: Path, size=(64, 48)) -> None:
    for path in (image, depth):
        path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 255, size[::-1], np.uint8)
    encoded = cv2.imencode(image.suffix.lower(), pixels)[1]
    image.write_bytes(encoded.tobytes())
    with h5py.File(depth, "w") as file:
        file["depth"] = np.full(size[::-1], 2.0, np.float32)
