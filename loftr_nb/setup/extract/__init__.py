"""Unpack the released archives: judged before anything is written, resumable."""

from .plan import Plan, gigabytes, plan_extraction
from .run import ExtractReport, extract

__all__ = ["ExtractReport", "Plan", "extract", "gigabytes", "plan_extraction"]
