"""Starting a training from a cell: its own processes, which outlive the kernel.

from loftr_nb.launch import launch, watch
run = launch("mini_ds", nproc=2, out="runs/two")
watch(run)
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from ..errors import LoftrNbError, RunError
from ..training import Recipe, RunFolder, differences
from ..training.run import QUICK, is_resumed_taste
from ..training.run_folder import deciding
from . import record as records
from .command import Order, environment, make_order, shell_line, training_command
from .logs import log_path
from .record import ID, Record
from .run import Run
from .state import FRESH_SECONDS, is_fresh

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]


def launch(
    recipe: Recipe | str,
    *changes: str,
    nproc: int = 1,
    data: Path | str | None = None,
    out: Path | str | None = None,
    steps: int | None = None,
    resume: bool = True,
    device: str | None = None,
    torchrun: Sequence[str] = (),
    training: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> Run:
    """Start a training in processes of its own, and return at once.

    The processes form a group of their own: an interrupted, restarted or dead
    kernel does not touch them. Prints the line that does the same in a shell.

    Args:
        recipe: a recipe, or the name of one.
        changes: ``field=value``, as on the command line.
        nproc: processes on this machine, one for each GPU.
        data: folder of the data; the recipe's own by default.
        out: folder of the run; ``runs/RECIPE`` by default.
        steps: stop after so many instead of the recipe's epochs.
        resume: go on with the run in ``out`` if there is one, so that a cell may be
            run again. A complete run is returned as it is, without any process.
        device: ``cpu`` or ``cuda``; by default a GPU where there is one.
        torchrun: options for torchrun, such as ``("--max-restarts", "3")`` or
            ``("--nnodes", "2", "--rdzv-backend", "c10d", ...)``.
        training: further options of ``python -m loftr_nb.training``.
        env: environment variables for the processes.

    Raises:
        ConfigError, DataError: a mistyped name or value, a missing folder; before
            anything is started.
        RunError: another training runs in ``out``, or ``out`` is not this run's.
    """
    order = make_order(recipe, changes, nproc, data, out, steps, device)
    folder = _quick_folder(order, resume)
    with _alone(folder.path):
        _refuse_second(folder)
        if _is_complete(folder, order, resume, training):
            print(f"{folder.path} is complete: nothing was started")
            return Run(folder.path)
        whole, shown = environment(order, env)
        log = _make_log(folder.path)
        logs = log.with_suffix("")
        command = training_command(order, logs, resume, torchrun, training)
        print(shell_line(command, shown))
        return _start(command, whole, folder.path, log, order)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Two cells that launch into one folder at once: the second is refused.

    The lock is on the folder itself and leaves no file; the system takes it back
    from a process that dies.
    """
    if fcntl is None:
        yield
        return
    try:
        path.mkdir(parents=True, exist_ok=True)
        place = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise RunError(
            f"{path} cannot be a run's folder: {error.strerror}. Give another out="
        ) from error
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise RunError(
            f"another launch into {path} is just starting: attach({str(path)!r}) shows "
            "it in a moment"
        ) from error
    finally:
        os.close(place)


def _quick_folder(order: Order, resume: bool) -> RunFolder:
    """The run's folder: a taste (``LOFTR_NB_QUICK``) has one beside the real one."""
    if not os.environ.get(QUICK):
        return RunFolder(order.out)
    taste = order.out.with_name(order.out.name + "-quick")
    _refuse_second(RunFolder(taste))
    known = (taste / "config.json").exists() or records.path_of(taste).exists()
    if known and not is_resumed_taste(order.steps, resume):
        # Now, and not by the training, which would remove its own log with it.
        shutil.rmtree(taste)
    return RunFolder(taste)


