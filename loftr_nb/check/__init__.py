"""Check cells and exercises: in words, what is right or wrong."""

from .supervision import fine_offset, mutual_cells, nearest_cell, warp_pixel
from .training import focal_positive, right_cells, scaled_plan
from .verdict import Verdict, judge, same

__all__ = [
    "Verdict",
    "fine_offset",
    "focal_positive",
    "judge",
    "mutual_cells",
    "nearest_cell",
    "right_cells",
    "same",
    "scaled_plan",
    "warp_pixel",
]
