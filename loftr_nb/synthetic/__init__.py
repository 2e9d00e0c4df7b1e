"""Rendered rooms with exact depth, written in the layouts of real data sets."""

from .mini import VERSION, MiniOptions, make_mini, read_manifest
from .night import at_night, write_night

__all__ = [
    "VERSION",
    "MiniOptions",
    "at_night",
    "make_mini",
    "read_manifest",
    "write_night",
]
