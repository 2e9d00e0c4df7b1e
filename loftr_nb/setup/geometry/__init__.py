"""The geometry check's parts: correspondences, pairs, mistakes and the report."""

from .report import Cause, GeometryReport, PairRow
from .sources import raw_from_dataset

__all__ = ["Cause", "GeometryReport", "PairRow", "raw_from_dataset"]
