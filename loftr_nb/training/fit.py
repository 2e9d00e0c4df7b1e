"""A measurement in words: whether a run fits this machine, how long it takes, what
to change.

Time is that of the steps. Exchange of gradients between GPUs, validation and
checkpoints come on top; reading is in it where the measurement read real data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from ..geometry import COARSE_STRIDE
from .config import Recipe
from .estimate import Measurement
from .machine import SHARED, cores, shared_free, shared_need
from .plan import Plan

GB = 2**30


@dataclass(frozen=True)
class Fit:
    """Whether a plan fits this machine.

    shared_need, shared_free: bytes of /dev/shm that loader workers pass pairs
    through; None where there is no such thing, or no worker. slower: how many
    times longer a step takes because processes share this machine's cores.
    """

    plan: Plan
    found: Measurement
    shared_need: float | None
    shared_free: float | None
    slower: int

    @property
    def memory_fits(self) -> bool:
        """Whether a process's steps fit into its memory."""
        return not self.found.out_of_memory and self.found.need <= self.found.free

    @property
    def shared_fits(self) -> bool:
        """Whether the batches that workers hold ready fit into shared memory."""
        return self.shared_need is None or self.shared_need <= self.shared_free

    @property
    def fits(self) -> bool:
        """Whether everything does."""
        return self.memory_fits and self.shared_fits

    @property
    def step_seconds(self) -> float | None:
        """Seconds of a step of the whole global batch, None where not measured."""
        if not self.found.rows:
            return None
        return self.slower * self.found.seconds(self.plan.accumulate)[0]

    @property
    def days(self) -> float | None:
        """Days of the whole run, None where nothing was measured."""
        seconds = self.step_seconds
        return None if seconds is None else seconds * self.plan.total_steps / 86400

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and words, for ``--json``."""
        found = self.found
        step = self.step_seconds
        values = {
            "device": found.device,
            "name": found.name,
            "size": list(found.size),
            "data": found.data,
            "free_bytes": found.free,
            "predicted_bytes": found.predicted,
            "peak_bytes": found.peak,
            "out_of_memory": found.out_of_memory,
            "shared_need_bytes": self.shared_need,
            "shared_free_bytes": self.shared_free,
            "steps": len(found.rows),
            "fits": self.fits,
            "advice": advice(self),
            "step_s": step,
            "pairs_per_s": None if step is None else self.plan.global_batch / step,
            "days": self.days,
        }
        if found.rows:
            middle, low, high = found.seconds(self.plan.accumulate)
            values["step_alone_s"] = {"median": middle, "low": low, "high": high}
            values["step_parts_s"] = found.split(self.plan.accumulate)
        return values

    def text(self) -> str:
        """Lines for a person, the verdict last."""
        rows = [("measured", self._how()), ("memory", self._memory())]
        if self.shared_need is not None:
            fits = "fits into" if self.shared_fits else "does not fit into"
            rows.append(
                (
                    "shared memory",
                    f"{_gb(self.shared_need)} for pairs held ready by loader workers "
                    f"{fits} {_gb(self.shared_free)} free in {SHARED}",
                )
            )
        rows += self._times() if self.found.rows else []
        lines = [f"{name:<18} {value}" for name, value in rows]
        lines.append("")
        lines.append("it fits" if self.fits else "it does not fit. What to change:")
        return "\n".join([*lines, *(f"  - {words}" for words in advice(self))])

    def _how(self) -> str:
        found = self.found
        w, h = found.size
        on = found.name if found.device != "cpu" else f"CPU, {cores()} cores"
        if not found.rows:
            tried = "it ran out of memory" if found.out_of_memory else "not tried"
            return f"{w}x{h}, batch {found.batch}, on {on}: {tried}"
        source = (
            "a made pair (--data DIR measures with yours)"
            if found.data is None
            else f"pairs of {found.data}"
        )
        took = f"{len(found.rows)} steps at {w}x{h}, batch {found.batch}"
        return f"{took}, on {on}: {source}"

    def _memory(self) -> str:
        found = self.found
        fits = "fits into" if self.memory_fits else "does not fit into"
        where = "of the card" if found.device != "cpu" else "of this machine"
        share = (
            f" for each of {self.plan.processes} processes"
            if found.device == "cpu" and self.plan.processes > 1
            else ""
        )
        room = f"{fits} {_gb(found.free)} {where}{share} (nine tenths of what is free)"
        if found.peak is None:
            matrices = found.batch * found.estimate.matrices(found.size)
            part = f"{_gb(matrices)} of it for confidence matrices, " * (matrices > 0)
            return (
                f"about {_gb(found.need)} a process, {part}expected from small sizes; "
                f"{room}"
            )
        told = ""
        if found.predicted:
            told = f" ({_gb(found.predicted)} were expected from small sizes)"
        return f"{_gb(found.peak)} a process{told}; {room}"

    def _times(self) -> list[tuple[str, str]]:
        plan, found = self.plan, self.found
        middle, low, high = found.seconds(plan.accumulate)
        parts = {k: v for k, v in found.split(plan.accumulate).items() if v > 0.0005}
        split = ", ".join(f"{name} {_s(value)}" for name, value in parts.items())
        rows = [
            ("step", f"{_s(middle)} (half of them {_s(low)} to {_s(high)}): {split}")
        ]
        shared = ""
        if self.slower > 1:
            shared = (
                f", {self.slower} times as long because {plan.processes} processes "
                "share these cores"
            )
        speed = plan.global_batch / self.step_seconds
        rows.append(
            (
                "speed",
                f"{speed:.3g} pairs/s with {plan.processes} "
                f"process{'es' * (plan.processes > 1)}{shared}",
            )
        )
        rows.append(("whole run", f"{_long(self.days)} for {plan.total_steps:,} steps"))
        without = [] if found.data else ["reading"]
        without += ["exchange of gradients"] if plan.processes > 1 else []
        without += ["validation"]
        rows.append(("", f"without {' and '.join(without)}"))
        return rows


def judge(plan: Plan, found: Measurement) -> Fit:
    """Put a measurement beside what the machine has and what the plan asks for."""
    recipe, processes = found.recipe, plan.processes
    # The processes of other machines have other memory and other cores.
    here = processes
    if found.device != "cpu":
        here = min(processes, torch.cuda.device_count())
    need, free = shared_need(recipe, here, found.batch_bytes), shared_free()
    if need == 0 or free is None:
        need = free = None
    return Fit(plan, found, need, free, processes if found.device == "cpu" else 1)


def advice(fit: Fit) -> list[str]:
    """What to change so that it fits, the most effective first."""
    words = []
    if not fit.memory_fits:
        words += _memory_advice(fit)
    if not fit.shared_fits:
        recipe = fit.found.recipe
        able = int(recipe.data.workers * fit.shared_free / fit.shared_need)
        words.append(
            f"data.workers={able}"
            + (f", or give {SHARED} more room (docker run --shm-size=8g)")
        )
    return words


def _memory_advice(fit: Fit) -> list[str]:
    found, plan = fit.found, fit.plan
    words = []
    if found.batch > 1:
        times = plan.accumulate * found.batch
        fits = _would_fit(found, found.size, 1)
        words.append(
            f"--batch 1 --accumulate {times}: the same step, one pair at a time"
            + ("" if fits else " (not enough by itself)" if fits is False else "")
        )
    if found.recipe.loss.matrix == "plain":
        words.append("loss.matrix=streamed: the same loss without confidence matrices")
    if found.recipe.model.recompute != "all":
        words.append(
            "model.recompute=all: the backbone is computed twice and not kept, which "
            "takes longer"
        )
    side = _largest(found)
    if side:
        w, h = side
        words.append(f"--size {_size_text(found.recipe, w, h)} with --batch 1")
    if found.recipe.precision == "fp32" and found.device != "cpu":
        words.append("precision=bf16: halves the network's maps")
    if found.device == "cpu" and plan.processes > 1:
        words.append(f"fewer processes than {plan.processes}: they share the memory")
    words.append(
        "a card with more memory"
        if found.device != "cpu"
        else "a machine with more memory"
    )
    return words


def _would_fit(found: Measurement, size: tuple[int, int], pairs: int) -> bool | None:
    """By the estimate; None without one that knows the network's part."""
    if found.estimate is None or found.estimate.per_pixel == 0:
        return None
    return found.estimate.peak(size, pairs) <= found.free


def _largest(found: Measurement) -> tuple[int, int] | None:
    """The largest smaller size of the same shape that fits with one pair."""
    w, h = found.size
    for longer in range(max(w, h) - 32, 63, -32):
        size = tuple(
            max(
                COARSE_STRIDE,
                round(s * longer / max(w, h) / COARSE_STRIDE) * COARSE_STRIDE,
            )
            for s in (w, h)
        )
        if _would_fit(found, size, 1):
            return size
    return None


def _size_text(recipe: Recipe, w: int, h: int) -> str:
    return f"{w}x{h}" if recipe.data.layout == "scannet" else str(max(w, h))


def _gb(value: float) -> str:
    if value < 0.1 * GB:
        return f"{value / 2**20:.3g} MB"
    return f"{value / GB:,.1f} GB"


def _s(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{1000 * seconds:.3g} ms"


def _long(days: float) -> str:
    if days >= 2:
        return f"{days:,.1f} days"
    hours = days * 24
    return f"{hours:.1f} hours" if hours >= 1 else f"{hours * 60:.1f} minutes"
