"""Reading ScanNet's ``.sens`` files, one frame at a time.

A file of 10 GB costs the memory of one frame. What is damaged is named by frame and
byte, and what lies before it can be had. The format is in :mod:`.sens_format`.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import cv2
import numpy as np

from ...errors import DataError
from ...files import require_file
from .sens_format import FRAME, SensEntry, SensFrame, read_header


class SensFile:
    """A ``.sens`` file, opened for reading.

    header: see :class:`SensHeader`. damage: what stopped :meth:`entries`, if it did.
    """

    def __init__(self, path: Path) -> None:
        """
        Raises:
            DataError: missing, of another version, or a header that cannot be.
        """
        require_file(path)
        self.path = path
        self.size = path.stat().st_size
        self.damage: DataError | None = None
        with path.open("rb") as file:
            self.header = read_header(file, path)
            self._start = file.tell()

    def entries(self, every: int = 1) -> list[SensEntry]:
        """Where frames 0, every, 2 every, ... lie, without reading them.

        A truncated or damaged file gives the frames before the damage; ``damage``
        then names the frame and the byte.
        """
        found, at = [], self._start
        with self.path.open("rb") as file:
            for number in range(self.header.frames):
                file.seek(at)
                start = file.read(FRAME.size)
                if len(start) < FRAME.size:
                    self.damage = self._damaged(number, at, "the file ends there")
                    break
                colour, depth = FRAME.unpack(start)[18:]
                end = at + FRAME.size + colour + depth
                if end > self.size:
                    what = f"it announces {colour} and {depth} bytes, and the file ends"
                    self.damage = self._damaged(number, at, what)
                    break
                if number % every == 0:
                    found.append(SensEntry(number, at, colour, depth))
                at = end
        return found

    def read(self, entry: SensEntry) -> SensFrame:
        """One frame as stored.

        Raises:
            DataError: the file became shorter.
        """
        with self.path.open("rb") as file:
            file.seek(entry.offset)
            data = file.read(FRAME.size + entry.colour_bytes + entry.depth_bytes)
        if len(data) < FRAME.size + entry.colour_bytes + entry.depth_bytes:
            raise self._damaged(entry.number, entry.offset, "the file ends there")
        *pose, time_colour, time_depth, _, _ = FRAME.unpack_from(data)
        middle = FRAME.size + entry.colour_bytes
        return SensFrame(
            pose=np.array(pose, np.float32).reshape(4, 4),
            colour=data[FRAME.size : middle],
            depth=data[middle:],
            time_colour=time_colour,
            time_depth=time_depth,
        )

    def depth_units(self, entry: SensEntry, frame: SensFrame) -> np.ndarray:
        """(H, W) uint16 of a frame's depth, ``depth_shift`` units to the metre.

        Raises:
            DataError: damaged, or compressed in a way that is not read here.
        """
        w, h = self.header.depth_size
        data = frame.depth
        if self.header.depth == "zlib":
            unpacker = zlib.decompressobj()
            try:  # never more than the image needs: a forged stream may be endless
                data = unpacker.decompress(data, 2 * w * h + 1)
            except zlib.error as error:
                what = f"its depth cannot be unpacked ({error})"
                raise self._damaged(entry.number, entry.offset, what) from None
        elif self.header.depth != "raw":
            raise DataError(
                f"{self.path} has depth of kind {self.header.depth!r}, which ScanNet "
                "does not release. Write it again with zlib or raw depth"
            )
        if len(data) != 2 * w * h:
            what = f"its depth has {len(data)} bytes instead of {2 * w * h}"
            raise self._damaged(entry.number, entry.offset, what)
        return np.frombuffer(data, "<u2").reshape(h, w)

    def colour_image(self, entry: SensEntry, frame: SensFrame) -> np.ndarray:
        """(H, W, 3) uint8 in OpenCV's channel order.

        Raises:
            DataError: damaged, or not of the size that the header says.
        """
        w, h = self.header.colour_size
        if self.header.colour == "raw":
            if len(frame.colour) != 3 * w * h:
                what = f"its colour has {len(frame.colour)} bytes, not {3 * w * h}"
                raise self._damaged(entry.number, entry.offset, what)
            pixels = np.frombuffer(frame.colour, np.uint8).reshape(h, w, 3)
            return np.ascontiguousarray(pixels[..., ::-1])
        image = _decode(frame.colour, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if image is None or image.shape[1::-1] != (w, h):
            what = f"its colour is no {self.header.colour} of {w}x{h} pixels"
            raise self._damaged(entry.number, entry.offset, what)
        return image

    def check_jpeg(self, entry: SensEntry, frame: SensFrame) -> None:
        """Refuse a JPEG that is damaged, at an eighth of the work of decoding it.

        Raises:
            DataError: no JPEG, cut off, or not of the size that the header says.
        """
        w, h = self.header.colour_size
        whole = (
            frame.colour[:3] == b"\xff\xd8\xff" and b"\xff\xd9" in frame.colour[-64:]
        )
        flags = cv2.IMREAD_REDUCED_GRAYSCALE_8 | cv2.IMREAD_IGNORE_ORIENTATION
        small = _decode(frame.colour, flags) if whole else None
        if small is None or small.shape != (-(-h // 8), -(-w // 8)):
            what = f"its colour is no whole JPEG of {w}x{h} pixels"
            raise self._damaged(entry.number, entry.offset, what)

    def _damaged(self, number: int, offset: int, what: str) -> DataError:
        return DataError(
            f"{self.path}, frame {number} of {self.header.frames} at byte {offset} of "
            f"{self.size}: {what}. The file is truncated or damaged: download it "
            "again; frames that are written already are kept"
        )


def _decode(data: bytes, flags: int) -> np.ndarray | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:  # no bytes, or a size beyond OpenCV's limit
        return None
