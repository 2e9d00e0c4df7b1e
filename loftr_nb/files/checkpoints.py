"""``torch.save`` to a file that is there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

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
