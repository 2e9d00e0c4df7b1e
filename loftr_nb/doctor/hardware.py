"""What is fine and what is broken about cards, cores, memory and limits."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .finding import Finding
from .readings import Readings

SHARED_GB = 1.0  # below it, four workers with full-size pairs in flight run out
OPEN_FILES = 4096
MEMORY_GB = 4.0
# PyTorch's CUDA 12 and 13 builds need at least these Linux drivers.
DRIVERS = {"12": 525, "13": 580}


def gpus(r: Readings) -> Iterator[Finding]:
    if r.torch is None:
        return
    if r.torch_cuda is None and r.driver:
        yield Finding(
            "bad",
            "GPU",
            f"there is an NVIDIA driver ({r.driver}) and PyTorch is the CPU build",
            "install PyTorch's CUDA build: pip install --force-reinstall torch, with "
            "the options of pytorch.org's selector",
        )
    elif r.torch_cuda is None:
        yield Finding("ok", "GPU", "none; the mini recipes are made for CPUs")
    elif not r.cards:
        yield _no_cards(r)
    for number, card in enumerate(r.cards):
        about = (
            f"{card.name}, {card.memory_gb:.0f} GB, compute capability "
            f"{card.capability[0]}.{card.capability[1]}"
        )
        if _has_code_for(card.capability, r.torch_arches):
            yield Finding("ok", f"GPU {number}", f"{about}, driver {r.driver or '?'}")
        else:
            yield Finding(
                "bad",
                f"GPU {number}",
                f"{about}: this PyTorch has code for {', '.join(r.torch_arches)} only",
                "install a PyTorch whose CUDA build knows this card (for a new card "
                "the latest one, for an old one an earlier one)",
            )


def _no_cards(r: Readings) -> Finding:
    need = DRIVERS.get((r.torch_cuda or "").split(".")[0])
    if r.driver and need and int(r.driver.split(".")[0]) < need:
        return Finding(
            "bad",
            "GPU",
            f"the driver {r.driver} is older than CUDA {r.torch_cuda} needs ({need})",
            "update the NVIDIA driver, or install PyTorch for an earlier CUDA",
        )
    why = f" ({r.cuda_error})" if r.cuda_error else ""
    if r.driver:
        return Finding(
            "bad",
            "GPU",
            f"the driver {r.driver} is loaded and PyTorch sees no card{why}",
            "look at nvidia-smi and at CUDA_VISIBLE_DEVICES; a container has to be "
            "started with --gpus all",
        )
    return Finding(
        "warn",
        "GPU",
        f"none to be seen{why}; training runs on the CPU",
        "where there is one: install NVIDIA's driver; start a container with "
        "--gpus all",
    )


def _has_code_for(capability: tuple[int, int], arches: tuple[str, ...]) -> bool:
    """Machine code runs on its own generation from its number on; PTX on later ones."""
    for arch in arches:
        match = re.fullmatch(r"(sm|compute)_(\d+)(\d)[af]?", arch)
        if match is None:
            continue
        has = (int(match[2]), int(match[3]))
        same = has[0] == capability[0] and has <= capability
        if same or (match[1] == "compute" and has <= capability):
            return True
    return not arches  # nothing known: no reason to alarm


def cores(r: Readings) -> Iterator[Finding]:
    usable = min(r.cores, r.usable_cores or r.cores)
    words = f"{usable} of {r.cores}" if usable < r.cores else f"{r.cores}"
    if r.core_limit is not None and r.core_limit < usable:
        yield Finding(
            "warn",
            "cores",
            f"{words}, and the container gives the time of {r.core_limit:g}",
            f"set OMP_NUM_THREADS={max(1, int(r.core_limit))} and data.workers to at "
            "most that number, or give the container more (--cpus)",
        )
    else:
        yield Finding("ok", "cores", words)
    for name, value in sorted(r.threads.items()):
        if value.isdigit() and int(value) > usable:
            mend = f"unset {name}, or set it to {usable}"
            yield Finding(
                "warn", "threads", f"{name}={value} on {usable} usable cores", mend
            )
        elif name == "OMP_NUM_THREADS":
            yield Finding("ok", "threads", f"{name}={value}")


def memory(r: Readings) -> Iterator[Finding]:
    limit = r.memory_limit_gb
    has = r.memory_gb if limit is None else min(limit, r.memory_gb)
    words = f"{r.memory_gb:.0f} GB, {r.memory_free_gb:.0f} GB free"
    if limit is not None and limit < r.memory_gb:
        words += f", limited to {limit:.1f} GB by the container"
    if has < MEMORY_GB:
        mend = "give more memory; otherwise data.workers=0 and the mini recipes"
        yield Finding("bad", "memory", words, mend)
    elif min(r.memory_free_gb, has) < MEMORY_GB:
        mend = "end what else runs, or train with fewer data.workers"
        yield Finding("warn", "memory", words, mend)
    else:
        yield Finding("ok", "memory", words)


def shared(r: Readings) -> Iterator[Finding]:
    if r.shared_gb is None or r.shared_free_gb is None:
        return  # no /dev/shm: macOS and Windows pass pairs on otherwise
    words = f"/dev/shm {r.shared_gb:.2g} GB, {r.shared_free_gb:.2g} GB free"
    if r.shared_gb < SHARED_GB:
        yield Finding(
            "bad",
            "shared memory",
            f"{words}: loader workers end with a bus error",
            "start the container with --shm-size=8g (or --ipc=host), or train with "
            "data.workers=0",
        )
    elif r.shared_free_gb < SHARED_GB:
        mend = "remove what dead processes left in /dev/shm"
        yield Finding("warn", "shared memory", words, mend)
    else:
        yield Finding("ok", "shared memory", words)


def open_files(r: Readings) -> Iterator[Finding]:
    if r.open_files is None:
        return
    soft, hard = r.open_files
    if 0 <= soft < OPEN_FILES:
        most = "unlimited" if hard < 0 else f"{hard:,}"
        able = hard < 0 or hard >= OPEN_FILES
        mend = (
            f"ulimit -n {OPEN_FILES} in the shell that starts training or JupyterLab"
            if able
            else "raise the limit in /etc/security/limits.conf (nofile), log in again"
        )
        words = f"{soft:,} at once (at most {most}): many workers can run out"
        yield Finding("warn", "open files", words, mend)
    else:
        yield Finding(
            "ok", "open files", "no limit" if soft < 0 else f"{soft:,} at once"
        )
