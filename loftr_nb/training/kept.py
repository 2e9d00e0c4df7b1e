"""What a training step keeps in memory between its forward and its backward pass."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..datasets import Batch
from ..losses import TrainingStep


def kept_bytes(step: TrainingStep, batch: Batch, seeds: Sequence[int]) -> int:
    """Bytes that autograd holds for the backward pass of ``batch``, weights apart.

    Counted and not measured, so the number does not depend on the machine: every
    tensor that is saved passes a hook, and tensors that share memory count once.
    What comes and goes within an operation is not in it.
    """
    own = {p.untyped_storage().data_ptr() for p in step.parameters()}
    held: dict[int, torch.UntypedStorage] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        # Kept alive here: a place that is free again would be counted for another.
        held[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        output = step(batch, seeds)
    total = sum(s.nbytes() for place, s in held.items() if place not in own)
    del output  # until here: what it holds must not be freed while it is counted
    return total
