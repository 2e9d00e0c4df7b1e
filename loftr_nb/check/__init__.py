"""Check cells and exercises: in words, what is right or wrong."""

from .carry import original_pixels, release_names, two_rates
from .losses import focal_negative, pair_means, summed_rest
from .matching import (
    dual_softmax,
    heat_moments,
    mutual_best,
    sinkhorn,
    std_weights,
    window_centre,
)
from .model_parts import (
    encode_cell,
    largest_tensor,
    linear_attend,
    linear_weights,
    move_code,
    receptive_field,
    self_then_cross,
)
from .own_images import balanced_rows, homography_cell, shifted_overlap
from .processes import dealt_in_turns, joined_gradient, run_days
from .scores import (
    area_under_recall,
    paired_interval,
    pose_error,
)
from .setup import depth_metres, half_K, relative_pose
from .start import cell_place, seen_pixel, share_right
from .supervision import fine_offset, mutual_cells, nearest_cell, warp_pixel
from .training import focal_positive, right_cells, scaled_plan
from .verdict import Verdict, judge, same

__all__ = [
    "Verdict",
    "area_under_recall",
    "balanced_rows",
    "cell_place",
    "dealt_in_turns",
    "depth_metres",
    "dual_softmax",
    "encode_cell",
    "fine_offset",
    "focal_negative",
    "focal_positive",
    "half_K",
    "heat_moments",
    "homography_cell",
    "joined_gradient",
    "judge",
    "largest_tensor",
    "linear_attend",
    "linear_weights",
    "move_code",
    "mutual_best",
    "mutual_cells",
    "nearest_cell",
    "original_pixels",
    "pair_means",
    "paired_interval",
    "pose_error",
    "receptive_field",
    "relative_pose",
    "release_names",
    "right_cells",
    "run_days",
    "same",
    "scaled_plan",
    "seen_pixel",
    "self_then_cross",
    "share_right",
    "shifted_overlap",
    "sinkhorn",
    "std_weights",
    "summed_rest",
    "two_rates",
    "warp_pixel",
    "window_centre",
]
