"""What readings mean: fine, to be known, or broken, and how to mend it."""

from __future__ import annotations

from . import hardware, software
from .finding import Finding
from .readings import Readings


def judge(readings: Readings) -> list[Finding]:
    """Every finding, in the order of the report."""
    return [
        finding
        for part in (
            software.python,
            software.torch,
            hardware.gpus,
            software.processes,
            hardware.cores,
            hardware.memory,
            hardware.shared,
            hardware.open_files,
            software.packages,
            software.opencv,
            software.notebook,
            software.places,
        )
        for finding in part(readings)
    ]
