"""Where weights are taken from when somebody names them, and what is known of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import CheckpointError
from . import shipped, weights
from .loftr import LoFTR
from .weights_file import open_weights, sha256

CITE = (
    "Sun, Shen, Wang, Bao, Zhou. LoFTR: Detector-Free Local Feature Matching with "
    "Transformers. CVPR 2021"
)


def find_weights(source: str | os.PathLike[str]) -> Path:
    """The file that a name means: itself, a run folder's weights, or shipped ones.

    Raises:
        CheckpointError: there is nothing of that name.
    """
    path = Path(source)
    if path.is_dir():
        inside = ("weights.pt", "checkpoints/best.pt", "checkpoints/last.pt")
        found = [path / name for name in inside if (path / name).is_file()]
        if found:
            return found[0]
        raise CheckpointError(
            f"{path} holds neither weights.pt nor checkpoints of a run: give a run "
            "folder or a file with weights"
        )
    if path.is_file():
        return path
    names = sorted(p.parent.name for p in shipped.FOLDER.glob("*/weights.pt"))
    if str(source) in names:
        return shipped.shipped(str(source))
    known = [*names, *weights.PUBLISHED_NAMES]
    raise CheckpointError(
        f"{path} does not exist: give a file of weights, a run folder, or one of the "
        f"names {', '.join(known)}"
    )


def open_source(
    source: LoFTR | str | os.PathLike[str], position: str | None
) -> tuple[LoFTR, dict[str, Any]]:
    """The model, and what is known of where it comes from: never a path of a machine.

    Args:
        source: a model, what :func:`find_weights` takes, or a published name.
        position: of a file that does not say how its weights were trained.

    Raises:
        CheckpointError, ConfigError: see :func:`.weights.load`.
    """
    about: dict[str, Any] = {"package": f"loftr_nb {__version__}", "cite": CITE}
    if isinstance(source, LoFTR):
        return source, about
    if str(source) in weights.PUBLISHED_NAMES and not Path(source).exists():
        return weights.pretrained(str(source)), about | {"file": f"kornia's {source}"}
    path = find_weights(source)
    model = weights.load(path, position=position)
    about |= {"file": path.name, "sha256": sha256(path)} | _of_run(path)
    earlier = open_weights(path).provenance
    return model, about | ({"from": earlier} if earlier else {})


def _of_run(path: Path) -> dict[str, Any]:
    """Recipe and length, where the file lies in a run's folder."""
    run = path.parent.parent if path.parent.name == "checkpoints" else path.parent
    known: dict[str, Any] = {}
    try:
        recipe = json.loads((run / "config.json").read_text(encoding="utf-8"))["recipe"]
        known["recipe"] = str(recipe["name"])
        if path.name == "weights.pt":  # the summary is about these
            summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
            known |= {k: summary[k] for k in ("steps", "pairs_seen")}
    except (OSError, ValueError, KeyError, TypeError):
        pass  # no run's folder, or one that is not finished: less is known
    return known
