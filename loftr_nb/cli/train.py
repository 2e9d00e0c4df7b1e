"""Train a recipe, evaluate it, and keep everything in one run folder.

  loftr-nb train mini_ds --out runs/first
  loftr-nb train mini_ot --out runs/ot loss.supervision=sparse optim.epochs=2
  loftr-nb train indoor_ds --data /path/to/data --out runs/indoor optim.batch=2
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
