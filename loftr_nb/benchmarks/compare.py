"""Runs both sides in turns and puts their numbers beside one another."""

from __future__ import annotations

import dataclasses
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psutil
import torch

from ..errors import RunError
from .order import Order

MB = 2**20
# Of an order, what a stored comparison says of it.
KEPT = (
    "what",
    "width",
    "height",
    "match",
    "precision",
    "compile",
    "recompute",
    "keep",
)
SPARE = 1024 * MB  # of the machine's free memory, left to everything else


@dataclass
class Side:
    """What one side took.

    seconds: median of a run, None if it did not fit. peak_mb: most memory of its
    process, MiB. all_seconds: of every timed run. problem: why there is none.
    """

    seconds: float | None = None
    peak_mb: float | None = None
    base_mb: float | None = None
    all_seconds: list[float] = field(default_factory=list)
    loss: float | None = None
    matches: int | None = None
    problem: str | None = None
    keypoints: Any = field(default=None, repr=False)


@dataclass
class Comparison:
    """Ours beside another side. name: of the other side.

    speedup, memory_ratio: the other's divided by ours, None where one did not fit.
    loss_difference: absolute, of the first step. same_matches: share of the
    other's matches that ours has too, within ``MATCH_PX`` in both images.
    """

    order: Order
    name: str
    ours: Side
    other: Side
    device: str = "cpu"
    threads: int = 0

    @property
    def speedup(self) -> float | None:
        return _ratio(self.other.seconds, self.ours.seconds)

    @property
    def memory_ratio(self) -> float | None:
        return _ratio(self.other.peak_mb, self.ours.peak_mb)

    @property
    def loss_difference(self) -> float | None:
        if self.ours.loss is None or self.other.loss is None:
            return None
        return abs(self.ours.loss - self.other.loss)

    @property
    def same_matches(self) -> float | None:
        if self.ours.keypoints is None or self.other.keypoints is None:
            return None
        return shared(self.ours.keypoints, self.other.keypoints)

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        order = dataclasses.asdict(self.order)
        sides = {
            name: {k: v for k, v in vars(side).items() if k != "keypoints"}
            for name, side in (("ours", self.ours), (self.name, self.other))
        }
        result = {k: order[k] for k in KEPT} | sides
        result |= {"speedup": self.speedup, "memory_ratio": self.memory_ratio}
        if self.order.what == "step":
            result["loss_difference"] = self.loss_difference
        else:
            result["same_matches"] = self.same_matches
        return result | {"device": self.device, "threads": self.threads}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Comparison:
        """What :meth:`to_dict` gave, less the keypoints, to draw it again."""
        kept = {k: stored[k] for k in KEPT if k in stored}
        name = next(side for side in ("kornia", "plain") if side in stored)
        order = Order(side="ours", **kept)
        sides = (Side(**stored[side]) for side in ("ours", name))
        return cls(order, name, *sides, stored["device"], stored["threads"])

    def text(self) -> str:
        """As lines for a person."""
        o = self.order
        what = "a training step" if o.what == "step" else "matching a pair"
        head = (
            f"{what}, {o.width}x{o.height}, {o.match}, {o.precision}, batch 1, "
            f"{self.device}"
            + (f" with {self.threads} threads" if self.device == "cpu" else "")
        )
        rows = [head, f"{'':<8} {'median s':>9} {'range s':>15} {'peak MiB':>9}"]
        for name, side in (("ours", self.ours), (self.name, self.other)):
            rows.append(f"{name:<8} {_row(side)}")
        if self.speedup is not None:
            rows.append(
                f"ours is {self.speedup:.2f} times as fast and takes "
                f"{1 / self.memory_ratio:.0%} of the memory (imports, weights and "
                f"optimiser included)"
            )
        if self.loss_difference is not None:
            rows.append(f"losses differ by {self.loss_difference:.1e}")
        if self.same_matches is not None:
            rows.append(
                f"{self.same_matches:.2%} of {self.name}'s {self.other.matches:,} "
                f"matches are ours too ({MATCH_PX} px)"
            )
        return "\n".join(rows)


