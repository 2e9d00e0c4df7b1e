"""Check cells and exercises: in words, what is right or wrong."""

from .supervision import fine_offset, mutual_cells, nearest_cell, warp_pixel
from .verdict import Verdict, judge, same

__all__ = [
    "Verdict",
    "fine_offset",
    "judge",
    "mutual_cells",
    "nearest_cell",
    "same",
    "warp_pixel",
]
