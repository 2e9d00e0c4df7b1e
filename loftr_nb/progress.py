"""How long work speaks of itself: one line that is rewritten, here or in a notebook."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO


class StatusLine:
    """One line that is rewritten on a terminal, and repeated rarely elsewhere.

    every: seconds between lines where the output is no terminal.
    """

    def __init__(
        self, stream: TextIO | None = None, every: float = 10.0, on: bool = True
    ) -> None:
        self.stream = sys.stdout if stream is None else stream
        self.on = on
        self.tty = self.stream.isatty()
        self.every = 0.2 if self.tty else every
        self.last = -math.inf
        self.width = 0

    def show(self, text: Callable[[], str], force: bool = False) -> None:
        """Show ``text()`` if it is time to."""
        now = time.monotonic()
        if not self.on or (not force and now - self.last < self.every):
            return
        self.last = now
        line = text()
        if self.tty:
            self.stream.write("\r" + line.ljust(self.width))
            self.width = len(line)
        else:
            self.stream.write(line + "\n")
        self.stream.flush()

    def say(self, text: str) -> None:
        """A line of its own that stays."""
        if not self.on:
            return
        if self.tty and self.width:
            self.stream.write("\r" + " " * self.width + "\r")
            self.width = 0
        self.stream.write(text + "\n")
        self.stream.flush()


class NotebookStatus(StatusLine):
    """The status line of a notebook: one output that is rewritten in place.

    What was said stays above, the line below it changes. A run of an hour leaves
    a few lines in the stored notebook and not a thousand.
    """

    def __init__(self, every: float = 0.5, on: bool = True) -> None:
        super().__init__(every=every, on=on)
        self.every = every
        self.said: list[str] = []
        self.handle: Any = None

    def show(self, text: Callable[[], str], force: bool = False) -> None:
        """Show ``text()`` below what was said, if it is time to."""
        now = time.monotonic()
        if not self.on or (not force and now - self.last < self.every):
            return
        self.last = now
        self._draw([*self.said, text()])

    def say(self, text: str) -> None:
        """A line of its own that stays."""
        if self.on:
            self.said.append(text)
            self._draw(self.said)

    def _draw(self, lines: list[str]) -> None:
        from IPython.display import display

        content = {"text/plain": "\n".join(lines)}
        if self.handle is None:
            self.handle = display(content, raw=True, display_id=True)
        else:
            self.handle.update(content, raw=True)


def status_line(on: bool = True) -> StatusLine:
    """The status line that suits this place: a terminal, a file or a notebook."""
    # Not imported for the question: whoever runs in a kernel has IPython loaded.
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    in_kernel = getattr(shell, "kernel", None) is not None
    return NotebookStatus(on=on) if in_kernel else StatusLine(on=on)


def duration(seconds: float) -> str:
    """Seconds in words: ``45 s``, ``7 min 05 s``, ``3 h 12 min``."""
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
