"""Which frames form pairs: overlap scored from depth and pose, indices from it."""

from .overlap import (
    SCENE_NAME,
    SceneReport,
    build_scannet_index,
    pair_overlap,
    scene_folders,
)

__all__ = [
    "SCENE_NAME",
    "SceneReport",
    "build_scannet_index",
    "pair_overlap",
    "scene_folders",
]
