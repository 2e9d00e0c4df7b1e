"""From matches to scores: pose errors, AUC, precision, and the SIFT baseline."""

from .analysis import (
    PairFacts,
    auc_by_thirds,
    pair_facts,
    place_errors,
    plane_share,
    remember,
    resampled_auc,
    sweep,
)
from .cells import CellScore, nearest_errors, right_cells
from .epipolar import epipolar_distance, essential_matrix, match_precision
from .evaluate import PairRecord, Scores, evaluate, merge, score_table
from .looks import Look, attention_weights, layer_names, looks, token_stages
from .matchers import LoFTRMatcher, Matcher, OracleMatcher, PairMatches
from .pose import pose_auc, relative_pose_error
from .protocol import INDOOR, OUTDOOR, Protocol
from .right import RightMatches, right_matches
from .sift import SiftMatcher
from .solvers import SOLVERS, EstimatedPose, estimate_pose

__all__ = [
    "INDOOR",
    "OUTDOOR",
    "SOLVERS",
    "CellScore",
    "EstimatedPose",
    "LoFTRMatcher",
    "Look",
    "Matcher",
    "OracleMatcher",
    "PairFacts",
    "PairMatches",
    "PairRecord",
    "Protocol",
    "RightMatches",
    "Scores",
    "SiftMatcher",
    "attention_weights",
    "auc_by_thirds",
    "epipolar_distance",
    "essential_matrix",
    "estimate_pose",
    "evaluate",
    "layer_names",
    "looks",
    "match_precision",
    "merge",
    "nearest_errors",
    "pair_facts",
    "place_errors",
    "plane_share",
    "pose_auc",
    "relative_pose_error",
    "remember",
    "resampled_auc",
    "right_cells",
    "right_matches",
    "score_table",
    "sweep",
    "token_stages",
]
