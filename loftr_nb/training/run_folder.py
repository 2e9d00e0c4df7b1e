"""The folder of a run: what lies where, and whose it is.

config.json     the recipe and where the data was; config-1.json and so on are those
                before a change
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
from ..files.write import write_whole
from .config import Recipe
from .overrides import differences, from_dict
from .recipes import recipe_to_dict

# Fields that may change on the way: they decide how a run speaks and is scored, and
# where its data lies, and not what is trained.
HARMLESS = ("log.", "evaluation.", "data.workers:", "data.path:")


def deciding(changed: list[str]) -> list[str]:
    """Of the lines of :func:`.differences`, those that lead to another result."""
    return [line for line in changed if not line.startswith(HARMLESS)]


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
            return self._recipe_in(self.config)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"{self.path} is no run folder ({self.config.name}: {error})"
            ) from error

    def read_data(self) -> Path:
        """The folder of the data this run was trained on."""
        return Path(json.loads(self.config.read_text())["data"])

    def claim(
        self, recipe: Recipe, data: Path, resume: bool, allow_changes: bool = False
    ) -> list[str]:
        """Make the folder this recipe's, or make sure that it already is.

        A changed recipe becomes the folder's, and the one before is kept as
        ``config-1.json`` and so on.

        Args:
            allow_changes: take a recipe that leads to another result, too.

        Returns:
            What has changed, a line each.

        Raises:
            RunError: the folder belongs to another run or holds other files, or
                to this one and ``resume`` is False.
        """
        if self.config.exists():
            return self._take_over(recipe, data, resume, allow_changes)
        # What a launch writes is there before the training is.
        launched = {"logs", "launch.json"}
        if self.path.exists() and {p.name for p in self.path.iterdir()} - launched:
            raise RunError(
                f"{self.path} is not empty and holds no run: give another --out"
            )
        try:
            self.figures.mkdir(parents=True, exist_ok=True)
            self._write_config(recipe, data)
        except OSError as error:
            raise RunError(f"{self.path} cannot be written: {error}") from error
        return []

    def changes(self, recipe: Recipe, allow_changes: bool) -> list[str]:
        """What differs from the folder's recipe, a line each.

        Raises:
            RunError: a change leads to another result and is not allowed, or to
                another network, which no checkpoint fits.
        """
        changed = differences(self.read_recipe(), recipe)
        found = deciding(changed)
        if any(line.startswith("model.") for line in found):
            way = "Its weights do not fit another network: give another --out"
        elif found and not allow_changes:
            way = (
                "Give another --out, the recipe it was started with, or "
                "--allow-changes to go on from its last checkpoint with the new one"
            )
        else:
            return changed
        raise RunError(
            f"{self.path} belongs to another run. Its recipe differs:\n  "
            + "\n  ".join(found)
            + f"\n{way}"
        )

    def knows(self, recipe: Recipe) -> bool:
        """Whether this is the folder's recipe or one before, but for the harmless."""
        for path in (self.config, *self.path.glob("config-*.json")):
            lines = differences(self._recipe_in(path), recipe)
            if not deciding(lines):
                return True
        return False

    @staticmethod
    def _recipe_in(path: Path) -> Recipe:
        content = json.loads(path.read_text())
        return from_dict(Recipe, content["recipe"], str(path))

    def _write_config(self, recipe: Recipe, data: Path) -> None:
        content = {"recipe": recipe_to_dict(recipe), "data": str(data.resolve())}
        text = json.dumps(content, indent=2) + "\n"
        write_whole(self.config, lambda file: file.write(text.encode()))

    def _take_over(
        self, recipe: Recipe, data: Path, resume: bool, allow_changes: bool
    ) -> list[str]:
        changed = self.changes(recipe, allow_changes)
        if not resume:
            raise RunError(
                f"{self.path} already holds this run: go on with --resume, or give "
                "another --out"
            )
        before = self.read_data()
        if before != data.resolve():
            changed = [*changed, f"data: {before} -> {data.resolve()}"]
        if changed:
            number = 1 + len(list(self.path.glob("config-*.json")))
            kept = self.path / f"config-{number}.json"
            old = self.config.read_bytes()
            write_whole(kept, lambda file: file.write(old))
            self._write_config(recipe, data)
            changed = [*changed, f"(the recipe before is kept in {kept.name})"]
        return changed
