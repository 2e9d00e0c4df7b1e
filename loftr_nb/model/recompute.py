"""Activations that are made again in the backward pass instead of being kept."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def recomputed(module: nn.Module, run: Callable, *inputs: object) -> object:
    """``run(*inputs)``, of which the backward pass keeps the inputs only.

    Batch norms within ``module`` count the batch once, not twice. Same numbers,
    one more forward pass of ``run`` in the backward one.
    """
    if not torch.is_grad_enabled():
        return run(*inputs)
    return checkpoint(
        run,
        *inputs,
        use_reentrant=False,
        preserve_rng_state=False,  # nothing here draws
        context_fn=lambda: (contextlib.nullcontext(), _counted_already(module)),
    )


@contextlib.contextmanager
def _counted_already(module: nn.Module) -> Iterator[None]:
    """Batch norms work as they do, and forget what they see."""
    kind = nn.modules.batchnorm._BatchNorm
    norms = [m for m in module.modules() if isinstance(m, kind)]
    kept = [(m, {n: b.clone() for n, b in m.named_buffers()}) for m in norms]
    try:
        yield
    finally:
        for norm, buffers in kept:
            for name, value in buffers.items():
                getattr(norm, name).copy_(value)
