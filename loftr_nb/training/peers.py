"""What processes know of each other: who is alive, and whose fault it was.

A process that waits for one that is gone learns from PyTorch only that a
connection was closed, or nothing for a long time. Here each says every second that
it lives, and in its own words why it leaves; the others pass that on.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable

import torch.distributed as dist

from ..errors import LoftrNbError, RunError

BEAT = 1.0  # seconds between two signs of life
GRACE = 20.0  # seconds for a process to leave by itself after another has failed


class PeerError(RunError):
    """Another process failed, and this one cannot go on without it."""


class Peers:
    """The other processes of this start, watched by a thread.

    Args:
        store: keys of this start alone.
        patience: seconds without a sign of life after which a process is given up.
    """

    def __init__(
        self, store: dist.Store, rank: int, world: int, patience: float
    ) -> None:
        self.rank, self.world, self.patience = rank, world, patience
        # Its own connection: a wait of the main thread must not block this one.
        self._store = store.clone()
        self._ended = threading.Event()
        self._seen: dict[int, tuple[str, float]] = {}
        self._beats = 0
        self.on_failure: Callable[[str], None] = lambda reason: None
        me = {"host": socket.gethostname(), "pid": os.getpid()}
        self._store.set(f"who/{rank}", json.dumps(me))
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop watching: the processes part in peace."""
        self._ended.set()
        self._thread.join(timeout=2 * BEAT)

    def announce(self, reason: str) -> None:
        """Say to the others why this process leaves."""
        try:
            self._store.set(f"failed/{self.rank}", reason)
        except RuntimeError:  # DistError: nobody is left to hear it
            self._ended.set()

    def blame(self, seconds: float = 3.5 * BEAT) -> str | None:
        """Who is at fault that communication failed, in words; None if nobody.

        Looks for ``seconds``: a process says why it leaves, or it is killed and
        its signs of life end.
        """
        before, end = self._look(), time.monotonic() + seconds
        while time.monotonic() < end:
            if said := self._said():
                return said
            time.sleep(0.1)
        after = self._look()
        lost = [
            r for r in self._others() if before is not None and before[r] == after[r]
        ]
        if not lost:
            return None
        gone = ", ".join(self._name(rank) for rank in lost)
        return (
            f"{gone} gave no sign of life for {seconds:.0f} s: killed (often the "
            "system ran out of memory), hung, or cut off from the network"
        )

    def _others(self) -> list[int]:
        return [r for r in range(self.world) if r != self.rank]

    def _look(self) -> dict[int, str] | None:
        try:
            keys = {r: f"alive/{r}" for r in self._others()}
            return {
                r: self._store.get(k).decode() if self._store.check([k]) else ""
                for r, k in keys.items()
            }
        except RuntimeError:
            return dict.fromkeys(self._others(), "")

    def _said(self) -> str | None:
        """What a process that failed said of itself."""
        try:
            for r in self._others():
                if self._store.check([f"failed/{r}"]):
                    reason = self._store.get(f"failed/{r}").decode()
                    return f"{self._name(r)} failed: {reason}"
        except RuntimeError:
            pass
        return None

    def _name(self, rank: int) -> str:
        try:
            if self._store.check([f"who/{rank}"]):
                who = json.loads(self._store.get(f"who/{rank}"))
                return f"rank {rank} ({who['host']}, process {who['pid']})"
        except RuntimeError:
            pass
        return f"rank {rank}"

    def _watch(self) -> None:
        """Beat; and where another has failed, see to it that this one leaves."""
        while not self._ended.wait(BEAT):
            self._beats += 1
            try:
                self._store.set(f"alive/{self.rank}", str(self._beats))
            except RuntimeError:
                return  # the store went with its host; communication ends as well
            reason = self._said() or self._silent()
            if reason and not self._ended.wait(GRACE):
                # NCCL waits for a lost process in a call that nothing interrupts.
                self._give_up(reason)

    def _silent(self) -> str | None:
        """Whoever has been silent for longer than this run has patience."""
        now = time.monotonic()
        for rank, beat in (self._look() or {}).items():
            known = self._seen.get(rank)
            if known is None or known[0] != beat:
                self._seen[rank] = beat, now
            elif now - known[1] > self.patience:
                return (
                    f"{self._name(rank)} gave no sign of life for "
                    f"{self.patience:.0f} s: killed, hung, or cut off from the network"
                )
        return None

    def _give_up(self, reason: str) -> None:
        self.on_failure(reason)
        print(f"loftr_nb.training: rank {self.rank}: {reason}", file=sys.stderr)
        sys.stderr.flush()
        os._exit(RunError.exit_status)


def words(error: BaseException) -> str:
    """An error in words, as the command line says it."""
    if isinstance(error, LoftrNbError):
        return str(error)
    text = str(error).splitlines()
    return f"{type(error).__name__}: {text[0] if text else ''}".rstrip(": ")
