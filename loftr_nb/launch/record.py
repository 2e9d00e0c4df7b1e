"""What a launch leaves on disk, and whether its processes still live.

``launch.json`` in the run folder says which command was started, where and when. A
process is known by more than its number, which the system gives away again: by the
launch's own identifier in its environment, and by the moment it began.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from ..errors import RunError
from ..files import write_whole

ID = "LOFTR_NB_LAUNCH"  # in the environment of every process of a launch
# Two clocks that are corrected differently can disagree about a start by this much.
SECONDS_APART = 2.0


@dataclass(frozen=True)
class Record:
    """One launch, as ``launch.json`` holds it.

    pid, pgid: of torchrun, which leads a process group of its own.
    began: when that process started, seconds since 1970.
    attempt: 0 for the first launch into this folder; its log is ``launch-0.log``.
    stopping: when ``stop()`` was called, None before.
    """

    command: list[str]
    pid: int
    pgid: int
    began: float
    host: str
    time: float
    identifier: str
    attempt: int
    nproc: int
    steps: int | None = None
    stopping: float | None = None


def path_of(folder: Path) -> Path:
    """Where a run folder keeps its launch."""
    return folder / "launch.json"


def write(folder: Path, record: Record) -> None:
    """Store the launch, whole or not at all."""
    text = json.dumps(asdict(record), indent=2) + "\n"
    write_whole(path_of(folder), lambda file: file.write(text.encode()))


def read(folder: Path) -> Record | None:
    """The last launch into this folder; None if there was none.

    Raises:
        RunError: ``launch.json`` is damaged.
    """
    path = path_of(folder)
    try:
        return Record(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise RunError(
            f"{path} is damaged ({error}): remove it, and attach again. Only the "
            "process number and the command are lost with it"
        ) from error


def here(record: Record) -> bool:
    """Whether the launch ran on this machine, so that its pid means something."""
    return record.host == socket.gethostname()


def is_alive(record: Record) -> bool:
    """Whether the launch's own torchrun still runs on this machine.

    False for a zombie, and for another process that got the number later.
    """
    try:
        process = psutil.Process(record.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        try:
            return process.environ().get(ID) == record.identifier
        except psutil.AccessDenied:
            return abs(process.create_time() - record.began) < SECONDS_APART
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False


def members(record: Record) -> list[psutil.Process]:
    """Every living process of the launch, torchrun's orphans too.

    Training processes lead groups of their own, and outlive a torchrun that was
    killed. What they have in common is the environment they inherited.
    """
    return [p for p in _own_processes() if _identifier(p) == record.identifier]


def trainers_of(folder: Path) -> list[psutil.Process]:
    """Processes on this machine that train into ``folder``, however started."""
    folder = folder.resolve()
    return [p for p in _own_processes() if _trains_into(p, folder)]


def _own_processes() -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                yield process
        except psutil.Error:
            continue


def _identifier(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(ID)
    except (psutil.Error, OSError):
        return None


def _trains_into(process: psutil.Process, folder: Path) -> bool:
    try:
        words = process.cmdline()
        if "loftr_nb.training" in words:
            words = words[words.index("loftr_nb.training") + 1 :]
        elif "train" in words and any("loftr" in w for w in words):
            words = words[words.index("train") + 1 :]
        else:
            return False
        out = _option(words, "--out")
        named = [w for w in words if not w.startswith("-")]
        out = out or (f"runs/{named[0]}" if named else None)
        if out is None:
            return False
        there = Path(process.cwd(), out).resolve()
        return there == folder or there.with_name(there.name + "-quick") == folder
    except (psutil.Error, OSError):
        return False


def _option(words: list[str], name: str) -> str | None:
    for word, following in zip(words, [*words[1:], None], strict=True):
        if word == name:
            return following
        if word.startswith(name + "="):
            return word.partition("=")[2]
    return None


def age(path: Path) -> float:
    """Seconds since a file was written; infinite if it is not there."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return float("inf")
