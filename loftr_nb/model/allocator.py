"""What a process sets once before it trains: its numbers and its memory."""

from __future__ import annotations

import ctypes
import sys

import torch

from .config import LoFTRConfig

_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of glibc's mallopt


def settle(config: LoFTRConfig) -> None:
    """Set this process up for training a network of ``config``; call it once.

    Numbers below 1e-38 become 0: softmaxes of a confident matcher are full of
    them, and a CPU computes with those up to 80 times slower. Where
    ``config.recompute`` is ``all``, memory counts for more than time, and freed
    memory goes back to the system.
    """
    torch.set_flush_denormal(True)
    if config.recompute == "all":
        return_freed_memory()


def return_freed_memory(smallest: int = 4_000_000) -> bool:
    """Let glibc give freed blocks of ``smallest`` bytes and more to the system.

    By default its limit climbs to 32 MB as blocks are freed, and smaller ones stay
    in a heap full of holes: of a step at 640x480 that is up to 1 GB, for a tenth
    of its time. It holds for the whole process.

    Returns:
        Whether it took effect; False where the C library is another one.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(_MMAP_THRESHOLD, smallest) == 1
