"""Weights on disk: ours, safetensors, the original release's, kornia's.

A file of ours carries the config beside the weights, position encoding included:
the encoding is not part of the weights, and the wrong one gives no error in the
network, only worse matches. Files of others do not say which one they need; a
table of published names or the caller must.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import CheckpointError, ConfigError, nearest
from ..files.checkpoints import atomic_save, reason
from .config import CHOICES, READING_FIELDS, LoFTRConfig
from .weights_file import FORMAT, VERSION, open_weights

if TYPE_CHECKING:
    from .loftr import LoFTR

# Which position encoding published weights need: by file, by kornia's name.
PUBLISHED_FILES = {
    "indoor_ds.ckpt": "released",
    "indoor_ot.ckpt": "released",
    "outdoor_ds.ckpt": "released",
    "outdoor_ot.ckpt": "released",
    "indoor_ds_new.ckpt": "fixed",
    "loftr_indoor.ckpt": "released",
    "loftr_outdoor.ckpt": "released",
    "loftr_indoor_ds_new.ckpt": "fixed",
}
PUBLISHED_NAMES = {"outdoor": "released", "indoor": "released", "indoor_new": "fixed"}


def pack(model: LoFTR) -> dict[str, Any]:
    """What a checkpoint holds of a model: format, version, config, state_dict."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "config": model.config.to_dict(),
        "state_dict": {k: v.detach().cpu() for k, v in model.state_dict().items()},
    }


def save(model: LoFTR, path: str | os.PathLike[str]) -> None:
    """Write a model's weights and config; atomic, see :func:`atomic_save`."""
    atomic_save(pack(model), path)


def load(
    path: str | os.PathLike[str],
    config: LoFTRConfig | None = None,
    position: str | None = None,
) -> LoFTR:
    """A model from a file, in eval mode on the CPU.

    Reads files of :func:`save`, training checkpoints that hold the same under
    ``model``, safetensors, the original release's ``.ckpt`` (``matcher.`` prefix) and
    plain state dicts with kornia's names. A JSON that :func:`.export.export` wrote
    beside one counts as part of it. Nothing in a file is executed.

    Args:
        config: what the caller expects. A file that says otherwise is an error,
            but for ``threshold`` and ``border``, which the caller may choose.
            For a file without config: its sizes, when they are not the paper's;
            ``position`` then comes from the next argument, never from a default.
        position: ``fixed`` or ``released``; needed for a file that does not say
            which position encoding its weights are trained with.

    Raises:
        CheckpointError: naming the file, what differs and the way out.
        ConfigError: ``position`` is neither of its two values.
    """
    path = Path(path)
    if position is not None and position not in CHOICES["position"]:
        known = nearest(position, CHOICES["position"])
        raise ConfigError(f"position={position!r} is unknown; {known}")
    state, stored = read(path)
    if stored is None:
        settings = _settings_of_foreign(path, state, config, position)
    else:
        settings = _settings_of_ours(path, stored, config, position)
    return build(settings, state, str(path))


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], Any]:
    """The weights in a file under kornia's names, and its config or None.

    Reads what :func:`load` reads, before it is known which network they fit.

    Raises:
        CheckpointError: the file is missing, damaged, or holds no weights.
    """
    found = open_weights(Path(path))
    return found.state, found.settings


def build(config: LoFTRConfig, state: Mapping[str, Tensor], where: str) -> LoFTR:
    """A model in eval mode with these weights; strict.

    Raises:
        CheckpointError: a weight is missing, left over, of another shape or not
            finite; ``where`` names the source.
    """
    from .loftr import LoFTR

    model = LoFTR(config)
    wanted = model.state_dict()
    # Shapes first: they tell most about which network the file is of.
    problems = [
        f"{k} is {tuple(state[k].shape)} where {tuple(wanted[k].shape)} is needed"
        for k in wanted
        if k in state and state[k].shape != wanted[k].shape
    ]
    problems += [f"{k} is missing" for k in wanted if k not in state]
    problems += [f"{k} is not part of it" for k in state if k not in wanted]
    if problems:
        raise CheckpointError(
            f"{where} does not hold this network (block_dims {config.block_dims}, "
            f"{config.coarse_layers} coarse layers, matcher {config.matcher!r}): "
            f"{_first(problems)}. Pass the config that it was trained with"
        )
    broken = [k for k, v in state.items() if not torch.isfinite(v).all()]
    if broken:
        raise CheckpointError(
            f"{where} holds weights that are not finite: {_first(broken)}. Training "
            "diverged: take an earlier checkpoint"
        )
    model.load_state_dict(dict(state), strict=True)
    return model.eval()


