"""LoFTR's network: backbone, transformers, both matchers, fine stage, weights."""

from .coarse_matching import LOG_FLOOR, CoarseMatches, CoarseMatching, LogConfidence
from .config import LoFTRConfig
from .fine_matching import FineOffsets
from .loftr import Features, LoFTR, Matches, MatchResult
from .sinkhorn import log_sinkhorn
from .streaming import StreamedConfidence

__all__ = [
    "LOG_FLOOR",
    "CoarseMatches",
    "CoarseMatching",
    "Features",
    "FineOffsets",
    "LoFTR",
    "LoFTRConfig",
    "LogConfidence",
    "MatchResult",
    "Matches",
    "StreamedConfidence",
    "log_sinkhorn",
]
