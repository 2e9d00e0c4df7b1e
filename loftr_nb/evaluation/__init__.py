"""From matches to scores: pose errors, AUC, precision, and the SIFT baseline."""

from .epipolar import epipolar_distance, essential_matrix, match_precision
from .evaluate import PairRecord, Scores, evaluate, merge, score_table
from .matchers import LoFTRMatcher, Matcher, OracleMatcher, PairMatches
from .pose import pose_auc, relative_pose_error
from .protocol import INDOOR, OUTDOOR, Protocol
from .sift import SiftMatcher
from .solvers import SOLVERS, EstimatedPose, estimate_pose

__all__ = [
    "INDOOR",
    "OUTDOOR",
    "SOLVERS",
    "EstimatedPose",
    "LoFTRMatcher",
    "Matcher",
    "OracleMatcher",
    "PairMatches",
    "PairRecord",
    "Protocol",
    "Scores",
    "SiftMatcher",
    "epipolar_distance",
    "essential_matrix",
    "estimate_pose",
    "evaluate",
    "match_precision",
    "merge",
    "pose_auc",
    "relative_pose_error",
    "score_table",
]
