"""The doctor: readings of this machine, and of machines that are broken."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch

from loftr_nb.cli.main import main
from loftr_nb.doctor import Card, Place, Readings, doctor, judge, take_readings
from loftr_nb.doctor.hardware import _has_code_for

GOOD = Readings(
    python=(3, 12, 1),
    system="Linux 6.1 x86_64",
    torch="2.13.0+cu130",
    torch_cuda="13.0",
    torch_arches=("sm_80", "sm_90", "sm_100", "compute_120"),
    driver="580.65.06",
    cards=(Card("NVIDIA H100", (9, 0), 80.0),),
    backends=("gloo", "nccl"),
    cores=16,
    usable_cores=16,
    memory_gb=128.0,
    memory_free_gb=100.0,
    shared_gb=64.0,
    shared_free_gb=64.0,
    open_files=(65536, 1048576),
    packages={"numpy": "2.4.6", "jupyterlab": "4.6.6", "ipywidgets": "8.1.9"},
    required={"numpy": "2.4"},
    opencv_builds=("opencv-python-headless",),
    widgets_frontend=True,
    places=(
        Place("data", "/data", "/data", 900.0, False),
        Place("runs", "/runs", "/", 900.0, True),
    ),
)


def found(level: str, **changes) -> list[tuple[str, str, str]]:
    """What the doctor says at that level of a good machine with these changes."""
    findings = judge(dataclasses.replace(GOOD, **changes))
    return [(f.what, f.words, f.mend) for f in findings if f.level == level]


def test_a_good_machine_is_ready() -> None:
    assert {f.level for f in judge(GOOD)} == {"ok"}
    report = doctor(readings=GOOD)
    assert not report.is_bad and report.verdict() == "ready to train"
    assert "H100" in repr(report) and "H100" in report._repr_html_()


NO_GPU = {"cards": (), "torch_arches": ()}
BAD = {
    "old Python": ({"python": (3, 9, 2)}, "Python", "3.9.2", "3.11"),
    "no PyTorch": (
        {"torch": None, "cuda_error": "no module named torch"},
        "PyTorch",
        "no module",
        "make install",
    ),
    "CPU build beside a driver": (
        {**NO_GPU, "torch_cuda": None, "torch": "2.13.0+cpu"},
        "GPU",
        "CPU build",
        "CUDA build",
    ),
    "old driver": ({**NO_GPU, "driver": "470.2"}, "GPU", "470.2 is older", "update"),
    "driver and no card": (NO_GPU, "GPU", "sees no card", "--gpus all"),
    "card newer than PyTorch": (
        {"torch_arches": ("sm_80", "sm_86"), "cards": GOOD.cards},
        "GPU 0",
        "sm_80, sm_86 only",
        "latest",
    ),
    "no gloo": ({"backends": ()}, "processes", "gloo is missing", "distributed"),
    "no loopback": (
        {"loopback": "Operation not permitted"},
        "processes",
        "Operation not permitted",
        "lo interface",
    ),
    "little memory": ({"memory_gb": 2.0}, "memory", "2 GB", "mini"),
    "container's memory": (
        {"memory_limit_gb": 1.5},
        "memory",
        "limited to 1.5 GB",
        "data.workers=0",
    ),
    "docker's shared memory": (
        {"shared_gb": 0.0625, "shared_free_gb": 0.0625},
        "shared memory",
        "bus error",
        "--shm-size",
    ),
    "old package": (
        {"packages": {**GOOD.packages, "numpy": "1.26.4"}},
        "packages",
        "numpy 1.26.4 is older than 2.4",
        "make install",
    ),
    "missing package": (
        {"packages": {}},
        "packages",
        "numpy is missing",
        "make install",
    ),
    "OpenCV without GL": (
        {"opencv": "libGL.so.1: cannot open shared object file"},
        "OpenCV",
        "libGL.so.1",
        "opencv-python-headless",
    ),
    "folder of another": (
        {"places": (Place("runs", "/runs", "/", 10.0, False),)},
        "runs",
        "cannot be written",
        "--out",
    ),
    "full disk": (
        {"places": (Place("runs", "/runs", "/runs", 0.0, True),)},
        "runs",
        "0.0 GB free",
        "free space",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_broken_is_said_with_the_way_out(name: str) -> None:
    changes, what, words, mend = BAD[name]
    ((has_what, has_words, has_mend),) = found("bad", **changes)
    assert has_what == what
    assert words in has_words
    assert mend in has_mend
    assert doctor(readings=dataclasses.replace(GOOD, **changes)).is_bad


WARN = {
    "no GPU at all": ({**NO_GPU, "driver": None}, "GPU", "on the CPU"),
    "two cards without NCCL": (
        {"cards": GOOD.cards * 2, "backends": ("gloo",)},
        "processes",
        "without NCCL",
    ),
    "container's cores": ({"core_limit": 1.5}, "cores", "OMP_NUM_THREADS=1"),
    "more threads than cores": (
        {"threads": {"OMP_NUM_THREADS": "64"}},
        "threads",
        "set it to 16",
    ),
    "pinned to a few cores": (
        {"usable_cores": 2, "threads": {"MKL_NUM_THREADS": "8"}},
        "threads",
        "8 on 2 usable",
    ),
    "memory in use": ({"memory_free_gb": 1.0}, "memory", "end what else runs"),
    "shared memory in use": (
        {"shared_free_gb": 0.1},
        "shared memory",
        "dead processes",
    ),
    "few files": ({"open_files": (1024, 1048576)}, "open files", "ulimit -n 4096"),
    "few files for good": ({"open_files": (256, 1024)}, "open files", "limits.conf"),
    "two OpenCVs": (
        {"opencv_builds": ("opencv-python", "opencv-python-headless")},
        "OpenCV",
        "same folder",
    ),
    "no widgets": ({"widgets_frontend": False}, "JupyterLab", "LOFTR_NB_STATIC"),
    "no data": (
        {"places": (Place("data", "/d/mini", "/", 9.0, True),)},
        "data",
        "loftr-nb data mini",
    ),
    "not installed": ({"required": {}}, "packages", "pip install -e"),
}


@pytest.mark.parametrize("name", WARN)
def test_what_is_to_be_known_does_not_fail(name: str) -> None:
    changes, what, words = WARN[name]
    ((has_what, has_words, has_mend),) = found("warn", **changes)
    assert has_what == what
    assert words in f"{has_words} {has_mend}"
    assert not doctor(readings=dataclasses.replace(GOOD, **changes)).is_bad


@pytest.mark.parametrize(
    "capability, arches, runs",
    [
        ((8, 9), ("sm_80",), True),  # code for 8.0 runs on all of 8.x
        ((8, 0), ("sm_86",), False),  # and not on an older one
        ((12, 0), ("sm_90", "sm_100"), False),
        ((12, 0), ("sm_90", "compute_90"), True),  # compiled when it is loaded
        ((9, 0), ("sm_90a",), True),
        ((7, 5), (), True),  # nothing known
    ],
)
def test_which_code_runs_on_which_card(capability, arches, runs) -> None:
    """The rules of NVIDIA's programming guide on binary and PTX compatibility."""
    assert _has_code_for(capability, arches) is runs


