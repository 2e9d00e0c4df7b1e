"""A training run in processes of its own: where it is, waiting for it, ending it."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from ..errors import RunError
from ..progress import duration, status_line
from ..training import RunFolder
from . import logs
from . import record as records
from .follow import Follower
from .record import Record
from .snapshot import Snapshot, read_progress, take
from .state import ENDED, alive, read_summary, state_of

RESCAN_SECONDS = 10.0


class Run:
    """A run that ``launch`` started or ``attach`` found.

    It holds no process: a kernel that restarts loses this object and nothing else.

    state: ``starting`` until the first step, then ``training``; ``finished``,
        ``failed`` or ``stopped`` at the end; ``unknown`` where it was started on
        another machine and its files have not changed for minutes.
    """

    def __init__(self, folder: Path, process: subprocess.Popen | None = None) -> None:
        self.dir = folder
        self.follower = Follower(folder / "metrics.jsonl")
        self.at_end: list[Callable[[], None]] = []  # pictures that close with the run
        self._process = process
        self._scanned = -RESCAN_SECONDS
        self._found: list[psutil.Process] = []
        self._pairs_a_step: int | None = None

    def __repr__(self) -> str:
        now = self.poll()
        pid = f", pid {self.pid}" if self.pid and now.state not in ENDED else ""
        return f"<Run {self.dir}: {now.state}, {now.steps()}{pid}>"

    @property
    def record(self) -> Record | None:
        """The launch as ``launch.json`` has it; None for a run from a terminal."""
        return records.read(self.dir)

    @property
    def pid(self) -> int | None:
        """The process that leads the run: torchrun's; None where it is not known."""
        record = self.record
        if record is not None:
            return record.pid
        found = self._trainers()
        return found[0].pid if found else None

    @property
    def log(self) -> Path | None:
        """What all processes of the last launch said; None without a launch."""
        record = self.record
        return logs.log_path(self.dir, record.attempt) if record else None

    @property
    def state(self) -> str:
        """Where the run is, in a word; see the class."""
        record = self.record
        if record is None:
            return self._state_without_record()
        return state_of(self.dir, record, self._process)

    def poll(self) -> Snapshot:
        """Read what is new on disk and say where the run is."""
        self.follower.poll()
        record = self.record
        progress = read_progress(self.dir, record.time if record else 0.0)
        total = record.steps if record else None
        if total is None and "total" not in progress and self.log:
            total = logs.total_steps(self.log)
        if total is None and (summary := read_summary(self.dir)):
            total = summary.get("steps")
        return take(self.state, self.follower.rows, progress, total, self._pairs())

    def metrics(self) -> list[dict[str, Any]]:
        """The rows of ``metrics.jsonl`` so far; empty before the first."""
        self.follower.poll()
        return list(self.follower.rows)

    def tail(self, n: int = 20) -> list[str]:
        """The last n lines that the run's processes said."""
        return logs.tail(self.log, n) if self.log else []

    def summary(self) -> dict[str, Any] | None:
        """What ``summary.json`` holds; None as long as the run is not finished."""
        return read_summary(self.dir) if self.state == "finished" else None

    def wait(
        self, timeout: float | None = None, progress: bool = True
    ) -> dict[str, Any] | None:
        """Return when the run has ended. Ctrl-C ends the waiting and not the run.

        Args:
            timeout: seconds to wait at most; None for as long as it takes.
            progress: show one line that is rewritten while waiting.

        Returns:
            The summary of a finished run; None if it was stopped.

        Raises:
            RunError: the run failed; the message ends with the last lines of the
                process that failed first.
            TimeoutError: it has not ended yet.
        """
        began, status = time.monotonic(), status_line(on=progress)
        while (now := self.poll()).state not in ENDED:
            if timeout is not None and time.monotonic() - began >= timeout:
                raise TimeoutError(f"after {duration(timeout)}: {now.line()}")
            if now.state == "unknown":
                raise RunError(self._elsewhere("cannot be waited for"))
            status.show(now.line)
            time.sleep(0.3)
        status.show(now.line, force=True)
        for close in list(self.at_end):
            close()
        if now.state == "failed":
            raise RunError(self.failure())
        return self.summary()

    def stop(self, timeout: float = 30.0) -> str:
        """End the run: the step is finished and saved; returns the state.

        Args:
            timeout: seconds until processes that have not ended are killed, which
                loses the steps since the last checkpoint, and is said.

        Raises:
            RunError: the run is not ours to stop: it was started in a terminal, or
                on another machine.
        """
        print(self.end(timeout))
        return self.state

    def end(self, timeout: float = 30.0) -> str:
        """What ``stop`` does; returns what it says instead of printing it."""
        record = self._require_own()
        leads = alive(self.dir, record, self._process)
        left = [] if leads else records.members(record)
        if not leads and not left:
            return f"{self.dir} had ended already: {self.poll().line()}"
        record = dataclasses.replace(record, stopping=time.time())
        records.write(self.dir, record)
        # torchrun hands the request on to its processes. Those it left behind
        # when it was killed are asked one by one.
        for pid in [record.pid] if leads else [p.pid for p in left]:
            _ask_to_end(pid)
        self._await_end(record, timeout)
        killed = _kill(records.members(record))
        self._reap()
        return self._said_at_end(record, killed, timeout)

    def failure(self, lines: int = 15) -> str:
        """Why the run failed: who, how, and the last lines of that process."""
        record = self.record
        reason = self._reason()
        if record is None:
            why = f": {reason}" if reason else "; it has no log"
            return f"{self.dir} ended before it was finished{why}"
        log = logs.log_path(self.dir, record.attempt)
        cause = logs.find_failure(log)
        who = "torchrun ended without a word: it was killed, or could not start"
        if cause is not None:
            who = f"process {cause.rank} of {record.nproc} {cause.words()}"
        said = logs.last_words(self.dir, record.attempt, cause, lines)
        quoted = "\n".join("    " + line for line in said) or "    (nothing)"
        if reason and reason.splitlines()[0] not in quoted:
            who += f". The run itself says: {reason}"
        return (
            f"{self.dir} failed at {self.poll().steps()}: {who}. Its last lines:\n"
            f"{quoted}\nAll of it: {log}. {self.way_on()}"
        )

    def _reason(self) -> str | None:
        """Why the run failed, as the training itself has it in progress.json."""
        record = self.record
        said = read_progress(self.dir, record.time if record else 0.0)
        return said.get("reason") if said.get("state") == "failed" else None

    def way_on(self) -> str:
        """What launching it again would do, for a run that was stopped or failed."""
        saved = list((self.dir / "checkpoints").glob("*"))
        if not saved:
            return "It has no checkpoint yet: launched again, it begins anew"
        record = self.record
        since = record.stopping if record and record.stopping else None
        if since and any(path.stat().st_mtime >= since for path in saved):
            return "It is saved: launched again, it goes on from here"
        return "Launched again, it goes on from its last checkpoint"

    def _trainers(self) -> list[psutil.Process]:
        """Processes that train here, looked for among all now and then only."""
        if time.monotonic() - self._scanned > RESCAN_SECONDS:
            self._scanned = time.monotonic()
            self._found = records.trainers_of(self.dir)
        self._found = [p for p in self._found if p.is_running()]
        return self._found

    def _state_without_record(self) -> str:
        if self._trainers():
            return "training" if self.follower.rows else "starting"
        if self._reason():
            return "failed"
        return "finished" if read_summary(self.dir) is not None else "stopped"

    def _pairs(self) -> int | None:
        if self._pairs_a_step is None and (record := self.record) is not None:
            try:
                batch = RunFolder(self.dir).read_recipe().optim.batch
            except RunError:
                return None
            self._pairs_a_step = batch * record.nproc
        return self._pairs_a_step

    def _require_own(self) -> Record:
        record = self.record
        if record is None:
            pid = f", or kill -TERM {self.pid}" if self.pid else ""
            raise RunError(
                f"{self.dir} was not started by launch, so its processes are not "
                f"stopped from here: press Ctrl-C where it was started{pid}"
            )
        if not records.here(record):
            raise RunError(self._elsewhere("cannot be stopped from here"))
        return record

    def _elsewhere(self, what: str) -> str:
        record = self.record
        return (
            f"{self.dir} was launched on {record.host} (process {record.pid}) and "
            f"{what}, which is another machine: go there and attach"
        )

    def _await_end(self, record: Record, timeout: float) -> None:
        end = time.monotonic() + timeout
        while alive(self.dir, record, self._process) and time.monotonic() < end:
            time.sleep(0.1)
        # Its processes are given a moment more than torchrun itself.
        while records.members(record) and time.monotonic() < end:
            time.sleep(0.2)

    def _reap(self) -> None:
        if self._process is not None:
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                pass

    def _said_at_end(self, record: Record, killed: int, timeout: float) -> str:
        now = self.poll()
        where = f"{self.dir} {now.state} at {now.steps()}"
        if killed:
            return (
                f"{where}: {killed} processes had not ended after "
                f"{duration(timeout)} and were killed. {self.way_on()}"
            )
        if now.state == "finished":
            return f"{where}, by itself"
        return f"{where}. {self.way_on()}"


def _ask_to_end(pid: int) -> None:
    ask = signal.CTRL_BREAK_EVENT if sys.platform == "win32" else signal.SIGTERM
    try:
        os.kill(pid, ask)
    except ProcessLookupError:
        pass


def _kill(processes: list[psutil.Process]) -> int:
    """Kill what is left of a launch; returns how many processes that were."""
    for process in processes:
        try:
            process.kill()
        except psutil.Error:
            continue
    psutil.wait_procs(processes, timeout=5)
    return len(processes)
