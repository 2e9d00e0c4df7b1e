"""The logs of a launch: their last lines, and who failed first, without the noise.

``logs/launch-N.log`` has what all processes of launch N said, each line behind its
process (``[default1]:``). Below ``logs/launch-N/`` torchrun keeps a file for each
process.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from pathlib import Path

TAIL_BYTES = 1 << 16

# torchrun's own words, and warnings that no reader of a training log can act on.
NOISE = re.compile(
    r"^\[?[WIE]\d{4} |^[WIE]\d{4} \d\d:|torch/distributed/(run|launcher|elastic)"
    r"|Setting OMP_NUM_THREADS|^\*{5,}|^={5,}$|^-{5,}$|FutureWarning|UserWarning"
    r"|warnings\.warn|Unable to initialize tracking|^\s*$"
)
PREFIX = re.compile(r"^\[[a-z_]+(\d+)\]:")
STEP = re.compile(r"step ([\d,]+)/([\d,]+)")
ROOT_CAUSE = re.compile(
    r"Root Cause.*?rank\s*:\s*(\d+) \(local_rank: (\d+)\).*?exitcode\s*:\s*(-?\d+)",
    re.S,
)
FAILED = re.compile(
    r"failed \(exitcode: (-?\d+)\) local_rank: (\d+)", re.S
)  # said when it happens, root cause or not
GOT_SIGNAL = re.compile(r"got signal: (?:Signals\.)?(\w+)")

DEATHS = {
    "SIGKILL": "often the system ran out of memory; fewer data.workers, a smaller "
    "batch or a smaller image need less",
    "SIGBUS": "shared memory (/dev/shm) was full; `loftr-nb doctor` says its size, "
    "data.workers=0 does without",
    "SIGSEGV": "a library crashed; run it again with data.workers=0 and, on a CPU, "
    "channels in multiples of 16",
    "SIGABRT": "a library gave up; its last words are above",
    "SIGTERM": "it was ended from outside",
}


@dataclass(frozen=True)
class Failure:
    """The process that failed first. status: negative is the signal it died of."""

    rank: int
    local_rank: int
    status: int

    def words(self) -> str:
        """How it ended, and what that usually means."""
        if self.status >= 0:
            return f"ended with status {self.status}"
        try:
            name = signal.Signals(-self.status).name
        except ValueError:
            return f"was killed by signal {-self.status}"
        meaning = f": {DEATHS[name]}" if name in DEATHS else ""
        return f"was killed by {name}{meaning}"


def log_path(folder: Path, attempt: int) -> Path:
    """Where all processes of a launch speak."""
    return folder / "logs" / f"launch-{attempt}.log"


def read_end(path: Path, size: int = TAIL_BYTES) -> str:
    """The last bytes of a text file, from a whole line on; empty if there is none."""
    try:
        with open(path, "rb") as file:
            length = file.seek(0, 2)
            file.seek(max(0, length - size))
            content = file.read()
    except OSError:
        return ""
    if length > size:
        content = content.partition(b"\n")[2]
    return content.decode(errors="replace")


def tail(path: Path, n: int) -> list[str]:
    """The last n lines that say something. A lone process has no prefix."""
    lines = [line for line in _raw_tail(path) if not NOISE.search(PREFIX.sub("", line))]
    return _without_lone_prefix(_own_words(lines))[-n:] if n > 0 else []


def _own_words(lines: list[str]) -> list[str]:
    """Lines up to where torchrun reports a failure, with its traceback."""
    for n, line in enumerate(lines):
        if line.startswith("Traceback") and not PREFIX.match(line):
            return lines[:n]
    return lines


def _without_lone_prefix(lines: list[str]) -> list[str]:
    ranks = {match[1] for line in lines if (match := PREFIX.match(line))}
    if ranks - {"0"}:
        return [PREFIX.sub(lambda m: f"[{m[1]}] ", line) for line in lines]
    return [PREFIX.sub("", line) for line in lines]


def total_steps(path: Path) -> int | None:
    """The number of steps that the status line names, if it spoke already."""
    found = STEP.findall(read_end(path))
    return int(found[-1][1].replace(",", "")) if found else None


def find_failure(path: Path) -> Failure | None:
    """The process that torchrun names as the cause; None if it names none."""
    text = read_end(path)
    if match := ROOT_CAUSE.search(text):
        return Failure(int(match[1]), int(match[2]), int(match[3]))
    if found := FAILED.findall(text):
        status, local = found[-1]
        return Failure(int(local), int(local), int(status))
    return None


def ended_by_signal(path: Path) -> str | None:
    """The signal that torchrun says it got; None if it got none."""
    text = read_end(path)
    if not (found := GOT_SIGNAL.findall(text)):
        return None
    name = found[-1]
    return signal.Signals(int(name)).name if name.isdigit() else name


def last_words(
    folder: Path, attempt: int, failure: Failure | None, n: int
) -> list[str]:
    """The last lines of the process that failed; of all where it said nothing.

    Then without the complaints of the others about the one that went.
    """
    log = log_path(folder, attempt)
    if failure is None:
        return tail(log, n)
    mine = [
        PREFIX.sub("", line)
        for line in _raw_tail(log)
        if (m := PREFIX.match(line)) and int(m[1]) == failure.local_rank
    ]
    mine = [line for line in mine if not NOISE.search(line)]
    if mine:
        return mine[-n:]
    others = [line for line in tail(log, 1000) if "[rank" not in line]
    return [line for line in others if "Traceback" not in line][-3:]


def _raw_tail(path: Path) -> list[str]:
    return [line.rstrip() for line in read_end(path).splitlines()]
