"""Checkpoints of a run: everything that going on from a step needs.

A file holds the recipe, the weights with their config (so that
:meth:`LoFTR.load` reads it too), the optimiser, the step and the random state.
The schedule and the order of the pairs are functions of the step.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import CheckpointError
from ..model import LoFTR
from ..model.weights import atomic_save
from .overrides import from_dict
from .recipes import Recipe, recipe_to_dict

FORMAT = "loftr_nb.checkpoint"


@dataclass
class Checkpoint:
    """A run at one step.

    best_auc10: best validation so far, NaN before any. seconds: trained so far.
    """

    recipe: Recipe
    step: int
    weights: dict[str, Any]
    optimizer: dict[str, Any]
    rng: torch.Tensor
    best_auc10: float
    seconds: float


def save_checkpoint(
    path: Path,
    recipe: Recipe,
    step: int,
    model: LoFTR,
    optimizer: torch.optim.Optimizer,
    best_auc10: float = float("nan"),
    seconds: float = 0.0,
) -> None:
    """Write the run's state after ``step`` steps, whole or not at all.

    Raises:
        CheckpointError: it could not be written; the previous file survives.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_save(
        {
            "format": FORMAT,
            "version": 1,
            "recipe": recipe_to_dict(recipe),
            "step": step,
            "config": model.config.to_dict(),
            "state_dict": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "rng": torch.get_rng_state(),
            "best_auc10": best_auc10,
            "seconds": seconds,
        },
        path,
    )


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a run's checkpoint; no code in the file can run.

    Raises:
        CheckpointError: missing, truncated, or no checkpoint of a run.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist") from error
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be read ({str(error).splitlines()[0]}): it is truncated "
            "or no checkpoint. Put the folder's best.pt in its place, if there is one, "
            "or start anew in another --out"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} holds no state of a run (weights alone, perhaps). To evaluate "
            "or match with it use `loftr-nb eval` or `loftr-nb match`"
        )
    return Checkpoint(
        recipe=from_dict(Recipe, content["recipe"], str(path)),
        step=content["step"],
        weights=content["state_dict"],
        optimizer=content["optimizer"],
        rng=content["rng"],
        best_auc10=content["best_auc10"],
        seconds=content["seconds"],
    )
