"""Is data ready to be trained on? Index, files, poses, intrinsics and geometry."""

from .report import CheckReport, Finding, Fixed
from .run import check_data

__all__ = ["CheckReport", "Finding", "Fixed", "check_data"]
