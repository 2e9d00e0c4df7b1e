"""Frames with depth and pose, in whichever layout people have them on disk."""

from .find import find_recording
from .pair import RawPair, raw_pair
from .scene import Recording, Scene

__all__ = ["RawPair", "Recording", "Scene", "find_recording", "raw_pair"]
