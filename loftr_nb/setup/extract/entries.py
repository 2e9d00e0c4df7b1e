"""What an archive holds, entry by entry: zip, tar, compressed tar, and tars inside.

The standard library reads the formats; this module adds what it lets pass. Python's
tarfile takes a damaged header in the middle of an archive for its end, and a
truncated archive for a short one. Here both are errors that name the place.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from ...errors import DataError, LoftrNbError
from ...files import require_file

Kind = Literal["file", "folder", "symlink", "hardlink", "archive", "other"]

_DEPTH = 3  # a tar in a tar in a zip; what lies deeper stays packed
_CHUNK = 1 << 20
_LONGEST_HEADER = 1 << 20  # bytes of a long name or of pax records
_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_OTHERS = {
    tarfile.CHRTYPE: "is a character device",
    tarfile.BLKTYPE: "is a block device",
    tarfile.FIFOTYPE: "is a named pipe",
    tarfile.CONTTYPE: "is a contiguous file",
}
_ENCRYPTED = 0x1


@dataclass(frozen=True)
class Entry:
    """One entry as the archive states it.

    name: as written there, not to be trusted. archive: the file, and the archive in
    it (``release.zip > train-data/x.tar``). target: of a link. crc: of the content,
    None where the format has none. why: what an entry of kind "other" is.
    """

    name: str
    kind: Kind
    size: int
    archive: str
    target: str = ""
    crc: int | None = None
    why: str = ""


class Content:
    """The bytes of one entry, in chunks; exactly as many as the entry states."""

    def __init__(self, entry: Entry, start: Callable[[], Any]) -> None:
        self.entry = entry
        self._start = start

    def chunks(self) -> Iterator[bytes]:
        """
        Raises:
            DataError: damaged, cut short, or more than was stated.
        """
        entry, left = self.entry, self.entry.size
        with reading(entry.archive, entry.name):
            file = self._start()
        # Read past the last byte: only there does a zip compare its checksum.
        while True:
            with reading(entry.archive, entry.name):
                chunk = file.read(_CHUNK)
            left -= len(chunk)
            if left < 0 or (not chunk and left):
                said = "fewer" if left > 0 else "more"
                raise DataError(
                    f"{entry.archive}: {shown(entry.name)} holds {said} bytes than the "
                    f"{entry.size:,} it states. The archive is damaged: download it "
                    "again"
                )
            if not chunk:
                return
            yield chunk


Found = tuple[Entry, Content | None]
Tick = Callable[[int, int], None]


def read_archive(path: Path, tick: Tick | None = None) -> Iterator[Found]:
    """Go through an archive, and through the tars inside it.

    The content of a file must be read before the next entry is asked for. What kind
    of archive it is, its first bytes say, not its name.

    Args:
        tick: called with the position in the file and its size, in bytes.

    Raises:
        DataError: no archive, damaged, cut short, or with bytes after its end.
    """
    require_file(path)
    total = path.stat().st_size
    with reading(str(path), ""):
        file = path.open("rb")
    with file:
        for found in _entries(file, str(path), 0):
            if tick is not None:
                tick(file.tell(), total)
            yield found


def shown(name: str) -> str:
    """A name from an archive, fit for any terminal."""
    text = name.encode("utf-8", "backslashreplace").decode()
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return repr(text if len(text) <= 200 else f"{text[:150]} ... {text[-40:]}")


@contextmanager
def reading(archive: str, name: str) -> Iterator[None]:
    """Errors of the libraries that unpack, in words.

    On damaged bytes they raise a dozen kinds, down to IndexError and RecursionError:
    all mean that these bytes are not what they should be.
    """
    try:
        yield
    except LoftrNbError:
        raise
    except Exception as error:
        where = f", at {shown(name)}" if name else ""
        what = str(error) or type(error).__name__
        raise DataError(
            f"{archive} cannot be read{where} ({what}). It is damaged or not wholly "
            "downloaded: compare its size with the source's, and download it again"
        ) from None


def _entries(file: Any, label: str, depth: int) -> Iterator[Found]:
    with reading(label, ""):
        start = file.peek(6)[:6]
    if start[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        yield from _zip_entries(file, label, depth)
        return
    packed: Any = file
    if start[:2] == b"\x1f\x8b":
        packed = gzip.GzipFile(fileobj=file)
    elif start[:3] == b"BZh":
        packed = bz2.BZ2File(file)
    elif start == b"\xfd7zXZ\x00":
        packed = lzma.LZMAFile(file)
    # A plain tar on disk is skipped through by seeking, all else by reading.
    seekable = packed is file and depth == 0
    yield from _tar_entries(packed, label, depth, "r:" if seekable else "r|")


def _is_inner(name: str, depth: int) -> bool:
    base = name.rsplit("/", 1)[-1]
    hidden = base.startswith("._") or "__MACOSX" in name
    return not hidden and base.lower().endswith(_TARS) and depth + 1 < _DEPTH


def _zip_entries(file: Any, label: str, depth: int) -> Iterator[Found]:
    with reading(label, ""):
        archive = zipfile.ZipFile(file)
    infos = archive.infolist()
    _check_apart(infos, label)
    for info in infos:
        with reading(label, info.orig_filename):
            entry = _zip_entry(archive, info, label, depth)
        content = Content(entry, lambda info=info: archive.open(info))
        yield entry, content if entry.kind == "file" else None
        if entry.kind == "archive":
            inner = f"{label} > {info.filename}"
            with reading(label, info.filename):
                opened = archive.open(info)
            yield from _entries(opened, inner, depth + 1)
            # To its last byte: there the zip compares its checksum.
            with reading(label, info.filename):
                while opened.read(_CHUNK):
                    pass


def _zip_entry(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, label: str, depth: int
) -> Entry:
    mode = info.external_attr >> 16
    kind: Kind = "folder" if info.is_dir() else "file"
    target = why = ""
    if info.flag_bits & _ENCRYPTED:
        kind, why = "other", "is encrypted"
    elif stat.S_ISLNK(mode):
        kind, target = "symlink", archive.read(info)[:4096].decode("utf-8")
    elif stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        kind, why = "other", "is a device, a pipe or a socket"
    elif kind == "file" and _is_inner(info.filename, depth):
        kind = "archive"
    name = info.orig_filename  # zipfile cuts `filename` at a NUL
    return Entry(name, kind, info.file_size, label, target, info.CRC, why)


def _check_apart(infos: list[zipfile.ZipInfo], label: str) -> None:
    """Entries that share bytes are how a small zip unpacks to petabytes."""
    ordered = sorted(infos, key=lambda info: info.header_offset)
    for one, after in zip(ordered, ordered[1:], strict=False):
        least = one.header_offset + 30 + one.compress_size
        if least > after.header_offset:
            raise DataError(
                f"{label} is refused: {shown(one.filename)} and "
                f"{shown(after.filename)} overlap in the file. It is damaged, or a zip "
                "bomb"
            )


class _Damaged(Exception):
    """A header that is none; tarfile itself would stop there in silence."""


class _StrictInfo(tarfile.TarInfo):
    """Headers of a tar that must be whole, up to the archive's closing block."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> tarfile.TarInfo:
        info = super().frombuf(buf, encoding, errors)
        if info.size < 0 or (info.type in _HEADERS and info.size > _LONGEST_HEADER):
            raise _Damaged(f"a header of {info.size:,} bytes")
        return info

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> tarfile.TarInfo:
        at = archive.offset
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:
            raise
        except (tarfile.EmptyHeaderError, tarfile.TruncatedHeaderError):
            raise _Damaged(
                f"it ends at byte {at:,} without the closing block of a tar"
            ) from None
        except (tarfile.HeaderError, ValueError, IndexError) as error:
            what = "no tar archive" if at == 0 else f"byte {at:,}"
            raise _Damaged(f"{what}: {error}") from None


