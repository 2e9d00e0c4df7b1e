"""From matches to scores: pose errors, AUC, precision, and the SIFT baseline."""

from .cells import CellScore, nearest_errors, right_cells
from .epipolar import epipolar_distance, essential_matrix, match_precision
from .evaluate import PairRecord, Scores, evaluate, merge, score_table
from .matchers import LoFTRMatcher, Matcher, OracleMatcher, PairMatches
from .pose import pose_auc, relative_pose_error
from .protocol import INDOOR, OUTDOOR, Protocol
from .sift import SiftMatcher
from .solvers import SOLVERS, EstimatedPose, estimate_pose

__all__ = [
    "CellScore",
    "EstimatedPose",
    "INDOOR",
    "LoFTRMatcher",
    "Matcher",
    "OUTDOOR",
    "OracleMatcher",
    "PairMatches",
    "PairRecord",
    "Protocol",
    "SOLVERS",
    "Scores",
    "SiftMatcher",
    "epipolar_distance",
    "essential_matrix",
    "estimate_pose",
    "evaluate",
    "match_precision",
    "merge",
    "nearest_errors",
    "pose_auc",
    "relative_pose_error",
    "right_cells",
    "score_table",
]
