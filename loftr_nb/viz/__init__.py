"""The project's pictures. Functions return a figure or draw on given axes.

Colours are the same everywhere and safe for colour-blind readers: blue is right
or matched, orange is wrong or unmatched, grey is unknown, pink is what was
picked.
"""

from .attention import show_heads, show_looks
from .cells import show_cell_matches, show_supervised
from .confidence import (
    show_lines,
    show_log_confidence,
    show_numbers,
    show_softmax,
    show_stages,
    show_two_confidences,
)
from .conventions import show_conventions
from .course import COURSE, Chapter, show_course
from .curves import curves, read_metrics
from .epipolar import (
    Failure,
    SeenPose,
    show_epipolar,
    show_failures,
    show_four_poses,
)
from .explore import explore
from .features import pca_colours, show_encoding, show_maps, show_series
from .grouped import show_answers, show_grouped
from .index import show_index
from .losses import show_block, show_costs, show_push
from .matches import matches_picture, show_matches
from .matrices import show_matrix, show_offsets, show_row_on_image, show_supervision
from .pairs import show_depth, show_grid, show_images, show_pair
from .ranks import (
    show_bars,
    show_days,
    show_dealt,
    show_gradient_gaps,
    show_stays,
)
from .rates import learning_rates
from .rebuilt import grey_difference, overlay, rebuild
from .scores import (
    show_bins,
    show_differences,
    show_pose_errors,
    show_precision,
    show_recall,
    show_settings,
    show_spread,
)
from .steps import Steps, show_steps, steps_of
from .style import Picture, save
from .tables import table
from .windows import (
    show_calibration,
    show_error_histogram,
    show_heat,
    show_offset_agreement,
    show_refined,
    show_shares,
    show_window,
)

__all__ = [
    "COURSE",
    "Chapter",
    "Failure",
    "Picture",
    "SeenPose",
    "Steps",
    "curves",
    "explore",
    "grey_difference",
    "learning_rates",
    "matches_picture",
    "overlay",
    "pca_colours",
    "read_metrics",
    "rebuild",
    "save",
    "show_answers",
    "show_bars",
    "show_bins",
    "show_block",
    "show_calibration",
    "show_cell_matches",
    "show_conventions",
    "show_costs",
    "show_course",
    "show_days",
    "show_dealt",
    "show_depth",
    "show_differences",
    "show_encoding",
    "show_epipolar",
    "show_error_histogram",
    "show_failures",
    "show_four_poses",
    "show_gradient_gaps",
    "show_grid",
    "show_grouped",
    "show_heads",
    "show_heat",
    "show_images",
    "show_index",
    "show_lines",
    "show_log_confidence",
    "show_looks",
    "show_maps",
    "show_matches",
    "show_matrix",
    "show_numbers",
    "show_offset_agreement",
    "show_offsets",
    "show_pair",
    "show_pose_errors",
    "show_precision",
    "show_push",
    "show_recall",
    "show_refined",
    "show_row_on_image",
    "show_series",
    "show_settings",
    "show_shares",
    "show_softmax",
    "show_spread",
    "show_stages",
    "show_stays",
    "show_steps",
    "show_supervised",
    "show_supervision",
    "show_two_confidences",
    "show_window",
    "steps_of",
    "table",
]
