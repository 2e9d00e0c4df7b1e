"""One scene of a pack: an HDF5 file with what training reads of its frames.

===============  ==============================================================
attributes       ``format``, ``version``, ``identity`` and ``sources`` (what it
                 was made of, as digests), ``written_by``
``frames``       (F,) one record a frame, sorted by ``key``; ``RECORD`` says what
                 is in it, among others where the frame's bytes lie in the file
``key``          (F,) what the index calls the frame: ScanNet's number, MegaDepth's
                 path of the image and, after a line end, of its depth map
``name``         (F,) path of the image below the root it was packed from
``image/k``      (h, w) uint8 grey of frame k at the input's size, unpadded; of a
                 compressed pack the bytes of a PNG
``cell_depth/k`` (h/8, w/8) float32 metres at the corners of coarse cells
``K``            (3, 3) float64, ScanNet: of the scene's depth camera
===============  ==============================================================

Every array is contiguous: a frame is two readings at known places, without HDF5.

Letters: F frames.
"""

from __future__ import annotations

import os
import zlib
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import h5py
import numpy as np

from .. import __version__
from ..errors import DataError
from ..files import require_file
from .columns import StoredColumn, StoredFile, decode, encode
from .images import InputFrame

FORMAT = "loftr_nb packed scene"
VERSION = 1
# original and size: (w, h). png: whether the image is stored as one. crc: of both
# arrays as stored. pose: ScanNet's,
# camera to world, NaN where there is no file; MegaDepth's are the index's.
RECORD = np.dtype(
    [
        ("original", "<i4", (2,)),
        ("size", "<i4", (2,)),
        ("has_depth", "<i2"),
        ("png", "<i2"),
        ("crc", "<u4"),
        ("image_at", "<i8"),
        ("image_bytes", "<i8"),
        ("depth_at", "<i8"),
        ("pose", "<f8", (4, 4)),
    ]
)
FRAME_OVERHEAD = RECORD.itemsize + 1200  # bytes of a frame beside its arrays
_OPEN_FILES = 64  # handles of a process; a training set has 1,513 scenes
_CELLS = 64  # pixels of a coarse cell
_DAMAGED = (
    *(OSError, RuntimeError, KeyError, IndexError, ValueError, TypeError),
    *(AttributeError, OverflowError, MemoryError),
)


@dataclass(frozen=True)
class PackedFrame:
    """A frame to be written, and ScanNet's (4, 4) pose of it, NaN for none."""

    key: bytes
    name: str
    frame: InputFrame
    pose: np.ndarray | None = None


def image_bytes(grey: np.ndarray, compress: bool) -> np.ndarray:
    """An image as it is stored: itself, or the bytes of a PNG."""
    if not compress:
        return np.ascontiguousarray(grey)
    level = [cv2.IMWRITE_PNG_COMPRESSION, 3]  # 6 takes 3 times as long for 6 % less
    return cv2.imencode(".png", grey, level)[1].reshape(-1)


