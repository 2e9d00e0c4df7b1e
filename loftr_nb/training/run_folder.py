"""The folder of a run: what lies where, and whose it is.

config.json     the recipe and where the data was
metrics.jsonl   a row every few steps and each validation
progress.json   where the run is right now, written every few seconds
checkpoints/    last.pt and previous.pt to go on from; best.pt and best/ by validation
weights.pt      the trained weights, for LoFTR.load
figures/        curves.png, matches.png
summary.json    the scores; it exists only when the run is complete
launch.json     which processes train here, and logs/ what they said, where
                loftr_nb.launch started them
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import RunError
from .config import Recipe
from .overrides import differences, from_dict
from .recipes import recipe_to_dict


@dataclass(frozen=True)
class RunFolder:
    """Paths inside a run's folder."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def last(self) -> Path:
        return self.path / "checkpoints" / "last.pt"

    @property
    def best(self) -> Path:
        return self.path / "checkpoints" / "best.pt"

    @property
    def progress(self) -> Path:
        return self.path / "progress.json"

    @property
    def weights(self) -> Path:
        return self.path / "weights.pt"

    @property
    def figures(self) -> Path:
        return self.path / "figures"

    @property
    def cache(self) -> Path:
        """Where an index goes that had to be made for data without one."""
        return self.path.with_name(self.path.name + ".cache")

    @property
    def summary(self) -> Path:
        return self.path / "summary.json"

    def read_summary(self) -> dict[str, Any] | None:
        """The scores of a complete run, None before."""
        if not self.summary.exists():
            return None
        return json.loads(self.summary.read_text())

    def read_recipe(self) -> Recipe:
        """The recipe this folder was made with.

        Raises:
            RunError: no ``config.json``, or it is damaged.
        """
        try:
            content = json.loads(self.config.read_text())
            return from_dict(Recipe, content["recipe"], str(self.config))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"{self.path} is no run folder ({self.config.name}: {error})"
            ) from error

    def read_data(self) -> Path:
        """The folder of the data this run was trained on."""
        return Path(json.loads(self.config.read_text())["data"])

    def claim(self, recipe: Recipe, data: Path, resume: bool) -> None:
        """Make the folder this recipe's, or make sure that it already is.

        Raises:
            RunError: the folder belongs to another run or holds other files, or
                to this one and ``resume`` is False.
        """
        if self.config.exists():
            self._check_ours(recipe, resume)
            return
        # What a launch writes is there before the training is.
        launched = {"logs", "launch.json"}
        if self.path.exists() and {p.name for p in self.path.iterdir()} - launched:
            raise RunError(
                f"{self.path} is not empty and holds no run: give another --out"
            )
        try:
            self.figures.mkdir(parents=True, exist_ok=True)
            content = {"recipe": recipe_to_dict(recipe), "data": str(data.resolve())}
            self.config.write_text(json.dumps(content, indent=2) + "\n")
        except OSError as error:
            raise RunError(f"{self.path} cannot be written: {error}") from error

    def _check_ours(self, recipe: Recipe, resume: bool) -> None:
        changed = differences(self.read_recipe(), recipe)
        if changed:
            raise RunError(
                f"{self.path} belongs to another run. Its recipe differs:\n  "
                + "\n  ".join(changed)
                + "\nGive another --out, or the recipe it was started with"
            )
        if not resume:
            raise RunError(
                f"{self.path} already holds this run: go on with --resume, or give "
                "another --out"
            )
