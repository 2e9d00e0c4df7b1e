"""Check cells and exercises: in words, what is right or wrong."""

from .matching import (
    dual_softmax,
    heat_moments,
    mutual_best,
    sinkhorn,
    std_weights,
    window_centre,
)
from .own_images import balanced_rows, homography_cell, shifted_overlap
from .setup import depth_metres, half_K, relative_pose
from .supervision import fine_offset, mutual_cells, nearest_cell, warp_pixel
from .training import focal_positive, right_cells, scaled_plan
from .verdict import Verdict, judge, same

__all__ = [
    "Verdict",
    "balanced_rows",
    "depth_metres",
    "dual_softmax",
    "fine_offset",
    "focal_positive",
    "half_K",
    "heat_moments",
    "homography_cell",
    "judge",
    "mutual_best",
    "mutual_cells",
    "nearest_cell",
    "relative_pose",
    "right_cells",
    "same",
    "scaled_plan",
    "shifted_overlap",
    "sinkhorn",
    "std_weights",
    "warp_pixel",
    "window_centre",
]
