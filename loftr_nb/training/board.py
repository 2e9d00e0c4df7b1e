"""TensorBoard: the numbers of ``metrics.jsonl`` and pictures of matches.

    pip install "loftr-nb[tensorboard]"
    loftr-nb train mini_ds log.tensorboard=true
    tensorboard --logdir runs

Scalars are named as in ``metrics.jsonl``, behind the event: ``train/loss``,
``validation/auc10``, ``test/auc10``. The package is imported only where it is asked
for; nothing of it is needed otherwise.
"""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from torch.utils.data import Dataset

from ..errors import ConfigError, RunError
from ..evaluation import Scores
from ..model import LoFTR
from .config import Recipe
from .recipes import recipe_to_dict

FOLDER = "tensorboard"
PICTURES = 3
INSTALL = 'pip install "loftr-nb[tensorboard]"'


def require_tensorboard(recipe: Recipe) -> None:
    """Make sure, before anything runs, that what the recipe asks for is installed.

    Raises:
        ConfigError: it is not; the message has the line that installs it.
    """
    if recipe.log.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise ConfigError(
            "log.tensorboard=true needs the package tensorboard, which is not "
            f"installed: {INSTALL} (or pip install tensorboard). Without it a run "
            "writes the same numbers to metrics.jsonl"
        )


class Board:
    """Where numbers and pictures go; without a folder, nowhere.

    Args:
        folder: for TensorBoard's files. Each call of a run adds one of its own.
        step: steps taken so far. What was written about later ones, by a call that
            was killed before it saved, is left out when the files are read.

    Raises:
        RunError: the folder cannot be written to.
    """

    def __init__(self, folder: Path | None = None, step: int = 0) -> None:
        self.writer = None
        if folder is None:
            return
        from torch.utils.tensorboard import SummaryWriter

        # A first call has nothing before it to leave out.
        purge = step + 1 if folder.exists() else None
        try:
            self.writer = SummaryWriter(str(folder), purge_step=purge)
        except OSError as error:
            raise RunError(f"{folder} cannot be written: {error}") from error

    @property
    def on(self) -> bool:
        """Whether anything is written."""
        return self.writer is not None

    def add(self, event: str, step: int, **values: Any) -> None:
        """The numbers among ``values``, each as ``event/name``.

        NaN and infinity are left out, as ``metrics.jsonl`` has null for them.
        """
        if self.writer is None:
            return
        for name, value in values.items():
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if number and math.isfinite(value):
                self.writer.add_scalar(f"{event}/{name}", value, step)
        # Rows come every few seconds at most: a killed run has them all.
        self._flush()

    def picture(self, name: str, step: int, figure: Figure) -> None:
        """A figure, as it would look in a file."""
        if self.writer is None:
            return
        figure.canvas.draw()
        image = np.asarray(figure.canvas.buffer_rgba())[..., :3]
        self.writer.add_image(name, image, step, dataformats="HWC")
        self._flush()

    def text(self, name: str, words: str, step: int = 0) -> None:
        """Words, as Markdown."""
        if self.writer is not None:
            self.writer.add_text(name, words, step)
            self._flush()

    def close(self) -> None:
        """Write what is left and end the writer's thread; may be called twice."""
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    def _flush(self) -> None:
        try:
            self.writer.flush()
        except OSError as error:
            raise RunError(
                f"TensorBoard's files could not be written: {error}. Free space on "
                "the disk, and go on with --resume"
            ) from error


def open_board(recipe: Recipe, folder: Path, step: int) -> Board:
    """The board of a run, if its recipe wants one.

    To be called on the main process alone: the others take ``Board()``.

    Args:
        folder: the run's. step: where it goes on from, 0 at the beginning.

    Raises:
        ConfigError: the package is missing. RunError: the folder cannot be written.
    """
    if not recipe.log.tensorboard:
        return Board()
    require_tensorboard(recipe)
    board = Board(folder / FOLDER, step)
    if step == 0:
        told = json.dumps(recipe_to_dict(recipe), indent=2)
        board.text("recipe", "```json\n" + told + "\n```")
    return board


def show_matches_of(
    board: Board,
    model: LoFTR,
    dataset: Dataset,
    scores: Scores,
    step: int,
    draw: Callable[[LoFTR, Dataset, int, str], Figure],
) -> None:
    """The matches of a few of the pairs just scored, the same ones each time.

    The same ones, so that TensorBoard's slider shows one pair being learnt.

    Args:
        draw: makes a picture of a pair of ``dataset`` and a title, see
            :func:`loftr_nb.training.draw_matches`.
    """
    if not board.on or not scores.records:
        return
    last = len(scores.records) - 1
    chosen = sorted({round(k * last / (PICTURES - 1)) for k in range(PICTURES)})
    for k, place in enumerate(chosen, start=1):
        record = scores.records[place]
        title = f"step {step:,}: pose off by {record.error:.1f} degrees"
        board.picture(
            f"validation/matches_{k}", step, draw(model, dataset, record.index, title)
        )
