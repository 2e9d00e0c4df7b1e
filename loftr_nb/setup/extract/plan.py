"""What archives hold and whether it may be written, found out before anything is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import ConfigError, DataError
from .entries import Entry, read_archive
from .names import Names, Refused, parts_of
from .places import Places, find_places
from .write import free_bytes

Progress = Callable[[str, int, int, str], None]
"""Called with "reading" or "extracting", bytes done, bytes in all, and a name."""

_BLOCK = 4096
_SPARE = 16 << 20  # bytes left free: a disk filled to the last one is no help


@dataclass
class Plan:
    """What archives hold and what of it would be written; nothing is, yet.

    files: bytes by name below the target. there: names that are there with that size.
    others: names that are there with another size. refused: entries that must not be
    written. packed: archives inside that stay packed. left_out: macOS's side files.
    """

    to: Path
    archives: tuple[Path, ...]
    files: dict[str, int] = field(default_factory=dict)
    links: dict[str, Entry] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    there: set[str] = field(default_factory=set)
    others: list[str] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    left_out: int = 0
    free: int = 0

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(self.files.values())

    @property
    def needed(self) -> int:
        """Bytes on disk that are still to be written, in whole blocks."""
        left = (n for name, n in self.files.items() if name not in self.there)
        return sum(-(-n // _BLOCK) * _BLOCK for n in left)

    @property
    def places(self) -> Places:
        """Where indices and images lie, among what the archives hold."""
        return find_places(self.to, self.files)


def plan_extraction(
    files: Iterable[Path], to: Path, progress: Progress | None = None
) -> Plan:
    """Go through archives and judge their entries, writing nothing.

    Raises:
        DataError: an archive is missing or damaged, or larger than any disk here.
    """
    to = Path(to)
    archives = tuple(Path(f) for f in files)
    if not archives:
        raise ConfigError("no archive was given")
    if to.exists() and not to.is_dir():
        raise DataError(f"{to} is a file: choose a folder with --to")
    try:
        plan = Plan(to, archives, free=free_bytes(to))
        _fill(plan, progress)
    except OSError as error:
        where = error.filename or to
        raise DataError(f"{where} cannot be looked at ({error.strerror})") from None
    return plan


def _fill(plan: Plan, progress: Progress | None) -> None:
    names = Names(plan.to)
    for path in plan.archives:
        _scan(path, plan, names, progress)
    names.finish()
    plan.refused = names.refused
    plan.files = {name: entry.size for name, entry in names.files.items()}
    plan.links, plan.folders = names.links, names.folders
    plan.warnings = [
        f"{pair} are one file on Windows and macOS"
        for pair in names.same_but_for_case()
    ]
    for name, size in plan.files.items():
        path = plan.to / name
        if path.is_file() and not path.is_symlink() and path.stat().st_size == size:
            plan.there.add(name)
        elif path.is_symlink() or path.exists():
            plan.others.append(name)


def check_plan(plan: Plan, overwrite: bool = False) -> None:
    """Whether a plan may be carried out.

    Raises:
        DataError: entries are refused, files are in the way, or space is short.
    """
    if plan.refused:
        first = "; ".join(str(r) for r in plan.refused[:5])
        more = f"; and {len(plan.refused) - 5} more" if len(plan.refused) > 5 else ""
        are = "entry is" if len(plan.refused) == 1 else "entries are"
        raise DataError(
            f"nothing was extracted, {len(plan.refused)} {are} refused: {first}"
            f"{more}. An archive from the source named in data/README.md has no such "
            "entries: download it again from there"
        )
    folders = [n for n in plan.others if (plan.to / n).is_dir()]
    if plan.others and (folders or not overwrite):
        name = (folders or plan.others)[0]
        what = "is a folder" if folders else "is there with another size"
        raise DataError(
            f"nothing was extracted: {plan.to / name} {what} ({len(plan.others)} such "
            "files). Move it away, extract elsewhere with --to"
            + ("" if folders else ", or replace it with --overwrite")
        )
    _check_space(plan)


def _scan(path: Path, plan: Plan, names: Names, progress: Progress | None) -> None:
    def tick(at: int, size: int) -> None:
        if progress is not None:
            progress("reading", at, size, str(path))

    total = 0
    for entry, _ in read_archive(path, tick):
        if is_side_file(entry.name):
            plan.left_out += 1
            continue
        claimed = names.add(entry)
        if claimed and entry.kind == "file":
            there = (plan.to / "/".join(parts_of(entry.name))).exists()
            total += 0 if there else entry.size
        # Not read on: a small file may go on for petabytes.
        if total > plan.free:
            raise DataError(_too_small(plan.to, total, plan.free, "at least "))


def is_side_file(name: str) -> bool:
    """What macOS adds to archives; ``._x.npz`` would pass for an index file."""
    parts = parts_of(name)
    return "__MACOSX" in parts or any(
        p.startswith("._") or p == ".DS_Store" for p in parts
    )


def _check_space(plan: Plan) -> None:
    spare = _SPARE if plan.needed else 0
    if plan.needed + spare > plan.free:
        raise DataError(_too_small(plan.to, plan.needed + spare, plan.free))


def _too_small(to: Path, needed: int, free: int, least: str = "") -> str:
    return (
        f"nothing was extracted: {to} needs {least}{gigabytes(needed)} and its disk "
        f"has {gigabytes(free)} free. Free space, or extract to another disk with --to"
    )


def gigabytes(n: int) -> str:
    """Bytes as ``21.0 GB``, or ``3.2 MB`` where that reads better."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n >= size:
            return f"{n / size:,.1f} {unit}"
    return f"{n} B"
