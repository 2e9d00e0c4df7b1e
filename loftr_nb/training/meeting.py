"""How the processes of one start find each other, and nobody of an earlier one.

torchrun keeps one key-value store for all its restarts: torch 2.13 promises a new one
for each try and makes it only once (pytorch/pytorch#135712). A process that comes
back then reads where a *dead* process used to listen: the connection is refused, or
whoever has that port now never answers. So rank 0 draws a name for each start, every
other rank proves that it is there by a word that only this start can know, and what
follows uses keys below the name.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from datetime import timedelta

import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from ..errors import RunError

PAUSE = 0.02  # seconds between two looks at the store


@dataclass(frozen=True)
class Meeting:
    """What ``init_process_group`` needs. starts: how often processes met here."""

    store: dist.Store
    rank: int
    world: int
    starts: int


def meet(patience: float) -> Meeting:
    """Wait until all processes that ``torchrun`` describes have come.

    Args:
        patience: seconds to wait for the last of them.

    Raises:
        RunError: some have not come; it says which.
    """
    limit = timedelta(seconds=patience)
    store, rank, world = next(rendezvous("env://", timeout=limit))
    name, starts = agree(store, rank, world, patience)
    return Meeting(dist.PrefixStore(name, store), rank, world, starts)


def agree(store: dist.Store, rank: int, world: int, patience: float) -> tuple[str, int]:
    """One name for this start, the same on all ranks, and how many there were.

    Raises:
        RunError: after ``patience`` seconds, naming the ranks that are missing.
    """
    if rank == 0:
        return _host(store, world, time.monotonic() + patience, patience)
    own = uuid.uuid4().hex
    store.set(f"hello/{rank}", own)
    end = time.monotonic() + patience
    while not store.check([f"answer/{own}"]):
        _wait(end, [0], world, patience)
    name, starts = store.get(f"answer/{own}").decode().split()
    store.set(f"joined/{name}/{rank}", "yes")
    return name, int(starts)


def _host(
    store: dist.Store, world: int, end: float, patience: float
) -> tuple[str, int]:
    name, starts = uuid.uuid4().hex, store.add("starts", 1)
    missing = list(range(1, world))
    while missing:
        for rank in missing:
            # Perhaps a word from an earlier start: nobody waits for that answer.
            if store.check([f"hello/{rank}"]):
                word = store.get(f"hello/{rank}").decode()
                store.set(f"answer/{word}", f"{name} {starts}")
        missing = [r for r in missing if not store.check([f"joined/{name}/{r}"])]
        if missing:
            _wait(end, missing, world, patience)
    return name, starts


def _wait(end: float, missing: list[int], world: int, patience: float) -> None:
    if time.monotonic() > end:
        who = ", ".join(str(rank) for rank in missing)
        raise RunError(
            f"rank {who} of {world} processes has not come within {patience:.0f} s. "
            "Look at its own log; a machine that starts slowly may need a larger "
            "--patience"
        )
    time.sleep(PAUSE)
