"""From downloads and recordings to data that can be trained on, and proof of it."""

from .check import CheckReport, Finding, check_data
from .geometry import GeometryReport
from .geometry_check import check_pair, geometry_check

__all__ = [
    "CheckReport",
    "Finding",
    "GeometryReport",
    "check_data",
    "check_pair",
    "geometry_check",
]
