"""A made pair of the right size, for measuring before the data is on disk.

A wall two metres away, seen by a camera that moves sideways by two coarse cells: its
supervision is true, and nearly every cell has a match. That is more work than most
real pairs are, never less.
"""

from __future__ import annotations

import torch

from ..datasets import Batch
from ..geometry import COARSE_STRIDE
from .config import Recipe

DISTANCE = 2.0  # metres
SHIFT = 2 * COARSE_STRIDE  # pixels
PHOTO = 0.75  # height over width of a photograph before it is padded


def input_size(recipe: Recipe) -> tuple[int, int]:
    """(w, h) of the network's input, padding included."""
    if recipe.data.layout == "scannet":
        return recipe.data.width, recipe.data.height
    return recipe.data.longer_side, recipe.data.longer_side


def stand_in(recipe: Recipe, pairs: int) -> Batch:
    """``pairs`` made pairs as the recipe's data would come, on the CPU.

    MegaDepth's are landscape photographs that are padded to a square at the bottom.
    """
    w, h = input_size(recipe)
    padded = recipe.data.layout == "megadepth"
    shown = int(h * PHOTO) // COARSE_STRIDE * COARSE_STRIDE if padded else h
    image = torch.zeros(pairs, 1, h, w)
    image[:, :, :shown] = _texture(pairs, shown, w)
    mask = torch.zeros(pairs, h // COARSE_STRIDE, w // COARSE_STRIDE, dtype=torch.bool)
    mask[:, : shown // COARSE_STRIDE] = True
    K = torch.tensor([[w, 0.0, w / 2], [0.0, w, shown / 2], [0.0, 0.0, 1.0]])
    T, H = torch.eye(4), torch.eye(3)
    T[0, 3] = -SHIFT * DISTANCE / w
    H[0, 2] = -SHIFT
    depth = torch.full((pairs, mask[0].numel()), DISTANCE)

    def each(value: torch.Tensor) -> torch.Tensor:
        return value.expand(pairs, *value.shape).clone()

    return Batch(
        image0=image,
        image1=torch.roll(image, -SHIFT, dims=-1),
        cell_depth0=depth,
        cell_depth1=depth.clone(),
        K0=each(K),
        K1=each(K),
        T_0to1=each(T),
        scale0=torch.ones(pairs, 2),
        scale1=torch.ones(pairs, 2),
        mask0=mask,
        mask1=mask.clone(),
        names0=("made",) * pairs,
        names1=("made",) * pairs,
        scenes=("made",) * pairs,
        overlap=torch.ones(pairs),
        H_0to1=each(H) if recipe.data.layout == "photos" else None,
    )


def bytes_of(batch: Batch) -> int:
    """Bytes of a batch's tensors: what a loader worker puts into shared memory."""
    tensors = (v for v in vars(batch).values() if isinstance(v, torch.Tensor))
    return sum(t.numel() * t.element_size() for t in tensors)


def _texture(pairs: int, h: int, w: int) -> torch.Tensor:
    """(pairs, 1, h, w) in [0, 1]: soft patches, so that there is something to see."""
    generator = torch.Generator().manual_seed(0)
    small = torch.rand(pairs, 1, h // 4 + 1, w // 4 + 1, generator=generator)
    return torch.nn.functional.interpolate(small, (h, w), mode="bilinear")