def pretrained(name: str) -> LoFTR:
    """The weights that kornia publishes, with the position encoding they need.

    Args:
        name: ``outdoor`` (MegaDepth), ``indoor`` (ScanNet), ``indoor_new``
            (ScanNet, trained with the fixed position encoding).

    Raises:
        ConfigError: unknown name.
        CheckpointError: no network; the message says what to fetch by hand and
            how to load it.
    """
    if name not in PUBLISHED_NAMES:
        known = nearest(name, PUBLISHED_NAMES)
        raise ConfigError(f"no published weights are called {name!r}; {known}")
    from kornia.feature.loftr import loftr as kornia_loftr

    position = PUBLISHED_NAMES[name]
    try:
        source = kornia_loftr.LoFTR(pretrained=name)
    except Exception as error:  # urllib, ssl, a torn file: whatever the loader meets
        urls = kornia_loftr.urls[name]
        urls = [urls] if isinstance(urls, str) else urls
        raise CheckpointError(
            f"the published weights {name!r} could not be fetched "
            f"({type(error).__name__}: {reason(error)}). Download "
            f"{' or '.join(urls)} by hand, then LoFTR.load(FILE, "
            f"position={position!r})"
        ) from error
    return build(LoFTRConfig(position=position), source.state_dict(), name)


def _settings_of_ours(
    path: Path, stored: Any, config: LoFTRConfig | None, position: str | None
) -> LoFTRConfig:
    if not isinstance(stored, Mapping) or "position" not in stored:
        raise CheckpointError(
            f"the config in {path} does not say which position encoding its weights "
            "are trained with: load its state_dict alone, with position="
        )
    try:
        settings = LoFTRConfig.from_dict(stored)
    except ConfigError as error:
        raise CheckpointError(f"the config in {path} does not fit: {error}") from error
    asked: dict[str, Any] = {} if config is None else dataclasses.asdict(config)
    reading = {field: asked.pop(field) for field in READING_FIELDS if field in asked}
    if position is not None:
        _agree(path, "position", settings.position, position)
    for field, value in asked.items():
        _agree(path, field, getattr(settings, field), value)
    return dataclasses.replace(settings, **reading)


def _settings_of_foreign(
    path: Path,
    state: Mapping[str, Tensor],
    config: LoFTRConfig | None,
    position: str | None,
) -> LoFTRConfig:
    known = PUBLISHED_FILES.get(path.name)
    if known is None and position is None:
        raise CheckpointError(
            f"{path} does not say which position encoding its weights are trained "
            "with, and the wrong one makes matches worse without an error: pass "
            "position='released' for indoor_ds, indoor_ot, outdoor_ds and outdoor_ot, "
            "position='fixed' for indoor_ds_new and newer training"
        )
    if known is not None and position is not None:
        _agree(path, "position", known, position)
    if config is None:
        has_dustbin = "coarse_matching.bin_score" in state
        config = LoFTRConfig(matcher="ot" if has_dustbin else "ds")
    return dataclasses.replace(config, position=known or position)


def _agree(path: Path, field: str, stored: Any, asked: Any) -> None:
    if stored != asked:
        raise CheckpointError(
            f"{path} is of {field}={stored!r}, {field}={asked!r} is asked for: leave "
            f"{field} out to take the file's, or give another checkpoint"
        )


def _first(items: list[str], count: int = 4) -> str:
    more = f" and {len(items) - count} more" if len(items) > count else ""
    return ", ".join(items[:count]) + more
