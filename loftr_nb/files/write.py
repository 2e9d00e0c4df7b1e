"""Files that are there whole or not at all.

A full disk, a Ctrl-C or a killed process must leave what was there before, and
never half of something new under a name that others read.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..errors import DataError


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then give it the name.

    Raises:
        DataError: the disk is full or the folder cannot be written to; what
            ``path`` held before is untouched.
    """
    path = Path(path)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise DataError(_failed(path, error)) from None
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files that nobody else may read; written data is shared.
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise DataError(_failed(path, error)) from None
        raise


def save_npz(path: Path, **arrays: np.ndarray) -> None:
    """Write a compressed npz that is there whole or not at all."""
    write_whole(path, lambda file: np.savez_compressed(file, **arrays))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _failed(path: Path, error: OSError) -> str:
    kept = "; the previous file is untouched" if path.exists() else ""
    return (
        f"{path} could not be written ({error.strerror or error}){kept}. Free space on "
        "its disk, or write to another folder"
    )
