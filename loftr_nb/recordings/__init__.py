"""Frames with depth and pose, in whichever layout people have them on disk."""

from .find import find_recording
from .scene import Recording, Scene

__all__ = ["Recording", "Scene", "find_recording"]
