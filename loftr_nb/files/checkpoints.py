"""``torch.save`` to a file that is there whole or not at all, and reading it back."""

from __future__ import annotations

import contextlib
import errno
import os
import zipfile
from pathlib import Path
from typing import Any

import torch

from ..errors import CheckpointError


def atomic_save(
    payload: object, path: str | os.PathLike[str], previous: Path | None = None
) -> None:
    """``torch.save`` that leaves the old file or the new one, never half of one.

    The payload goes to a temporary file beside ``path``, reaches the disk, and
    then takes the name. With ``previous``, the old file gets that name first:
    between the two renames there is no ``path``.

    Raises:
        CheckpointError: the disk is full or the folder cannot be written to. What
            ``path`` held before is untouched.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            torch.save(payload, file)
            file.flush()
            os.fsync(file.fileno())
        if previous is not None and path.exists():
            os.replace(path, previous)
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:
        kept = "; the previous file is untouched" if path.exists() else ""
        raise CheckpointError(
            f"{path} could not be written: {reason(error)}{kept}. Free space on its "
            "disk, or write to another folder"
        ) from error
    finally:
        with contextlib.suppress(OSError):  # the folder itself may not exist
            partial.unlink(missing_ok=True)


def read_saved(path: Path, way_out: str) -> Any:
    """What :func:`atomic_save` wrote, on the CPU; no code in the file can run.

    Each part of it is compared with its checksum, which torch itself leaves out.

    Args:
        way_out: end of the sentence about a file that cannot be read.

    Raises:
        CheckpointError: missing, truncated, or not what was written.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"the checksum of {damaged} does not match")
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist") from error
    except Exception as error:  # zip, pickle and torch each have their own kinds
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(f"{path} cannot be read ({first}): {way_out}") from error


def reason(error: BaseException) -> str:
    """What the disk said, in words."""
    # torch wraps what the disk said in an error of its own.
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno is not None:
            full = " (the disk is full)" if cause.errno == errno.ENOSPC else ""
            return f"{os.strerror(cause.errno)}{full}"
        cause = cause.__cause__ or cause.__context__
    return str(error).splitlines()[0] if str(error) else type(error).__name__
