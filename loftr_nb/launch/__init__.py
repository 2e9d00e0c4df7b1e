"""Training from a notebook cell: start it, watch it, stop it, find it again."""

from .attach import attach
from .launch import launch
from .run import Run
from .snapshot import Snapshot
from .watch import Watch, watch

__all__ = ["Run", "Snapshot", "Watch", "attach", "launch", "watch"]
