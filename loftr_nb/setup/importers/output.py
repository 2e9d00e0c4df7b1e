"""Scenes that an import writes, in the layout of ScanNet's Python exporter.

``<out>/sceneXXXX_YY/{color/N.jpg, depth/N.png, pose/N.txt, intrinsic/*.txt}`` and
``import.json``, which says where the scene comes from and with which options. A
folder without that file is somebody else's and is never written to; with it, a
stopped import goes on where it stopped.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ...errors import ConfigError, DataError
from ...files import read_image_grey, write_whole
from ...recordings.scannet import SCENE_NAME
from .report import bytes_in_words

RECORD = "import.json"
JPEG_QUALITY = 95
_FIRST_NUMBER = 7000  # of scenes without a number of their own; ScanNet ends at 0806
_PARTS = {"color": ".jpg", "depth": ".png", "pose": ".txt"}
_MOST = 65534  # millimetres; 65535 is how sensors say "no reading"
_SPARE = 50_000_000  # bytes that stay free on the disk


class SceneFolder:
    """One ``sceneXXXX_YY`` folder that an import owns.

    record: what its ``import.json`` holds.
    """

    def __init__(self, folder: Path, record: dict[str, Any]) -> None:
        self.folder = folder
        self.record = record

    @property
    def name(self) -> str:
        """``sceneXXXX_YY``."""
        return self.folder.name

    def start(self) -> None:
        """Make the folder, or go on in it; half-written files of a kill go."""
        for part in (*_PARTS, "intrinsic"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
            for leftover in (self.folder / part).glob(".*"):
                leftover.unlink()
        self.save()

    def save(self) -> None:
        """Write ``import.json``."""
        text = json.dumps(self.record, indent=1).encode()
        write_whole(self.folder / RECORD, lambda file: file.write(text))

    def finish(self, frames: int) -> None:
        """Note that all frames are there."""
        self.record.update(finished=True, frames=frames)
        self.save()

    def has(self, frame: int, colour_size: int | None = None) -> bool:
        """Whether a frame is there, all three files of it whole.

        colour_size: bytes that the colour file must have, where that is known.
        """
        colour, depth, pose = (
            self.folder / part / f"{frame}{suffix}" for part, suffix in _PARTS.items()
        )
        # The pose is written last: without it nothing needs a closer look.
        if not (pose.is_file() and depth.is_file() and colour.is_file()):
            return False
        if colour_size is not None and colour.stat().st_size != colour_size:
            return False
        return (
            _tail(depth, 8)[:4] == b"IEND"
            and b"\xff\xd9" in _tail(colour, 64)
            and len(pose.read_text(errors="replace").split()) == 16
        )

    def write_frame(
        self, frame: int, jpeg: bytes, millimetres: np.ndarray, pose: np.ndarray
    ) -> int:
        """Write a frame; the pose comes last, each file is there whole or not at all.

        Args:
            jpeg: the colour image. millimetres: (H, W) uint16, 0 = unknown.
            pose: (4, 4) camera to world; may be -inf, which means "no pose".

        Returns:
            Bytes written.
        """
        png = encode(".png", millimetres, [])
        text = pose_text(pose).encode()
        for (part, suffix), data in zip(_PARTS.items(), (jpeg, png, text), strict=True):
            path = self.folder / part / f"{frame}{suffix}"
            write_whole(path, lambda file, data=data: file.write(data))
        return len(jpeg) + len(png) + len(text)

    def write_intrinsics(
        self,
        colour: np.ndarray,
        depth: np.ndarray,
        extrinsic_colour: np.ndarray | None = None,
        extrinsic_depth: np.ndarray | None = None,
    ) -> None:
        """Write the four files of ``intrinsic/``, each 4x4."""
        extrinsics = {"colour": extrinsic_colour, "depth": extrinsic_depth}
        matrices = {"intrinsic_color": colour, "intrinsic_depth": depth}
        matrices["extrinsic_color"] = extrinsics["colour"]
        matrices["extrinsic_depth"] = extrinsics["depth"]
        for name, matrix in matrices.items():
            whole = np.eye(4)
            if matrix is not None:
                whole[: len(matrix), : len(matrix)] = matrix
            path = self.folder / "intrinsic" / f"{name}.txt"
            text = pose_text(whole).encode()
            write_whole(path, lambda file, text=text: file.write(text))


def claim(
    out: Path,
    kind: str,
    source: Path,
    options: dict[str, Any],
    scene: str | None = None,
    place: Path | None = None,
    also: Iterable[SceneFolder] = (),
) -> SceneFolder:
    """The folder for a source: the one of an earlier run, or a free one.

    Nothing is created; :meth:`SceneFolder.start` does that.

    Args:
        source: what is imported, a file or a folder.
        options: those that change what is written.
        scene: ``sceneXXXX_YY`` to take; None takes the next free number.
        place: sources of one place share the number XXXX, as ScanNet's walks
            through one room do; a split keeps them together.
        also: folders claimed already and not started yet.

    Raises:
        ConfigError: ``scene`` is no such name.
        DataError: the folder holds something else, or the same source imported
            with other options.
    """
    source, place = source.resolve(), (place or source).resolve()
    record = {"kind": kind, "source": str(source), "place": str(place)}
    record |= {"options": options, "finished": False}
    if scene is not None and not SCENE_NAME.fullmatch(scene):
        raise ConfigError(f"the scene is {scene!r}; names are like scene7000_00")
    known = {p.name: read_record(p) for p in sorted(out.glob("scene*_*"))}
    known |= {folder.name: folder.record for folder in also}
    for name, other in known.items():
        if other and (other["kind"], other["source"]) == (kind, str(source)):
            if scene in (None, name):
                return _go_on(out / name, other, options)
    if scene is None:
        scene = _free_name(known, str(place))
    elif known.get(scene) is not None:
        raise DataError(
            f"{out / scene} holds an import of {known[scene]['source']}. Give another "
            "--scene, or another --out"
        )
    folder = out / scene
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(
            f"{folder} is there and was not written by this command: nothing in it is "
            "touched. Give another --scene, or another --out"
        )
    return SceneFolder(folder, record)


def _go_on(folder: Path, record: dict[str, Any], options: dict) -> SceneFolder:
    if record["options"] != options:
        raise DataError(
            f"{folder} holds an import of {record['source']} with {record['options']}, "
            f"not with {options}. Give the same options to go on with it, or another "
            "--scene or --out"
        )
    return SceneFolder(folder, record)


def _free_name(known: dict[str, Any], place: str) -> str:
    matches = {name: SCENE_NAME.fullmatch(name) for name in known}
    numbers = {n: (int(m[1]), int(m[2])) for n, m in matches.items() if m}
    same = [n for n, record in known.items() if record and record["place"] == place]
    if same:
        room = numbers[same[0]][0]
        walk = 1 + max(walk for other, walk in numbers.values() if other == room)
    else:
        rooms = [room for room, _ in numbers.values() if room >= _FIRST_NUMBER]
        room, walk = 1 + max(rooms, default=_FIRST_NUMBER - 1), 0
    if room > 9999 or walk > 99:
        raise DataError(
            "there are no free scene numbers: give --scene or another --out"
        )
    return f"scene{room:04d}_{walk:02d}"


def read_record(folder: Path, name: str = RECORD) -> dict[str, Any] | None:
    """What ``import.json`` of a scene says; None where there is none or no sense."""
    try:
        record = json.loads((folder / name).read_text())
    except (OSError, ValueError):
        return None
    wanted = {"kind": str, "source": str, "place": str, "options": dict}
    sensible = isinstance(record, dict) and all(
        isinstance(record.get(key), kind) for key, kind in wanted.items()
    )
    return record if sensible else None


def require_space(out: Path, needed: int) -> None:
    """Refuse to start what the disk cannot hold.

    Raises:
        DataError: naming what is needed and what is free.
    """
    place = out.resolve()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed + _SPARE:
        raise DataError(
            f"{out} needs about {bytes_in_words(needed)} and its disk has "
            f"{bytes_in_words(free)} free. Take fewer frames (--every), or another "
            "--out"
        )


def check_every(every: int) -> int:
    """Refuse an ``every`` below 1.

    Raises:
        ConfigError: naming it.
    """
    if every < 1:
        raise ConfigError(f"every is {every}, it must be 1 or more")
    return every


def to_millimetres(depth: np.ndarray) -> np.ndarray:
    """(H, W) metres to uint16 millimetres; beyond 65.5 m counts as unknown."""
    millimetres = np.rint(depth * np.float64(1000))
    known = np.isfinite(millimetres) & (millimetres > 0) & (millimetres <= _MOST)
    return np.where(known, millimetres, 0).astype(np.uint16)


def as_jpeg(path: Path, size: tuple[int, int] | None = None) -> bytes:
    """An image file as JPEG: its own bytes where it is one and keeps its size.

    Args:
        size: (w, h) to resize to; None keeps it.

    Raises:
        DataError: missing, truncated, or not an image.
    """
    read_image_grey(path)  # names what is wrong with the file
    content = path.read_bytes()
    if size is None and content.startswith(b"\xff\xd8\xff"):
        return content
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    return to_jpeg(cv2.imdecode(np.frombuffer(content, np.uint8), flags), size)


def to_jpeg(image: np.ndarray, size: tuple[int, int] | None = None) -> bytes:
    """(H, W, 3) uint8 in OpenCV's channel order as JPEG, resized to ``size`` (w, h)."""
    if size is not None and image.shape[1::-1] != tuple(size):
        image = cv2.resize(image, tuple(size), interpolation=cv2.INTER_AREA)
    return encode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


def encode(kind: str, image: np.ndarray, options: Iterable[int]) -> bytes:
    """An image as the bytes of a file of that kind."""
    return cv2.imencode(kind, image, list(options))[1].tobytes()


def pose_text(matrix: np.ndarray) -> str:
    """A matrix as text that reads back to the same float32 (float64: 9 digits)."""
    digits = 9 if matrix.dtype == np.float32 else 12
    return "".join(" ".join(f"{v:.{digits}g}" for v in row) + "\n" for row in matrix)


def number_in(name: str) -> int | None:
    """The last number in a frame's name: 10 of ``frame-000010``."""
    found = re.findall(r"\d+", name)
    return int(found[-1]) if found else None


def _tail(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - count))
        return file.read()
