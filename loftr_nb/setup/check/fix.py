"""A cleaned index beside the old one: the rows whose frames can all be used.

Each file keeps its kind: a ScanNet npz its columns, a MegaDepth npz or pickled dict
all its keys, a flat index its layout, a text list its other lines. What is new is
there whole or not at all, under a name that was free; the old index is never
written to.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import DataError
from .causes import cause_of
from .clean import cleaned_file
from .report import Fixed
from .rows import Codes, IndexFile
from .sources import Part, Source

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class _Seen:
    """An index file, the codes of its frames, and its rows (256,) by code."""

    file: IndexFile
    codes: Codes
    counts: np.ndarray

    @property
    def kept(self) -> int:
        return int(self.counts[0])

    @property
    def rows(self) -> int:
        return int(self.counts.sum())


class Cleaner:
    """Learns which rows to keep, then writes the cleaned index of a source."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.seen: dict[Path, _Seen] = {}

    def add(
        self, part: Part, file: IndexFile, codes: Codes, counts: np.ndarray
    ) -> None:
        """The rows of one index file: counts (256,) by code, 0 is good."""
        self.seen[file.path] = _Seen(file, codes, counts)

    def write(self, progress: Progress | None = None) -> Fixed:
        """Write it, and say what was left out; never raises for a failed writing:
        the report of an hour's check is not lost to a full disk.
        """
        source = self.source
        counts = sum((s.counts for s in self.seen.values()), np.zeros(256, np.int64))
        rows, kept = int(counts.sum()), int(counts[0])
        out = self._left_out()
        by_cause = {cause_of(c): int(counts[c]) for c in np.flatnonzero(counts) if c}
        old = source.place or source.root

        def result(new: Path | None, note: str = "") -> Fixed:
            return Fixed(old, new, rows, rows - kept, by_cause, len(out), note)

        if not source.parts:
            return result(
                None,
                "there is no index to clean. Build one with `loftr-nb data index "
                f"{source.root}`: it leaves frames that cannot be used out by itself",
            )
        if kept == rows and not out:
            return result(None, "no row has to be left out, nothing was written")
        if kept == 0:
            return result(None, "no row can be used, so there is no index to write")
        try:
            return result(self._write(out, progress))
        except DataError as error:
            return result(None, str(error))
        except OSError as error:
            return result(None, f"the cleaned index was not written ({error})")

    def _left_out(self) -> set[str]:
        """Index files that the cleaned index does not have, by absolute path."""
        out = set()
        for part in self.source.parts:
            out |= {entry.partition(": ")[2] for entry in part.missing}
            for path in part.files:
                if path not in self.seen or self.seen[path].kept == 0:
                    out.add(str(path))
        return out

    def _write(self, out: set[str], progress: Progress | None) -> Path:
        place = self.source.place
        if place is None:  # several files beside images
            place = self.source.root / "index"
        if place.is_file() and place.suffix != ".txt":
            new = _free(place.with_name(f"{place.stem}.fixed{place.suffix}"))
            seen = next(iter(self.seen.values()))
            cleaned_file(seen.file, seen.codes, new)
            return new
        stem = place.stem if place.is_file() else place.name
        new = _free(place.with_name(f"{stem}.fixed"))
        try:
            made = Path(tempfile.mkdtemp(dir=new.parent, prefix=f".{new.name}."))
        except OSError as error:
            raise DataError(f"{new} could not be made ({error})") from None
        try:
            self._fill(place, made, out, progress)
            made.chmod(0o755)
            os.rename(made, new)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
        return new

    def _fill(
        self, place: Path, made: Path, out: set[str], progress: Progress | None
    ) -> None:
        done = 0
        for path in sorted(self.seen):
            target = made / _below(path, place)
            target.parent.mkdir(parents=True, exist_ok=True)
            seen = self.seen[path]
            if seen.kept == seen.rows:
                _link_or_copy(path, target)
            elif seen.kept:
                cleaned_file(seen.file, seen.codes, target)
            done += 1
            if progress and len(self.seen) > 20:
                progress(done, len(self.seen), "cleaned index files")
        if place.is_dir():
            self._others(place, made, out)
        elif place.suffix == ".txt":
            _write_list(place, made / place.name, out, self.seen)

    def _others(self, place: Path, made: Path, out: set[str]) -> None:
        """Lists without what is left out, and whatever else an index folder has."""
        for folder, inner, names in os.walk(place, followlinks=True):
            if Path(folder) == place and "index.json" in names and "scenes" in inner:
                inner.remove("scenes")  # how far the building of an index got
            for name in names:
                path = Path(folder) / name
                target = made / path.relative_to(place)
                if path in self.seen or str(path) in out or name.startswith("."):
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                if path.suffix == ".txt":
                    _write_list(path, target, out, self.seen)
                else:
                    _link_or_copy(path, target)


def _below(path: Path, place: Path) -> Path:
    folder = place if place.is_dir() else place.parent
    try:
        return path.relative_to(folder)
    except ValueError:
        return Path(path.name)


def _write_list(
    path: Path, target: Path, out: set[str], seen: dict[Path, _Seen]
) -> None:
    """A text list without the files that are left out. Others stay as they are."""
    gone = {Path(p).name for p in out}
    kept = {p.name for p, s in seen.items() if s.kept}
    lines = []
    for line in path.read_text(errors="replace").splitlines():
        name = Path(line.strip()).name
        names = {name, f"{name}.npz"}
        if not names & gone or names & kept:
            lines.append(line)
    target.write_text("".join(f"{line}\n" for line in lines))


def _free(path: Path) -> Path:
    """The path, or the first like it that does not exist."""
    number, free = 2, path
    while free.exists() or free.is_symlink():
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
        if path.suffix == ".fixed":
            free = path.with_name(f"{path.name}-{number}")
        number += 1
    return free


def _link_or_copy(path: Path, target: Path) -> None:
    """A file that did not change: of 21 GB of index, nothing is written twice."""
    if target.exists():
        return
    try:
        os.link(path.resolve(), target)
    except OSError:  # another disk, or a system without such links
        shutil.copyfile(path, target)
