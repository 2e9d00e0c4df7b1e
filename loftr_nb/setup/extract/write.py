"""Files out of an archive, each whole under its name or not there at all.

What is being written lies in a folder of our own inside the target, so that giving
it its name is one step on one disk. A run that is killed leaves at most one such
part behind, and the next run removes it.
"""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType

from ...errors import DataError, RunError
from .entries import Content
from .names import WORK, is_inside

_CHUNK = 1 << 20


class Workspace:
    """A target folder that one run at a time writes to.

    Use as a context manager. ``count`` is called with the bytes of each chunk.

    Raises:
        RunError: another run is at work in this folder.
        DataError: the target is a file, or cannot be written to.
    """

    def __init__(self, to: Path, count: Callable[[int], None]) -> None:
        self.to = to
        self.work = to / WORK
        self.count = count
        self._lock: int | None = None

    def __enter__(self) -> Workspace:
        if self.work.is_symlink():
            raise DataError(f"{self.work} is a link; remove it")
        try:
            self.work.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(self.work / "lock")
            clean(self.work)
        except OSError as error:
            self._release()
            raise DataError(failed(self.to, error)) from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            clean(self.work)
            if os.name == "nt":
                self._release()  # an open file cannot be removed there
            # Before the lock is let go: afterwards it may be another run's.
            (self.work / "lock").unlink(missing_ok=True)
            self.work.rmdir()
        except OSError:
            pass  # the next run removes it
        finally:
            self._release()

    def write(self, final: Path, content: Content) -> None:
        """Write a file and then give it its name.

        Raises:
            DataError: the content is damaged, or the disk is full; what ``final``
                held before is untouched.
        """
        self._put(final, content.chunks())

    def copy(self, final: Path, source: Path) -> None:
        """A second file with the content of one that is there."""
        self._put(final, chunks_of(source))

    def symlink(self, final: Path, target: str) -> None:
        """A link, where the system has links; else a copy of what it points to."""
        part = self.work / "link.part"
        part.unlink(missing_ok=True)
        try:
            self._make_parent(final)
            os.symlink(target, part)
            os.replace(part, final)
        except OSError as error:
            source = final.parent / target
            if not source.is_file():
                raise DataError(failed(final, error)) from None
            self.copy(final, source)

    def folder(self, path: Path) -> None:
        """A folder, if it is not there."""
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(failed(path, error)) from None

    def _put(self, final: Path, chunks: Iterable[bytes]) -> None:
        part = self.work / "file.part"
        try:
            self._make_parent(final)
            with part.open("wb") as file:
                for chunk in chunks:
                    file.write(chunk)
                    self.count(len(chunk))
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, final)
        except OSError as error:
            raise DataError(failed(final, error)) from None
        finally:
            part.unlink(missing_ok=True)

    def _make_parent(self, final: Path) -> None:
        """The folder of a file; once more, whether it is where it seems to be."""
        final.parent.mkdir(parents=True, exist_ok=True)
        if not is_inside(os.path.realpath(final.parent), os.path.realpath(self.to)):
            raise DataError(
                f"{final} would be written outside {self.to}, through a link"
            )

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def same_content(final: Path, content: Content) -> bool:
    """Whether a file is what the archive holds.

    By checksum where the archive has one: then the archive is not read for it.
    """
    if content.entry.crc is not None:
        found = 0
        for chunk in chunks_of(final):
            found = zlib.crc32(chunk, found)
        return found == content.entry.crc
    same = True
    with final.open("rb") as file:
        # To the end in any case: a stream goes on where its entry ends.
        for chunk in content.chunks():
            same = same and file.read(len(chunk)) == chunk
    return same


def chunks_of(path: Path) -> Iterable[bytes]:
    """A file in pieces of a megabyte."""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def free_bytes(to: Path) -> int:
    """Free space where a folder is, or will be."""
    there = to.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    return shutil.disk_usage(there).free


def clean(work: Path) -> None:
    """Remove what a killed run left: only what this module names so."""
    for part in work.glob("*.part"):
        part.unlink(missing_ok=True)


def failed(path: Path, error: OSError) -> str:
    """What to say where the system refuses to write."""
    return (
        f"{path} could not be written ({error.strerror or error}). What was extracted "
        "before is whole and stays; free space or choose another folder with --to, and "
        "run the command again: it goes on from there"
    )


def _locked(path: Path) -> int | None:
    """A lock that ends with the process; None where the disk has no locks."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _lock(handle)
    except BlockingIOError:
        os.close(handle)
        raise RunError(
            f"another extraction is at work in {path.parent.parent}: wait for it to "
            "end, or extract elsewhere with --to"
        ) from None
    except OSError:
        os.close(handle)
        return None
    return handle


def _lock(handle: int) -> None:
    if os.name == "nt":
        import msvcrt

        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            raise BlockingIOError from None
        return
    import fcntl

    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