MATCH_PX = 0.01


def compare(
    order: Order,
    against: str = "kornia",
    rounds: int = 2,
    say: Callable[[str], None] = lambda text: None,
) -> Comparison:
    """Run ours and ``against`` in turns, each time in a new process.

    Never at the same time: they would share cores and memory. In turns, because a
    machine's speed drifts.

    Args:
        order: of our side; its ``side`` is replaced.
        rounds: how often each side is started.
        say: gets a line before each process.

    Raises:
        RunError: a process failed for another reason than memory.
        ConfigError: the other side cannot do this.
    """
    orders = {s: dataclasses.replace(order, side=s) for s in ("ours", against)}
    if against == "kornia":
        orders[against] = dataclasses.replace(orders[against], compile=False)
    results: dict[str, list[dict]] = {side: [] for side in orders}
    for number in range(rounds):
        for side, one in orders.items():
            if any("problem" in r for r in results[side]):
                continue
            size = f"{one.width}x{one.height}"
            say(f"{size} {one.what}: {side}, round {number + 1} of {rounds}")
            results[side].append(run_child(one))
    sides = {name: _side(found) for name, found in results.items()}
    good = next((r for rs in results.values() for r in rs if "device" in r), {})
    return Comparison(
        order,
        against,
        sides["ours"],
        sides[against],
        good.get("device", order.device),
        good.get("threads", 0),
    )


def run_child(order: Order) -> dict[str, Any]:
    """One side, once, in a process of its own.

    Raises:
        RunError: it failed, and not for want of memory.
    """
    if order.device == "cpu" and not order.memory_limit:
        limit = max(psutil.virtual_memory().available - SPARE, 2 * SPARE)
        order = dataclasses.replace(order, memory_limit=limit)
    command = [sys.executable, "-m", "loftr_nb.benchmarks.child", order.to_json()]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == -9:
        return {"problem": "was killed, probably for want of memory"}
    if done.returncode:
        raise RunError(
            f"the {order.side} side failed at {order.width}x{order.height}:\n"
            + done.stderr[-2000:]
        )
    result = json.loads(done.stdout.splitlines()[-1])
    if "out_of_memory" in result:
        gib = f"{order.memory_limit / 2**30:.0f} GiB"
        room = gib if order.device == "cpu" else "the card"
        return {"problem": f"does not fit into {room}"}
    return result


def _side(found: list[dict]) -> Side:
    problem = next((r["problem"] for r in found if "problem" in r), None)
    if problem:
        return Side(problem=problem)
    seconds = [s for r in found for s in r["seconds"]]
    side = Side(
        seconds=statistics.median(seconds),
        peak_mb=max(r["peak_mb"] for r in found),
        base_mb=min(r["base_mb"] for r in found),
        all_seconds=seconds,
        loss=found[0].get("loss"),
    )
    if "keypoints0" in found[0]:
        side.keypoints = [
            torch.tensor(found[0][name]).reshape(-1, 2)
            for name in ("keypoints0", "keypoints1")
        ]
        side.matches = len(side.keypoints[0])
    return side


def shared(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> float:
    """Share of their matches that ours has within ``MATCH_PX``; 1 where none is."""
    if not len(theirs[0]):
        return float(len(ours[0]) == 0)
    if not len(ours[0]):
        return 0.0
    # The fast way through a matrix product is off by more than MATCH_PX.
    exact = {"compute_mode": "donot_use_mm_for_euclid_dist"}
    apart = torch.maximum(
        torch.cdist(theirs[0], ours[0], **exact),
        torch.cdist(theirs[1], ours[1], **exact),
    )
    return (apart.min(dim=1).values < MATCH_PX).double().mean().item()


def _ratio(other: float | None, ours: float | None) -> float | None:
    return other / ours if other and ours else None


def _row(side: Side) -> str:
    if side.problem:
        return side.problem
    low, high = min(side.all_seconds), max(side.all_seconds)
    spread = f"{low:.2f} to {high:.2f}"
    return f"{side.seconds:9.2f} {spread:>15} {side.peak_mb:9,.0f}"
