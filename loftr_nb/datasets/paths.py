"""Where a file of MegaDepth is: see :mod:`loftr_nb.recordings.megadepth_paths`."""

from ..recordings.megadepth_paths import MegaDepthPaths

__all__ = ["MegaDepthPaths"]
