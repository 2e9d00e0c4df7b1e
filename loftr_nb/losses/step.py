"""One training step's forward pass: from a batch to a loss that can go backward.

Confidences live inside this function and nowhere else, and unless the plain form
is asked for never as a whole matrix: what leaves are sums per pair and counts.
Letters: B pairs, M fine samples.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from ..geometry import FINE_STRIDE
from ..supervision import CoarseSupervision, fine_targets, supervise
from .coarse import coarse_loss
from .config import LossConfig
from .fine import fine_error_px, fine_loss
from .sampling import choose_fine_samples
from .streamed import streamed_coarse_loss

if TYPE_CHECKING:
    from ..datasets.pair import Batch
    from ..model import CoarseMatches, Features, LoFTR


@dataclass
class StepOutput:
    """Losses and counts of a batch; all but ``loss`` is detached.

    loss: scalar to call ``backward`` on: the weighted sum of both losses, each
        averaged over pairs.
    coarse, fine: (B,) loss of each pair, float32, not weighted.
    matches_gt, matches_pred: (B,) true coarse matches, predicted ones.
    coarse_right: (B,) true matches whose cell has its row's largest confidence.
    fine_samples, fine_inside: (B,) samples refined, those the loss counts.
    fine_error_px: (B,) mean distance of the latter from the true place, in
        input pixels; 0 for a pair without one.
    """

    loss: Tensor
    coarse: Tensor
    fine: Tensor
    matches_gt: Tensor
    matches_pred: Tensor
    coarse_right: Tensor
    fine_samples: Tensor
    fine_inside: Tensor
    fine_error_px: Tensor

    @property
    def coarse_accuracy(self) -> Tensor:
        """Scalar: share of the batch's true matches in ``coarse_right``.

        0 for a batch without a true match.
        """
        return self.coarse_right.sum() / self.matches_gt.sum().clamp(min=1)

    def scalars(self) -> dict[str, float]:
        """Batch means for a log, in one transfer from the device.

        ``fine_error_px`` is over all samples inside, not over pairs.
        """
        inside = self.fine_inside / self.fine_inside.sum().clamp(min=1)
        values = {
            "loss": self.loss.detach(),
            "loss_coarse": self.coarse.mean(),
            "loss_fine": self.fine.mean(),
            "coarse_accuracy": self.coarse_accuracy,
            "fine_error_px": (self.fine_error_px * inside).sum(),
            "matches_gt": self.matches_gt.float().mean(),
            "matches_pred": self.matches_pred.float().mean(),
            "fine_samples": self.fine_samples.float().mean(),
        }
        numbers = torch.stack([v.float() for v in values.values()]).tolist()
        return dict(zip(values, numbers, strict=True))


def training_step(
    model: LoFTR, batch: Batch, config: LossConfig, seeds: Sequence[int]
) -> StepOutput:
    """Supervise, match, refine and weigh one batch.

    The network runs in whatever precision the surrounding autocast says;
    supervision, the confidence matrix and both losses run in float32.

    Every parameter gets a gradient, of 0 where nothing matches: processes that
    train together would otherwise wait for each other for ever.

    Args:
        model: in training or evaluation mode; not wrapped for distributed
            training (wrap :class:`TrainingStep` instead).
        seeds: one number a pair, see :func:`.sampling.choose_fine_samples`.
    """
    device = batch.image0.device.type
    with torch.autocast(device, enabled=False):
        # Half precision would move points by whole cells.
        spv = supervise(batch)
    features = model.features(batch.image0, batch.image1, batch.mask0, batch.mask1)
    masks = features.mask0, features.mask1  # None where nothing is padded
    spv = dataclasses.replace(spv, mask0=masks[0], mask1=masks[1])
    coarse, predicted, right = _coarse(model, features, spv, config)
    samples = choose_fine_samples(predicted, spv, config, seeds)
    offsets = model.refine(features, *samples)
    radius = float(model.config.window // 2 * FINE_STRIDE)
    targets = fine_targets(spv, *samples, batch.scale1, radius)
    fine = fine_loss(offsets, targets, samples.b, spv.batch, config.fine_std_min)
    loss = config.coarse_weight * coarse.mean() + config.fine_weight * fine.mean()
    return StepOutput(
        loss=_touch(loss, model),
        coarse=coarse.detach(),
        fine=fine.detach(),
        matches_gt=spv.counts,
        matches_pred=_count(predicted.b, spv.batch),
        coarse_right=right,
        fine_samples=_count(samples.b, spv.batch),
        fine_inside=_count(samples.b[targets.inside], spv.batch),
        fine_error_px=fine_error_px(offsets, targets, samples.b, spv.batch, radius),
    )


class TrainingStep(nn.Module):
    """:func:`training_step` as a module, for ``DistributedDataParallel`` to wrap.

    The wrapper averages gradients of whatever passes through its ``forward``, so
    the losses have to be inside. It averages over processes, and a step over
    its own pairs: with equally many pairs on each, that is the joint batch.
    """

    def __init__(self, model: LoFTR, config: LossConfig) -> None:
        super().__init__()
        self.model = model
        self.config = config

    def forward(self, batch: Batch, seeds: Sequence[int]) -> StepOutput:
        """See :func:`training_step`."""
        return training_step(self.model, batch, self.config, seeds)


def _coarse(
    model: LoFTR, features: Features, spv: CoarseSupervision, config: LossConfig
) -> tuple[Tensor, CoarseMatches, Tensor]:
    """Coarse loss of each pair (B,), predicted matches, true cells on top (B,)."""
    matcher, masks = model.coarse_matching, (spv.mask0, spv.mask1)
    given = features.coarse0, features.coarse1, *masks
    if config.matrix == "streamed":
        found = matcher.streamed(*given)
        loss = streamed_coarse_loss(found, spv, config)
        j_of = found.best().j_of
    else:
        found = matcher.log_confidence(*given)
        loss = coarse_loss(found, spv, config)
        j_of = found.cells.detach().argmax(dim=2)
    predicted = matcher.predict(found, spv.grid0, spv.grid1, *masks)
    right = j_of[spv.b, spv.i] == spv.j
    return loss, predicted, _count(spv.b[right], spv.batch)


def _count(b: Tensor, batch: int) -> Tensor:
    return torch.bincount(b, minlength=batch)


class _Touch(torch.autograd.Function):
    """The loss unchanged, with a gradient of 0 for every parameter.

    Adding ``0 * parameter.sum()`` would do, until one sum overflows: 0 * inf is
    NaN.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, loss: Tensor, *parameters: Tensor) -> Tensor:
        ctx.like = [(p.shape, p.dtype, p.device) for p in parameters]
        return loss.clone()

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, ...]:
        zeros = (
            torch.zeros((), dtype=dtype, device=device).expand(shape)
            for shape, dtype, device in ctx.like
        )
        return (gradient, *zeros)


def _touch(loss: Tensor, model: nn.Module) -> Tensor:
    return _Touch.apply(loss, *(p for p in model.parameters() if p.requires_grad))
