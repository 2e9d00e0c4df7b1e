"""Which frames form pairs: overlap scored from depth and pose, indices from it."""

from ..recordings.scannet import SCENE_NAME
from .build import build_index
from .folder import BuiltIndex, find_built
from .overlap import pair_overlap, shared_pixels
from .report import IndexReport, SceneReport
from .scannet import build_scannet_index, scene_folders

__all__ = [
    "SCENE_NAME",
    "BuiltIndex",
    "IndexReport",
    "SceneReport",
    "build_index",
    "build_scannet_index",
    "find_built",
    "pair_overlap",
    "scene_folders",
    "shared_pixels",
]
