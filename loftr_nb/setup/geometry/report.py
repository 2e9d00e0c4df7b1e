"""What the geometry check found, in numbers and in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError


@dataclass(frozen=True)
class PairRow:
    """One pair that was judged.

    correspondences: real ones, found in the images alone. median_px: how far they
    land from where they are, in pixels of the depth map; limit_px: what a pair of
    this size may have. moved_px: how far they move between the images. degrees:
    by which the given poses turn.
    """

    scene: str
    name0: str
    name1: str
    correspondences: int
    median_px: float
    limit_px: float
    moved_px: float
    degrees: float

    @property
    def ok(self) -> bool:
        """Whether the pair's median error is within its limit."""
        return self.median_px <= self.limit_px


@dataclass(frozen=True)
class Cause:
    """A mistake that explains the errors.

    fault: its short name. words: what was found and the way out. pairs: how many
    were looked at; before_px, after_px: their median error as given and with the
    mistake undone (NaN where nothing undoes it).
    """

    fault: str
    words: str
    pairs: int
    before_px: float
    after_px: float


@dataclass(frozen=True)
class GeometryReport:
    """Answer of :func:`loftr_nb.setup.geometry_check`.

    ok: no fault was found. judged: enough pairs could be judged at all; a report
        with ``judged`` False has found no fault because it could not look.
    faults: short names, empty when ok.
    median_px, p90_px: over all pairs' medians, NaN when not judged.
    """

    source: str
    rows: tuple[PairRow, ...]
    causes: tuple[Cause, ...]
    asked: int
    depth_disagreement: float
    notes: tuple[str, ...] = ()
    unusable: tuple[str, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """No fault was found."""
        return not self.causes

    @property
    def judged(self) -> bool:
        """Whether any pair could be judged."""
        return bool(self.rows)

    @property
    def faults(self) -> tuple[str, ...]:
        """Short names of what is wrong."""
        return tuple(dict.fromkeys(c.fault for c in self.causes))

    @property
    def pairs(self) -> int:
        """Pairs that were judged."""
        return len(self.rows)

    @property
    def correspondences(self) -> int:
        """Real correspondences in all these pairs."""
        return sum(r.correspondences for r in self.rows)

    @property
    def median_px(self) -> float:
        """Median over the pairs of their median warp error."""
        return self._quantile(0.5)

    @property
    def p90_px(self) -> float:
        """Nine pairs of ten have a smaller median warp error."""
        return self._quantile(0.9)

    def _quantile(self, q: float) -> float:
        found = [r.median_px for r in self.rows]
        # Infinite medians (points behind the camera) have no place between two.
        return float(np.quantile(found, q, method="nearest")) if found else float("nan")

    @property
    def verdict(self) -> str:
        """One sentence."""
        if not self.judged:
            return (
                "could not be judged: no pair gave enough correspondences with depth "
                "(blank, dark or blurred images, no depth, or no overlap)"
            )
        where = (
            f"{self.correspondences:,} real correspondences of {_count(self.pairs)} "
            f"land {_px(self.median_px)} px (median) from where they are"
        )
        if self.ok:
            return f"ok: {where}; depth, pose, K and images fit"
        return f"wrong: {where}. Likely: {', '.join(self.faults)}"

    def text(self, pairs: bool = True) -> str:
        """The report as lines for a terminal; ``pairs`` adds a row for each pair."""
        lines = [f"geometry of {self.source}", f"  {self.verdict}"]
        for cause in self.causes:
            lines.append(f"  {cause.fault}: {cause.words}")
            if np.isfinite(cause.after_px):
                before, after = _px(cause.before_px), _px(cause.after_px)
                lines.append(
                    f"    on {_count(cause.pairs)}: {before} px as given, {after} px "
                    "with this undone"
                )
        lines += [f"  note: {note}" for note in self.notes]
        if self.unusable:
            lines.append(
                f"  {len(self.unusable)} frames or pairs could not be read, first: "
                f"{self.unusable[0]}"
            )
        if pairs and self.rows:
            lines += ["", *self._table()]
        return "\n".join(lines)

    def _table(self) -> list[str]:
        head = f"  {'':2}{'error px':>9}{'limit':>7}{'points':>8}{'moved px':>10}"
        lines = [head + f"{'turn':>7}   pair"]
        for r in sorted(self.rows, key=lambda r: -r.median_px / r.limit_px):
            lines.append(
                f"  {'  ' if r.ok else '! '}{_px(r.median_px):>9}{r.limit_px:>7.1f}"
                f"{r.correspondences:>8}{r.moved_px:>10.0f}{r.degrees:>6.0f}°   "
                f"{r.scene} {Path(r.name0).name} {Path(r.name1).name}".rstrip()
            )
        return lines

    def __repr__(self) -> str:
        return self.text()

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and text, for JSON (no NaN, no infinity: None)."""
        return {
            "source": self.source,
            "ok": self.ok,
            "judged": self.judged,
            "verdict": self.verdict,
            "faults": list(self.faults),
            "causes": [_plain(vars(c)) for c in self.causes],
            "median_px": _finite(self.median_px),
            "p90_px": _finite(self.p90_px),
            "pairs": self.pairs,
            "pairs_asked": self.asked,
            "correspondences": self.correspondences,
            "depth_disagreement": _finite(self.depth_disagreement),
            "notes": list(self.notes),
            "unusable": len(self.unusable),
            "first_unusable": self.unusable[0] if self.unusable else None,
            "rows": [_plain(vars(r) | {"ok": r.ok}) for r in self.rows],
        }

    def require(self) -> GeometryReport:
        """This report, when nothing is wrong.

        Raises:
            DataError: with the verdict and the causes.
        """
        if not self.ok:
            raise DataError(self.text(pairs=False))
        return self


def _count(pairs: int) -> str:
    return f"{pairs} pair{'' if pairs == 1 else 's'}"


def _px(value: float) -> str:
    if not np.isfinite(value):
        return "endless"
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {k: _finite(v) if isinstance(v, float) else v for k, v in values.items()}
