"""The training loop: the same file alone, under torchrun, on CPU and GPU.

loftr-nb train mini_ds --out runs/mini_ds
torchrun --standalone --nproc-per-node 2 -m loftr_nb.training mini_ds --out runs/two
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ..datasets import Batch
from ..errors import CheckpointError, ConfigError, RunError
from ..evaluation import Scores
from ..losses import StepOutput, TrainingStep
from ..model import LoFTR
from ..progress import StatusLine, duration
from .checkpoint import keep_best, load_last, save_checkpoint
from .config import Recipe
from .distributed import Process
from .heartbeat import Heartbeat
from .loaders import TrainingPairs
from .log import Meter, Metrics, peak_memory_mb
from .plan import make_plan
from .run_folder import RunFolder
from .signals import Stopped, StopRequest

Validate = Callable[[LoFTR, int], Scores]


class Trainer:
    """One run of one recipe, on this process and its peers.

    Args:
        recipe: what to train, complete.
        data: folder of the data.
        out: folder of the run.
        process: this process among its peers.
        steps: stop after this many steps instead of the recipe's epochs.
        resume: go on from the folder's last checkpoint if it has one.
        status: where to speak.

    Raises:
        DataError, ConfigError, RunError, CheckpointError: before any step.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: Path,
        out: Path,
        process: Process,
        steps: int | None = None,
        resume: bool = False,
        status: StatusLine | None = None,
    ) -> None:
        if steps is not None and steps < 1:
            raise ConfigError(f"steps is {steps}: at least 1 is needed")
        self.recipe, self.data, self.process = recipe, data, process
        self.folder = RunFolder(out)
        self.status = status or StatusLine(on=process.is_main)
        self.pairs = TrainingPairs.open(recipe, data, process, self.folder.cache)
        if process.is_main:
            self.folder.claim(recipe, data, resume)
        process.wait()
        self.plan = make_plan(recipe, process.world, scenes=self.pairs.scenes)
        self.total = self.plan.total_steps if steps is None else steps
        self.schedule = self.plan.schedule(recipe.optim.decay)
        torch.manual_seed(recipe.seed)
        # Softmaxes of a confident matcher are full of numbers below 1e-38, and a
        # CPU computes with those up to 80 times slower. To it they are 0 now.
        torch.set_flush_denormal(True)
        self.model = LoFTR(recipe.model).to(process.device)
        self.step, self.best, self.seconds = 0, math.nan, 0.0
        self.meter = Meter()
        self._build()
        if resume:
            self._restore()
        # Only now: a folder that cannot be resumed keeps its metrics.
        if process.is_main:
            self.metrics = Metrics(self.folder.metrics, keep_until=self.step)
        self.heartbeat = Heartbeat(self.folder.progress, on=process.is_main)

    def _build(self) -> None:
        device = self.process.device
        if self.process.world > 1 and device.type == "cuda":
            # On CPUs there is no synchronised batch norm: each process then
            # normalises its own pairs, as one process with small batches does.
            self.model = nn.SyncBatchNorm.convert_sync_batchnorm(self.model)
        self.module: nn.Module = TrainingStep(self.model, self.recipe.loss)
        if self.process.world > 1:
            ids = [device.index] if device.type == "cuda" else None
            self.module = DistributedDataParallel(self.module, device_ids=ids)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=self.schedule.at(0),
            weight_decay=self.recipe.optim.weight_decay,
        )

    def _restore(self) -> None:
        state, damaged = load_last(self.folder.last.parent)
        if state is None:
            return
        if damaged:
            self.status.say(damaged)
        if state.recipe != self.recipe:
            raise CheckpointError(
                f"{self.folder.last} was written by another recipe than the "
                "folder's config.json: it was put there by hand"
            )
        self.model.load_state_dict(state.weights)
        self.optimizer.load_state_dict(state.optimizer)
        self.process.set_rng_state(state.rng)
        self.meter.restore(state.meter)
        self.step, self.best = state.step, state.best_auc10
        self.seconds = state.seconds
        self.status.say(f"going on from step {self.step:,} of {self.total:,}")

    def run(self, validate: Validate | None = None) -> float:
        """Train to the last step; returns the seconds of all calls so far.

        Args:
            validate: called with the model and the step as often as the recipe
                says, on every process; returns the scores of held-out pairs.

        Raises:
            Stopped: SIGTERM, SIGINT or SIGUSR1 asked for it; the run is saved.
            RunError: a loss is not finite (the pairs are named), or a
                checkpoint could not be written.
        """
        with StopRequest(self.process) as request:
            return self._run(validate, request)

    def _run(self, validate: Validate | None, request: StopRequest) -> float:
        began, before, first = time.perf_counter(), self.seconds, self.step
        batches = self.pairs.batches(self.step, self.plan.steps_per_epoch)
        while self.step < self.total:
            waited = time.perf_counter()
            batch = next(batches)
            waited = time.perf_counter() - waited
            values = self._one_step(batch)
            self.step += 1
            self.meter.add(values, len(batch) * self.process.world, waited)
            here = time.perf_counter() - began
            self.seconds = before + here
            left = here / (self.step - first) * (self.total - self.step)
            self._show(left)
            if self._due(self.recipe.log.metrics_every):
                self._record()
                self.meter.reset()
            every = self.recipe.log.validate_every
            if validate and every and self._due(every) and self.step < self.total:
                self._validate(validate)
            signal = request.heard()
            if self._due(self.recipe.log.checkpoint_every) or signal:
                self.save()
            if signal and self.step < self.total:
                self._leave(signal)
        return self.seconds

    def _leave(self, signal: str) -> NoReturn:
        self.heartbeat.beat("stopped", step=self.step, eta_s=None)
        raise Stopped(
            f"{signal}: step {self.step:,} of {self.total:,} is finished and saved in "
            f"{self.folder.path}. The same command with --resume goes on from it"
        )

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.total

    def _one_step(self, batch: Batch) -> dict[str, float]:
        """Forward, backward, clip and update; returns what to log."""
        device = self.process.device
        rate = self.schedule.at(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.module.train()
        batch = batch.to(device, non_blocking=True)
        with torch.autocast(
            device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"
        ):
            output: StepOutput = self.module(batch, self.pairs.seeds(self.step))
        self.optimizer.zero_grad(set_to_none=True)
        output.loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.optim.clip)
        if not math.isfinite(norm.item()):
            self._refuse(batch, output, norm.item())
        self.optimizer.step()
        return {**output.scalars(), "grad_norm": norm.item(), "lr": rate}

    def _refuse(self, batch: Batch, output: StepOutput, norm: float) -> None:
        per_pair = (output.coarse + output.fine).detach().cpu()
        bad = [
            f"{a} and {b}"
            for a, b, value in zip(batch.names0, batch.names1, per_pair, strict=True)
            if not math.isfinite(value)
        ] or ["(every pair's loss is finite here; the gradient is not)"]
        raise RunError(
            f"step {self.step}: the gradient's norm is {norm} and training stops "
            f"before the weights are touched. Pairs of this process: {bad}. Look at "
            "their depth, pose and intrinsics, and at the learning rate: one far too "
            "high ends the same way. With precision=bf16 try fp32"
        )

    def _record(self) -> None:
        means = self.meter.means()
        if self.process.is_main:
            self.metrics.add(
                "train",
                self.step,
                epoch=self.step / self.plan.steps_per_epoch,
                peak_mb=peak_memory_mb(self.process.device),
                **means,
            )

    def _show(self, left: float) -> None:
        """The status line, and the file for whoever watches from outside."""
        if not self.process.is_main:
            return
        self.status.show(lambda: self._line(left))
        m = self.meter.means()
        self.heartbeat.beat(
            "training",
            step=self.step,
            total=self.total,
            epoch=self.step / self.plan.steps_per_epoch,
            loss=m["loss"],
            lr=m["lr"],
            pairs_per_s=m["pairs_per_s"],
            data_wait=m["data_wait"],
            memory=peak_memory_mb(self.process.device),
            eta_s=left,
        )

    def _line(self, left: float) -> str:
        m = self.meter.means()
        return (
            f"step {self.step:,}/{self.total:,}  loss {m['loss']:.3f}  "
            f"right cells {m['coarse_accuracy']:.0%}  lr {m['lr']:.2e}  "
            f"{m['pairs_per_s']:.1f} pairs/s  waiting {m['data_wait']:.0%}  "
            f"peak {peak_memory_mb(self.process.device):,.0f} MB  "
            f"left {duration(left)}"
        )

    def _validate(self, validate: Validate) -> None:
        self.heartbeat.beat("validating")
        self.model.eval()
        self.share_buffers()
        began = time.perf_counter()
        scores = validate(self.model, self.step)
        self.meter.pause(time.perf_counter() - began)
        if not scores.auc10 <= self.best:
            self.best = scores.auc10
        self.save()
        if not self.process.is_main:
            return
        keep_best(self.folder.last, scores.auc10, self.step)
        self.metrics.add("validation", self.step, **scores.summary())
        self.status.say(
            f"step {self.step:,}: AUC@5/10/20 on {scores.pairs} held-out pairs "
            f"{scores.auc5:.1f} / {scores.auc10:.1f} / {scores.auc20:.1f}"
        )

    def share_buffers(self) -> None:
        """Give every process the main one's batch-norm statistics.

        Without synchronised batch norm each has its own between two steps, and
        would score its share of the pairs with another model.
        """
        if self.process.world > 1:
            for buffer in self.model.buffers():
                dist.broadcast(buffer, 0)

    def save(self) -> None:
        """Write the last checkpoint: all processes call it, the main one writes."""
        rng = self.process.rng_state()
        if self.process.is_main:
            save_checkpoint(
                self.folder.last,
                self.recipe,
                self.step,
                self.model,
                self.optimizer,
                rng,
                self.meter.state(),
                self.best,
                self.seconds,
            )
