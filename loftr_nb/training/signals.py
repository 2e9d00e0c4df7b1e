"""SIGTERM, SIGINT and SIGUSR1 as a wish to stop that the training loop looks at.

A scheduler that takes the machine back, a Ctrl-C and a Stop button all mean the
same: finish the step, save, and leave. The handler only takes a note; between
steps all processes compare notes, so that they leave after the same step.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

import torch
import torch.distributed as dist

from ..errors import RunError
from .distributed import Process

NAMES = ("SIGTERM", "SIGINT", "SIGUSR1")


class Stopped(RunError):
    """The run was asked to stop, and is saved. Not a failure."""

    # "Come again", as mail programs say it: a script that requeues can tell it from
    # a failure. torchrun passes on no status of its processes but "failed".
    exit_status = 75


class StopRequest:
    """Notes the signals above while it is entered.

    >>> with StopRequest(process) as request:
    ...     while not request.heard():
    ...         step()

    A second Ctrl-C is not waited for: it interrupts at once, as it always did.
    Handlers can be set in the main thread only; elsewhere nothing is noted.
    """

    def __init__(self, process: Process) -> None:
        self.process = process
        self.signal: str | None = None
        self._owner = os.getpid()
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for name in NAMES:
                number = getattr(signal, name, None)  # Windows has no SIGUSR1
                if number is not None:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def heard(self) -> str | None:
        """The signal that any process got, the same answer on all of them.

        Call it after every step, on every process: they answer together.
        """
        code = NAMES.index(self.signal) + 1 if self.signal else 0
        if self.process.world > 1:
            note = torch.tensor(code, device=self.process.device)
            dist.all_reduce(note, dist.ReduceOp.MAX)
            code = int(note)
        return NAMES[code - 1] if code else None

    def _note(self, number: int, frame: FrameType | None) -> None:
        # Loader processes inherit this handler, and torchrun signals them too.
        # They go on until the training that reads from them has left.
        if os.getpid() != self._owner:
            return
        name = signal.Signals(number).name
        if name == self.signal == "SIGINT":
            raise KeyboardInterrupt
        self.signal = name
