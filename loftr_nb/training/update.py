"""One step of training: one change of the weights by one global batch.

Whether its pairs come as one batch, as several that are added up, or from several
processes makes no difference to the gradient: losses are means over pairs, and
every part has equally many.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from ..datasets import Batch
from ..losses import StepOutput, TrainingStep
from ..model import LoFTR
from .config import Recipe
from .distributed import Process
from .meter import sums
from .parts import freeze, parameter_groups, rest


@dataclass
class Broken:
    """A batch of this process whose loss or gradient is not finite.

    per_pair: (B,) loss of each pair, on the CPU.
    """

    batch: Batch
    seeds: Sequence[int]
    per_pair: Tensor


class NotFinite(Exception):
    """A loss or a gradient is not finite on some process; the weights are untouched.

    Raised by all processes in the same step. norm: of the joint gradient.
    broken: this process's own batch, if its loss is at fault, or if no
    process's is.
    """

    def __init__(self, norm: float, broken: Broken | None) -> None:
        super().__init__(f"gradient norm {norm}")
        self.norm, self.broken = norm, broken


class Update:
    """Forward, backward, clip and change, on this process and its peers.

    Args:
        model: trained in place.
        recipe: its ``optim``, ``loss`` and ``precision`` are read.
        rate: learning rate the optimiser is made with.
    """

    def __init__(
        self, model: LoFTR, recipe: Recipe, process: Process, rate: float
    ) -> None:
        self.recipe, self.process = recipe, process
        freeze(model, recipe.optim.freeze)
        self.frozen = recipe.optim.batch_norm == "frozen"
        self.double = recipe.precision == "fp64"
        if self.double:
            model = model.double()
        device = process.device
        if process.world > 1 and device.type == "cuda" and not self.frozen:
            # On CPUs there is no synchronised batch norm: each process then
            # normalises its own pairs, as one process with small batches does.
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        self.model = model
        self.module: nn.Module = TrainingStep(model, recipe.loss)
        if process.world > 1:
            ids = [device.index] if device.type == "cuda" else None
            self.module = DistributedDataParallel(
                self.module,
                device_ids=ids,
                # Every rank's averages would be replaced by rank 0's before each
                # forward pass: they are shared where they are used instead.
                forward_sync_buffers=False,
            )
        # A batch that is not finite goes into the running averages before its loss
        # is known. They are kept, to be put back.
        self._averages = [
            buffer
            for part in model.modules()
            if isinstance(part, _BatchNorm)
            for buffer in part.buffers()
        ]
        self._kept = [buffer.clone() for buffer in self._averages]
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            parameter_groups(model, recipe.optim),
            lr=rate,
            weight_decay=recipe.optim.weight_decay,
        )

    def train_mode(self) -> None:
        """Training mode, but for what the recipe keeps as it is."""
        self.module.train()
        if self.frozen:
            for module in self.model.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        rest(self.model, self.recipe.optim.freeze)

    def __call__(
        self, batches: Sequence[Batch], seeds: Sequence[Sequence[int]], rate: float
    ) -> tuple[Tensor, float]:
        """Change the weights by the joint gradient of ``batches`` on all processes.

        Args:
            batches: the parts of this process's share. seeds: a number a pair.
            rate: learning rate of this step.

        Returns:
            Sums for :class:`.meter.Meter`, and the gradient's norm before clipping.

        Raises:
            NotFinite: on all processes, before any weight is touched.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("share", 1.0)
        self.train_mode()
        torch._foreach_copy_(self._kept, self._averages)
        self.optimizer.zero_grad(set_to_none=True)
        total: Tensor | float = 0.0
        broken: Broken | None = None
        failed = False
        for k, (batch, numbers) in enumerate(zip(batches, seeds, strict=True)):
            last = k == len(batches) - 1
            output = self._backward(batch, numbers, len(batches), last)
            total = total + sums(output, self.recipe.log.few_matches)
            bad = not math.isfinite(output.loss.item())
            if (bad or last) and not failed:
                per_pair = (output.coarse + output.fine).detach().cpu()
                broken, failed = Broken(batch, numbers, per_pair), bad
        norm = get_total_norm([p.grad for p in self.parameters if p.grad is not None])
        self._check(norm.item(), failed, broken)
        clip_grads_with_norm_(self.parameters, self.recipe.optim.clip, norm)
        self.optimizer.step()
        return total, norm.item()

    def _backward(
        self, batch: Batch, seeds: Sequence[int], parts: int, last: bool
    ) -> StepOutput:
        device = self.process.device
        batch = batch.to(device, non_blocking=True)
        if self.double:
            batch = dataclasses.replace(
                batch, image0=batch.image0.double(), image1=batch.image1.double()
            )
        # Processes exchange gradients once a step, with its last part.
        alone = self.process.world == 1 or last
        with contextlib.nullcontext() if alone else self.module.no_sync():
            bf16 = self.recipe.precision == "bf16"
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                output: StepOutput = self.module(batch, seeds)
            (output.loss / parts).backward()
        return output

    def _check(self, norm: float, failed: bool, broken: Broken | None) -> None:
        """Agree with all processes on whether this step may change the weights."""
        anywhere = self.process.any(failed)
        if anywhere or not math.isfinite(norm):
            torch._foreach_copy_(self._averages, self._kept)
            raise NotFinite(norm, broken if failed or not anywhere else None)
