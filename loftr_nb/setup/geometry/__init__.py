"""The geometry check's parts: correspondences, pairs, mistakes and the report."""

from .indexed import raw_from_dataset
from .report import Cause, GeometryReport, PairRow

__all__ = ["Cause", "GeometryReport", "PairRow", "raw_from_dataset"]
