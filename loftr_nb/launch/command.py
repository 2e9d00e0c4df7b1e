"""The command of a launch: checked before it runs, and printed as a shell takes it."""

from __future__ import annotations

import dataclasses
import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..errors import ConfigError, DataError
from ..training import Recipe, field_names, get_recipe, override

# torchrun kills what has not ended this many seconds after it was asked to. A step
# of a large batch on a CPU takes longer than its default of 30.
PATIENCE = 300
# What a kernel puts into its environment, and a training process should not see.
KERNEL_ONLY = (
    "MPLBACKEND",
    "JPY_PARENT_PID",
    "JPY_SESSION_NAME",
    "PYDEVD_USE_FRAME_EVAL",
)


@dataclasses.dataclass(frozen=True)
class Order:
    """What ``launch`` was asked for, checked.

    recipe: complete, with all changes.
    words: the recipe's name and its changes, as the command line takes them.
    data: None where the recipe's own is meant.
    """

    recipe: Recipe
    words: list[str]
    data: Path | None
    out: Path
    nproc: int
    steps: int | None
    device: str | None


def make_order(
    recipe: Recipe | str,
    changes: Sequence[str],
    nproc: int,
    data: Path | str | None,
    out: Path | str | None,
    steps: int | None,
    device: str | None,
) -> Order:
    """Check everything that can be checked without starting a process.

    Raises:
        ConfigError: no such recipe, field or value; nproc or steps below 1; a
            device that is not there.
        DataError: the folder of the data is not there or empty.
    """
    if isinstance(recipe, str):
        words = [recipe, *changes]
        recipe = override(get_recipe(recipe), changes)
    else:
        recipe = override(recipe, changes)
        words = [recipe.name, *_as_changes(recipe)]
    for name, value in (("nproc", nproc), ("steps", 1 if steps is None else steps)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(
                f"{name} is {value!r}: a whole number from 1 on is needed"
            )
    _check_device(device)
    data = Path(data) if data is not None else None
    _check_data(data or Path(recipe.data.path), recipe)
    out = Path(out) if out is not None else Path("runs") / recipe.name
    return Order(recipe, words, data, out, nproc, steps, device)


def _check_device(device: str | None) -> None:
    if device is None or device == "cpu":
        return
    if device.split(":")[0] != "cuda":
        raise ConfigError(f"device is {device!r}: write cpu, cuda or cuda:1")
    if not torch.cuda.is_available():
        raise ConfigError(
            f"device is {device!r} and PyTorch sees no GPU here: `loftr-nb doctor` "
            "says why. Leave device out to train on the CPU"
        )


def _check_data(data: Path, recipe: Recipe) -> None:
    if data.is_dir() and any(data.iterdir()):
        return
    what = "is an empty folder" if data.is_dir() else "is no folder"
    mend = (
        f"render the embedded data with `loftr-nb data mini --out {data}`"
        if recipe.name.startswith("mini")
        else f"give the folder that holds the {recipe.data.layout} data as data="
    )
    away = "" if data.is_absolute() else f", seen from {Path.cwd().name or '/'}/,"
    raise DataError(f"{data}{away} {what}: {mend}")


def _as_changes(recipe: Recipe) -> list[str]:
    """A recipe made in Python as the changes that make it from its name.

    Raises:
        ConfigError: no recipe has that name, or a value cannot be written as text.
    """
    base = get_recipe(recipe.name)
    words = [
        f"{name}={_text(_value(recipe, name))}"
        for name in field_names(recipe)
        if _value(base, name) != _value(recipe, name)
    ]
    if override(base, words) != recipe:
        raise ConfigError(
            f"the recipe {recipe.name!r} holds values that a command line cannot "
            f"carry: {words}. Start from get_recipe and override"
        )
    return words


def _value(config: Any, name: str) -> Any:
    for part in name.split("."):
        config = getattr(config, part)
    return config


def _text(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return ",".join(_text(v) for v in value)
    return repr(value) if isinstance(value, float) else str(value)


def training_command(
    order: Order,
    logs: Path,
    resume: bool,
    torchrun: Sequence[str],
    training: Sequence[str],
) -> list[str]:
    """The whole command, for this interpreter.

    torchrun, training: further options of each. With ``--nnodes`` or an endpoint
        among the first, the processes meet those of other machines.
    """
    many = any(w.startswith(("--nnodes", "--rdzv", "--master")) for w in torchrun)
    command = [sys.executable, "-m", "torch.distributed.run"]
    command += [] if many else ["--standalone"]
    command += ["--nproc-per-node", str(order.nproc)]
    if not any(w.startswith("--shutdown") for w in torchrun):
        command += ["--shutdown-timeout", str(PATIENCE)]
    # Each process has files of its own, and one log has the lines of all.
    command += ["--log-dir", str(logs), "--redirects", "3", "--tee", "3"]
    command += [*torchrun, "-m", "loftr_nb.training", *order.words]
    command += [] if order.data is None else ["--data", str(order.data)]
    command += ["--out", str(order.out)]
    command += [] if order.steps is None else ["--steps", str(order.steps)]
    command += [] if order.device is None else ["--device", order.device]
    return command + (["--resume"] if resume else []) + list(training)


def environment(order: Order, extra: Mapping[str, str] | None) -> tuple[dict, dict]:
    """The environment of a launch, and the part of it that the shell line shows."""
    shown = dict(extra or {})
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    cores = cores or os.cpu_count() or 1
    if order.nproc > 1 and "OMP_NUM_THREADS" not in {**os.environ, **shown}:
        # torchrun would give each process one thread, on any machine.
        shown["OMP_NUM_THREADS"] = str(max(1, cores // order.nproc))
    whole = {k: v for k, v in os.environ.items() if k not in KERNEL_ONLY}
    whole |= {"PYTHONUNBUFFERED": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    return whole | shown, shown


def shell_line(command: Sequence[str], shown: Mapping[str, str]) -> str:
    """The command as typed in a shell, broken into lines of about 80 columns."""
    words = [f"{k}={shlex.quote(v)}" for k, v in shown.items()]
    words += [shlex.quote(_short_python(command[0]))]
    for before, word in zip(command, command[1:], strict=False):
        if before.startswith("-") and "=" not in before and not word.startswith("-"):
            words[-1] += " " + shlex.quote(word)  # an option stays with its value
        else:
            words.append(shlex.quote(word))
    return _broken(words)


def _broken(words: Sequence[str], width: int = 78) -> str:
    """Words in lines that end with a backslash, as a shell joins them again."""
    lines, line = [], ""
    for word in words:
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = "    " + word
        else:
            line = f"{line} {word}" if line else word
    return " \\\n".join([*lines, line])


def _short_python(python: str) -> str:
    """The interpreter as a person would write it, seen from here."""
    found = shutil.which("python")
    if found and Path(found).parent == Path(python).parent:
        return "python"
    near = os.path.relpath(python)
    return near if near.count("..") <= 2 and len(near) < len(python) else python
