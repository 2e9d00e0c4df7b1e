"""What a recipe consists of: typed, frozen, written into every run's folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

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
    overfit: train on this many pairs alone, again and again, and be tested on
        them too: a smoke test. 0 trains on all.
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
    overfit: int = 0


@dataclass(frozen=True)
class OptimConfig:
    """AdamW, its schedule, and the batch both are defined on.

    lr and warmup_steps hold at ``canonical_batch`` pairs a step. A run with
    another global batch scales the rate linearly and the warm-up inversely
    (:mod:`loftr_nb.training.plan`).

    batch: pairs that a process holds at a time.
    accumulate: times that a process does so before the weights change. A step is
        one change of the weights, by batch x accumulate x processes pairs.
    batch_norm: ``train`` normalises by each batch (all processes' with GPUs, one
        process's on CPUs) and learns running averages. ``frozen`` uses the
        averages as they are, as fine-tuning with small batches does; then a step
        is the same however its pairs are dealt out.
    warmup_start: the rate's first value, as a share of the full rate.
    milestones: epochs after which the rate is halved.
    clip: largest gradient norm.
    freeze: parts that do not learn, such as ``backbone`` (all their names are in
        :mod:`loftr_nb.training.parts`); their batch norm keeps its averages.
    backbone_rate: the backbone's share of the learning rate. Both are for
        fine-tuning.
    """

    lr: float
    warmup_steps: int
    milestones: tuple[int, ...]
    warmup_start: float = 0.0
    canonical_batch: int = 64
    batch: int = 1
    accumulate: int = 1
    batch_norm: Literal["train", "frozen"] = "train"
    epochs: int = 30
    decay: float = 0.5
    weight_decay: float = 0.1
    clip: float = 0.5
    freeze: tuple[str, ...] = ()
    backbone_rate: float = 1.0


@dataclass(frozen=True)
class LogConfig:
    """How often a run speaks, saves and is tried on held-out pairs.

    metrics_every: steps between rows of ``metrics.jsonl``.
    checkpoint_every: steps between checkpoints (one is always written last).
    validate_every: steps between validations, 0 for none before the end.
    validate_pairs: held-out pairs of a validation on the way.
    few_matches: a training pair with fewer true coarse matches teaches little.
    few_share: share of such pairs among the last 200 above which a run warns: once,
        and again only when there are half as many more.
    tensorboard: write the same numbers for TensorBoard too.
    """

    metrics_every: int = 10
    checkpoint_every: int = 500
    validate_every: int = 0
    validate_pairs: int = 100
    few_matches: int = 20
    few_share: float = 0.25
    tensorboard: bool = False


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the result of a run.

    start: file with weights to begin from, empty for random ones. start_position:
        the position encoding they were trained with, ``fixed`` or ``released``,
        for a file that does not say. A run's folder stands for its ``weights.pt``.
    start_sha256: of that file, filled in when a run begins.
    precision: of the network. ``bf16`` is autocast with float32 losses, ``fp64``
        is for comparisons that rounding would blur.
    """

    name: str
    data: DataConfig
    optim: OptimConfig
    model: LoFTRConfig = field(default_factory=LoFTRConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    evaluation: Protocol = field(default_factory=Protocol)
    log: LogConfig = field(default_factory=LogConfig)
    seed: int = 66
    precision: Literal["fp32", "bf16", "fp64"] = "fp32"
    start: str = ""
    start_position: Literal["", "fixed", "released"] = ""
    start_sha256: str = ""
