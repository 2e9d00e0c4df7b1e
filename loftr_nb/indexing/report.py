"""What became of the scenes that were indexed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

STEPS = 20  # of the histogram of all scores


@dataclass(frozen=True)
class SceneReport:
    """What became of one scene: kept beside the index.

    frames: frames in use. left_out: a line for each frame that is not, with its
        file and what is wrong (ScanNet writes -inf poses where tracking was lost).
    possible: pairs there are. compared: pairs looked at. pairs: those written.
    available: scored pairs in each range of overlap; train, test: those written.
    below, above: scored pairs that overlap less, or more, than the ranges.
    histogram: scored pairs by overlap, in 20 steps from 0 to 1.
    files: what was written, from the index's folder.
    error: why the scene has no pairs at all, if so.
    """

    scene: str
    frames: int
    left_out: tuple[str, ...]
    compared: int
    pairs: int
    possible: int = 0
    available: tuple[int, ...] = ()
    train: tuple[int, ...] = ()
    test: tuple[int, ...] = ()
    below: int = 0
    above: int = 0
    histogram: tuple[int, ...] = ()
    files: tuple[str, ...] = ()
    error: str | None = None
    seconds: float = 0.0

    @staticmethod
    def of(data: dict[str, Any]) -> SceneReport:
        """From what ``asdict`` gave and JSON kept."""
        lists = {k: tuple(v) for k, v in data.items() if isinstance(v, list)}
        return SceneReport(**{**data, **lists})


@dataclass(frozen=True)
class IndexReport:
    """What :func:`build_index` did.

    root: where images are. out: the index. style: ``scannet`` or ``megadepth``.
    bins: edges of the ranges of overlap. train, test: text lists of the index
        files, None without a pair. intrinsics: npz by scene (ScanNet's style).
    scenes: a report each. reused: scenes that an earlier run had finished.
    """

    root: Path
    out: Path
    style: str
    bins: tuple[float, ...]
    train: Path | None
    test: Path | None
    intrinsics: Path | None
    scenes: tuple[SceneReport, ...]
    reused: int = 0
    seconds: float = 0.0
    left_out: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        lines = [line for s in self.scenes for line in s.left_out]
        object.__setattr__(self, "left_out", tuple(lines))

    @property
    def pairs(self) -> int:
        """Pairs written, of all scenes."""
        return sum(s.pairs for s in self.scenes)

    def total(self, column: str) -> list[int]:
        """Sums over the scenes of ``train``, ``test``, ``available``, ``histogram``."""
        rows = [getattr(s, column) for s in self.scenes if getattr(s, column)]
        return [sum(values) for values in zip(*rows, strict=True)]

    def to_dict(self) -> dict[str, Any]:
        """The same as plain numbers, lists and words, for JSON."""
        plain = asdict(self)
        return {k: str(v) if isinstance(v, Path) else v for k, v in plain.items()}

    def text(self) -> str:
        """What was scored, what was written and what was left out, in lines."""
        frames = sum(s.frames for s in self.scenes)
        compared = sum(s.compared for s in self.scenes)
        possible = sum(s.possible for s in self.scenes)
        share = compared / max(possible, 1)
        lines = [
            f"{len(self.scenes)} scene(s), {frames:,} frames: {compared:,} of "
            f"{possible:,} pairs scored ({share:.0%} of all)",
            *_rows(self),
            *_leftovers(self),
            f"{self.out}: {self.pairs:,} pairs in {self.style}'s style",
        ]
        if self.reused:
            lines.append(f"{self.reused} scene(s) were finished by an earlier run")
        return "\n".join(lines)


def _rows(report: IndexReport) -> list[str]:
    """Ranges of overlap across, what there was and what was taken down."""
    edges = report.bins
    heads = [f"{a:g}-{b:g}" for a, b in zip(edges, edges[1:], strict=False)]
    rows = [("overlap", heads)]
    for name, column in (("scored", "available"), ("train", "train"), ("test", "test")):
        rows.append((name, [f"{n:,}" for n in report.total(column)]))
    return [
        "  " + name.ljust(8) + "".join(cell.rjust(12) for cell in cells)
        for name, cells in rows
        if cells
    ]


def _leftovers(report: IndexReport, most: int = 5) -> list[str]:
    below = sum(s.below for s in report.scenes)
    above = sum(s.above for s in report.scenes)
    lines = [
        f"not taken: {below:,} pairs below {report.bins[0]:g}, {above:,} above "
        f"{report.bins[-1]:g}"
    ]
    bad = [f"{s.scene}: {s.error}" for s in report.scenes if s.error]
    for what, names in (("scene", bad), ("frame", report.left_out)):
        if names:
            lines.append(f"left out: {len(names)} {what}(s)")
            lines += [f"  {name}" for name in names[:most]]
            if len(names) > most:
                lines.append(f"  and {len(names) - most} more, see index.json")
    return lines
