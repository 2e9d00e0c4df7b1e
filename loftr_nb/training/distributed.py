"""One process or many: who am I, and the few things processes do together.

The same code runs alone and under ``torchrun``; without its environment
variables this is process 0 of 1 and nothing here communicates.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class Process:
    """This process among its peers. rank: 0 to world - 1; 0 does the talking."""

    rank: int
    world: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def gather(self, value: Any) -> list[Any]:
        """``value`` of every process, on every process, in order of rank."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value)
        return values

    def sum(self, value: torch.Tensor) -> torch.Tensor:
        """``value`` added up over all processes, the same on all of them."""
        if self.world == 1:
            return value
        total = value.clone()
        dist.all_reduce(total)
        return total

    def any(self, value: bool) -> bool:
        """Whether ``value`` is True on any process, the same on all of them."""
        if self.world == 1:
            return value
        note = torch.tensor(int(value), device=self.device)
        dist.all_reduce(note, dist.ReduceOp.MAX)
        return bool(note.item())

    def rng_state(self) -> list[dict[str, torch.Tensor]]:
        """Random state of every process, in order of rank."""
        own = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            own["cuda"] = torch.cuda.get_rng_state(self.device)
        return self.gather(own)

    def set_rng_state(self, states: list[dict[str, torch.Tensor]]) -> None:
        """Take up this process's own; one that was not there keeps its seed."""
        if self.rank >= len(states):
            return
        torch.set_rng_state(states[self.rank]["cpu"])
        if self.device.type == "cuda" and "cuda" in states[self.rank]:
            torch.cuda.set_rng_state(states[self.rank]["cuda"], self.device)

    def wait(self) -> None:
        """Return when every process has come here."""
        if self.world > 1:
            dist.barrier()


def start(device: str | None = None) -> Process:
    """Join the process group that ``torchrun`` describes, if there is one.

    Args:
        device: ``cpu``, ``cuda`` or ``cuda:1``; by default a GPU where there
            is one. Under ``torchrun`` each process takes the GPU of its local
            rank.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    name = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if world == 1:
        return Process(0, 1, torch.device(name))
    if name == "cuda":
        local = int(os.environ["LOCAL_RANK"])
        # Two processes may share a card for a trial; NCCL refuses that, gloo
        # does not.
        torch.cuda.set_device(local % torch.cuda.device_count())
        name = f"cuda:{torch.cuda.current_device()}"
        shared = int(os.environ["LOCAL_WORLD_SIZE"]) > torch.cuda.device_count()
        backend = "gloo" if shared else "nccl"
    else:
        backend = "gloo"
    if not dist.is_initialized():
        dist.init_process_group(backend)
    return Process(dist.get_rank(), dist.get_world_size(), torch.device(name))


def stop() -> None:
    """Leave the process group, if there is one."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
