"""Small trained weights that come with the repository, so that nobody has to wait.

They are made by our own recipes; data/weights/README.md says with which command, for
how long and how well they do. The log of their training lies beside them.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import CheckpointError, nearest

FOLDER = Path(__file__).resolve().parents[2] / "data" / "weights"


def shipped(name: str = "mini_ds", file: str = "weights.pt") -> Path:
    """Path of trained weights in the repository, for :meth:`LoFTR.load`.

    Args:
        file: another file of the same run: ``metrics.jsonl``, ``summary.json``.

    Raises:
        CheckpointError: no such weights, or the package is installed without the
            repository around it.
    """
    path = FOLDER / name / file
    if path.is_file():
        return path
    known = sorted(p.parent.name for p in FOLDER.glob("*/weights.pt"))
    if not known:
        raise CheckpointError(
            f"{FOLDER} holds no weights: they come with a clone of the repository. "
            "`loftr-nb train mini_ds` makes such weights in minutes"
        )
    if name not in known:
        raise CheckpointError(
            f"no weights {name!r} in {FOLDER}: {nearest(name, known)}"
        )
    raise CheckpointError(f"{path} does not exist")
