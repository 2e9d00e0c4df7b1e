"""The most main memory that this process has held."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import psutil

MIB = 2**20


def peak_resident_mb() -> float:
    """Largest resident set of this process so far, in MiB.

    Where a system does not count it (Windows), what the process holds now.
    """
    # Linux counts in ru_maxrss what the parent held when it started this process.
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return psutil.Process().memory_info().rss / MIB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return peak / (MIB if sys.platform == "darwin" else 1024)
