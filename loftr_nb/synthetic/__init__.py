"""Rendered rooms with exact depth, written in the layouts of real data sets."""

from .mini import VERSION, MiniOptions, make_mini, read_manifest

__all__ = ["VERSION", "MiniOptions", "make_mini", "read_manifest"]
