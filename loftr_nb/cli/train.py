"""Train a recipe, evaluate it, and keep everything in one run folder.

  loftr-nb train mini_ds --out runs/first
  loftr-nb train mini_ot --out runs/ot loss.supervision=sparse optim.epochs=2
  loftr-nb train indoor_ds --data /path/to/data --out runs/indoor optim.batch=2
One GPU, the canonical batch: 64 pairs, two at a time
  loftr-nb train indoor_ds --batch 2 --global-batch 64
A smoke test: can it learn four pairs by heart?
  loftr-nb train mini_ds --overfit 4
Fine-tuning: from the weights of a run, of the original release, of kornia
  loftr-nb train mini_ds --start runs/mini_ds --out runs/tuned --backbone-rate 0.1
  loftr-nb train outdoor_ds --start outdoor_ds.ckpt model.position=released
  loftr-nb train mini_ds --start runs/mini_ds --out runs/frozen --freeze backbone
Many processes, the same file:
  torchrun --standalone --nproc-per-node 4 -m loftr_nb.training indoor_ds --out DIR
"""

from __future__ import annotations

import argparse

from ..training.command import add_arguments as add_training_arguments
from ..training.command import run as run_training


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``loftr-nb train``."""
    add_training_arguments(parser)
    parser.set_defaults(run=run_training)
