"""What a check found: counted by cause, as a table and as JSON."""

from __future__ import annotations

import textwrap
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ...progress import duration
from .causes import CAUSES, LEVELS, Level


@dataclass(frozen=True)
class Finding:
    """All faults of one cause.

    cause: its name, see :mod:`.causes`. count: how many there are, of ``total``
    that were looked at. first: the first one, with its file. way_out: what to do.
    level: ``error``, ``warning`` or ``info``.
    """

    cause: str
    count: int
    total: int
    first: str
    way_out: str
    level: Level = "error"


@dataclass
class Tally:
    """Counts faults by cause while a check runs."""

    totals: dict[str, int] = field(default_factory=dict)
    counts: dict[tuple[str, Level], int] = field(default_factory=dict)
    firsts: dict[tuple[str, Level], str] = field(default_factory=dict)

    def add(
        self, cause: str, first: str, count: int = 1, level: Level | None = None
    ) -> None:
        """Count a fault; the first of its cause is kept in words."""
        key = cause, level or CAUSES[cause].level
        self.counts[key] = self.counts.get(key, 0) + count
        self.firsts.setdefault(key, first)

    def looked_at(self, of: str, count: int) -> None:
        """So many images, rows ... were looked at."""
        self.totals[of] = self.totals.get(of, 0) + count

    def lower(self, cause: str) -> None:
        """Make the errors of a cause warnings."""
        for place in (self.counts, self.firsts):
            if (cause, "error") in place:
                place[cause, "warning"] = place.pop((cause, "error"))

    def findings(self) -> tuple[Finding, ...]:
        """By level, then in the order of the causes."""
        order = list(CAUSES)
        keys = sorted(
            self.counts, key=lambda k: (LEVELS.index(k[1]), order.index(k[0]))
        )
        return tuple(
            Finding(
                cause=name,
                count=self.counts[name, level],
                total=max(
                    self.totals.get(CAUSES[name].of, 0), self.counts[name, level]
                ),
                first=self.firsts[name, level],
                way_out=CAUSES[name].way_out,
                level=level,
            )
            for name, level in keys
        )


@dataclass(frozen=True)
class Fixed:
    """A cleaned index. old: left as it is. new: written beside it, None if it
    could not be. rows, dropped: of the old one. by_cause: rows dropped.
    files_left_out: index files that are damaged, missing or without a row left.
    """

    old: Path
    new: Path | None
    rows: int
    dropped: int
    by_cause: dict[str, int]
    files_left_out: int
    note: str = ""

    def text(self) -> str:
        """What was done, in a line or two."""
        if self.new is None:
            return f"{self.old}: {self.note}"
        causes = ", ".join(
            f"{count:,} {CAUSES[name].title}" for name, count in self.by_cause.items()
        )
        files = ""
        if self.files_left_out:
            files = f" and {self.files_left_out} of its files"
        kept = f"{self.dropped:,} of {self.rows:,} rows{files} left out"
        return f"{self.new} is written: {kept}" + (f" ({causes})" if causes else "")


@dataclass(frozen=True)
class CheckReport:
    """What :func:`check_data` found in a folder.

    layouts: that the folder is in. findings: by level and cause. geometry: the
    geometry report by layout. notes: what could not be looked at, and why.
    pairs: rows of the index. bytes: of the files looked at. quick: pixels were
    not decoded. stopped: by Ctrl-C; the findings are those until then.
    """

    root: Path
    layouts: tuple[str, ...]
    findings: tuple[Finding, ...]
    geometry: dict[str, Any]
    notes: tuple[str, ...]
    scenes: int
    frames: int
    pairs: int
    bytes: int
    seconds: float
    quick: bool = False
    stopped: bool = False
    fixed: tuple[Fixed, ...] = ()

    @property
    def ok(self) -> bool:
        """Nothing stands in the way of training: no error, geometry agrees."""
        faulty = any(f.level == "error" for f in self.findings)
        return not faulty and all(g.ok for g in self.geometry.values())

    def text(self) -> str:
        """The report for people: an aligned table, then geometry and the verdict."""
        lines = [self._head(), ""]
        for finding in self.findings:
            lines += _row(finding, self.root)
        if not self.findings:
            lines += ["  no fault in index, images, depths, poses and intrinsics"]
        for report in self.geometry.values():
            # Pair by pair only where something is wrong: a table that helps to look.
            lines += ["", report.text(pairs=not report.ok)]
        for note in self.notes:
            lines += ["", *textwrap.wrap(note, 100)]
        for fixed in self.fixed:
            lines += ["", *textwrap.wrap(fixed.text(), 100)]
        return "\n".join([*lines, "", self._verdict()])

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "root": str(self.root),
            "layouts": list(self.layouts),
            "ok": self.ok,
            "quick": self.quick,
            "stopped": self.stopped,
            "scenes": self.scenes,
            "frames": self.frames,
            "pairs": self.pairs,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "findings": [asdict(f) for f in self.findings],
            "geometry": {k: g.to_dict() for k, g in self.geometry.items()},
            "notes": list(self.notes),
            "fixed": [
                asdict(f)
                | {"old": str(f.old), "new": None if f.new is None else str(f.new)}
                for f in self.fixed
            ],
        }

    def _head(self) -> str:
        named = ("scene", self.scenes), ("frame", self.frames), ("pair", self.pairs)
        counts = [f"{n:,} {name}{'' if n == 1 else 's'}" for name, n in named if n]
        how = "headers only (--quick), " if self.quick else ""
        return (
            f"{self.root}: {' and '.join(self.layouts)}, {', '.join(counts)}, "
            f"{self.bytes / 1e6:,.1f} MB; {how}{duration(self.seconds)}"
        )

    def _verdict(self) -> str:
        if self.stopped:
            return "stopped: the table holds what was found until then"
        if not self.ok:
            faults = sum(f.level == "error" for f in self.findings)
            bad = [k for k, g in self.geometry.items() if not g.ok]
            kinds = "1 kind" if faults == 1 else f"{faults} kinds"
            parts = [f"{kinds} of faults in files"] if faults else []
            parts += [f"geometry of {k} does not agree" for k in bad]
            return "FAULTS: " + "; ".join(parts)
        warned = any(f.level == "warning" for f in self.findings)
        return "ok, with warnings" if warned else "ok"


def _row(finding: Finding, root: Path) -> list[str]:
    cause = CAUSES[finding.cause]
    count = f"{finding.count:,} of {finding.total:,} {cause.of}"
    first = finding.first.replace(f"{root}/", "")
    return [
        f"  {finding.level:<8}{cause.title:<41}{count}",
        *_wrapped(f"first: {first}"),
        *_wrapped(finding.way_out),
    ]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        text,
        100,
        initial_indent=" " * 10,
        subsequent_indent=" " * 12,
        break_long_words=False,
        break_on_hyphens=False,
    )
