"""Index files that are pickles, read without letting them run anything.

A pickle is a program: its opcodes may call any function that they can name.
Released indices are pickles of numpy arrays in plain containers, so this reader
names nothing else. It does not hand numpy's own functions to the pickle either,
only stand-ins that build one kind of thing and check what they are given: numpy
trusts the pickled description of an array, and a forged one (raw bytes declared
to be Python objects) is memory that nobody wrote.
"""

from __future__ import annotations

import copyreg
import io
import math
import pickle
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ..errors import DataError
from .readers import require_file

_DAMAGED_ARCHIVE = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    RuntimeError,  # encrypted, or packed by an unknown method
)
_PLAIN_DTYPE = re.compile(r"[<>|=]?([?bBhHiIlLqQefdg]|O8?|[biuf]\d{1,2}|[SU]\d{1,6})")


def safe_load(path: Path, keys: Iterable[str] | None = None) -> dict[str, Any]:
    """Read an index file, an npz archive or a pickled dict, running no code.

    Args:
        path: the file; its first bytes decide, not its name.
        keys: the entries to read (None: all). In an archive the others are not
            even unpacked, and the released ScanNet index is 21 GB.

    Returns:
        Numpy arrays and plain containers by name.

    Raises:
        DataError: missing or damaged, or a pickle that names anything but numpy
            arrays and plain containers; the message says what it named.
    """
    require_file(path)
    wanted = None if keys is None else set(keys)
    with path.open("rb") as file:
        start = file.read(2)
        file.seek(0)
        if start == b"PK":
            return _read_archive(file, path, wanted)
        loaded = _unpickle(file, str(path))
    if not isinstance(loaded, dict):
        raise DataError(
            f"{path} holds a {type(loaded).__name__} where an index is a dict of "
            "arrays. Write it with np.savez"
        )
    return {k: v for k, v in loaded.items() if wanted is None or k in wanted}


def _read_archive(file: Any, path: Path, wanted: set[str] | None) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(file) as archive:
            names = {n.removesuffix(".npy"): n for n in archive.namelist()}
            found = names if wanted is None else wanted & names.keys()
            return {
                key: _read_member(archive.read(names[key]), f"{path}[{key}]")
                for key in sorted(found)
            }
    except _DAMAGED_ARCHIVE as error:
        raise DataError(
            f"{path} is a damaged npz archive ({error}). Copy or download it again"
        ) from None


def _read_member(content: bytes, where: str) -> np.ndarray:
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, _, dtype = header(stream)
        if not dtype.hasobject:
            stream.seek(0)
            return np.lib.format.read_array(stream, allow_pickle=False)
    except (ValueError, KeyError, EOFError, MemoryError) as error:
        raise DataError(
            f"{where} is not an array that numpy wrote ({error}). Write it with "
            "np.savez"
        ) from None
    array = _unpickle(stream, where)
    if not isinstance(array, np.ndarray) or array.size != math.prod(shape):
        raise DataError(f"{where} does not hold the array {shape} that it announces")
    return array.reshape(shape)


def _unpickle(stream: Any, where: str) -> Any:
    # An object that another library registered under a number, and that was
    # unpickled before, would come from this cache without being asked for.
    copyreg.clear_extension_cache()
    try:
        return _SafeUnpickler(stream, where).load()
    except DataError:
        raise
    except Exception as error:  # damaged bytes raise nearly every type there is
        raise DataError(
            f"{where} is neither an npz archive nor a readable pickle of arrays "
            f"({type(error).__name__}: {error}). It may be truncated: copy or "
            "download it again"
        ) from None


class _SafeUnpickler(pickle.Unpickler):
    """Knows the names that numpy arrays are pickled under, and no others."""

    def __init__(self, stream: Any, where: str) -> None:
        # latin1: numpy arrays pickled by Python 2 hold their bytes as text.
        super().__init__(stream, encoding="latin1")
        self._where = where

    def find_class(self, module: str, name: str) -> Any:
        known = _ADMITTED.get((module.replace("numpy._core", "numpy.core"), name))
        if known is None:
            raise DataError(
                f"{self._where} is a pickle that asks for {module}.{name}. An index "
                "holds numpy arrays and plain containers only; this one could run "
                "code and was not read. Get it from a source you trust, or write "
                "it again with np.savez"
            )
        return known

    def persistent_load(self, pid: Any) -> NoReturn:
        raise DataError(
            f"{self._where} is a pickle that refers to something outside itself "
            f"({pid!r:.60}), which an index never does. It was not read; write it "
            "again with np.savez"
        )


def _refuse(what: str) -> NoReturn:
    raise pickle.UnpicklingError(what)


class _Array(np.ndarray):
    """An array in the making: filled by its pickled state and by nothing else."""

    __slots__ = ()  # keeps a million of them out of the garbage collector

    def __new__(cls, *_: Any, **__: Any) -> NoReturn:
        _refuse("an array made by a call instead of from its state")

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        dtype = _plain_dtype(dtype)
        if isinstance(data, str):  # Python 2
            data = data.encode("latin1")
        if min(shape, default=0) < 0:
            _refuse(f"an array of shape {shape}")
        size = math.prod(shape)
        if dtype.hasobject:
            fits = type(data) is list and len(data) == size
        else:
            fits = type(data) is bytes and len(data) == size * dtype.itemsize
        if not fits:
            _refuse(f"an array of shape {shape} with other data than {dtype}")
        super().__setstate__((1, shape, dtype, bool(fortran), data))


class _Dtype:
    """The description of an array's elements: plain numbers, text or objects."""

    __slots__ = ("dtype",)

    def __init__(self, code: str, *_: Any) -> None:
        if not _PLAIN_DTYPE.fullmatch(code):
            _refuse(f"arrays of {code!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        # version, byte order, then what structured types have and plain ones not
        if any(part is not None for part in state[2:5]):
            _refuse("arrays of a structured type")
        order = state[1]
        if order in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(order)


def _plain_dtype(dtype: Any) -> np.dtype:
    if type(dtype) is not _Dtype:
        _refuse("an array whose type is no type")
    return dtype.dtype


class _StandIn:
    """A function that a pickle may call and cannot change."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setstate__(self, state: Any) -> NoReturn:
        _refuse("a function with a state")


def _reconstruct(kind: Any, *_: Any) -> np.ndarray:
    if kind is not _Array:
        _refuse("an array of another class than numpy's")
    return np.ndarray.__new__(_Array, (0,), np.int8)


def _scalar(dtype: Any, data: bytes | str) -> Any:
    if isinstance(data, str):
        data = data.encode("latin1")
    return np.frombuffer(data, _plain_dtype(dtype), count=1)[0]


def _from_buffer(data: bytes, dtype: Any, shape: Any, order: str) -> np.ndarray:
    flat = np.frombuffer(bytes(data), _plain_dtype(dtype))
    return flat.reshape(shape, order=order).copy()


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        _refuse(f"text encoded as {encoding!r}")
    return text.encode("latin1")


_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _StandIn(_reconstruct),
    ("numpy.core.multiarray", "scalar"): _StandIn(_scalar),
    ("numpy.core.numeric", "_frombuffer"): _StandIn(_from_buffer),
    # how protocol 2 writes bytes
    ("_codecs", "encode"): _StandIn(_encode),
    ("__builtin__", "bytes"): _StandIn(lambda: b""),
    ("builtins", "bytes"): _StandIn(lambda: b""),
}
