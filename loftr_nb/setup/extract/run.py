"""Unpack the released archives: zip, tar, tar.gz, and the tars inside a zip.

Every archive is gone through twice. First its entries are judged and counted, and
nothing is written: an archive that would write outside the target, or more than the
disk takes, is refused as a whole. Then each file is written under a temporary name and
renamed, so that it is there whole or not at all, and a run that was stopped is gone on
with by the same command.

What can be promised: a zip and a tar.gz carry checksums, and a changed byte is found. A
plain tar has one over each header only; there the names and sizes are certain, and the
content is what the download was. Inside a zip its content has the zip's checksum.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ...errors import DataError
from .entries import Content, Entry, read_archive
from .names import parts_of
from .places import Places
from .plan import Plan, Progress, check_plan, is_side_file, plan_extraction
from .write import Workspace, same_content


@dataclass
class ExtractReport:
    """What an extraction did.

    written: names of files below ``to`` that this run wrote. skipped: files that were
    there and are right. bytes: written by this run.
    """

    to: Path
    archives: tuple[Path, ...]
    written: list[str]
    skipped: int
    bytes: int
    left_out: int
    warnings: list[str]
    places: Places


def extract(
    files: Iterable[Path],
    to: Path = Path("data"),
    progress: Progress | None = None,
    overwrite: bool = False,
) -> ExtractReport:
    """Unpack archives into a folder, as ``unzip`` and then ``tar xf`` there would.

    The content of tars inside a zip goes directly to ``to``; they are not written
    themselves. Files that are there with the right content are left as they are.

    Args:
        files: archives. to: the folder, made if it is not there.
        progress: called with "reading" or "extracting", bytes done, bytes in all,
            and a name.
        overwrite: replace files of the same name and other content.

    Raises:
        DataError: an archive is damaged or refused, a file of another content is in
            the way, the disk is too small or full. What was extracted is whole.
        RunError: another extraction is at work in ``to``.
    """
    plan = plan_extraction(files, to, progress)
    check_plan(plan, overwrite)
    done = _Done(plan, progress, overwrite)
    with Workspace(plan.to, done.count) as space:
        for folder in sorted(plan.folders):
            space.folder(plan.to / folder)
        for path in plan.archives:
            for entry, content in read_archive(path):
                if content is not None and not is_side_file(entry.name):
                    done.file(space, entry, content)
        for name, entry in plan.links.items():
            done.link(space, name, entry)
    return ExtractReport(
        to=plan.to,
        archives=plan.archives,
        written=done.written,
        skipped=done.skipped,
        bytes=done.bytes,
        left_out=plan.left_out,
        warnings=plan.warnings,
        places=plan.places,
    )


class _Done:
    """Counts what is done, and does it."""

    def __init__(self, plan: Plan, progress: Progress | None, overwrite: bool) -> None:
        self.plan, self.progress, self.overwrite = plan, progress, overwrite
        self.written: list[str] = []
        self.skipped = self.bytes = self.passed = 0
        self.total = plan.bytes
        self.name = ""

    def count(self, n: int) -> None:
        self.bytes += n
        self._tell(n)

    def _tell(self, n: int) -> None:
        self.passed += n
        if self.progress is not None:
            self.progress("extracting", self.passed, self.total, self.name)

    def file(self, space: Workspace, entry: Entry, content: Content) -> None:
        self.name = "/".join(parts_of(entry.name))
        if self.plan.files.get(self.name) != entry.size:
            raise DataError(
                f"{entry.archive} was changed while it was read: {self.name} was not "
                "in it before. Run the command again when nothing writes to it"
            )
        final = self.plan.to / self.name
        if final.is_file() and self._keep(final, content):
            self.skipped += 1
            self._tell(entry.size)
            return
        space.write(final, content)
        self.written.append(self.name)

    def _keep(self, final: Path, content: Content) -> bool:
        """Whether the file that is there stays. It is never replaced unasked."""
        right = final.stat().st_size == content.entry.size
        streamed = content.entry.crc is None
        if self.overwrite and streamed and self.name not in self.written:
            return False  # comparing reads the stream, which then cannot be written
        try:
            if right and same_content(final, content):
                return True
        except OSError as error:
            raise DataError(f"{final} cannot be read ({error.strerror})") from None
        if self.overwrite and self.name not in self.written:
            return False
        raise DataError(
            f"{final} is there with other content than in {content.entry.archive}. It "
            "stays as it is: move it away, extract elsewhere with --to, or replace it "
            "with --overwrite"
        )

    def link(self, space: Workspace, name: str, entry: Entry) -> None:
        self.name = name
        final = self.plan.to / name
        source = self.plan.to / "/".join(parts_of(entry.target))
        if final.is_symlink() or final.exists():
            if _is_that_link(final, entry, source):
                self.skipped += 1
                return
            if not self.overwrite or (final.is_dir() and not final.is_symlink()):
                raise DataError(
                    f"{final} is there and is not the archive's link: move it"
                )
        if entry.kind == "hardlink":
            space.copy(final, source)
        else:
            space.symlink(final, entry.target)
        self.written.append(name)


def _is_that_link(final: Path, entry: Entry, source: Path) -> bool:
    if entry.kind == "symlink" and final.is_symlink():
        return final.readlink().as_posix() == entry.target
    if entry.kind == "symlink":
        source = final.parent / entry.target
    if not (final.is_file() and source.is_file()):
        return False
    return final.read_bytes() == source.read_bytes()
