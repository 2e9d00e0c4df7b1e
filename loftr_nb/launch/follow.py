"""The rows of a growing ``metrics.jsonl``, only new bytes read each time."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any, BinaryIO

OVERLAP = 256  # bytes before the last place read, to see that the file is the same


class Follower:
    """Rows of a file that a running training appends to, and rewrites on resume.

    A file that was replaced, cut short or rewritten is read again from its start. A
    last line that is not finished waits for its end; a line that is no JSON is left
    out, because a picture of the rest is worth more than none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.changes = 0  # how often `rows` changed, for readers that share this
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.read = 0  # bytes whose rows are in `rows`
        self.before = b""  # the last of them
        self.file: int | None = None  # which file that was

    def poll(self) -> bool:
        """Read what is new; returns whether ``rows`` changed."""
        with self._lock:
            try:
                with open(self.path, "rb") as file:
                    changed = self._read(file)
            except OSError:
                changed = bool(self.rows)
                self._forget()
            self.changes += changed
            return changed

    def _read(self, file: BinaryIO) -> bool:
        state = os.fstat(file.fileno())
        changed = False
        file.seek(self.read - len(self.before))
        same = state.st_ino == self.file and file.read(len(self.before)) == self.before
        if not same:
            changed = bool(self.rows)
            self._forget()
            self.file = state.st_ino
            file.seek(0)
        whole, end, _rest = file.read().rpartition(b"\n")
        if not end:
            return changed
        new = whole + end
        self.read += len(new)
        self.before = (self.before + new)[-OVERLAP:]
        rows = [row for line in new.splitlines() if (row := _row(line))]
        self.rows += rows
        return changed or bool(rows)


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None
