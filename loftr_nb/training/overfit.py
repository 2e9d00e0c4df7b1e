"""The smoke test before any training: can the network learn one pair by heart?

If it cannot, more data will not help: depth, pose or intrinsics are wrong, or
the supervision is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ..datasets import Batch
from ..losses import LossConfig, TrainingStep
from ..model import LoFTR


def overfit(
    model: LoFTR,
    batch: Batch,
    loss: LossConfig,
    steps: int = 100,
    lr: float = 1e-3,
    progress: Callable[[int, dict[str, float]], None] | None = None,
) -> list[dict[str, Any]]:
    """Train ``model`` on the same batch again and again, at a constant rate.

    Args:
        model: changed in place, and left in training mode.
        batch: one pair, or a few.
        progress: called with the step and its values after each step.

    Returns:
        One row per step as in ``metrics.jsonl``: step, loss, loss_coarse,
        loss_fine, coarse_accuracy (share of true cells found), fine_error_px
        (input pixels), and counts.
    """
    torch.set_flush_denormal(True)
    step = TrainingStep(model, loss).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    rows = []
    for number in range(1, steps + 1):
        output = step(batch, [number + 1000 * k for k in range(len(batch))])
        optimizer.zero_grad(set_to_none=True)
        output.loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        rows.append({"event": "train", "step": number, **output.scalars()})
        if progress is not None:
            progress(number, rows[-1])
    return rows