def test_readings_of_this_machine(tmp_path: Path) -> None:
    readings = take_readings(tmp_path / "no" / "data", tmp_path)
    assert readings.python == tuple(sys.version_info[:3])
    assert readings.torch == torch.__version__
    assert readings.memory_gb == pytest.approx(psutil.virtual_memory().total / 2**30)
    assert readings.packages["numpy"] and not readings.opencv and not readings.loopback
    data, runs = readings.places
    assert data.existing == str(tmp_path) and not data.is_there
    assert runs.is_there and runs.writable and runs.free_gb > 0
    if sys.platform == "linux":
        assert readings.usable_cores == len(os.sched_getaffinity(0))
        assert readings.shared_gb and readings.open_files


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    status = main(
        ["doctor", "--data", str(tmp_path), "--runs", str(tmp_path), "--json"]
    )
    report = json.loads(capsys.readouterr().out)
    bad = any(f["level"] == "bad" for f in report["findings"])
    assert status == int(bad) == int(report["bad"])
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    assert main(["doctor", "--runs", str(blocked / "runs")]) == 1
    assert "cannot be written" in capsys.readouterr().out


def test_a_broken_package_gives_a_report_and_no_traceback(tmp_path: Path) -> None:
    """Any command says what is wrong where OpenCV finds no libGL."""
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open')")
    done = subprocess.run(
        [sys.executable, "-m", "loftr_nb.cli.main", "plan", "mini_ds"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "libGL.so.1" in done.stderr and "opencv-python-headless" in done.stderr
