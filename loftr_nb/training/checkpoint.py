"""Checkpoints of a run: everything that going on from a step needs.

A file holds the recipe, the weights with their config (so that
:meth:`LoFTR.load` reads it too), the optimiser, the step and the random state of
every process. The schedule and the order of the pairs are functions of the step.

Two are kept to go on from, ``last.pt`` and the one before it, ``previous.pt``; and
the best by AUC@10 of the validations, ``best/auc10-25.70-step-1140.pt``.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import CheckpointError
from ..files.checkpoints import atomic_save, read_saved
from ..model import LoFTR
from .config import Recipe
from .overrides import from_dict
from .recipes import recipe_to_dict

FORMAT = "loftr_nb.checkpoint"
KEEP_BEST = 5


@dataclass
class Checkpoint:
    """A run at one step.

    rng: random state of each process, in order of rank. meter: sums of the row of
    ``metrics.jsonl`` in the making, of each process. best_auc10: best validation
    so far, NaN before any. seconds: trained so far.
    """

    recipe: Recipe
    step: int
    weights: dict[str, Any]
    optimizer: dict[str, Any]
    rng: list[dict[str, torch.Tensor]]
    meter: list[dict[str, Any]]
    best_auc10: float
    seconds: float


def save_checkpoint(
    path: Path,
    recipe: Recipe,
    step: int,
    model: LoFTR,
    optimizer: torch.optim.Optimizer,
    rng: list[dict[str, torch.Tensor]],
    meter: list[dict[str, Any]],
    best_auc10: float = float("nan"),
    seconds: float = 0.0,
) -> None:
    """Write the run's state after ``step`` steps, whole or not at all.

    A file of that name becomes ``previous.pt`` beside it. Each part of the file
    carries a CRC-32, which :func:`load_checkpoint` verifies.

    Raises:
        CheckpointError: it could not be written; the previous file survives.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "format": FORMAT,
        "version": 1,  # of the weights, as LoFTR.load reads them
        "recipe": recipe_to_dict(recipe),
        "step": step,
        "config": model.config.to_dict(),
        "state_dict": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rng": rng,
        "meter": meter,
        "best_auc10": best_auc10,
        "seconds": seconds,
    }
    # Whoever is killed between the two renames leaves previous.pt alone, and
    # load_last takes it.
    atomic_save(content, path, previous=path.with_name("previous.pt"))


def keep_best(last: Path, auc10: float, step: int) -> None:
    """Give the checkpoint just written a place among the best five, if it has one.

    It is linked, not written again, where the file system knows links.
    ``best.pt`` beside ``last`` is always the best of them.

    Raises:
        CheckpointError: the disk is full or the folder cannot be written to.
    """
    folder = last.parent / "best"
    folder.mkdir(exist_ok=True)
    name = f"auc10-{auc10:05.2f}-step-{step:07d}.pt"
    try:
        _link(last, folder / name)
        ranked = sorted(folder.glob("auc10-*.pt"), key=_rank, reverse=True)
        for path in ranked[KEEP_BEST:]:
            path.unlink()
        _link(ranked[0], last.parent / "best.pt")
    except OSError as error:
        raise CheckpointError(
            f"{folder / name} could not be written: {error.strerror or error}. Free "
            "space on its disk; the run goes on from the checkpoint before"
        ) from error


def _rank(path: Path) -> tuple[float, int]:
    """AUC@10, and among equals the earlier step."""
    _, auc10, _, step = path.stem.split("-")
    return float(auc10), -int(step)


def _link(source: Path, target: Path) -> None:
    part = target.with_name(f".{target.name}.{os.getpid()}.partial")
    part.unlink(missing_ok=True)
    try:
        os.link(source, part)
    except OSError:  # a file system without hard links
        part.write_bytes(source.read_bytes())
    os.replace(part, target)
    # Renaming one link of a file over another link of it leaves both.
    part.unlink(missing_ok=True)


def has_checkpoint(folder: Path) -> bool:
    """Whether a run has anything to go on from. folder: its ``checkpoints``."""
    return (folder / "last.pt").exists() or (folder / "previous.pt").exists()


def load_last(folder: Path) -> tuple[Checkpoint | None, str | None]:
    """The newest checkpoint of a run that can be read.

    Args:
        folder: the run's ``checkpoints``.

    Returns:
        The checkpoint (None: there is none yet), and a sentence where ``last.pt``
        is damaged or missing and ``previous.pt`` was taken in its place.

    Raises:
        CheckpointError: there are files and none of them can be read.
    """
    last, previous = folder / "last.pt", folder / "previous.pt"
    if not has_checkpoint(folder):
        return None, None
    with contextlib.suppress(OSError):  # of a write that was killed
        for part in folder.rglob(".*.partial"):
            part.unlink()
    try:
        return load_checkpoint(last), None
    except CheckpointError as error:
        if not previous.exists():
            raise
        return load_checkpoint(previous), (
            f"{error}\nGoing on from {previous.name}, the checkpoint before it"
        )


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a run's checkpoint; no code in the file can run.

    Raises:
        CheckpointError: missing, truncated, with a part that is not what was
            written, or no checkpoint of a run.
    """
    best = path.with_name("best.pt")
    other = f"put {best} in its place, or " if best.exists() else ""
    content = read_saved(
        path,
        f"it is truncated or no checkpoint. To go on, {other}start anew in another "
        "--out",
    )
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} holds no state of a run (weights alone, perhaps). To evaluate "
            "or match with it use `loftr-nb eval` or `loftr-nb match`"
        )
    rng, meter = content["rng"], content.get("meter")
    return Checkpoint(
        recipe=from_dict(Recipe, content["recipe"], str(path)),
        step=content["step"],
        weights=content["state_dict"],
        optimizer=content["optimizer"],
        # Older files kept the state of the first process alone.
        rng=rng if isinstance(rng, list) else [{"cpu": rng}],
        # Older files kept the first process's alone, as averages.
        meter=meter if isinstance(meter, list) else [],
        best_auc10=content["best_auc10"],
        seconds=content["seconds"],
    )
