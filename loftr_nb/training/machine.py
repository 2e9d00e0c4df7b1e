"""What this machine has for training: memory, shared memory, cores."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import psutil

from .config import Recipe
from .stand_in import bytes_of, input_size, stand_in

PREFETCH = 4  # batches that each loader worker holds ready, see loaders.py
SHARED = "/dev/shm"


def free_memory() -> int:
    """Bytes of main memory that may still be taken, also by a container's limit."""
    free = psutil.virtual_memory().available
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            at_most = int(Path("/sys/fs/cgroup", limit).read_text())
            return min(free, at_most - int(Path("/sys/fs/cgroup", used).read_text()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return free


def shared_need(recipe: Recipe, processes: int, batch_bytes: float = 0.0) -> float:
    """Bytes of the batches that loader workers hold ready, all processes together.

    batch_bytes: of one batch; by default that of a made one.
    """
    workers = recipe.data.workers
    if not workers:
        return 0.0
    if not batch_bytes:
        w, h = input_size(recipe)
        small = dataclasses.replace(recipe.data, width=64, height=64, longer_side=64)
        # Bytes grow with the pixels: a huge pair is not made to be weighed.
        one = bytes_of(stand_in(dataclasses.replace(recipe, data=small), 1))
        batch_bytes = one * w * h / 64**2 * recipe.optim.batch
    return processes * workers * PREFETCH * batch_bytes


def shared_free() -> float | None:
    """Bytes free in /dev/shm, None on systems without it."""
    try:
        return float(shutil.disk_usage(SHARED).free)
    except OSError:
        return None


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
