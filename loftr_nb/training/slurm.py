"""A batch file for Slurm: torchrun on every node, requeued and resumed by itself.

Slurm sends SIGUSR1 to the batch file some seconds before the time limit. The file
hands it to ``srun``, which hands it to torchrun on every node and so to all training
processes: they finish the step, save and leave, and the job is put back in the
queue. Started again, the same command goes on from the checkpoint.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ConfigError

# Seconds of the notice that are left for srun and Slurm themselves.
MARGIN = 20
TIME = re.compile(r"(\d+-)?\d+(:\d{1,2}){0,2}")


@dataclass(frozen=True)
class SlurmJob:
    """What to ask of Slurm, and what to run there.

    words: recipe, overrides and options of the training command, without ``--out``.
    out: the run's folder, on a disk that all nodes share.
    nodes, gpus: machines, and GPUs (= processes) on each.
    cpus: cores for each node.
    time: limit of one stay, as ``sbatch --time`` takes it (``12:00:00``, ``1-00:00``).
    notice: seconds before the limit at which training is asked to save.
    restarts: how often torchrun starts all processes again after one has died.
    port: TCP port on the first node where the processes meet.
    setup: shell lines before training, such as ``module load cuda``.
    sbatch: further options of sbatch, such as ``--qos=long``.
    """

    name: str
    words: Sequence[str]
    out: Path
    nodes: int
    gpus: int
    cpus: int
    folder: Path
    time: str = "24:00:00"
    account: str | None = None
    partition: str | None = None
    notice: int = 120
    restarts: int = 1
    port: int = 29400
    python: str = sys.executable
    setup: Sequence[str] = ()
    sbatch: Sequence[str] = field(default=())

    def __post_init__(self) -> None:
        for name, low in (("nodes", 1), ("gpus", 1), ("cpus", 1), ("restarts", 0)):
            if getattr(self, name) < low:
                raise ConfigError(
                    f"{name} is {getattr(self, name)}: at least {low} is needed"
                )
        if not TIME.fullmatch(self.time):
            raise ConfigError(
                f"time {self.time!r} is none that Slurm reads: write minutes, "
                "hours:minutes:seconds (12:00:00) or days-hours:minutes (1-12:00)"
            )
        if self.notice < 3 * MARGIN:
            raise ConfigError(
                f"notice is {self.notice} s: finishing a step and saving needs "
                f"{3 * MARGIN} s or more"
            )
        if not 1024 <= self.port <= 65535:
            raise ConfigError(f"port is {self.port}: 1024 to 65535 is free to use")
        for line in (*self.setup, *self.sbatch, self.account, self.partition):
            if line is not None and "\n" in line:
                raise ConfigError(f"{line!r} is more than one line: give it in parts")
        for option in self.sbatch:
            if not option.startswith("-"):
                raise ConfigError(
                    f"{option!r} is no option of sbatch: write --sbatch=--qos=long"
                )
        _plain_path(self.out)


def sbatch_text(job: SlurmJob) -> str:
    """The batch file, to be given to ``sbatch``."""
    return "\n".join([*_header(job), "", *_body(job), ""])


def _plain_path(path: Path) -> None:
    """sbatch reads %j and spaces in its own lines in its own way."""
    if re.search(r"[\s%\\\"']", str(path)):
        raise ConfigError(
            f"{path}: a batch file cannot name its log in a folder with spaces, "
            "quotes, backslashes or %: give another --out"
        )


def _header(job: SlurmJob) -> list[str]:
    options = [
        f"--job-name={job.name}",
        f"--nodes={job.nodes}",
        "--ntasks-per-node=1",  # torchrun, which starts the processes of its node
        f"--gpus-per-node={job.gpus}",
        f"--cpus-per-task={job.cpus}",
        f"--time={job.time}",
        # B: to this file alone, which hands it on.
        f"--signal=B:USR1@{job.notice}",
        "--requeue",
        # All stays of the job write to one log: the number stays the same.
        f"--output={job.out}.slurm-%j.log",
        "--open-mode=append",
    ]
    options += [f"--account={job.account}"] if job.account else []
    options += [f"--partition={job.partition}"] if job.partition else []
    return ["#!/bin/bash", *(f"#SBATCH {o}" for o in (*options, *job.sbatch))]


def _body(job: SlurmJob) -> list[str]:
    out = shlex.quote(str(job.out))
    return [
        f"cd {shlex.quote(str(job.folder))} || exit 1",
        *job.setup,
        "",
        "leave=",
        "on_notice() {",
        '    leave=requeue; echo "time is nearly up: training saves and comes back"',
        '    kill -USR1 "$training"',
        "}",
        "on_cancel() {",
        '    leave=cancel; echo "cancelled: training saves"; kill -USR1 "$training"',
        "}",
        "trap on_notice USR1",
        "trap on_cancel TERM",
        "",
        "# The first node is where the processes of all nodes meet.",
        'head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
        *_srun(job),
        "training=$!",
        "# A signal ends `wait` early: wait again until training has really left.",
        'wait "$training"; status=$?',
        'while kill -0 "$training" 2>/dev/null; do wait "$training"; status=$?; done',
        "",
        f'if [ "$leave" = requeue ] && [ ! -e {out}/summary.json ]; then',
        f"    if [ -e {out}/checkpoints/last.pt ]; then",
        '        scontrol requeue "$SLURM_JOB_ID" && exit 0',
        '        echo "the job could not be requeued: sbatch this file again" >&2',
        "    else",
        '        echo "nothing was saved in the whole time limit: not requeued" >&2',
        "    fi",
        "fi",
        'exit "$status"',
    ]


def _srun(job: SlurmJob) -> list[str]:
    """The training command in lines, in the background of the batch file."""
    signals = "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"
    # Each stay of a requeued job meets under a name of its own.
    meet = '"$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}"'
    words = " ".join(shlex.quote(w) for w in job.words)
    lines = [
        f"srun --kill-on-bad-exit=1 {shlex.quote(job.python)} -m torch.distributed.run",
        f"--nnodes {job.nodes} --nproc-per-node {job.gpus}",
        f"--max-restarts {job.restarts}",
        f'--rdzv-backend c10d --rdzv-endpoint "$head:{job.port}" --rdzv-id {meet}',
        f"--signals-to-handle {signals} --shutdown-timeout {job.notice - MARGIN}",
        f"-m loftr_nb.training {words} --out {shlex.quote(str(job.out))} --resume &",
    ]
    return [" \\\n    ".join(lines)]
