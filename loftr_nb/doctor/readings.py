"""What this machine is, read without judging it.

Each reading is one field of :class:`Readings`; what cannot be read on a system is
None. Nothing here raises: a doctor that breaks on a broken machine is of no use.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

GB = 1 << 30


@dataclass(frozen=True)
class Card:
    """A GPU. capability: such as (9, 0)."""

    name: str
    capability: tuple[int, int]
    memory_gb: float


@dataclass(frozen=True)
class Place:
    """A folder that is used. existing: the part of its path that is there."""

    what: str
    path: str
    existing: str
    free_gb: float | None
    writable: bool

    @property
    def is_there(self) -> bool:
        """Whether the whole path exists."""
        return Path(self.path).absolute() == Path(self.existing)


@dataclass(frozen=True)
class Readings:
    """Everything that ``doctor`` looks at.

    torch_arches: what PyTorch's CUDA build has code for, such as ``sm_90``.
    driver: of NVIDIA, from the kernel module, even where PyTorch sees no GPU.
    usable_cores: of ``cores``, those that this process may run on.
    core_limit, memory_limit_gb: of the container (cgroup).
    shared_gb, shared_free_gb: /dev/shm, which loader workers pass pairs through.
    open_files: soft and hard limit.
    threads: OMP_NUM_THREADS and its like, where set.
    packages: installed versions of what the project needs, None where missing.
    required: lowest versions, from the project's own metadata.
    opencv: error of importing it, empty if it works.
    opencv_gui: its window system; ``NONE`` in headless builds.
    opencv_builds: installed distributions that own the cv2 folder.
    widgets_frontend: whether JupyterLab has the part of ipywidgets that draws.
    loopback: whether a socket can be opened on 127.0.0.1.
    """

    python: tuple[int, int, int]
    system: str
    torch: str | None
    torch_cuda: str | None = None
    torch_arches: tuple[str, ...] = ()
    cuda_error: str = ""
    driver: str | None = None
    cards: tuple[Card, ...] = ()
    backends: tuple[str, ...] = ()
    cores: int = 1
    usable_cores: int | None = None
    core_limit: float | None = None
    memory_gb: float = 0.0
    memory_free_gb: float = 0.0
    memory_limit_gb: float | None = None
    shared_gb: float | None = None
    shared_free_gb: float | None = None
    open_files: tuple[int, int] | None = None
    threads: dict[str, str] = field(default_factory=dict)
    packages: dict[str, str | None] = field(default_factory=dict)
    required: dict[str, str] = field(default_factory=dict)
    opencv: str = ""
    opencv_gui: str = "NONE"
    opencv_builds: tuple[str, ...] = ()
    widgets_frontend: bool = False
    loopback: str = ""
    places: tuple[Place, ...] = ()


def take_readings(data: Path | str = "data", runs: Path | str = "runs") -> Readings:
    """Read this machine.

    data, runs: the folders that data is read from and runs are written to.
    """
    places = (_place("data", Path(data)), _place("runs", Path(runs)))
    memory = psutil.virtual_memory()
    shared = _attempt(lambda: shutil.disk_usage("/dev/shm"))
    return Readings(
        python=tuple(sys.version_info[:3]),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cores=os.cpu_count() or 1,
        usable_cores=_attempt(lambda: len(os.sched_getaffinity(0))),
        core_limit=_core_limit(),
        memory_gb=memory.total / GB,
        memory_free_gb=memory.available / GB,
        memory_limit_gb=_attempt(_memory_limit),
        shared_gb=shared.total / GB if shared else None,
        shared_free_gb=shared.free / GB if shared else None,
        open_files=_attempt(_open_files),
        threads={k: v for k, v in os.environ.items() if k.endswith("_NUM_THREADS")},
        packages={name: _version(name) for name in required_versions()},
        required=required_versions(),
        widgets_frontend=_widgets_frontend(),
        loopback=_loopback(),
        places=places,
        **_torch(),
        **_opencv(),
    )


def _attempt(read: Callable[[], Any]) -> Any:
    """What ``read`` gives, None where the system has no such thing."""
    try:
        return read()
    except Exception:  # whatever is wrong with it: unknown is an answer
        return None


def _torch() -> dict[str, Any]:
    driver = _attempt(lambda: _driver(Path("/proc/driver/nvidia/version").read_text()))
    try:
        import torch
        import torch.distributed as dist
    except Exception as error:
        return {"torch": None, "cuda_error": str(error), "driver": driver}
    values: dict[str, Any] = {
        "torch": torch.__version__,
        "torch_cuda": torch.version.cuda,
        "driver": driver,
        "backends": tuple(
            name
            for name in ("gloo", "nccl")
            if dist.is_available() and getattr(dist, f"is_{name}_available")()
        ),
    }
    if torch.version.cuda is None:
        return values
    try:
        torch.cuda.init()
        values["cards"] = tuple(
            _card(torch, n) for n in range(torch.cuda.device_count())
        )
        values["torch_arches"] = tuple(torch.cuda.get_arch_list())
    except Exception as error:
        values["cuda_error"] = str(error).splitlines()[0]
    return values


def _card(torch: Any, n: int) -> Card:
    about = torch.cuda.get_device_properties(n)
    return Card(about.name, (about.major, about.minor), about.total_memory / GB)


def _driver(text: str) -> str | None:
    found = re.search(r"\b(\d{3}\.\d+(?:\.\d+)?)\b", text)
    return found[1] if found else None


def _core_limit() -> float | None:
    """Cores' worth of time that the container gives, None without a limit."""

    def second() -> float | None:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)

    def first() -> float | None:
        folder = Path("/sys/fs/cgroup/cpu")
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        return (
            None
            if quota < 0
            else quota / int((folder / "cpu.cfs_period_us").read_text())
        )

    return _attempt(second) or _attempt(first)


