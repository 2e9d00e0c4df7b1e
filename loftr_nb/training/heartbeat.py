"""``progress.json``: where a run is right now, for whoever watches from outside."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any


class Heartbeat:
    """Rewrites one small file every few seconds, whole each time.

    Its fields: state (starting, training, validating, evaluating, stopped, failed or
    finished; a run that was killed leaves its last one), reason (of a failed one),
    step, total, epoch, loss, lr, pairs_per_s, data_wait (share, 0 to 1), memory
    (MiB), eta_s, pid, time (seconds since 1970). Unknown ones are null.

    every: seconds between two writes of the same state. on: False writes nothing.
    """

    def __init__(self, path: Path, every: float = 2.0, on: bool = True) -> None:
        self.path, self.every, self.on = path, every, on
        self._last = -math.inf
        self._values: dict[str, Any] = {}

    def beat(self, state: str, **values: Any) -> None:
        """Say ``state`` with what is new; the other fields stay as they were.

        A file that cannot be written does not stop a run: it is news, not data.
        """
        changed = state != self._values.get("state")
        self._values |= {"state": state, **values}
        now = time.monotonic()
        if not self.on or not (changed or now - self._last >= self.every):
            return
        self._last = now
        _write(self.path, self._values)


def failed(path: Path, reason: str) -> None:
    """Say that this process's run has failed, and why.

    Nothing is written where another process's run lies, as after a refused folder.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return
    if isinstance(content, dict) and content.get("pid") == os.getpid():
        _write(path, content | {"state": "failed", "reason": reason, "eta_s": None})


def _write(path: Path, values: dict[str, Any]) -> None:
    content = values | {"pid": os.getpid(), "time": time.time()}
    for name, value in content.items():
        if isinstance(value, float) and not math.isfinite(value):
            content[name] = None
    part = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        part.write_text(json.dumps(content) + "\n")
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
