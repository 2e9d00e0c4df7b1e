"""The environment in words: what is here, what is wrong, and how to mend it."""

from __future__ import annotations

import html
from dataclasses import asdict
from pathlib import Path

from .finding import Finding
from .findings import judge
from .readings import Card, Place, Readings, take_readings

__all__ = [
    "Card",
    "Finding",
    "Place",
    "Readings",
    "Report",
    "doctor",
    "judge",
    "take_readings",
]


COLOURS = {"ok": "#009E73", "warn": "#B8860B", "bad": "#E66100"}


class Report:
    """Findings that a notebook shows as a table and a terminal as lines."""

    def __init__(self, findings: list[Finding]) -> None:
        self.findings = findings

    @property
    def is_bad(self) -> bool:
        """Whether something is broken, and not only to be known."""
        return any(finding.level == "bad" for finding in self.findings)

    def verdict(self) -> str:
        """One sentence about all of it."""
        count = {level: 0 for level in ("ok", "warn", "bad")}
        for finding in self.findings:
            count[finding.level] += 1
        if not count["warn"] and not count["bad"]:
            return "ready to train"
        parts = [f"{count['bad']} broken"] * bool(count["bad"])
        parts += [f"{count['warn']} to be known"] * bool(count["warn"])
        end = "mend what is bad first" if count["bad"] else "training will run"
        return f"{', '.join(parts)}: {end}"

    def as_dict(self) -> dict:
        """Plain values, as ``--json`` prints them."""
        return {
            "bad": self.is_bad,
            "verdict": self.verdict(),
            "findings": [asdict(finding) for finding in self.findings],
        }

    def __repr__(self) -> str:
        width = max(len(f.what) for f in self.findings)
        lines = []
        for f in self.findings:
            lines.append(f"{f.level:<4}  {f.what:<{width}}  {f.words}")
            if f.mend:
                lines.append(f"{'':4}  {'':{width}}  -> {f.mend}")
        return "\n".join([*lines, "", self.verdict()])

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr>{_cells(finding)}</tr>" for finding in self.findings)
        return f"<table>{rows}</table><p>{html.escape(self.verdict())}</p>"


def _cells(f: Finding) -> str:
    mend = f"<br><i>{html.escape(f.mend)}</i>" if f.mend else ""
    left = '<td style="text-align:left">'
    return (
        f'<td style="text-align:left;color:{COLOURS[f.level]}"><b>{f.level}</b></td>'
        f"{left}{html.escape(f.what)}</td>{left}{html.escape(f.words)}{mend}</td>"
    )


def doctor(
    data: Path | str = "data",
    runs: Path | str = "runs",
    readings: Readings | None = None,
) -> Report:
    """Look at Python, PyTorch, GPUs, cores, memory, limits, packages and folders.

    Args:
        data, runs: folders that data is read from and runs are written to.
        readings: of another machine; None reads this one.
    """
    return Report(judge(readings or take_readings(data, runs)))
