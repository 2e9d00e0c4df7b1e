"""Finding a run again, from its folder alone."""

from __future__ import annotations

from pathlib import Path

from ..errors import RunError, nearest
from . import record as records
from .run import Run


def attach(run_dir: Path | str) -> Run:
    """The run in a folder: after a kernel's restart, from another notebook, later.

    Finds runs that ``launch`` started by their ``launch.json``, and runs from a
    terminal by their files (these can be watched, and not stopped from here).

    Raises:
        RunError: no such folder, or no run in it; nearby ones are named.
    """
    folder = Path(run_dir)
    if records.path_of(folder).exists() or (folder / "config.json").exists():
        records.read(folder)  # a damaged one raises here and not in a thread
        return Run(folder)
    what = "holds no run" if folder.is_dir() else "is no folder"
    raise RunError(f"{folder} {what}: {_nearby(folder)}")


def _nearby(folder: Path) -> str:
    parent = folder.parent if folder.parent.is_dir() else Path()
    runs = sorted(
        {str(path.parent) for path in parent.glob("*/config.json")}
        | {str(path.parent) for path in parent.glob("*/launch.json")}
    )
    if not runs:
        return "there are no runs beside it; launch(...) starts one"
    return nearest(str(folder), runs)
