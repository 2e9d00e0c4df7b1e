"""One line of the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One line of the report. mend: how to mend it, empty where nothing is wrong."""

    level: Literal["ok", "warn", "bad"]
    what: str
    words: str
    mend: str = ""
