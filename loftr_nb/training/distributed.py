"""One process or many: who am I, and the few things processes do together.

The same code runs alone and under ``torchrun``; without its environment
variables this is process 0 of 1 and nothing here communicates.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from ..errors import ConfigError
from .meeting import meet
from .peers import Peers

# Seconds that a process waits for the others. The longest it does in a healthy run is
# while rank 0 draws pictures, or while another one makes an index.
PATIENCE = 600.0


@dataclass(frozen=True)
class Process:
    """This process among its peers. rank: 0 to world - 1; 0 does the talking.

    restarted: torchrun has started these processes anew, after one had died.
    peers: the others, watched; None alone.
    """

    rank: int
    world: int
    device: torch.device
    restarted: bool = False
    peers: Peers | None = None

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


def start(device: str | None = None, patience: float = PATIENCE) -> Process:
    """Join the process group that ``torchrun`` describes, if there is one.

    Args:
        device: ``cpu``, ``cuda`` or ``cuda:1``; by default a GPU where there
            is one. Under ``torchrun`` each process takes the GPU of its local
            rank.
        patience: seconds to wait for a process that does not come, or says
            nothing more, before this one gives up.

    Raises:
        ConfigError: patience is not positive.
        RunError: some processes have not come; it says which.
    """
    if not patience > 0:
        raise ConfigError(f"patience is {patience}: seconds above 0 are needed")
    world = int(os.environ.get("WORLD_SIZE", "1"))
    name = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if world == 1:
        return Process(0, 1, torch.device(name), _restarts() > 0)
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
    return _join(backend, torch.device(name), patience)


def _join(backend: str, device: torch.device, patience: float) -> Process:
    # Not env://: after a restart its store still has the addresses of the dead.
    met = meet(patience)
    dist.init_process_group(
        backend,
        store=met.store,
        rank=met.rank,
        world_size=met.world,
        timeout=timedelta(seconds=patience),
    )
    peers = Peers(met.store, met.rank, met.world, patience)
    alone = Process(met.rank, met.world, device)
    # Each torchrun counts the deaths of its own processes only
    # (pytorch/pytorch#108158): what one of them knows, or the store, is true for all.
    restarted = alone.any(_restarts() > 0 or met.starts > 1)
    return dataclasses.replace(alone, restarted=restarted, peers=peers)


def _restarts() -> int:
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def stop(process: Process) -> None:
    """Leave the process group, if there is one."""
    if process.peers is not None:
        process.peers.close()
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
