"""How a process leaves a run that failed: all know why, and so does the folder."""

from __future__ import annotations

import signal
import threading

from .distributed import Process
from .heartbeat import failed
from .peers import PeerError, words
from .run_folder import RunFolder
from .signals import Stopped


def ready(process: Process, folder: RunFolder) -> None:
    """Let the folder say so where this process is ended in a call that hangs."""
    if process.peers is not None:
        process.peers.on_failure = lambda reason: _note(reason, process, folder)


def leave(error: Exception, process: Process, folder: RunFolder) -> None:
    """Tell the other processes and ``progress.json`` why this one goes.

    Raises:
        PeerError: the fault is another process's; it says whose, and what it said.
    """
    if isinstance(error, Stopped):
        return
    peers, reason = process.peers, words(error)
    if peers is None:
        _note(reason, process, folder)
        return
    _finish_speaking()
    # A connection that broke is a RuntimeError: whose process broke it?
    if isinstance(error, RuntimeError) and (blamed := peers.blame()):
        _note(blamed, process, folder)
        raise PeerError(blamed) from error
    peers.announce(reason)
    _note(f"rank {process.rank}: {reason}", process, folder)


def _finish_speaking() -> None:
    # torchrun sends SIGTERM as soon as it sees that one process has ended. The
    # seconds that it takes to say whose fault it was are left, by far.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _note(reason: str, process: Process, folder: RunFolder) -> None:
    if process.is_main:
        failed(folder.progress, reason)
