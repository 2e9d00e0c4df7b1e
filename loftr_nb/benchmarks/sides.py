"""The two sides of a comparison: same weights, same pair, same loss, same update.

kornia's LoFTR has no loss of its own. Its modules run as they are, in training mode,
and what a training needs around them is added in the plainest way: the focal loss on
its confidence matrix, and the fine loss on its heat maps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..datasets import Batch, collate, motorcycle
from ..geometry import COARSE_STRIDE, FINE_STRIDE
from ..losses import (
    FineSamples,
    LossConfig,
    TrainingStep,
    choose_fine_samples,
    fine_loss,
)
from ..model import LoFTR, LoFTRConfig
from ..model.fine_matching import FineOffsets
from ..supervision import CoarseSupervision, fine_targets, supervise
from .order import Order

SEED = 7
RADIUS = float(LoFTRConfig().window // 2 * FINE_STRIDE)
# Bounds of P as the released code has them, so that both compute one formula.
LOSS = LossConfig(clamp="released")


def real_pair(order: Order) -> Batch:
    """The motorcycle pair (a photograph with measured depth) at the order's size."""
    return collate([motorcycle((order.width, order.height))]).to(order.device)


def our_model(order: Order) -> LoFTR:
    """The paper's LoFTR with weights of a fixed seed.

    For inference the threshold is 0: random weights have no sure matches, and
    without matches there is no fine stage to time.
    """
    torch.manual_seed(0)
    config = LoFTRConfig(matcher=order.match, recompute=order.recompute)
    if order.what == "match":
        config = dataclasses.replace(config, threshold=0.0)
    model = LoFTR(config)
    _calibrate(model)
    return model.to(order.device)


def _calibrate(model: LoFTR) -> None:
    """Give batch norm averages of the pair: a new network's make noise of it."""
    batch = collate([motorcycle((160, 112))])
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    model.train()
    with torch.no_grad():
        model.features(batch.image0, batch.image1)
    for norm in norms:
        norm.momentum = 0.1


def train_step(order: Order) -> Callable[[], float]:
    """A function that does one whole training step and returns its loss."""
    batch, model = real_pair(order), our_model(order)
    if order.side == "kornia":
        module: nn.Module = KorniaStep(kornia_twin(model))
    else:
        matrix = "streamed" if order.side == "ours" else "plain"
        module = TrainingStep(model, dataclasses.replace(LOSS, matrix=matrix))
    module.train()
    forward = torch.compile(module) if order.compile else module
    parameters = list(module.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.1)
    bf16 = order.precision == "bf16"

    def step() -> float:
        with torch.autocast(order.device, torch.bfloat16, enabled=bf16):
            output = forward(batch, [SEED])
        loss = output if isinstance(output, Tensor) else output.loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 0.5)
        optimizer.step()
        return loss.item()

    return step


def match_pair(order: Order) -> Callable[[], tuple[Tensor, Tensor]]:
    """A function that matches the pair and returns its keypoints, (M, 2) each."""
    batch, model = real_pair(order), our_model(order).eval()
    bf16 = order.precision == "bf16"
    twin = kornia_twin(model).eval() if order.side == "kornia" else None

    @torch.no_grad()
    def match() -> tuple[Tensor, Tensor]:
        with torch.autocast(order.device, torch.bfloat16, enabled=bf16):
            if twin is None:
                found = model(batch.image0, batch.image1)
                return found.keypoints0, found.keypoints1
            theirs = twin({"image0": batch.image0, "image1": batch.image1})
            return theirs["keypoints0"], theirs["keypoints1"]

    return match


def kornia_twin(model: LoFTR) -> nn.Module:
    """kornia's LoFTR with the same weights, on the same device."""
    import kornia  # loads slowly, and one side alone needs it

    device = next(model.parameters()).device
    twin = kornia.feature.LoFTR(None, model.config.to_kornia()).to(device)
    twin.load_state_dict(model.state_dict())
    return twin


class KorniaStep(nn.Module):
    """Forward pass and loss of kornia's LoFTR, batch 1 and dual-softmax."""

    def __init__(self, twin: nn.Module) -> None:
        super().__init__()
        self.twin = twin
        # Its samples are replaced by ours, but it draws some and wants room for them.
        twin.coarse_matching.train_pad_num_gt_min = 1

    def forward(self, batch: Batch, seeds: list[int]) -> Tensor:
        """The loss of one pair, a scalar."""
        with torch.autocast(batch.image0.device.type, enabled=False):
            spv = supervise(batch)
        twin = self.twin
        both = twin.extract_features(torch.cat([batch.image0, batch.image1]))
        coarse = [_tokens(c) for c in both["coarse"].split(1)]
        coarse0, coarse1 = twin.loftr_coarse(*coarse, None, None)
        data = _data(both, spv)
        twin.coarse_matching(coarse0, coarse1, data)
        # Its own draw is from the global generator. With the same samples on both
        # sides the losses are comparable, and the amount of work is the same.
        chosen = choose_fine_samples(_predicted(data), spv, LOSS, seeds)
        data |= {"b_ids": chosen.b, "i_ids": chosen.i, "j_ids": chosen.j}
        data |= {name: data[name][:0] for name in ("mkpts0_c", "mkpts1_c", "mconf")}
        fine = both["fine"].split(1)
        windows = twin.fine_preprocess(*fine, coarse0, coarse1, data)
        twin.fine_matching(*twin.loftr_fine(*windows), data)
        with torch.autocast(batch.image0.device.type, enabled=False):
            expected = data["expec_f"].float()
            offsets = FineOffsets(expected[:, :2], expected[:, 2])
            targets = fine_targets(spv, *chosen, batch.scale1, RADIUS)
            fine_part = fine_loss(offsets, targets, chosen.b, 1, LOSS.fine_std_min)
            return _focal(data["conf_matrix"], spv.matrix().bool()) + fine_part.mean()


def _tokens(features: Tensor) -> Tensor:
    return features.flatten(2).transpose(1, 2).contiguous()


def _data(both: dict[str, Tensor], spv: CoarseSupervision) -> dict:
    """The dict that kornia's modules hand on, with what it needs in training."""
    data = {"bs": 1, "stride_c": COARSE_STRIDE, "stride_f": FINE_STRIDE}
    for side in (0, 1):
        data[f"hw{side}_c"] = both["coarse"].shape[2:]
        data[f"hw{side}_f"] = both["fine"].shape[2:]
    return data | {"spv_b_ids": spv.b, "spv_i_ids": spv.i, "spv_j_ids": spv.j}


def _predicted(data: dict) -> FineSamples:
    own = ~data["gt_mask"]
    return FineSamples(*(data[f"{name}_ids"][own] for name in "bij"))


def _focal(conf: Tensor, is_match: Tensor) -> Tensor:
    p = conf.float().clamp(1e-6, 1 - 1e-6)
    positive = -LOSS.alpha * (1 - p[is_match]) ** LOSS.gamma * p[is_match].log()
    negative = -LOSS.alpha * p**LOSS.gamma * torch.log1p(-p)
    others = is_match.numel() - is_match.sum()
    return positive.mean() + torch.where(is_match, 0.0, negative).sum() / others
