"""One side in a process of its own: its peak memory is then its own.

python -m loftr_nb.benchmarks.child ORDER_AS_JSON

Prints one line of JSON: seconds of each timed run, peak and base memory in MiB, and
the loss of the first step or the keypoints. Not for people: see `loftr-nb bench`.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import torch

from ..model import LoFTRConfig
from ..model.allocator import keep_freed_memory, settle
from ..training.log import peak_memory_mb
from .order import Order
from .sides import match_pair, train_step


def work(order: Order) -> dict[str, Any]:
    """Do what the order says, once to warm up and then as often as it says."""
    if order.memory_limit:
        _limit(order.memory_limit)
    # A choice of ours: the other side keeps its freed memory as any process does.
    again = "none" if order.side == "kornia" else order.recompute
    settle(LoFTRConfig(recompute=again))
    if order.keep:
        keep_freed_memory()
    device = torch.device(order.device)
    base = peak_memory_mb(device)
    run = train_step(order) if order.what == "step" else match_pair(order)
    loaded = peak_memory_mb(device)
    first = run()
    seconds = []
    for _ in range(order.repeats):
        _wait(order.device)
        began = time.perf_counter()
        run()
        _wait(order.device)
        seconds.append(time.perf_counter() - began)
    result = {
        "seconds": seconds,
        "peak_mb": peak_memory_mb(device),
        "base_mb": base,
        "loaded_mb": loaded,
        "device": device_name(order.device),
        "threads": torch.get_num_threads(),
    }
    if order.what == "step":
        return result | {"loss": first}
    keypoints0, keypoints1 = (k.float().cpu() for k in first)
    return result | {
        "keypoints0": keypoints0.tolist(),
        "keypoints1": keypoints1.tolist(),
    }


def device_name(device: str) -> str:
    """The card's name, or ``cpu``."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return "cpu"


def _limit(size: int) -> None:
    """Make a request for more memory an error, in place of a killed machine."""
    if sys.platform.startswith("linux"):
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def main() -> None:
    """Obey the order of the command line."""
    try:
        result = work(Order.from_json(sys.argv[1]))
    except (RuntimeError, MemoryError) as error:
        text = str(error).lower()
        if "memory" not in text and not isinstance(error, MemoryError):
            raise
        result = {"out_of_memory": str(error) or "out of memory"}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
