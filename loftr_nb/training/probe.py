"""The process that a measurement runs in: real steps, timed, with its own memory.

It reads a job from standard input and writes a JSON object a line: ``ready``, one
``probe`` for each small size, ``step`` after each step, and ``result`` or
``trouble`` last. :mod:`.measure` is the other end.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..datasets import Batch
from ..errors import LoftrNbError
from ..model import LoFTR
from ..model.allocator import settle
from .config import Recipe
from .distributed import Process
from .loaders import TrainingPairs
from .log import MB, peak_memory_mb
from .overrides import from_dict
from .plan import make_plan
from .stand_in import bytes_of, stand_in
from .update import Update

RATE = 1e-5  # small: a measurement must not run into infinity
PROBE_STEPS = 2


class Clock:
    """Seconds spent in the forward pass and in the optimiser, by hooks on both."""

    def __init__(self, update: Update, device: torch.device) -> None:
        self.device = device
        self.forward = self.optimizer = 0.0
        self._began = 0.0
        update.module.register_forward_pre_hook(lambda *_: self._begin())
        update.module.register_forward_hook(lambda *_: self._add("forward"))
        update.optimizer.register_step_pre_hook(lambda *_: self._begin())
        update.optimizer.register_step_post_hook(lambda *_: self._add("optimizer"))

    def now(self) -> float:
        """The time, when all that was begun is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def reset(self) -> None:
        """Begin a step."""
        self.forward = self.optimizer = 0.0

    def _begin(self) -> None:
        self._began = self.now()

    def _add(self, name: str) -> None:
        setattr(self, name, getattr(self, name) + self.now() - self._began)


class Probe:
    """The network and the optimiser of a job, and steps with them.

    job: recipe (a dict), batch, parts (batches a step), steps, warmup, device,
    data (folder or None), small ((w, h) of the sizes to predict from), limit
    (bytes that are free, None to ask the device).
    """

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        self.recipe = from_dict(Recipe, job["recipe"])
        self.device = torch.device(job["device"])
        torch.manual_seed(self.recipe.seed)
        settle(self.recipe.model)
        process = Process(0, 1, self.device)
        model = LoFTR(self.recipe.model).to(self.device)
        self.update = Update(model, self.recipe, process, RATE)
        self.clock = Clock(self.update, self.device)
        self.process = process

    def small(self, size: tuple[int, int]) -> None:
        """Two steps with one pair of a small size; says how much memory they took."""
        reset_peak(self.device)
        batch = stand_in(self._sized(size), 1)
        for _ in range(PROBE_STEPS):
            self.update([batch], [[0]], RATE)
        say("probe", pixels=size[0] * size[1], peak=peak_bytes(self.device))

    def real(self) -> None:
        """The job's own steps; says what each took."""
        job, rows = self.job, []
        steps = self._batches()
        reset_peak(self.device)
        for k in range(job["warmup"] + job["steps"]):
            began = self.clock.now()
            batches = next(steps)
            waited = self.clock.now() - began
            self.clock.reset()
            seeds = [[k + 1000 * n for n in range(len(b))] for b in batches]
            self.update(batches, seeds, RATE)
            whole = self.clock.now() - began
            forward, optimizer = self.clock.forward, self.clock.optimizer
            row = [whole, waited, forward, optimizer]
            rows += [row] if k >= job["warmup"] else []
            say("step", number=k + 1, seconds=whole)
        shared = sum(bytes_of(batch) for batch in batches) / len(batches)
        say(
            "result",
            rows=rows,
            peak=peak_bytes(self.device),
            batch_bytes=shared,
            slow=max(r[0] for r in rows),
            median=statistics.median(r[0] for r in rows),
        )

    def _batches(self) -> Iterator[list[Batch]]:
        job = self.job
        if job["data"] is None:
            batch = stand_in(self.recipe, job["batch"])
            while True:
                yield [batch] * job["parts"]
        optim = replace(self.recipe.optim, batch=job["batch"], accumulate=job["parts"])
        recipe = replace(self.recipe, optim=optim)
        with tempfile.TemporaryDirectory() as cache:
            pairs = TrainingPairs.open(
                recipe, Path(job["data"]), self.process, Path(cache)
            )
            plan = make_plan(recipe, scenes=pairs.scenes)
            yield from pairs.batches(0, plan.steps_per_epoch)

    def _sized(self, size: tuple[int, int]) -> Recipe:
        data = replace(
            self.recipe.data, width=size[0], height=size[1], longer_side=max(size)
        )
        return replace(self.recipe, data=data)


def reset_peak(device: torch.device) -> None:
    """Count the largest memory from here on, where the system can."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        return
    # 5: Linux forgets the highest resident set so far. Elsewhere sizes grow from
    # one stage to the next, and with them the peak.
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes(device: torch.device) -> int:
    """The largest memory: reserved on a GPU, resident on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    return int(peak_memory_mb(device) * MB)


def say(kind: str, **values: Any) -> None:
    """A line for the other end."""
    print(json.dumps({"kind": kind, **values}), flush=True)


def main() -> None:
    """Take the job, do it, and wait for the word before the real size."""
    # Whoever runs out of memory: this process, and no other, is to go.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    job = json.loads(sys.stdin.readline())
    try:
        probe = Probe(job)
        free, name = None, "CPU"
        if probe.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(probe.device)
            free += torch.cuda.memory_reserved(probe.device)
            name = torch.cuda.get_device_name(probe.device)
        say("ready", free=free, name=name)
        for size in job["small"]:
            probe.small(tuple(size))
        if sys.stdin.readline().strip() == "go":
            probe.real()
    except LoftrNbError as error:
        say("trouble", what="error", words=str(error))
    except (torch.OutOfMemoryError, MemoryError) as error:
        say("trouble", what="memory", words=str(error).splitlines()[0])
    except RuntimeError as error:
        what = "memory" if "allocate memory" in str(error) else "crash"
        say("trouble", what=what, words=str(error).splitlines()[0])


if __name__ == "__main__":
    main()
