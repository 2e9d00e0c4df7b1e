"""What a run leaves behind when a loss or a gradient is not finite.

RUN/failure/step-N/rank-R.pt holds the batch of each process at fault, and
weights.pt the weights that met it: enough to repeat the step in a notebook.

    batch = load_batch("runs/x/failure/step-120/rank-0.pt")
    show_pair(batch)
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import NoReturn

from torch import Tensor

from ..datasets import Batch
from ..errors import CheckpointError, RunError
from ..files.checkpoints import atomic_save, read_saved
from ..model import LoFTR
from .distributed import Process
from .update import Broken, NotFinite

FORMAT = "loftr_nb.batch"


def report(
    error: NotFinite, model: LoFTR, step: int, folder: Path, process: Process
) -> NoReturn:
    """Save what is at fault and stop the run, on all processes together.

    Args:
        step: steps taken before this one. folder: the run's.

    Raises:
        RunError: always; it names the pairs of all processes and the files.
    """
    place = folder / "failure" / f"step-{step}"
    own = None
    if error.broken is not None:
        path = place / f"rank-{process.rank}.pt"
        own = _suspects(error.broken), path, _save(error.broken, path)
    if process.is_main:
        _attempt(lambda: model.save(place / "weights.pt"))
    found = [entry for entry in process.gather(own) if entry is not None]
    pairs = [pair for suspects, _, _ in found for pair in suspects]
    saved = [str(path) for _, path, problem in found if problem is None]
    unsaved = [problem for _, _, problem in found if problem is not None]
    pairs = pairs or ["(each pair's loss is finite; the gradient is not)"]
    raise RunError(
        f"step {step}: the loss or its gradient is not finite (gradient norm "
        f"{error.norm}), and training stops before the weights are touched.\n"
        f"Pairs at fault: {'; '.join(pairs)}.\n"
        f"Saved to look at: {', '.join(saved) or 'nothing'}"
        + "".join(f" ({problem})" for problem in unsaved)
        + f", beside the weights in {place / 'weights.pt'}. Read the batch with "
        "loftr_nb.training.load_batch and look at its depth, pose and intrinsics "
        "with loftr_nb.viz.show_pair. If they are right: a learning rate far too high "
        "ends the same way, and with precision=bf16 try fp32"
    )


def load_batch(path: Path | str) -> Batch:
    """A batch that a failed run has saved, on the CPU.

    Raises:
        CheckpointError: missing, or not such a file.
    """
    path = Path(path)
    content = read_saved(path, "it is damaged or no batch of a failed run")
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} holds no batch: those of a failed run are in its folder, "
            "failure/step-N/rank-R.pt"
        )
    return Batch(**content["batch"])


def _save(broken: Broken, path: Path) -> str | None:
    """Write the batch; returns what went wrong, if something did."""
    fields = {
        f.name: value.cpu() if isinstance(value, Tensor) else value
        for f in dataclasses.fields(Batch)
        if (value := getattr(broken.batch, f.name)) is not None
    }
    content = {
        "format": FORMAT,
        "batch": fields,
        "seeds": list(broken.seeds),
        "loss": broken.per_pair,
    }

    def write() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_save(content, path)

    return _attempt(write)


def _attempt(write) -> str | None:
    """The way a run fails is not hidden by a disk that is full as well."""
    try:
        write()
    except (OSError, CheckpointError) as error:
        return str(error)
    return None


def _suspects(broken: Broken) -> list[str]:
    batch = broken.batch
    named = zip(batch.names0, batch.names1, broken.per_pair.tolist(), strict=True)
    return [f"{a} and {b}" for a, b, loss in named if not math.isfinite(loss)]
