"""The smoke test before any training: can the network learn a few pairs by heart?

If it cannot, more data will not help: depth, pose or intrinsics are wrong, or
the supervision is. :func:`overfit` does it to a model and a batch in a cell,
``loftr-nb train RECIPE --overfit K`` with the whole of a run.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..datasets import Batch, SceneGroups
from ..errors import ConfigError, DataError
from ..losses import LossConfig, TrainingStep
from ..model import LoFTR
from ..model.allocator import settle
from .config import Recipe

STEPS = 300  # at least; and each pair is seen so often:
ROUNDS = 100
RATE = 1e-3
# Shares of true cells found: learnt by heart, and on the way to it.
LEARNT, HALFWAY = 0.8, 0.4


def overfit(
    model: LoFTR,
    batch: Batch,
    loss: LossConfig,
    steps: int = 100,
    lr: float = 1e-3,
    progress: Callable[[int, dict[str, float]], None] | None = None,
) -> list[dict[str, Any]]:
    """Train ``model`` on the same batch again and again, at a constant rate.

    Args:
        model: changed in place, and left in training mode.
        batch: one pair, or a few.
        progress: called with the step and its values after each step.

    Returns:
        One row per step as in ``metrics.jsonl``: step, loss, loss_coarse,
        loss_fine, coarse_accuracy (share of true cells found), fine_error_px
        (input pixels), and counts.
    """
    settle(model.config)
    step = TrainingStep(model, loss).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    rows = []
    for number in range(1, steps + 1):
        output = step(batch, [number + 1000 * k for k in range(len(batch))])
        optimizer.zero_grad(set_to_none=True)
        output.loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        rows.append({"event": "train", "step": number, **output.scalars()})
        if progress is not None:
            progress(number, rows[-1])
    return rows


def overfit_recipe(recipe: Recipe, pairs: int, steps: int | None = None) -> Recipe:
    """The recipe as a smoke test on ``pairs`` pairs.

    The rate is constant after a few steps, nothing is augmented or held out, and
    the number of steps is enough for each pair to be seen many times.

    Args:
        steps: instead of that number.

    Raises:
        ConfigError: fewer than one pair or step.
    """
    for name, value in (("overfit", pairs), ("steps", 1 if steps is None else steps)):
        if value < 1:
            raise ConfigError(f"{name} is {value}: at least 1 is needed")
    batch = min(recipe.optim.batch, pairs)
    steps = steps or max(STEPS, ROUNDS * pairs // batch)
    data = dataclasses.replace(
        recipe.data,
        overfit=pairs,
        scenes=1,
        # All of it in one epoch: loader workers start once.
        pairs_per_scene=pairs * math.ceil(steps * batch / pairs),
        holdout_scenes=0,
        augment=False,
    )
    optim = dataclasses.replace(
        recipe.optim,
        lr=RATE,
        canonical_batch=batch,
        batch=batch,
        accumulate=1,
        warmup_steps=10,
        warmup_start=0.1,
        milestones=(),
        epochs=1,
    )
    log = dataclasses.replace(
        recipe.log, metrics_every=10, checkpoint_every=max(100, steps), validate_every=0
    )
    return dataclasses.replace(recipe, data=data, optim=optim, log=log)


def choose_pairs(groups: SceneGroups, count: int, seed: int) -> SceneGroups:
    """``count`` pairs spread evenly over all pairs of all scenes, as one group.

    Args:
        groups: scenes of the training split. seed: decides where the first one is.

    Raises:
        DataError: there are fewer pairs.
    """
    total = int(groups.offsets[-1] - groups.offsets[0])
    if count > total:
        raise DataError(
            f"data.overfit={count} pairs are asked for and the training split has "
            f"{total}: ask for fewer"
        )
    first = np.random.default_rng(seed).random()
    places = np.floor((np.arange(count) + first) * total / count).astype(np.int64)
    rows = np.asarray(groups.at(groups.offsets[0] + places))
    return SceneGroups(groups.scene[:1], np.array([0, count], np.int64), rows)


@dataclass(frozen=True)
class Verdict:
    """What a smoke test showed. learnt: by heart. words: why, and what to look at."""

    learnt: bool
    words: str


def verdict(rows: Sequence[dict[str, Any]], few: int) -> Verdict:
    """Judge a smoke test by the rows of its ``metrics.jsonl``.

    Args:
        few: true matches of a pair below which supervision is at fault
            (``log.few_matches``).

    Raises:
        DataError: no row of training is among them.
    """
    rows = [row for row in rows if row["event"] == "train"]
    if not rows:
        raise DataError("there is no row of training yet: nothing to judge")
    last = rows[-max(1, len(rows) // 10) :]
    right, matches, pixels, loss = (
        _mean(last, name)
        for name in ("coarse_accuracy", "matches_gt", "fine_error_px", "loss")
    )
    told = (
        f"{right:.0%} of {matches:.0f} true cells a pair are found, {pixels:.2f} px "
        f"off; loss {_mean(rows[:1], 'loss'):.3g} at step {rows[0]['step']:,}, "
        f"{loss:.3g} at step {rows[-1]['step']:,}"
    )
    if matches < few:
        return Verdict(False, f"not learnt: {told}.\n{_FEW.format(few=few)}")
    if right >= LEARNT:
        return Verdict(True, f"learnt: {told}.\n{_LEARNT}")
    before = _mean(rows[: max(1, len(rows) // 2)][-len(last) :], "coarse_accuracy")
    if right >= HALFWAY or right > before + 0.1:
        return Verdict(False, f"on the way, not learnt: {told}.\n{_HALFWAY}")
    return Verdict(False, f"not learnt: {told}.\n{_NOT}")


_LEARNT = (
    "Data, network, losses and optimiser work together. That depth, pose and K are "
    "the true ones it does not show, wrong cells can be learnt by heart too: `loftr-nb "
    "data check` does"
)
_HALFWAY = (
    "More steps (--steps), fewer pairs, or a larger rate (optim.lr=) will tell whether "
    "it gets there"
)
_FEW = (
    "With fewer than {few} true cells a pair there is nothing to learn: depth (unit, "
    "holes), pose (direction, camera to world or back) or K (of another image size) is "
    "wrong, or the pairs hardly overlap. `loftr-nb data check` on the data's folder "
    "says which"
)
_NOT = (
    "Look, in this order: at the pairs, their depth, pose and K (`loftr-nb data "
    "check`); at the supervision of one of them (loftr_nb.supervision.supervise and a "
    "picture); at the rate (optim.lr=, a tenth and ten times as large); at "
    "optim.freeze. One pair alone (--overfit 1) is the smallest case"
)


def _mean(rows: Sequence[dict[str, Any]], name: str) -> float:
    values = [row[name] for row in rows if row.get(name) is not None]
    return float(np.mean(values)) if values else float("nan")
