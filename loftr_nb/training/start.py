"""Fine-tuning: the weights a run begins from, in place of random ones.

Our files say which network they are of. Those of others hold weights alone: sizes
are read off their shapes, and the position encoding, which no shape shows, from a
table of published files or from ``start_position``.

A run begins from a file once. Its recipe keeps the file's SHA-256, and from the first
checkpoint on the file is no longer needed.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError, ConfigError, RunError
from ..model import LoFTR, LoFTRConfig, weights
from ..model.config import READING_FIELDS
from ..model.weights_file import sha256
from .config import Recipe
from .parts import freeze, parameter_groups
from .run_folder import RunFolder

# Fields that may differ from the file's: they do not change what its weights mean.
FREE = (*READING_FIELDS, "dustbin_init")


def start_file(start: str | os.PathLike[str]) -> Path:
    """The file that ``start`` means: itself, or the weights of a run's folder.

    Raises:
        CheckpointError: there is none.
    """
    path = Path(start)
    if path.is_dir():
        inside = [path / "weights.pt", path / "checkpoints" / "best.pt"]
        inside += [path / "checkpoints" / "last.pt"]
        found = [p for p in inside if p.is_file()]
        if found:
            return found[0]
        raise CheckpointError(
            f"start={start}: the folder holds neither weights.pt nor checkpoints of a "
            "run: give a file with weights"
        )
    if path.is_file():
        return path
    if str(start) in weights.PUBLISHED_NAMES:
        raise CheckpointError(
            f"start={start}: no such file. Published weights are fetched first: python "
            f"-c \"from loftr_nb.model import LoFTR; LoFTR.pretrained('{start}')"
            f".save('{start}.pt')\", then start={start}.pt"
        )
    raise CheckpointError(f"start={start}: there is no such file or run folder")


def pin_start(recipe: Recipe, folder: RunFolder) -> Recipe:
    """The recipe with the checksum of the file it starts from, all of it checked.

    Before the folder is taken: a wrong file or part leaves no run behind. A run that
    is there already knows the checksum: its file is not read again, and may be gone.

    Raises:
        CheckpointError: see :func:`start_weights`.
        ConfigError: ``start_position`` without ``start``, or see
            :func:`.parts.freeze` and :func:`.parts.parameter_groups`.
    """
    with torch.device("meta"):
        model = LoFTR(recipe.model)
    freeze(model, recipe.optim.freeze)
    parameter_groups(model, recipe.optim)
    if not recipe.start:
        if recipe.start_position:
            raise ConfigError(
                f"start_position={recipe.start_position} says how weights of a file "
                "were trained, and there is no start: give --start FILE. What a new "
                "network is trained with is model.position"
            )
        return recipe
    if folder.config.exists():
        before = folder.read_recipe()
        if before.start == recipe.start and before.start_sha256:
            return dataclasses.replace(recipe, start_sha256=before.start_sha256)
    path = start_file(recipe.start)
    start_weights(recipe, path)
    return dataclasses.replace(recipe, start_sha256=sha256(path))


def new_model(recipe: Recipe, resuming: bool = False) -> LoFTR:
    """The network a run begins with, on the CPU and in training mode.

    Args:
        resuming: a checkpoint is about to be loaded into it; ``start`` is not read.

    Raises:
        CheckpointError: the file of ``start`` cannot be read, is another one than
            the run began with, or holds another network than the recipe's.
        ConfigError: see :func:`start_weights`. RunError: the file has changed.
    """
    if not recipe.start or resuming:
        return LoFTR(recipe.model)
    path = start_file(recipe.start)
    if recipe.start_sha256 and sha256(path) != recipe.start_sha256:
        raise RunError(
            f"{path} is no longer the file that this run began with, and the run has "
            "no checkpoint yet: put the file back, or train into another --out"
        )
    return start_weights(recipe, path).train()


def start_weights(recipe: Recipe, path: Path) -> LoFTR:
    """The recipe's network with the weights in ``path``, in evaluation mode.

    Raises:
        CheckpointError: no weights, weights of another network (with the changes
            to the recipe that make it theirs), of a part of one, or not finite.
        ConfigError: it is not known, or contradicts the recipe, with which position
            encoding they were trained.
    """
    state, stored = weights.read(path)
    position = _position(recipe, path, stored)
    theirs = _config_of(state, path, stored)
    ours = recipe.model.to_dict()
    wrong = {
        name: value
        for name, value in theirs.items()
        if name not in FREE and ours[name] != value
    }
    # Shapes say more than the position: whoever must change both learns both.
    if position != recipe.model.position:
        wrong["position"] = position
    if wrong:
        raise CheckpointError(_differs(path, wrong, ours))
    try:
        return weights.build(recipe.model, state, str(path))
    except CheckpointError as error:
        raise CheckpointError(
            f"{error}. A run starts from the weights of a whole network, not from a "
            "part of one"
            if "is missing" in str(error)
            else str(error)
        ) from error


def _position(recipe: Recipe, path: Path, stored: Any) -> str:
    """Which position encoding the weights were trained with."""
    known = weights.PUBLISHED_FILES.get(path.name)
    source = "is published as"
    if isinstance(stored, Mapping):
        known, source = stored.get("position"), "says"
    asked = recipe.start_position
    if known and asked and known != asked:
        raise ConfigError(
            f"{path} {source} position {known!r}, and --start-position is {asked!r}: "
            "leave it out"
        )
    if not (known or asked):
        raise ConfigError(
            f"{path} does not say which position encoding its weights were trained "
            "with, and the wrong one only makes matches worse, without an error: give "
            "--start-position released for indoor_ds, indoor_ot, outdoor_ds and "
            "outdoor_ot, --start-position fixed for indoor_ds_new and newer training"
        )
    return known or asked


def _config_of(state: Mapping[str, Tensor], path: Path, stored: Any) -> dict[str, Any]:
    """What the file says about its network, or what its shapes say."""
    if stored is None:
        return _sizes(state)
    try:
        settings = LoFTRConfig.from_dict(stored).to_dict()
    except (ConfigError, TypeError) as error:
        raise CheckpointError(f"the config in {path} does not fit: {error}") from error
    settings.pop("position")  # judged apart
    return settings


def _sizes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Fields of the config that the weights' shapes show."""
    sizes: dict[str, Any] = {}
    dims = [f"backbone.layer{n}.0.conv1.weight" for n in (1, 2, 3)]
    if all(name in state for name in dims):
        sizes["block_dims"] = [state[name].shape[0] for name in dims]
        sizes["initial_dim"] = sizes["block_dims"][0]
    for stage in ("coarse", "fine"):
        layers = {
            k.split(".")[2] for k in state if k.startswith(f"loftr_{stage}.layers")
        }
        if layers:
            sizes[f"{stage}_layers"] = len(layers) // 2
    if sizes:
        has_dustbin = "coarse_matching.bin_score" in state
        sizes["matcher"] = "ot" if has_dustbin else "ds"
    return sizes


def _differs(path: Path, wrong: dict[str, Any], ours: dict[str, Any]) -> str:
    told = ", ".join(
        f"{k} {_text(v)} (recipe: {_text(ours[k])})" for k, v in wrong.items()
    )
    changes = " ".join(f"model.{k}={_text(v)}" for k, v in wrong.items())
    return (
        f"{path} holds another network than the recipe trains: {told}. To go on from "
        f"these weights, train their network: add {changes}"
    )


def _text(value: Any) -> str:
    """A value as an override takes it."""
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
