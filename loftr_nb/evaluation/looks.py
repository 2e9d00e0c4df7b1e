"""Inside the coarse transformer: who looks where, and the features after each layer.

Letters: B pairs, L and S tokens that look and are looked at, N heads, C channels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..model import LoFTR
from ..model.images import evaluating
from ..model.transformer import EncoderLayer


class Look(NamedTuple):
    """One layer looking once.

    name: ``self 1``, ``cross 1``, ``self 2`` ..., as the layers come.
    image: 0 or 1, the image whose cells look; ``self`` layers look at the same
        image, ``cross`` layers at the other.
    weights: (B, N, L, S), every row sums to 1.
    """

    name: str
    image: int
    weights: Tensor


def layer_names(model: LoFTR) -> list[str]:
    """Names of the coarse layers, in order."""
    pairs = range(1, len(model.loftr_coarse.layers) // 2 + 1)
    return [f"{kind} {n}" for n in pairs for kind in ("self", "cross")]


@torch.no_grad()
def attention_weights(layer: EncoderLayer, x: Tensor, source: Tensor) -> Tensor:
    """The L x S weights that a layer never writes down, for looking at them.

    Linear attention: phi(q) . phi(k), shared out over the keys, with phi = elu + 1.
    Full attention: the softmax of q . k / sqrt(channels of a head).

    Args:
        x: (B, L, C) what looks. source: (B, S, C) what is looked at.

    Returns:
        (B, N, L, S) float32; 92 MB a head at 640x480.
    """
    q, k = (
        project(tokens).unflatten(-1, (layer.heads, -1)).transpose(1, 2).float()
        for project, tokens in ((layer.q_proj, x), (layer.k_proj, source))
    )
    if layer.attend.__name__ == "full_attention":
        return (q @ k.transpose(2, 3) / q.shape[-1] ** 0.5).softmax(-1)
    mixed = (F.elu(q) + 1) @ (F.elu(k) + 1).transpose(2, 3)
    return mixed / mixed.sum(-1, keepdim=True)


@torch.no_grad()
def looks(model: LoFTR, image0: Tensor, image1: Tensor) -> list[Look]:
    """All looks of the coarse transformer at one batch, in the order they happen.

    Args:
        image0, image1: as :meth:`LoFTR.features` takes them, without padding.
    """
    seen: list[Look] = []

    def watch(name: str):
        def hook(layer: EncoderLayer, args: tuple[Tensor, ...]) -> None:
            image = sum(look.name == name for look in seen)  # 0 looks first
            seen.append(Look(name, image, attention_weights(layer, *args[:2])))

        return hook

    layers = zip(layer_names(model), model.loftr_coarse.layers, strict=True)
    hooks = [layer.register_forward_pre_hook(watch(name)) for name, layer in layers]
    try:
        with evaluating(model):
            model.features(image0, image1)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


@torch.no_grad()
def token_stages(
    model: LoFTR, image0: Tensor, image1: Tensor
) -> dict[str, tuple[Tensor, Tensor]]:
    """Tokens of both images on their way: name to (B, L, C) and (B, S, C).

    The names are ``backbone``, ``position`` and those of the layers. The images are
    of one size, without padding.
    """
    stages: dict[str, list[Tensor]] = {}

    def keep(name: str):
        def hook(module: torch.nn.Module, args: tuple, out: Tensor) -> None:
            stages.setdefault(name, []).append(out)

        return hook

    named = zip(layer_names(model), model.loftr_coarse.layers, strict=True)
    hooks = [layer.register_forward_hook(keep(name)) for name, layer in named]
    try:
        with evaluating(model):
            model.features(image0, image1)
            maps = [model.backbone(image)[0] for image in (image0, image1)]
            placed = [model.pos_encoding(m) for m in maps]
    finally:
        for hook in hooks:
            hook.remove()
    first = {"backbone": maps, "position": placed}
    tokens = {n: [m.flatten(2).transpose(1, 2) for m in v] for n, v in first.items()}
    return {name: (x[0], x[1]) for name, x in (tokens | stages).items()}
