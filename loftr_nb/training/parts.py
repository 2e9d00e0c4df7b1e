"""Parts of the network that keep their weights, or learn more slowly than the rest.

A part is one of the pieces that LoFTR is put together from: ``backbone``,
``loftr_coarse`` (the coarse transformer), ``coarse_matching`` (the dustbin score of
optimal transport), ``fine_preprocess`` and ``loftr_fine``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from ..errors import ConfigError, nearest
from ..model import LoFTR
from .config import OptimConfig

BACKBONE = "backbone"


def part_names(model: LoFTR) -> list[str]:
    """Parts of this network that have weights, from the images on."""
    return [
        name
        for name, part in model.named_children()
        if any(True for _ in part.parameters())
    ]


def freeze(model: LoFTR, names: Sequence[str]) -> None:
    """Take the gradients of these parts away, for good.

    To be called before the model is wrapped for several processes, which then do
    not wait for gradients that never come. Batch norm has averages besides weights:
    call :func:`rest` whenever the model is put into training mode.

    Raises:
        ConfigError: no such part, or none is left to train.
    """
    known = part_names(model)
    for name in names:
        if name not in known:
            raise ConfigError(_unknown(name, known, model))
    if known and set(known) <= set(names):
        raise ConfigError(
            "optim.freeze names every part of the network: leave out those that "
            "shall learn, of " + ", ".join(known)
        )
    for name in names:
        model.get_submodule(name).requires_grad_(False)


def rest(model: LoFTR, names: Sequence[str]) -> None:
    """Put frozen parts into evaluation mode: their batch norm keeps its averages."""
    for name in names:
        model.get_submodule(name).eval()


def parameter_groups(model: LoFTR, optim: OptimConfig) -> list[dict[str, Any]]:
    """What the optimiser changes, with each group's ``share`` of the learning rate.

    Frozen parameters are in no group: weight decay would move them too. With
    ``backbone_rate`` 1 there is one group, in the model's own order.

    Raises:
        ConfigError: ``backbone_rate`` is not above 0, or says how fast a frozen
            backbone learns.
    """
    rate = optim.backbone_rate
    if not 0 < rate < float("inf"):
        raise ConfigError(
            f"optim.backbone_rate is {rate:g}, a share of the learning rate above 0: "
            "optim.freeze=backbone is for a backbone that does not learn"
        )
    if rate == 1:
        return [{"params": _learning(model), "share": 1.0}]
    if BACKBONE in optim.freeze:
        raise ConfigError(
            f"the backbone is frozen and optim.backbone_rate={rate:g} says how fast it "
            "learns: leave one of the two out"
        )
    slow = {id(p) for p in model.backbone.parameters()}
    return [
        {"params": [p for p in _learning(model) if id(p) not in slow], "share": 1.0},
        {"params": [p for p in _learning(model) if id(p) in slow], "share": rate},
    ]


def parameter_names(model: LoFTR, optim: OptimConfig) -> list[str]:
    """Names of what the optimiser changes, in the order in which it counts them.

    The order is the one of :func:`parameter_groups` under the same ``optim``, whatever
    of ``model`` is frozen now: an optimiser's saved state is read by it.
    """
    names = [
        name
        for name, _ in model.named_parameters()
        if name.split(".")[0] not in optim.freeze
    ]
    if optim.backbone_rate == 1:
        return names
    # Sorting keeps the order within each of both groups.
    return sorted(names, key=lambda name: name.split(".")[0] == BACKBONE)


def _learning(model: nn.Module) -> list[nn.Parameter]:
    return [p for p in model.parameters() if p.requires_grad]


def _unknown(name: str, known: list[str], model: LoFTR) -> str:
    children = [child for child, _ in model.named_children()]
    if name in children:
        return (
            f"optim.freeze={name}: with matcher {model.config.matcher!r} that part has "
            f"no weights. Parts with weights: {', '.join(known)}"
        )
    return f"optim.freeze={name}: LoFTR has no such part, {nearest(name, known)}"
