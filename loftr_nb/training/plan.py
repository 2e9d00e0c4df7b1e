"""What a recipe means on a given number of processes, before anything runs.

Rates and warm-ups of the published recipes hold at 64 pairs a step. With
s = processes x batch x accumulate / 64 the rate is multiplied by s and the warm-up
divided by it (facts every user of 4 GPUs meets: 3.75e-4 and 76,800 steps indoors).
Accumulation reaches the canonical batch with few GPUs; then s is 1.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from ..errors import ConfigError
from ..geometry import COARSE_STRIDE
from .config import Recipe
from .schedule import Schedule

MIN_SIDE = 64  # pixels: a smaller image has no border left to match in


@dataclass(frozen=True)
class Plan:
    """A recipe in true numbers for one choice of processes and batch.

    batch: pairs that a process holds at a time. accumulate: times it does before
    the weights change. global_batch: pairs of one such change, of all processes.
    learning_rate: peak rate after scaling. warmup_steps, warmup_epochs: its
    warm-up. milestone_steps: steps after which the rate halves.
    """

    recipe: str
    processes: int
    batch: int
    accumulate: int
    global_batch: int
    scale: float
    learning_rate: float
    warmup_start_rate: float
    warmup_steps: int
    warmup_epochs: float
    milestone_epochs: tuple[int, ...]
    milestone_steps: tuple[int, ...]
    scenes: int
    pairs_per_epoch: int
    steps_per_epoch: int
    epochs: int
    total_steps: int
    total_pairs: int
    supervision: str
    matcher: str

    def schedule(self, decay: float = 0.5) -> Schedule:
        """The learning rate this plan leads to."""
        return Schedule(
            peak=self.learning_rate,
            warmup_steps=self.warmup_steps,
            warmup_start=self.warmup_start_rate / self.learning_rate,
            milestones=self.milestone_steps,
            decay=decay,
        )

    def to_dict(self) -> dict:
        """Plain numbers and lists, for ``--json``."""
        return dataclasses.asdict(self)

    def text(self) -> str:
        """The plan as lines for a person."""
        rows = [
            ("recipe", f"{self.recipe} ({self.matcher}, {self.supervision})"),
            (
                "global batch",
                f"{self._factors()} = {self.global_batch} pairs, "
                f"scale {self.scale:g} of the canonical batch",
            ),
            ("learning rate", f"{self.learning_rate:.4g}"),
            (
                "warm-up",
                f"{self.warmup_steps:,} steps = {self.warmup_epochs:.2f} epochs, "
                f"from {self.warmup_start_rate:.3g}",
            ),
            (
                "rate halved after",
                "epochs " + " ".join(map(str, self.milestone_epochs))
                if self.milestone_epochs
                else "never",
            ),
            ("", "steps " + " ".join(f"{m:,}" for m in self.milestone_steps)),
            (
                "epoch",
                f"{self.pairs_per_epoch:,} pairs of {self.scenes:,} scenes = "
                f"{self.steps_per_epoch:,} steps",
            ),
            (
                "whole run",
                f"{self.epochs} epochs = {self.total_steps:,} steps = "
                f"{self.total_pairs:,} pairs",
            ),
        ]
        if not self.milestone_epochs:
            rows = [row for row in rows if row[0]]
        return "\n".join(f"{name:<18} {value}" for name, value in rows)

    def _factors(self) -> str:
        """``4 x 2``, and with accumulation what each number is."""
        if self.accumulate == 1:
            return f"{self.processes} x {self.batch}"
        many = "process" if self.processes == 1 else "processes"
        pairs = "pair" if self.batch == 1 else "pairs"
        return (
            f"{self.processes} {many} x {self.batch} {pairs} x {self.accumulate} times"
        )


def make_plan(
    recipe: Recipe,
    processes: int = 1,
    batch: int | None = None,
    scenes: int | None = None,
) -> Plan:
    """True rate, warm-up, milestones and sizes of a run.

    The global batch is processes x batch x the recipe's ``optim.accumulate``.

    Args:
        processes: GPUs, or processes on a CPU.
        batch: pairs per process, the recipe's own by default.
        scenes: scenes really on disk, the recipe's full set by default.

    Raises:
        ConfigError: a count that is not positive.
    """
    batch = recipe.optim.batch if batch is None else batch
    scenes = recipe.data.scenes if scenes is None else scenes
    optim = recipe.optim
    _positive(gpus=processes, batch=batch, scenes=scenes, accumulate=optim.accumulate)
    global_batch = processes * batch * optim.accumulate
    scale = global_batch / optim.canonical_batch
    pairs = scenes * recipe.data.pairs_per_scene
    # The last, incomplete batch of an epoch is not trained on, but an epoch has
    # at least one step: a scene or two must not stop a large batch.
    steps = max(1, pairs // global_batch)
    # Floor in integers: 4800 / (4 / 64) is 76,800 exactly.
    warmup = optim.warmup_steps * optim.canonical_batch // global_batch
    return Plan(
        recipe=recipe.name,
        processes=processes,
        batch=batch,
        accumulate=optim.accumulate,
        global_batch=global_batch,
        scale=scale,
        learning_rate=optim.lr * scale,
        warmup_start_rate=optim.lr * scale * optim.warmup_start,
        warmup_steps=warmup,
        warmup_epochs=warmup / steps,
        milestone_epochs=optim.milestones,
        milestone_steps=tuple(m * steps for m in optim.milestones),
        scenes=scenes,
        pairs_per_epoch=pairs,
        steps_per_epoch=steps,
        epochs=optim.epochs,
        total_steps=steps * optim.epochs,
        total_pairs=steps * global_batch * optim.epochs,
        supervision=recipe.loss.supervision,
        matcher=recipe.model.matcher,
    )


def accumulate_for(global_batch: int, processes: int, batch: int) -> int:
    """How often each process adds up before a step of ``global_batch`` pairs.

    Raises:
        ConfigError: it cannot be reached in whole batches; the message names the
            nearest that can.
    """
    _positive(gpus=processes, batch=batch)
    at_once = processes * batch
    if global_batch >= at_once and global_batch % at_once == 0:
        return global_batch // at_once
    below = global_batch // at_once * at_once
    near = [n for n in (below, below + at_once) if n > 0]
    if below and global_batch - below > at_once / 2:
        near = near[::-1]
    raise ConfigError(
        f"a global batch of {global_batch} is no multiple of {processes} x {batch} = "
        f"{at_once}, the pairs held at once by all processes: take "
        f"--global-batch {' or '.join(map(str, near))}, or another --batch"
    )


def _positive(**counts: int) -> None:
    for name, value in counts.items():
        if value < 1:
            raise ConfigError(f"{name} is {value}: at least 1 is needed")


def size_changes(recipe: Recipe, size: str) -> list[str]:
    """Overrides that give a recipe another input size.

    Args:
        size: the longer side in pixels, or ``WxH`` for ScanNet's layout, whose
            images are not padded to a square.

    Raises:
        ConfigError: no number, two where one is needed, or sides that 8 does not
            divide.
    """
    words = size.lower().split("x")
    if not all(w.isdigit() for w in words) or len(words) > 2:
        raise ConfigError(
            f"--size {size}: write the longer side (840) or WxH (640x480)"
        )
    sides = [int(w) for w in words]
    for side in sides:
        if side % COARSE_STRIDE or side < MIN_SIDE:
            near = max(MIN_SIDE, round(side / COARSE_STRIDE) * COARSE_STRIDE)
            raise ConfigError(
                f"--size {size}: sides are multiples of {COARSE_STRIDE} from "
                f"{MIN_SIDE} on, take {near} for {side}"
            )
    if recipe.data.layout != "scannet":
        if len(sides) == 2:
            raise ConfigError(
                f"--size {size}: {recipe.data.layout} images are padded to a square of "
                "their longer side, give one number"
            )
        return [f"data.longer_side={sides[0]}"]
    if len(sides) == 1:
        w, h = recipe.data.width, recipe.data.height
        scale = sides[0] / max(w, h)
        sides = [round(s * scale / COARSE_STRIDE) * COARSE_STRIDE for s in (w, h)]
    return [f"data.width={sides[0]}", f"data.height={sides[1]}"]
