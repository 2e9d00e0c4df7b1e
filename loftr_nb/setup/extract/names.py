"""Which entries of an archive may be written below a folder, and why others not.

Nothing is written while this is found out. The rules hold on every system alike, so
that an archive that is taken here unpacks on Windows too.
"""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from .entries import Entry, shown

WORK = ".loftr_nb_extract"  # our own folder for what is half-written
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.I)
_LONGEST_NAME = 255  # bytes, of one folder or file
_LONGEST_PATH = 3000  # 4,096 on Linux, with the target before it
_MOST_LINKS = 40  # as many as Linux follows


@dataclass(frozen=True)
class Refused:
    """An entry that must not be written."""

    entry: Entry
    why: str

    def __str__(self) -> str:
        return f"{self.entry.archive}: {shown(self.entry.name)} {self.why}"


def unsafe_name(name: str, upwards: bool = False) -> str | None:
    """Why a name may not be used below a folder; None if it may.

    upwards: ``..`` may be in it, as in what a link points to.
    """
    try:
        long = len(name.encode())
    except UnicodeEncodeError:
        return "is not UTF-8"
    if any(ord(c) < 32 for c in name):
        return "holds a control character"
    if name.startswith("/"):
        return "is an absolute path"
    if "\\" in name:
        return "holds a backslash, which separates folders on Windows"
    if re.match(r"[A-Za-z]:", name):
        return "starts with a Windows drive"
    parts = parts_of(name)
    if ".." in parts and not upwards:
        return "leaves the target through '..'"
    if long > _LONGEST_PATH or any(len(p.encode()) > _LONGEST_NAME for p in parts):
        return f"is too long ({long:,} bytes)"
    if any(_RESERVED.fullmatch(p) for p in parts):
        return "has a name that Windows reserves for a device"
    if any(p.endswith((".", " ")) and p != ".." for p in parts):
        return "ends in a dot or a space, which Windows drops"
    if parts and parts[0].startswith(WORK):
        return f"has the name of this program's own folder, {WORK}"
    return None


def parts_of(name: str) -> tuple[str, ...]:
    """``./a//b/`` as ("a", "b")."""
    return tuple(p for p in name.split("/") if p not in ("", "."))