def _refuse_second(folder: RunFolder) -> None:
    """Raise if a training is alive in the folder.

    Raises:
        RunError: naming its process.
    """
    record = records.read(folder.path)
    again = f"attach({str(folder.path)!r}) shows it, its stop() ends it"
    if record is not None and not records.here(record):
        if is_fresh(folder.path) and not folder.summary.exists():
            raise RunError(
                f"{folder.path} was written in the last {FRESH_SECONDS // 60} minutes "
                f"by a run on {record.host} (process {record.pid}): stop it there, or "
                "give another folder as out="
            )
        return
    if record is not None and records.is_alive(record):
        raise RunError(
            f"a training already runs in {folder.path} (process {record.pid}): {again}"
        )
    left = records.members(record) if record is not None else []
    if left:
        raise RunError(
            f"{len(left)} processes of an earlier launch into {folder.path} still "
            f"train there (process {left[0].pid}), though their torchrun is gone: "
            f"attach({str(folder.path)!r}).stop() ends them"
        )
    if others := records.trainers_of(folder.path):
        raise RunError(
            f"a training that was started elsewhere runs in {folder.path} (process "
            f"{others[0].pid}): {again.split(',')[0]}, Ctrl-C in its terminal ends it"
        )


def _is_complete(
    folder: RunFolder, order: Order, resume: bool, training: Sequence[str]
) -> bool:
    """Whether the folder already holds all of this run.

    Raises:
        RunError: the folder holds another run, other files, or this run and
            ``resume`` is False.
    """
    out = folder.path
    if not folder.config.exists():
        launched = {"logs", "launch.json"}
        if out.exists() and any(p.name not in launched for p in out.iterdir()):
            raise RunError(f"{out} is not empty and holds no run: give another out=")
        return False
    changed = differences(folder.read_recipe(), order.recipe)
    if deciding(changed) and not training and not os.environ.get(QUICK):
        raise RunError(
            f"{out} belongs to another run. Its recipe differs:\n  "
            + "\n  ".join(deciding(changed))
            + "\nGive another out=, the recipe it was started with, or "
            'training=["--allow-changes"] to go on with the new one'
        )
    if not resume:
        raise RunError(
            f"{out} already holds this run: go on with resume=True, or give another "
            "out="
        )
    done = folder.read_summary()
    if done is None or changed:
        return False
    return order.steps is None or order.steps == done.get("steps")


def _make_log(folder: Path) -> Path:
    """The log of the next launch into the folder, which does not exist yet."""
    numbers = [
        int(match[1])
        for path in (folder / "logs").glob("launch-*.log")
        if (match := re.fullmatch(r"launch-(\d+)\.log", path.name))
    ]
    log = log_path(folder, max(numbers, default=-1) + 1)
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch()
    except OSError as error:
        raise RunError(
            f"{log} cannot be written ({error.strerror}): give a folder of your own "
            "as out="
        ) from None
    return log


def _start(
    command: list[str], whole: dict[str, str], folder: Path, log: Path, order: Order
) -> Run:
    identifier, now = uuid.uuid4().hex, time.time()
    apart: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    with open(log, "ab") as file:
        try:
            process = subprocess.Popen(
                command,
                env=whole | {ID: identifier},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                **apart,
            )
        except OSError as error:
            raise RunError(f"{command[0]} could not be started: {error}") from error
    run = Run(folder, process)
    try:
        records.write(folder, _record(command, process, identifier, now, log, order))
    except LoftrNbError:
        process.kill()  # a run that nobody can find again is worse than none
        raise
    return run


def _record(
    command: list[str],
    process: subprocess.Popen,
    identifier: str,
    now: float,
    log: Path,
    order: Order,
) -> Record:
    try:
        began = psutil.Process(process.pid).create_time()
    except psutil.Error:
        began = now
    return Record(
        command=command,
        pid=process.pid,
        pgid=process.pid,  # it leads its group
        began=began,
        host=socket.gethostname(),
        time=now,
        identifier=identifier,
        attempt=int(log.stem.partition("-")[2]),
        nproc=order.nproc,
        steps=order.steps,
    )
