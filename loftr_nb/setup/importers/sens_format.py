"""ScanNet's ``.sens`` files: a whole scan of colour, depth and poses in one file.

The format, version 4, little endian (documented with ScanNet's SensReader):

- header: version uint32; length uint64 and text of the sensor's name; four 4x4
  float32 matrices (K and extrinsic of colour, K and extrinsic of depth); kinds of
  compression of colour and depth, int32 each; width and height of colour, then of
  depth, uint32 each; units per metre of depth, float32; number of frames, uint64;
- each frame: pose 4x4 float32 (camera to world, -inf where tracking was lost), two
  times and two sizes in bytes, uint64 each, then colour and depth;
- readings of the motion sensor, which nobody here needs.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ...errors import DataError
from ...files import write_whole

COLOUR_KINDS = {"unknown": -1, "raw": 0, "png": 1, "jpeg": 2}
DEPTH_KINDS = {"unknown": -1, "raw": 0, "zlib": 1, "occi": 2}
_VERSION = 4
_LONGEST_SIDE = 16384
FRAME = struct.Struct("<16f4Q")


@dataclass(frozen=True)
class SensHeader:
    """What a ``.sens`` file says once.

    K_colour, K_depth, extrinsic_colour, extrinsic_depth: (4, 4) float32.
    colour_size, depth_size: (w, h). colour, depth: keys of the two tables above.
    depth_shift: units of depth per metre. frames: how many it announces.
    """

    K_colour: np.ndarray
    K_depth: np.ndarray
    colour_size: tuple[int, int]
    depth_size: tuple[int, int]
    colour: str = "jpeg"
    depth: str = "zlib"
    depth_shift: float = 1000.0
    frames: int = 0
    sensor: str = "StructureSensor"
    extrinsic_colour: np.ndarray = field(default_factory=lambda: np.eye(4))
    extrinsic_depth: np.ndarray = field(default_factory=lambda: np.eye(4))


@dataclass(frozen=True)
class SensEntry:
    """Where a frame lies: its number, the byte it starts at, and two sizes."""

    number: int
    offset: int
    colour_bytes: int
    depth_bytes: int


@dataclass(frozen=True)
class SensFrame:
    """A frame as stored.

    pose: (4, 4) float32 camera to world, not finite where tracking was lost.
    colour, depth: bytes, compressed as the header says.
    """

    pose: np.ndarray
    colour: bytes
    depth: bytes
    time_colour: int = 0
    time_depth: int = 0


def read_header(file: BinaryIO, path: Path) -> SensHeader:
    """The header, with the file left at its first frame.

    Raises:
        DataError: cut off, of another version, or numbers that cannot be.
    """

    def take(layout: str) -> tuple:
        data = file.read(struct.calcsize("<" + layout))
        if len(data) < struct.calcsize("<" + layout):
            raise DataError(f"{path} ends inside its header. Download it again")
        return struct.unpack("<" + layout, data)

    (version,) = take("I")
    (length,) = take("Q")
    if version != _VERSION or length > 4096:
        raise DataError(
            f"{path} is no .sens file of version 4: it starts with version {version} "
            f"and a name of {length} letters. Take the .sens that ScanNet releases"
        )
    sensor = take(f"{length}s")[0].decode("utf-8", "replace")
    numbers = np.array(take("64f"), np.float32).reshape(4, 4, 4)
    colour, depth, *sizes = take("ii4I")
    shift, frames = take("fQ")
    kinds = [
        {v: k for k, v in table.items()}.get(n)
        for table, n in ((COLOUR_KINDS, colour), (DEPTH_KINDS, depth))
    ]
    focal = numbers[[0, 0, 2, 2], [0, 1, 0, 1], [0, 1, 0, 1]]
    sensible = np.isfinite(numbers).all() and (focal > 0).all()
    sensible &= all(0 < s <= _LONGEST_SIDE for s in sizes)
    if not sensible or None in kinds or not 0 < shift < 1e6:
        raise DataError(
            f"{path} has a damaged header: focal lengths {focal.tolist()}, sizes "
            f"{sizes}, kinds {colour} and {depth}, {shift:g} units of depth per metre. "
            "Download it again"
        )
    return SensHeader(
        K_colour=numbers[0],
        extrinsic_colour=numbers[1],
        K_depth=numbers[2],
        extrinsic_depth=numbers[3],
        colour=kinds[0],
        depth=kinds[1],
        colour_size=(sizes[0], sizes[1]),
        depth_size=(sizes[2], sizes[3]),
        depth_shift=shift,
        frames=frames,
        sensor=sensor,
    )


def write_sens(path: Path, header: SensHeader, frames: Iterable[SensFrame]) -> int:
    """Write a ``.sens`` file, for instance a part of a scan, whole or not at all.

    Args:
        header: its count of frames is replaced by what ``frames`` yields.
        frames: one at a time, so that no scan has to fit into memory.

    Returns:
        Number of frames written.

    Raises:
        DataError: the disk is full or the folder cannot be written to.
    """
    count = 0

    def write(file: BinaryIO) -> None:
        nonlocal count
        file.write(_pack_header(header))
        at = file.tell() - 8
        for frame in frames:
            times = frame.time_colour, frame.time_depth
            pose = np.asarray(frame.pose, np.float32).reshape(16)
            sizes = len(frame.colour), len(frame.depth)
            file.write(FRAME.pack(*pose.tolist(), *times, *sizes))
            file.write(frame.colour)
            file.write(frame.depth)
            count += 1
        file.write(struct.pack("<Q", 0))  # no readings of the motion sensor
        file.seek(at)
        file.write(struct.pack("<Q", count))

    write_whole(path, write)
    return count


def _pack_header(header: SensHeader) -> bytes:
    name = header.sensor.encode()
    matrices = header.K_colour, header.extrinsic_colour
    matrices += header.K_depth, header.extrinsic_depth
    content = struct.pack("<IQ", _VERSION, len(name)) + name
    for matrix in matrices:
        whole = np.eye(4, dtype="<f4")
        whole[: len(matrix), : len(matrix)] = matrix
        content += whole.tobytes()
    kinds = COLOUR_KINDS[header.colour], DEPTH_KINDS[header.depth]
    sizes = *header.colour_size, *header.depth_size
    return content + struct.pack("<ii4IfQ", *kinds, *sizes, header.depth_shift, 0)
