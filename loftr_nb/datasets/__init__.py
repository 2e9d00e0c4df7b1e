"""Readers of images with depth and pose, and what they yield."""

from .augment import Augment
from .base import PosedPairs
from .convert import Converted, convert_index
from .export import export_index
from .flat import FlatTable, open_flat
from .groups import SceneGroups
from .index import load_intrinsics, load_scannet_pairs
from .layout import find_layout, open_dataset
from .megadepth import MegaDepth
from .middlebury import motorcycle, motorcycle_depth
from .pack import pack_dataset
from .pack_report import PackReport
from .pair import Batch, Pair, View, collate
from .photos import PhotoHomographies
from .sampling import SceneBalancedSampler
from .scannet import ScanNet
from .scene_info import load_megadepth_scene, load_megadepth_scenes
from .table import PairTable

__all__ = [
    "Augment",
    "Batch",
    "Converted",
    "FlatTable",
    "MegaDepth",
    "PackReport",
    "Pair",
    "PairTable",
    "PhotoHomographies",
    "PosedPairs",
    "ScanNet",
    "SceneBalancedSampler",
    "SceneGroups",
    "View",
    "collate",
    "convert_index",
    "export_index",
    "find_layout",
    "load_intrinsics",
    "load_megadepth_scene",
    "load_megadepth_scenes",
    "load_scannet_pairs",
    "motorcycle",
    "motorcycle_depth",
    "open_dataset",
    "open_flat",
    "pack_dataset",
]
