"""Watching a run in one place, while the kernel stays free.

watch(run)                # a panel, or a picture where there are no widgets
watch(run, block=True)    # return when the run has ended
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from ..errors import LoftrNbError, RunError
from ..progress import status_line
from ..viz.explore import STATIC
from .figure import RunFigure
from .run import Run
from .snapshot import Snapshot
from .state import ENDED

# Drawing may take this share of the time, on any machine and for any run.
DRAWING_SHARE = 0.04
LOG_LINES = 9

_watching: dict[Path, Watch] = {}


def watch(
    run: Run,
    every: float = 1.0,
    until: float | None = None,
    block: bool | None = None,
    static: bool | None = None,
) -> Watch:
    """Show a run's curves, speed, newest matches and log, kept up to date.

    In a notebook it returns at once and goes on in the background until the run
    has ended; then a static picture takes the panel's place, which is what a stored
    notebook shows. Buttons answer while the kernel is idle: a cell with
    ``run.wait()`` below keeps them waiting.

    Args:
        every: seconds between looks at the run's files.
        until: stop watching after so many seconds; the run goes on.
        block: return when watching ends. None: at once in a notebook, at the end
            in a script.
        static: one picture and one line instead of widgets. None decides: static
            where ``LOFTR_NB_STATIC`` is set or ipywidgets is not installed.

    Raises:
        RunError: ``every`` is not positive.
    """
    if not every > 0:
        raise RunError(f"every is {every}: give the seconds between looks, such as 1")
    if isinstance(run, (str, Path)):
        raise RunError(f"watch needs a run: watch(attach({str(run)!r}))")
    key = run.dir.resolve()
    if (before := _watching.pop(key, None)) is not None:
        before.close()  # the cell was run again, or another one shows it now
    watching = _watching[key] = Watch(run, _view(run, static), every, until)
    run.at_end.append(watching.join)
    watching.start()
    if block or (block is None and not in_notebook()):
        watching.join()
    return watching


def in_notebook() -> bool:
    """Whether this process is a notebook's kernel."""
    # Not imported for the question: whoever runs in a kernel has IPython loaded.
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None


class Watch:
    """A background look at a run; ``close()`` ends it, ``join()`` waits for its end."""

    def __init__(self, run: Run, view: View, every: float, until: float | None) -> None:
        self.run, self.view, self.every = run, view, every
        self.until = until
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._go, daemon=True, name="watch")

    def _ipython_display_(self) -> None:
        """Nothing: what a cell shows is the view."""

    def start(self) -> None:
        """Show the view and begin to look."""
        self.view.show(self.run)
        self._thread.start()

    @property
    def is_on(self) -> bool:
        """Whether it still looks."""
        return self._thread.is_alive()

    def join(self, timeout: float | None = None) -> None:
        """Return when the run has ended and its last picture is drawn."""
        if self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def close(self) -> None:
        """Stop looking; the last picture stays. The run goes on."""
        self._closed.set()
        self.join(10)

    def _go(self) -> None:
        began = time.monotonic()
        try:
            while True:
                now = self.run.poll()
                self.view.update(self.run, now)
                over = self.until is not None and time.monotonic() - began > self.until
                if now.state in ENDED or over or self._closed.is_set():
                    break
                self._closed.wait(self.every)
            self.view.finish(self.run, now)
        except LoftrNbError as error:
            self.view.say(f"watching ended: {error}")
        finally:
            self.run.at_end = [c for c in self.run.at_end if c != self.join]


class View:
    """Where a watched run appears. This one is a line in a terminal or a file."""

    def show(self, run: Run) -> None:
        """Make the place."""
        self.status = status_line()

    def update(self, run: Run, now: Snapshot) -> None:
        """Bring it up to date."""
        self.status.show(now.line)

    def finish(self, run: Run, now: Snapshot) -> None:
        """Leave what stays."""
        self.status.show(lambda: final_line(run, now), force=True)
        self.status.say("")

    def say(self, words: str) -> None:
        """Show words instead of the line."""
        self.status.say(words)


