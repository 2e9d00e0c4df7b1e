"""What is fine and what is broken about Python, its packages, and folders."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .finding import Finding
from .readings import Place, Readings

RUN_GB = 2.0  # a few checkpoints of the full model, with its optimiser
PYTHON = (3, 11)


def python(r: Readings) -> Iterator[Finding]:
    words = ".".join(map(str, r.python)) + f" on {r.system}"
    if r.python[:2] < PYTHON:
        mend = "install Python 3.11 or later, remove .venv, and run `make install`"
        yield Finding("bad", "Python", f"{words} is too old", mend)
    else:
        yield Finding("ok", "Python", words)


def torch(r: Readings) -> Iterator[Finding]:
    if r.torch is None:
        mend = "`make install`, or the command that pytorch.org's selector gives"
        yield Finding("bad", "PyTorch", f"cannot be imported: {r.cuda_error}", mend)
        return
    build = f"built for CUDA {r.torch_cuda}" if r.torch_cuda else "built for CPUs"
    yield Finding("ok", "PyTorch", f"{r.torch}, {build}")


def processes(r: Readings) -> Iterator[Finding]:
    if r.torch is None:
        return
    names = " and ".join(r.backends) or "none"
    if "gloo" not in r.backends:
        mend = "install a PyTorch build with distributed support"
        yield Finding("bad", "processes", f"backends: {names}; gloo is missing", mend)
    elif len(r.cards) > 1 and "nccl" not in r.backends:
        mend = "on Linux, PyTorch's CUDA build has it; gloo works and is slower"
        yield Finding("warn", "processes", f"{len(r.cards)} GPUs without NCCL", mend)
    elif r.loopback:
        yield Finding(
            "bad",
            "processes",
            f"127.0.0.1 takes no connection ({r.loopback}): torchrun cannot start",
            "bring the lo interface up, or allow it in the sandbox or firewall",
        )
    else:
        yield Finding("ok", "processes", f"several can train together over {names}")


def packages(r: Readings) -> Iterator[Finding]:
    wrong = []
    for name, low in r.required.items():
        has = r.packages.get(name)
        if has is None:
            wrong.append(f"{name} is missing")
        elif _numbers(has) < _numbers(low):
            wrong.append(f"{name} {has} is older than {low}")
    if wrong:
        mend = "`make install`, or pip install -c constraints.txt -e ."
        yield Finding("bad", "packages", ", ".join(wrong), mend)
    elif r.required:
        yield Finding(
            "ok", "packages", f"all {len(r.required)} at or above their lowest"
        )
    else:
        mend = "`make install`, or pip install -e . in the project's folder"
        yield Finding("warn", "packages", "loftr-nb itself is not installed", mend)


def _numbers(version: str) -> tuple[int, ...]:
    release = re.match(r"[\d.]*", version)[0]
    return tuple(int(n) for n in release.split(".") if n)


def opencv(r: Readings) -> Iterator[Finding]:
    if r.opencv:
        yield Finding(
            "bad",
            "OpenCV",
            f"cannot be imported: {r.opencv}",
            "on a server without libGL: pip uninstall opencv-python "
            "opencv-python-headless, then pip install opencv-python-headless",
        )
    elif len(r.opencv_builds) > 1:
        yield Finding(
            "warn",
            "OpenCV",
            f"{' and '.join(r.opencv_builds)} are installed into the same folder",
            "pip uninstall them all, then install one",
        )
    else:
        kind = "headless" if r.opencv_gui == "NONE" else f"windows by {r.opencv_gui}"
        yield Finding("ok", "OpenCV", f"{kind}; nothing here opens a window")


def notebook(r: Readings) -> Iterator[Finding]:
    if r.packages.get("jupyterlab") and r.packages.get("ipywidgets"):
        if r.widgets_frontend:
            yield Finding("ok", "JupyterLab", "draws widgets")
            return
        yield Finding(
            "warn",
            "JupyterLab",
            "has no front end for widgets: sliders and the Stop button do not show",
            "pip install jupyterlab_widgets, and load the page again; until then "
            "LOFTR_NB_STATIC=1 draws pictures instead",
        )


def places(r: Readings) -> Iterator[Finding]:
    for place in r.places:
        free = "?" if place.free_gb is None else f"{place.free_gb:,.0f}"
        words = f"{place.path}, {free} GB free"
        if place.what == "data":
            yield _data(place, words)
        elif not place.writable:
            mend = "give a folder of your own with --out"
            words = f"{place.path} cannot be written ({place.existing} is not yours)"
            yield Finding("bad", place.what, words, mend)
        elif place.free_gb is not None and place.free_gb < RUN_GB:
            mend = "free space, or give --out on another disk"
            words = f"{place.path}, {place.free_gb:.1f} GB free: checkpoints fill it"
            yield Finding("bad", place.what, words, mend)
        else:
            yield Finding("ok", place.what, words)


def _data(place: Place, words: str) -> Finding:
    if place.is_there:
        only = "" if place.writable else ", read only"
        return Finding("ok", place.what, words + only)
    mend = "`loftr-nb data mini` renders the embedded data; --data names another folder"
    return Finding("warn", place.what, f"{place.path} is not there yet", mend)
