"""Ground truth for both stages: which cells match, and where inside the window."""

from .coarse import CoarseSupervision, coarse_supervision, supervise
from .fine import FINE_RADIUS, FineTargets, fine_targets

__all__ = [
    "FINE_RADIUS",
    "CoarseSupervision",
    "FineTargets",
    "coarse_supervision",
    "fine_targets",
    "supervise",
]