@dataclass
class Names:
    """The names that entries claim below a target, and who may not have theirs."""

    target: Path
    files: dict[str, Entry] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    links: dict[str, Entry] = field(default_factory=dict)
    _bare: dict[str, Entry] = field(default_factory=dict)  # folders by their own entry
    _folded: dict[str, Entry] = field(default_factory=dict)  # links, as _fold writes
    refused: list[Refused] = field(default_factory=list)
    _disk: dict[str, str | None] = field(default_factory=dict)

    def add(self, entry: Entry) -> bool:
        """Claim the name of an entry, or refuse it; whether it was claimed."""
        why = unsafe_name(entry.name) or (entry.why if entry.kind == "other" else None)
        parts = parts_of(entry.name)
        if not why and not parts and entry.kind != "folder":
            why = "has no name"
        if not why and entry.kind != "archive":
            why = self._claim(entry, parts)
        if why:
            self.refused.append(Refused(entry, why))
        return not why

    def _claim(self, entry: Entry, parts: tuple[str, ...]) -> str | None:
        name = "/".join(parts)
        above = ["/".join(parts[:n]) for n in range(1, len(parts))]
        for folder in above:
            if folder in self.files:
                return f"needs a folder {shown(folder)}, which is a file in the archive"
        if entry.kind == "folder":
            above.append(name)
            self._bare[name] = entry
            if name in self.files or name in self.links:
                return "is a folder here and a file elsewhere in the archive"
        elif name in self.folders:
            return f"is a {entry.kind} here and a folder elsewhere in the archive"
        elif why := self._differs(entry, name):
            return why
        elif entry.kind == "file":
            self.files[name] = entry
        else:
            self.links[name] = self._folded[_fold(name)] = entry
        self.folders.update(f for f in above if f)
        return None

    def _differs(self, entry: Entry, name: str) -> str | None:
        """A name may come twice, with the same content."""
        before = self.files.get(name) or self.links.get(name)
        if before is None:
            return None
        # Without a checksum, contents are compared when they are written.
        sums = {e.crc for e in (before, entry) if e.crc is not None}
        same = before.kind == entry.kind and before.target == entry.target
        if same and before.size == entry.size and len(sums) < 2:
            return None
        return f"comes twice, with different content (also in {before.archive})"

    def finish(self) -> None:
        """Judge what can be judged only once all names are known."""
        for name, entry in self.links.items():
            if why := self._bad_link(name, entry):
                self.refused.append(Refused(entry, why))
        below = {f"{name}/": entry for name, entry in self._bare.items() if name}
        for name, entry in (self.files | below).items():
            if why := self._bad_place(name):
                self.refused.append(Refused(entry, why))

    def same_but_for_case(self) -> list[str]:
        """Names that are one on Windows and macOS."""
        seen: dict[str, str] = {}
        pairs = []
        for name in sorted(self.files):
            other = seen.setdefault(name.lower(), name)
            if other != name:
                pairs.append(f"{shown(other)} and {shown(name)}")
        return pairs

    def _bad_link(self, name: str, entry: Entry) -> str | None:
        if why := self._bad_place(name):
            return why
        points = f"is a link to {shown(entry.target)}"
        if why := unsafe_name(entry.target or "\0", upwards=True):
            return f"{points}, which {why}"
        base = () if entry.kind == "hardlink" else parts_of(name)[:-1]
        try:
            end = "/".join(self._follow(base, entry.target))
        except ValueError as error:
            return f"{points}, which {error}"
        if entry.kind == "hardlink" and end not in self.files:
            return f"{points}, which is no file of the archive"
        if not (end in self.files or end in self.folders or self._exists(end)):
            return f"{points}, which is not there"
        return None

    def _bad_place(self, name: str) -> str | None:
        """The folders of a name: no links of an archive, no links to elsewhere."""
        folder = name.rpartition("/")[0]
        parts = parts_of(folder)
        for n in range(1, len(parts) + 1):
            above = "/".join(parts[:n])
            if _fold(above) in self._folded:
                return f"goes through {shown(above)}, which is a link in the archive"
        if folder not in self._disk:
            self._disk[folder] = self._bad_folder(parts)
        return self._disk[folder]

    def _bad_folder(self, parts: tuple[str, ...]) -> str | None:
        real = os.path.realpath(self.target)
        at = self.target
        for part in parts:
            at = at / part
            if at.is_symlink() and not is_inside(os.path.realpath(at), real):
                return f"would be written outside the target, through the link {at}"
            if os.path.lexists(at) and not at.is_dir():
                return f"needs a folder where {at} is a file"
        return None

    def _follow(self, base: tuple[str, ...], target: str) -> list[str]:
        """Where a path ends below the target, links of archive and disk followed.

        Raises:
            ValueError: it leaves the target, or goes round in a circle.
        """
        left = [*reversed(target.split("/")), *reversed(base)]
        at: list[str] = []
        followed = 0
        while left:
            part = left.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if not at:
                    raise ValueError("leaves the target")
                at.pop()
                continue
            at.append(part)
            onward = self._link_at("/".join(at))
            if onward is not None:
                followed += 1
                if followed > _MOST_LINKS:
                    raise ValueError("goes round in a circle")
                at.pop()
                left += reversed(onward.split("/"))
        return at

    def _link_at(self, name: str) -> str | None:
        entry = self._folded.get(_fold(name))
        if entry is not None:
            if entry.kind == "hardlink":
                return None
            return entry.target
        path = self.target / name
        if not path.is_symlink():
            return None
        if not is_inside(os.path.realpath(path), os.path.realpath(self.target)):
            raise ValueError(f"leaves the target through {path}")
        return os.path.relpath(os.path.realpath(path), os.path.realpath(path.parent))

    def _exists(self, name: str) -> bool:
        return (self.target / name).exists()


def _fold(name: str) -> str:
    """One text for all names that are one file on Windows or macOS."""
    return unicodedata.normalize("NFC", name).casefold()


def is_inside(path: str, folder: str) -> bool:
    """Whether one real path is another, or below it."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
