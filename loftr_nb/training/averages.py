"""Batch norm's running averages, renewed on other images without a step of training.

In use, batch norm subtracts the mean of images it was trained on. On darker, noisier
or otherwise different ones that mean is wrong, and with it all that follows. Training
moves averages and weights together; renewing the averages alone says how much of a
gain was learnt.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from ..datasets import Batch
from ..errors import DataError
from ..model import LoFTR


@torch.no_grad()
def renewed_averages(model: LoFTR, batches: Iterable[Batch]) -> LoFTR:
    """A copy of ``model`` whose averages are those of ``batches``, in eval mode.

    The plain mean over all batches (momentum None), of images on the model's device;
    a few dozen pairs are enough. Weights are untouched, no answer key is needed.

    Raises:
        DataError: there are no batches.
    """
    net = copy.deepcopy(model)
    norms = [part for part in net.modules() if isinstance(part, _BatchNorm)]
    kept = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    net.train()
    seen = 0
    for batch in batches:
        batch = batch.to(next(net.parameters()).device)
        images = [batch.image0, batch.image1]
        if batch.image0.shape == batch.image1.shape:
            images = [torch.cat(images)]  # as LoFTR does: both are one batch
        for image in images:
            net.backbone(image)
        seen += 1
    if not seen:
        raise DataError("there is no batch to take averages of")
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
    return net.eval()
