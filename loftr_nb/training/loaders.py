"""Training pairs for every process, in an order that the seed and step decide."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader

from ..datasets import (
    Augment,
    Batch,
    MegaDepth,
    ScanNet,
    SceneBalancedSampler,
    SceneGroups,
    collate,
    open_dataset,
)
from ..errors import DataError
from .config import Recipe
from .distributed import Process
from .overfit import choose_pairs


def open_split(
    recipe: Recipe, data: Path, split: str, cache: Path | None = None
) -> ScanNet | MegaDepth:
    """The recipe's training or test pairs under ``data``.

    Training pairs are filtered by overlap and augmented as the recipe says;
    test pairs are taken as the index has them.

    Raises:
        DataError: nothing that can be read lies there.
    """
    config = recipe.data
    options: dict = {"layout": config.layout, "cache": cache}
    if config.layout == "scannet":
        options["size"] = (config.width, config.height)
    else:
        options["size"] = config.longer_side
    if config.layout == "photos":
        options["seed"] = recipe.seed
    if split == "train":
        options["min_overlap"] = config.min_overlap
        options["augment"] = Augment(seed=recipe.seed) if config.augment else None
    else:
        # Scores need poses alone, and the 1,500-pair downloads hold no depth.
        options["depth"] = "optional"
    return open_dataset(data, split, **options)


WORKER_GRACE = 60  # seconds


@dataclass
class TrainingPairs:
    """Batches of one process, from any step on.

    dataset: all pairs of the training split. trained, kept_out: its scenes that
        are trained on, and those that the recipe keeps out of training.
    """

    dataset: ScanNet | MegaDepth
    trained: SceneGroups
    kept_out: SceneGroups
    recipe: Recipe
    process: Process

    @classmethod
    def open(
        cls, recipe: Recipe, data: Path, process: Process, cache: Path
    ) -> TrainingPairs:
        """Open the training split and set the recipe's scenes aside.

        Raises:
            DataError: nothing readable under ``data``, or no scene is left.
        """
        dataset = open_split(recipe, data, "train", cache)
        # By scene and never by row: an index may have 230 million rows.
        groups = dataset.table.groups()
        if recipe.data.overfit:
            few = choose_pairs(groups, recipe.data.overfit, recipe.seed)
            return cls(dataset, few, few[:0], recipe, process)
        keep = len(groups) - recipe.data.holdout_scenes
        if keep < 1:
            raise DataError(
                f"{data} has {len(groups)} training scenes and the recipe keeps "
                f"{recipe.data.holdout_scenes} out of training: set "
                "data.holdout_scenes=0"
            )
        return cls(dataset, groups[:keep], groups[keep:], recipe, process)

    @property
    def scenes(self) -> int:
        """How many scenes are trained on."""
        return len(self.trained)

    @property
    def rows(self) -> Sequence[int] | np.ndarray:
        """Rows of ``dataset`` that are trained on; a range where scenes are sorted."""
        return self.trained.rows()

    @property
    def held_out(self) -> Sequence[int] | np.ndarray:
        """Rows of ``dataset`` that are not."""
        return self.kept_out.rows()

    def batches(self, first_step: int, steps_per_epoch: int) -> Iterator[list[Batch]]:
        """This process's share of step ``first_step`` and all that follow, without end.

        A step's share comes in ``optim.accumulate`` parts.
        """
        step, parts = first_step, self.recipe.optim.accumulate
        while True:
            epoch, done = divmod(step, steps_per_epoch)
            loader = iter(self._epoch(epoch, done, steps_per_epoch))
            for _ in range(done, steps_per_epoch):
                yield [next(loader) for _ in range(parts)]
                step += 1

    def order(self, epoch: int, steps: int) -> np.ndarray:
        """(steps, global batch) rows of ``dataset``: an epoch, whoever computes it."""
        sampler = SceneBalancedSampler(
            self.trained, self.recipe.data.pairs_per_scene, seed=self.recipe.seed
        )
        sampler.set_epoch(epoch)
        # Data smaller than one global batch repeats itself, so that it can be tried.
        return np.resize(sampler.sequence(), (steps, self.step_pairs))

    @property
    def step_pairs(self) -> int:
        """Pairs of one step, of all processes."""
        optim = self.recipe.optim
        return optim.batch * optim.accumulate * self.process.world

    def _epoch(self, epoch: int, done: int, steps: int) -> DataLoader:
        """What is left of an epoch after its first ``done`` steps."""
        self.dataset.set_epoch(epoch)
        # Processes take turns: a step's pairs are the same for any number of them.
        turns = slice(self.process.rank, None, self.process.world)
        mine = self.order(epoch, steps)[done:, turns]
        workers = self.recipe.data.workers
        return DataLoader(
            self.dataset,
            batch_size=self.recipe.optim.batch,
            sampler=mine.flatten().tolist(),
            num_workers=workers,
            collate_fn=collate,
            pin_memory=self.process.device.type == "cuda",
            prefetch_factor=4 if workers else None,
            worker_init_fn=_enter_worker,
            # Of its own: the global one must not move when an epoch is entered.
            generator=torch.Generator().manual_seed(self.recipe.seed),
        )

    def seeds(self, step: int) -> list[list[int]]:
        """One seed for each pair of this process's share, by its global position.

        A pair draws the same fine samples wherever it is computed.
        """
        optim, world = self.recipe.optim, self.process.world
        first = self.recipe.seed * 1_000_003 + step * self.step_pairs
        own = range(first + self.process.rank, first + self.step_pairs, world)
        return [list(own[k : k + optim.batch]) for k in range(0, len(own), optim.batch)]


def _enter_worker(worker: int) -> None:
    # Loader processes share the cores with training: a thread pool in each of
    # them only makes both slower.
    import cv2

    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    # A scheduler may signal every process of a run. The training then finishes its
    # step and saves, and needs its loaders until it has; one that is still here
    # after a minute was not waited for.
    if hasattr(signal, "alarm"):  # Windows has none
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(WORKER_GRACE))
