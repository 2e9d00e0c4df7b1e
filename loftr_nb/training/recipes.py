"""Recipes: named functions that return the complete, frozen config of a run.

A recipe holds everything that decides a run's result; a run folder stores it as
``config.json``. Values of the four published recipes are those of the released
training scripts; the two mini recipes train a smaller LoFTR on the embedded data
in minutes on two CPU cores.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from ..errors import ConfigError, nearest
from ..evaluation import Protocol
from ..losses import LossConfig
from ..model import LoFTRConfig


@dataclass(frozen=True)
class DataConfig:
    """Which pairs a run sees, and at what size.

    path: folder that holds the data (``--data`` overrides it).
    layout: ``scannet``, ``megadepth``, or ``photos`` (homographies, no depth).
    width, height: network input of the ScanNet layout, pixels.
    longer_side: network input of MegaDepth and photos, padded to a square.
    scenes: scenes of the full training set, so that a run can be planned
        before its data is on disk.
    pairs_per_scene: pairs drawn of each scene in an epoch.
    min_overlap: pairs below this score are left out of training.
    holdout_scenes: training scenes kept out of training, to choose between
        checkpoints and settings. 0 validates on the test pairs, as the released
        code does: then the best of many scores is no longer a test score.
    augment: change brightness, contrast, blur and noise of training images. The
        released recipes do not.
    workers: loader processes per training process.
    """

    path: str
    layout: Literal["scannet", "megadepth", "photos"]
    scenes: int
    pairs_per_scene: int
    min_overlap: float = 0.0
    width: int = 640
    height: int = 480
    longer_side: int = 640
    holdout_scenes: int = 0
    augment: bool = False
    workers: int = 4


@dataclass(frozen=True)
class OptimConfig:
    """AdamW, its schedule, and the batch both are defined on.

    lr and warmup_steps hold at ``canonical_batch`` pairs a step. A run with
    another global batch scales the rate linearly and the warm-up inversely
    (:mod:`loftr_nb.training.plan`).

    batch: pairs per process and step.
    warmup_start: the rate's first value, as a share of the full rate.
    milestones: epochs after which the rate is halved.
    clip: largest gradient norm.
    """

    lr: float
    warmup_steps: int
    milestones: tuple[int, ...]
    warmup_start: float = 0.0
    canonical_batch: int = 64
    batch: int = 1
    epochs: int = 30
    decay: float = 0.5
    weight_decay: float = 0.1
    clip: float = 0.5


@dataclass(frozen=True)
class LogConfig:
    """How often a run speaks, saves and is tried on held-out pairs.

    metrics_every: steps between rows of ``metrics.jsonl``.
    checkpoint_every: steps between checkpoints (one is always written last).
    validate_every: steps between validations, 0 for none before the end.
    validate_pairs: held-out pairs of a validation on the way.
    """

    metrics_every: int = 10
    checkpoint_every: int = 500
    validate_every: int = 0
    validate_pairs: int = 100


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the result of a run."""

    name: str
    data: DataConfig
    optim: OptimConfig
    model: LoFTRConfig = field(default_factory=LoFTRConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    evaluation: Protocol = field(default_factory=Protocol)
    log: LogConfig = field(default_factory=LogConfig)
    seed: int = 66
    precision: Literal["fp32", "bf16"] = "fp32"


def _indoor(name: str, matcher: Literal["ds", "ot"]) -> Recipe:
    return Recipe(
        name=name,
        data=DataConfig(
            path="data",
            layout="scannet",
            scenes=1513,
            pairs_per_scene=200,
            min_overlap=0.4,
        ),
        optim=OptimConfig(
            lr=6e-3,
            warmup_steps=4800,
            milestones=(3, 6, 9, 12, 17, 20, 23, 26, 29),
        ),
        model=LoFTRConfig(matcher=matcher),
        loss=LossConfig(fine_share=0.2),
        evaluation=Protocol(epipolar_threshold=5e-4),
        log=LogConfig(metrics_every=50, checkpoint_every=2000, validate_every=20000),
    )


def _outdoor(name: str, matcher: Literal["ds", "ot"]) -> Recipe:
    return Recipe(
        name=name,
        data=DataConfig(
            path="data",
            layout="megadepth",
            # Index files: one for each scene and range of overlap, and each of
            # them counts as a scene of its own.
            scenes=368,
            pairs_per_scene=100,
            longer_side=640,
        ),
        optim=OptimConfig(
            lr=8e-3,
            warmup_steps=1875,
            warmup_start=0.1,
            milestones=(8, 12, 16, 20, 24),
        ),
        model=LoFTRConfig(matcher=matcher),
        loss=LossConfig(fine_share=0.3),
        evaluation=Protocol(epipolar_threshold=1e-4),
        log=LogConfig(metrics_every=50, checkpoint_every=2000, validate_every=9200),
    )


def indoor_ds() -> Recipe:
    """ScanNet, dual-softmax: 640x480, 1,513 scenes, 64 pairs a step at 6e-3."""
    return _indoor("indoor_ds", "ds")


def indoor_ot() -> Recipe:
    """ScanNet, optimal transport."""
    return _indoor("indoor_ot", "ot")


def outdoor_ds() -> Recipe:
    """MegaDepth, dual-softmax: longer side 640 as in the released script.

    The paper's results need ``data.longer_side=840``.
    """
    return _outdoor("outdoor_ds", "ds")


def outdoor_ot() -> Recipe:
    """MegaDepth, optimal transport."""
    return _outdoor("outdoor_ot", "ot")


def _mini(name: str, matcher: Literal["ds", "ot"]) -> Recipe:
    """Tuned for two CPU cores and ten minutes: small images, a narrow network."""
    return Recipe(
        name=name,
        data=DataConfig(
            path="data/mini",
            layout="scannet",
            scenes=38,
            pairs_per_scene=20,
            min_overlap=0.2,
            width=160,
            height=120,
            holdout_scenes=2,
            workers=1,
        ),
        optim=OptimConfig(
            lr=3e-3,
            warmup_steps=100,
            milestones=(4, 5, 6, 7),
            canonical_batch=4,
            batch=4,
            epochs=8,
        ),
        model=LoFTRConfig(
            initial_dim=32,
            block_dims=(32, 48, 64),
            coarse_layers=2,
            coarse_heads=4,
            fine_heads=4,
            matcher=matcher,
            border=1,
        ),
        # The fine stage learns slowest in so short a run. It gets twice the
        # weight, and no single sharp heat map may take the whole of it.
        loss=LossConfig(
            fine_share=0.4, fine_min_gt=32, fine_weight=2.0, fine_std_min=0.1
        ),
        log=LogConfig(metrics_every=10, checkpoint_every=190, validate_every=380),
    )


def mini_ds() -> Recipe:
    """The embedded data and a small LoFTR: minutes on two CPU cores."""
    return _mini("mini_ds", "ds")


def mini_ot() -> Recipe:
    """The embedded data and a small LoFTR with optimal transport."""
    return _mini("mini_ot", "ot")


RECIPES: dict[str, Callable[[], Recipe]] = {
    f.__name__: f
    for f in (indoor_ds, indoor_ot, outdoor_ds, outdoor_ot, mini_ds, mini_ot)
}


def get_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ConfigError: no such recipe; the message names the nearest ones.
    """
    if name not in RECIPES:
        raise ConfigError(f"there is no recipe {name!r}: {nearest(name, RECIPES)}")
    return RECIPES[name]()


def recipe_to_dict(recipe: Recipe) -> dict:
    """Plain dicts, lists and numbers, as ``config.json`` holds them."""
    return dataclasses.asdict(recipe)