def _tar_entries(file: Any, label: str, depth: int, mode: str) -> Iterator[Found]:
    with reading(label, ""):
        archive = tarfile.open(
            fileobj=file, mode=mode, tarinfo=_StrictInfo, encoding="utf-8"
        )
    while True:
        with reading(label, ""):
            info = archive.next()
        if info is None:
            break
        archive.members.clear()  # kept by tarfile, a kilobyte each
        entry = _tar_entry(info, label, depth)
        start = lambda info=info: archive.extractfile(info)  # noqa: E731
        yield entry, Content(entry, start) if entry.kind == "file" else None
        if entry.kind == "archive":
            with reading(label, entry.name):
                inner = start()
            yield from _entries(inner, f"{label} > {entry.name}", depth + 1)
    with reading(label, ""):
        _check_end(archive.fileobj)


def _tar_entry(info: tarfile.TarInfo, label: str, depth: int) -> Entry:
    kind: Kind = "other"
    why = _OTHERS.get(info.type, f"is of the unknown type {info.type!r}")
    if info.isreg() and info.type != tarfile.CONTTYPE:
        kind = "archive" if _is_inner(info.name, depth) else "file"
    elif info.isdir():
        kind = "folder"
    elif info.issym():
        kind = "symlink"
    elif info.islnk():
        kind = "hardlink"
    size = info.size if kind in ("file", "archive") else 0
    target = info.linkname if kind.endswith("link") else ""
    return Entry(info.name, kind, size, label, target, None, why)


def _check_end(file: BinaryIO) -> None:
    """After the closing block come zeros only; gzip compares its checksum there."""
    while chunk := file.read(_CHUNK):
        if chunk.count(0) != len(chunk):
            raise _Damaged("there are bytes after the end of the tar")