def _memory_limit() -> float | None:
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        text = _attempt(Path("/sys/fs/cgroup", name).read_text)
        # Version 1 writes "no limit" as a number near 2**63.
        if text and text.strip() != "max" and int(text) < 1 << 60:
            return int(text) / GB
    return None


def _open_files() -> tuple[int, int] | None:
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return None
    return resource.getrlimit(resource.RLIMIT_NOFILE)


def required_versions() -> dict[str, str]:
    """Packages that the project needs, with the lowest version of each."""
    lines = _attempt(lambda: importlib.metadata.requires("loftr-nb")) or []
    found = [re.match(r"([\w.-]+)\s*>=\s*([\w.]+)\s*$", line) for line in lines]
    return {match[1].lower(): match[2] for match in found if match}


def _version(name: str) -> str | None:
    # Either build of OpenCV does: the headless one is installed where no GL is.
    names = [name] + ([f"{name}-headless"] if name == "opencv-python" else [])
    found = (_attempt(lambda n=n: importlib.metadata.version(n)) for n in names)
    return next(filter(None, found), None)


def _opencv() -> dict[str, Any]:
    names = ("opencv-python", "opencv-python-headless", "opencv-contrib-python")
    installed = [
        n for n in names if _attempt(lambda n=n: importlib.metadata.version(n))
    ]
    values: dict[str, Any] = {"opencv_builds": tuple(installed)}
    try:
        import cv2
    except Exception as error:
        return values | {"opencv": str(error)}
    found = re.search(r"GUI:\s*(.+)", cv2.getBuildInformation())
    return values | {"opencv_gui": found[1].strip() if found else "NONE"}


def _widgets_frontend() -> bool:
    folder = Path(sys.prefix, "share/jupyter/labextensions/@jupyter-widgets")
    return (folder / "jupyterlab-manager" / "package.json").exists() or (
        importlib.util.find_spec("jupyterlab_widgets") is not None
    )


def _loopback() -> str:
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname()[:2], timeout=2).close()
    except OSError as error:
        return str(error)
    return ""


def _place(what: str, path: Path) -> Place:
    existing = path.absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    usage = _attempt(lambda: shutil.disk_usage(existing))
    free = usage.free / GB if usage else None
    writable = os.access(existing, os.W_OK) and existing.is_dir()
    return Place(what, str(path), str(existing), free, writable)
