"""Single files in and out: readers that name what is wrong, writers that are whole."""

from .readers import (
    GREY,
    read_depth_h5,
    read_depth_png,
    read_image_grey,
    read_intrinsics_txt,
    read_pose_txt,
    require_file,
    require_folder,
)
from .safe_pickle import safe_load
from .write import save_npz, write_whole

__all__ = [
    "GREY",
    "read_depth_h5",
    "read_depth_png",
    "read_image_grey",
    "read_intrinsics_txt",
    "read_pose_txt",
    "require_file",
    "require_folder",
    "safe_load",
    "save_npz",
    "write_whole",
]
