"""What the C library does with memory that a training step gives back."""

from __future__ import annotations

import ctypes
import sys

_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of glibc's mallopt


def return_freed_memory(smallest: int = 4_000_000) -> bool:
    """Let glibc give freed blocks of ``smallest`` bytes and more to the system.

    By default its limit climbs to 32 MB as blocks are freed, and smaller ones stay
    in a heap full of holes: of a step at 640x480 that is up to 1 GB. For the whole
    process, so a program calls it and no library function does.

    Returns:
        Whether it took effect; False where the C library is another one.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(_MMAP_THRESHOLD, smallest) == 1
