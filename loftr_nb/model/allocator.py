"""What a process sets once before it trains or evaluates: numbers and memory."""

from __future__ import annotations

import ctypes
import sys

import torch

from .config import LoFTRConfig

# Names of glibc's mallopt.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4


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
    return _set(_MMAP_THRESHOLD, smallest)


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, and use it again.

    glibc hands blocks above 32 MB back at once, and the system clears each page
    of the next one: an eighth of the processor time of matching at 640x480, whose
    feature maps are that large. A forward pass asks for the same sizes again and
    again, so its peak stays about the same. For training it is not worth it: a
    quarter more memory, and no faster. It holds for the whole process.

    Returns:
        Whether it took effect; False where the C library is another one.
    """
    return _set(_MMAP_MAX, 0) and _set(_TRIM_THRESHOLD, 2**31 - 1)


def _set(name: int, value: int) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(name, value) == 1
