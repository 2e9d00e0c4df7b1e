"""From downloads and recordings to data that can be trained on, and proof of it."""

from .check import CheckReport, Finding, check_data
from .extract import ExtractReport, extract
from .geometry import GeometryReport
from .geometry_check import check_pair, geometry_check
from .link import LinkReport, link, unlink
from .rewrite import Rewritten, rewrite_image_paths

__all__ = [
    "CheckReport",
    "ExtractReport",
    "Finding",
    "GeometryReport",
    "LinkReport",
    "Rewritten",
    "check_data",
    "check_pair",
    "extract",
    "geometry_check",
    "link",
    "rewrite_image_paths",
    "unlink",
]