class PictureView(View):
    """One picture and one line of a notebook, rewritten through ``display_id``."""

    def show(self, run: Run) -> None:
        """Make two places: the line, and below it the picture."""
        self.figure, self.drawn = RunFigure(), Drawn()
        now = run.poll()
        self.line = Slot({"text/plain": now.line()})
        self.place = Slot(self.first(run, now))

    def first(self, run: Run, now: Snapshot) -> dict[str, Any]:
        """What the picture's place holds at first."""
        return self.still(run, now)

    def still(self, run: Run, now: Snapshot) -> dict[str, Any]:
        """The picture and its words: what a stored notebook shows."""
        content = self.figure.small_png(run.follower.rows, newest_matches(run.dir))
        return {
            "image/png": content,
            "text/plain": f"<Picture: {run.dir}, {now.line()}>",
        }

    def update(self, run: Run, now: Snapshot) -> None:
        """A new line; a new picture if there is something new in it."""
        self.line.put({"text/plain": now.line()})
        if self.drawn.is_due(run):
            with self.drawn.measured():
                self.place.put(self.still(run, now))

    def finish(self, run: Run, now: Snapshot) -> None:
        """The last line and the last picture."""
        self.line.put({"text/plain": final_line(run, now)})
        self.place.put(self.still(run, now))

    def say(self, words: str) -> None:
        """Show words instead of the line."""
        self.line.put({"text/plain": words})


class Slot:
    """One output of a notebook that is replaced and never repeated."""

    def __init__(self, content: dict[str, Any]) -> None:
        from IPython.display import display

        self.content = content
        self.handle = display(content, raw=True, display_id=True)

    def put(self, content: dict[str, Any]) -> None:
        """Replace it, if it is another one."""
        if content != self.content:
            self.content = content
            self.handle.update(content, raw=True)


class Drawn:
    """What a picture was drawn from, and whether it is time for the next."""

    def __init__(self) -> None:
        self.of: tuple = ()
        self.cost = 0.0
        self.at = -1e9

    def is_due(self, run: Run) -> bool:
        """Whether there is something new and drawing has rested long enough."""
        matches = newest_matches(run.dir)
        stamp = matches.stat().st_mtime_ns if matches and matches.exists() else 0
        of = (run.follower.changes, matches, stamp)
        if of == self.of or time.monotonic() - self.at < self.cost / DRAWING_SHARE:
            return False
        self.of = of
        return True

    def measured(self) -> Drawn:
        """Around the drawing: what it costs decides how often it happens."""
        return self

    def __enter__(self) -> None:
        self.began = time.thread_time()

    def __exit__(self, *_error: object) -> None:
        self.cost, self.at = time.thread_time() - self.began, time.monotonic()


def newest_matches(folder: Path) -> Path | None:
    """The matches picture that was written last; of several at once, the middling."""
    found = []
    for path in (folder / "figures").glob("**/*matches*.png"):
        try:
            found.append((path.stat().st_mtime, path))
        except OSError:
            continue
    last = max((when for when, _ in found), default=0.0)
    together = [(when, path) for when, path in found if when > last - 60]
    middling = [(when, path) for when, path in together if "middling" in path.name]
    return max(middling or together)[1] if found else None


def final_line(run: Run, now: Snapshot) -> str:
    """What a run ends with, in words; the reason where it failed."""
    if now.state == "failed":
        return run.failure()
    line = f"{run.dir}: {now.line()}"
    if now.state == "stopped":
        line += f"  {run.way_on()}"
    return line


def _view(run: Run, static: bool | None) -> View:
    if not in_notebook():
        return View()
    static = bool(os.environ.get(STATIC)) if static is None else static
    if not static:
        try:
            from .panel import PanelView
        except ImportError:  # ipywidgets is not installed
            return PictureView()
        return PanelView()
    return PictureView()