def write_scene_file(
    path: Path,
    frames: Iterable[PackedFrame],
    identity: str,
    sources: str,
    K: np.ndarray | None,
    compress: bool,
) -> int:
    """Write a scene, whole or not at all; frames come sorted by key.

    Returns:
        Its size in bytes.

    Raises:
        DataError: the disk is full or the folder cannot be written to.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.part-{os.getpid()}")
    try:
        with h5py.File(part, "w", libver=("v108", "v110")) as file:
            file.attrs.update(format=FORMAT, version=VERSION, identity=identity)
            file.attrs.update(sources=sources, written_by=f"loftr_nb {__version__}")
            _write_frames(file, frames, compress)
            if K is not None:
                file["K"] = np.asarray(K, np.float64)
        with part.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(part, path)
    except (OSError, RuntimeError) as error:  # h5py raises both on a full disk
        raise DataError(
            f"{path} could not be written ({error}). Free space on its disk and run "
            "the same command again: complete scenes are kept"
        ) from None
    finally:
        part.unlink(missing_ok=True)
    return path.stat().st_size


def _write_frames(
    file: h5py.File, frames: Iterable[PackedFrame], compress: bool
) -> None:
    records, keys, names = [], [], []
    images, depths = file.create_group("image"), file.create_group("cell_depth")
    for k, one in enumerate(frames):
        h, w = one.frame.grey.shape
        stored = image_bytes(one.frame.grey, compress)
        cells = one.frame.cell_depth
        depth = np.zeros((h // 8, w // 8), "<f4")
        if cells is not None:
            depth[:] = cells.reshape(depth.shape)
        image = images.create_dataset(str(k), data=stored)
        cell_depth = depths.create_dataset(str(k), data=depth)
        record = np.zeros((), RECORD)
        record["original"], record["size"] = one.frame.original, (w, h)
        record["has_depth"], record["png"] = cells is not None, compress
        record["crc"] = zlib.crc32(depth, zlib.crc32(stored))
        record["image_at"], record["image_bytes"] = image.id.get_offset(), stored.size
        record["depth_at"] = cell_depth.id.get_offset()
        record["pose"] = np.nan if one.pose is None else one.pose
        records.append(record)
        keys.append(one.key)
        names.append(encode(one.name))
    file["frames"] = np.array(records, RECORD)
    file["key"], file["name"] = np.array(keys, "S"), np.array(names, "S")


class SceneFile:
    """A packed scene, opened: its keys in memory, all else read when asked for.

    It may be inherited by a forked worker or pickled into a spawned one.
    """

    def __init__(self, path: Path, root: Path) -> None:
        """
        Args:
            root: what the names in it start from.

        Raises:
            DataError: missing, damaged, or no packed scene.
        """
        self.path, self.root = Path(path), root
        require_file(self.path)
        try:
            with h5py.File(self.path, "r", locking=False) as file:
                if file.attrs.get("format") != FORMAT:
                    raise ValueError("it does not say that it is a packed scene")
                if int(file.attrs["version"]) > VERSION:
                    raise ValueError("it was written by a later loftr_nb")
                self.identity = str(file.attrs["identity"])
                self.sources = str(file.attrs["sources"])
                self.K = file["K"][()] if "K" in file else None
                self.keys = file["key"][()]
                stored = StoredFile(self.path)
                self._frames = _column(file["frames"], stored, RECORD)
                width = file["name"].dtype.itemsize
                self._names = _column(file["name"], stored, np.dtype(f"S{width}"))
            if not len(self.keys) == len(self._frames) == len(self._names):
                raise ValueError("its tables differ in length")
        except _DAMAGED as error:
            raise self._damaged(str(error)) from None
        self.file = stored

    def __len__(self) -> int:
        return len(self.keys)

    def pose(self, key: bytes, where: str) -> np.ndarray:
        """(4, 4) float64 pose of ScanNet's frame, NaN where it has none."""
        return self._frames[self._find(key, where)]["pose"]

    def read(self, key: bytes, where: str) -> InputFrame:
        """A frame by its key. where: the index row, for the error.

        Raises:
            DataError: the scene lacks the frame, or its bytes are damaged.
        """
        k = self._find(key, where)
        record = self._frames[k]
        (w, h), count = record["size"], int(record["image_bytes"])
        stored = self.file.read(int(record["image_at"]), count)
        cells = self.file.read(int(record["depth_at"]), 4 * w * h // _CELLS)
        if zlib.crc32(cells, zlib.crc32(stored)) != record["crc"]:
            raise self._damaged(f"the bytes of frame {k} are not those written")
        grey = np.frombuffer(stored, np.uint8)
        if record["png"]:
            grey = cv2.imdecode(grey, cv2.IMREAD_GRAYSCALE)
        else:
            grey = grey.reshape(h, w)
        depth = np.frombuffer(cells, "<f4") if record["has_depth"] else None
        w, h = (int(s) for s in record["original"])
        name = str(self.root / decode(self._names[k]))
        return InputFrame(grey, depth, (w, h), name)

    def _find(self, key: bytes, where: str) -> int:
        k = int(np.searchsorted(self.keys, key))
        if k >= len(self) or self.keys[k] != key:
            raise DataError(
                f"{self.path} has no frame {decode(key).splitlines()[0]}, which "
                f"{where} asks for. The index is not the one that was packed: pack "
                "again"
            )
        return k

    def _damaged(self, why: str) -> DataError:
        return DataError(
            f"{self.path} is damaged ({why}). Delete it and run the same `loftr-nb "
            "data pack` again: it makes this scene anew and keeps the others"
        )


def _column(dataset: h5py.Dataset, file: StoredFile, dtype: np.dtype) -> StoredColumn:
    offset = dataset.id.get_offset()
    if offset is None or dataset.dtype.itemsize != dtype.itemsize:
        raise ValueError(f"{dataset.name} is not stored as it should be")
    return StoredColumn(file, offset, dataset.shape, dtype)


class SceneFiles:
    """The scenes of a pack, opened one by one, with few files open at a time."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder, self.root = folder, root
        self._scenes: dict[str, SceneFile] = {}
        self._recent: OrderedDict[str, None] = OrderedDict()

    def __getitem__(self, name: str) -> SceneFile:
        """Raises DataError where the file is missing or damaged."""
        scene = self._scenes.get(name)
        if scene is None:
            scene = SceneFile(self.folder / f"{name}.h5", self.root)
            self._scenes[name] = scene
        self._recent[name] = None
        self._recent.move_to_end(name)
        if len(self._recent) > _OPEN_FILES:
            self._scenes[self._recent.popitem(last=False)[0]].file.close()
        return scene
