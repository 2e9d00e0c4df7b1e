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

from ..errors import CheckpointError, ConfigError
from ..evaluation import Scores
from ..model import LoFTR
from ..model.allocator import settle
from ..progress import StatusLine, duration
from .board import Board, open_board
from .checkpoint import has_checkpoint, keep_best, load_last, save_checkpoint
from .config import Recipe
from .distributed import Process
from .failure import report
from .going_on import agree_on_step, other_processes, restore_optimizer
from .health import Health
from .heartbeat import Heartbeat
from .loaders import TrainingPairs
from .log import Metrics, peak_memory_mb
from .meter import Meter
from .plan import make_plan
from .run_folder import RunFolder
from .signals import Stopped, StopRequest
from .start import new_model
from .update import NotFinite, Update

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
        allow_changes: go on with another recipe than the folder's.

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
        allow_changes: bool = False,
    ) -> None:
        if steps is not None and steps < 1:
            raise ConfigError(f"steps is {steps}: at least 1 is needed")
        self.recipe, self.data, self.process = recipe, data, process
        self.folder = RunFolder(out)
        self.status = status or StatusLine(on=process.is_main)
        self.pairs = TrainingPairs.open(recipe, data, process, self.folder.cache)
        if process.is_main:
            changed = self.folder.claim(recipe, data, resume, allow_changes)
            if changed:
                self.status.say("\n  ".join(["the recipe has changed:", *changed]))
        self.heartbeat = Heartbeat(self.folder.progress, on=process.is_main)
        self.heartbeat.beat("starting")
        process.wait()
        self.plan = make_plan(recipe, process.world, scenes=self.pairs.scenes)
        self.total = self.plan.total_steps if steps is None else steps
        self.schedule = self.plan.schedule(recipe.optim.decay)
        torch.manual_seed(recipe.seed)
        settle(recipe.model)
        going_on = resume and has_checkpoint(self.folder.last.parent)
        model = new_model(recipe, resuming=going_on).to(process.device)
        self.update = Update(model, recipe, process, self.schedule.at(0))
        self.model = self.update.model
        self.step, self.best, self.seconds = 0, math.nan, 0.0
        self.meter = Meter(process)
        self.health = Health(recipe.log, self.status)
        if resume:
            self._restore()
        agree_on_step(process, self.step, self.folder)
        # Only now: a folder that cannot be resumed keeps its metrics.
        self.board = Board()
        if process.is_main:
            self.board = open_board(recipe, self.folder.path, self.step)
            self.metrics = Metrics(self.folder.metrics, self.step, self.board)

    def _restore(self) -> None:
        state, damaged = load_last(self.folder.last.parent)
        if state is None:
            return
        if damaged:
            self.status.say(damaged)
        if not self.folder.knows(state.recipe):
            raise CheckpointError(
                f"{self.folder.last} was written by another recipe than the "
                "folder's config.json: it was put there by hand"
            )
        self.model.load_state_dict(state.weights)
        restore_optimizer(self.update.optimizer, state, self.recipe, self.model)
        self.process.set_rng_state(state.rng)
        self.meter.restore(state.meter)
        self.step, self.best = state.step, state.best_auc10
        self.seconds = state.seconds
        self.status.say(f"going on from step {self.step:,} of {self.total:,}")
        if said := other_processes(state, self.recipe, self.process):
            self.status.say(said)

    def run(self, validate: Validate | None = None) -> float:
        """Train to the last step; returns the seconds of all calls so far.

        Args:
            validate: called with the model and the step as often as the recipe
                says, on every process; returns the scores of held-out pairs.

        Raises:
            Stopped: SIGTERM, SIGINT or SIGUSR1 asked for it; the run is saved.
            RunError: a loss or gradient is not finite: the pairs are named and
                the batch is saved.
            CheckpointError: a checkpoint could not be written.
        """
        with StopRequest(self.process) as request:
            return self._run(validate, request)

    def _run(self, validate: Validate | None, request: StopRequest) -> float:
        began, before, first = time.perf_counter(), self.seconds, self.step
        batches = self.pairs.batches(self.step, self.plan.steps_per_epoch)
        while self.step < self.total:
            waited = time.perf_counter()
            parts = next(batches)
            waited = time.perf_counter() - waited
            rate = self.schedule.at(self.step)
            try:
                sums, norm = self.update(parts, self.pairs.seeds(self.step), rate)
            except NotFinite as error:
                report(error, self.model, self.step, self.folder.path, self.process)
            self.step += 1
            self.meter.add(sums, norm, rate, self.plan.global_batch, waited)
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
        self.board.close()
        self.heartbeat.beat("stopped", step=self.step, eta_s=None)
        raise Stopped(
            f"{signal}: step {self.step:,} of {self.total:,} is finished and saved in "
            f"{self.folder.path}. The same command with --resume goes on from it"
        )

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.total

    def _record(self) -> None:
        means = self.meter.means()
        if self.process.is_main:
            pairs = self.meter.steps * self.plan.global_batch
            self.health.look(means["few_matches"], pairs, self.step)
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
        m = self.meter.own()
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
        m = self.meter.own()
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
        meter = self.process.gather(self.meter.state())
        if self.process.is_main:
            save_checkpoint(
                self.folder.last,
                self.recipe,
                self.step,
                self.model,
                self.update.optimizer,
                rng,
                meter,
                self.best,
                self.seconds,
            )
