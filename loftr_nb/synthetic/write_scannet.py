"""A scene in ScanNet's layout: jpg, uint16 png, pose txt and an index npz.

``<root>/<split>/scene0000_00/{color/10.jpg,depth/10.png,pose/10.txt}`` and
``<root>/index/<split>/scene0000_00.npz``.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from .rooms import Job, Shot, has_parallax, overlaps, shoot, spread

FRAME_STEP = 10  # frame ids are not contiguous in real exports either
TEST_SCENE = 700  # number of the first test scene, as in the real split
TRAIN_OVERLAP = (0.15, 0.95)
TEST_PAIRS = 20  # a scene
JPEG_QUALITY = 92


def scene_name(job: Job) -> str:
    """``scene0003_00`` for training, from ``scene0700_00`` on for testing."""
    return f"scene{_number(job):04d}_00"


def _number(job: Job) -> int:
    return job.number + (TEST_SCENE if job.split == "test" else 0)


def write_scene(job: Job, root: Path) -> tuple[str, np.ndarray, int]:
    """Render and write one scene and its index.

    Returns:
        The scene's name, its (3, 3) intrinsics, and its number of pairs.
    """
    shots = shoot(job)
    name = scene_name(job)
    folder = root / job.split / name
    for kind in ("color", "depth", "pose"):
        (folder / kind).mkdir(parents=True)
    for n, shot in enumerate(shots):
        _write_shot(folder, n * FRAME_STEP, shot)
    pairs, score = _choose(job, shots)
    rows = np.empty((len(pairs), 4), np.uint16)
    rows[:, 0], rows[:, 1], rows[:, 2:] = _number(job), 0, pairs * FRAME_STEP
    index = root / "index" / job.split / f"{name}.npz"
    index.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(index, name=rows, score=score)
    return name, shots[0].camera.K, len(rows)


def _choose(job: Job, shots: list[Shot]) -> tuple[np.ndarray, np.ndarray]:
    pairs, score = overlaps(shots)
    if job.split == "train":
        keep = (score >= TRAIN_OVERLAP[0]) & (score <= TRAIN_OVERLAP[1])
        return pairs[keep], score[keep]
    apart = np.array([has_parallax(shots[i], shots[j]) for i, j in pairs])
    pairs, score = pairs[apart], score[apart]
    keep = spread(score, TEST_PAIRS, job.rng())
    return pairs[keep], score[keep]


def _write_shot(folder: Path, frame: int, shot: Shot) -> None:
    write_jpeg(folder / "color" / f"{frame}.jpg", shot.image)
    millimetres = np.round(shot.sensed * 1000).astype(np.uint16)
    write_encoded(folder / "depth" / f"{frame}.png", ".png", millimetres, [])
    lines = "\n".join(" ".join(f"{v:.9f}" for v in row) for row in shot.camera.pose)
    (folder / "pose" / f"{frame}.txt").write_text(lines + "\n")


def write_jpeg(path: Path, image: np.ndarray) -> None:
    """Write an RGB image (H, W, 3) uint8."""
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    write_encoded(path, ".jpg", image[..., ::-1], options)


def write_encoded(path: Path, kind: str, image: np.ndarray, options: list) -> None:
    """Encode and write; raises OSError where ``cv2.imwrite`` returns False."""
    good, data = cv2.imencode(kind, image, options)
    if not good:
        raise OSError(f"{path}: OpenCV cannot encode {image.shape} as {kind}")
    path.write_bytes(data.tobytes())
