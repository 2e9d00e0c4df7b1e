"""What can be wrong with data, by name: how bad it is, and the way out.

The sentences answer what people see when training starts without a check:
``'NoneType' object has no attribute 'shape'`` (an image that is missing or
damaged), ``EOFError: Ran out of input`` (an index file that is truncated or
empty), ``No groundtruth coarse match found`` (depth in another unit, K of another
size, an inverted pose) and a loss of NaN (a pose that is not finite).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning", "info"]
LEVELS: tuple[Level, ...] = ("error", "warning", "info")


@dataclass(frozen=True)
class Cause:
    """One kind of fault.

    name: for programs. level: where nothing makes it milder. title: for people.
    of: what is counted. way_out: what to do about it.
    """

    name: str
    level: Level
    title: str
    of: str
    way_out: str


_AGAIN = "Copy, download or export these files again"
_DROP = "or leave the frames out of the index with --fix"
_NONE = "OpenCV gives None for it, and training ends in 'NoneType has no attribute'"

_ALL = (
    # The index
    Cause("index_missing", "error", "index file missing", "index files",
          "A list names index files that are not there: unpack the archive of the "
          "index again, or take them off the list with --fix"),
    Cause("index_damaged", "error", "index file damaged", "index files",
          "Training stops at it with 'EOFError: Ran out of input' or a bad zip file: "
          "download or unpack it again, or leave it out with --fix"),
    Cause("index_refused", "error", "index file refused", "index files",
          "It is a pickle that asks for more than arrays and could run code; it was "
          "not run. Get the index from its authors"),
    Cause("row_empty", "error", "row of an empty slot", "rows",
          "Rows name images that the index file has no path, K or pose of: drop them "
          "with --fix"),
    Cause("row_no_file", "error", "row without its files", "rows",
          "Rows name frames whose files are not there (named below by kind). Unpack "
          "or link the rest of the data, or drop the rows with --fix"),
    Cause("row_unusable", "error", "row of an unusable frame", "rows",
          "Rows use frames that are damaged or have no pose: repair the files, or "
          "drop the rows with --fix"),
    Cause("part_missing", "info", "no such part", "parts",
          "Training needs the train part, evaluation the test part: link or unpack "
          "its index if you want it"),
    # Scenes and images
    Cause("scene_missing", "error", "scene folder missing", "scenes",
          "The index names scenes that are not there: is the right folder linked, and "
          "is the download complete? Or drop their rows with --fix"),
    Cause("image_missing", "error", "image missing", "images",
          f"{_NONE}. Complete the download, {_DROP}"),
    Cause("image_ambiguous", "error", "image of a name that two files have", "images",
          "Names differ in their extension alone, and the index has another one still: "
          "take all but one of them away"),
    Cause("image_truncated", "error", "image truncated", "images",
          f"A part of it would be grey, or {_NONE}. {_AGAIN}, {_DROP}"),
    Cause("image_unreadable", "error", "image unreadable", "images",
          f"{_NONE}. {_AGAIN}, {_DROP}"),
    Cause("image_size", "error", "image of another size than its depth", "images",
          "Image and depth must show the same picture: the same proportions in RGB-D "
          "recordings, the same size in MegaDepth. Take both from one release, "
          "neither cropped nor resized alone"),
    Cause("image_sizes", "warning", "images of several sizes in a scene", "scenes",
          "One camera writes one size: look at the frame that differs"),
    # Depth
    Cause("depth_missing", "error", "depth missing", "depth maps",
          "Training needs depth: without it there is no ground truth. The download of "
          "MegaDepth's 1,500 test pairs has none (evaluate with depth='optional'). "
          f"Complete the download, {_DROP}"),
    Cause("depth_truncated", "error", "depth truncated", "depth maps",
          f"'OSError: unable to open file' comes from here. {_AGAIN}, {_DROP}"),
    Cause("depth_unreadable", "error", "depth unreadable", "depth maps",
          f"'OSError: unable to open file' comes from here. {_AGAIN}, {_DROP}"),
    Cause("depth_kind", "error", "depth of another kind", "depth maps",
          "Depth is one channel: 16 bit in a PNG, numbers named 'depth' in an h5 "
          "file. A program that writes 8 bit or colour destroys it: export it again"),
    Cause("depth_empty", "error", "depth without a known pixel", "depth maps",
          "Its pair would give 'No groundtruth coarse match found': leave the frames "
          "out of the index with --fix, or export their depth again"),
    Cause("depth_sparse", "warning", "depth almost empty (< 5 % known)", "depth maps",
          "Pairs of these frames teach next to nothing ('No groundtruth coarse match "
          "found'). A few are normal; many: export depth again"),
    Cause("depth_sizes", "error", "depth maps of several sizes in a scene", "scenes",
          "K belongs to one size: export the frame that differs again"),
    Cause("depth_unit", "error", "depth in another unit than metres", "scenes",
          "The median depth of the scene is no room's. ScanNet's layout stores "
          "millimetres in 16 bit (1 m = 1000): write depth again in millimetres. With "
          "another unit no pair has ground truth"),
    # Poses
    Cause("pose_missing", "error", "pose missing", "poses",
          "A frame without a pose has no ground truth: export poses, or leave it out "
          "of the index (--fix; `loftr-nb data index` leaves it out by itself)"),
    Cause("pose_damaged", "error", "pose not 16 numbers", "poses",
          f"{_AGAIN}, {_DROP}"),
    Cause("pose_not_finite", "error", "pose not finite", "poses",
          "ScanNet writes -inf where tracking was lost, and one such pair makes the "
          "loss NaN: leave these frames out of the index (--fix; `loftr-nb data "
          "index` leaves them out by itself)"),
    Cause("pose_not_rotation", "error", "pose not a rotation", "poses",
          "The upper left 3x3 of a pose is a rotation without scale: write poses "
          "again, camera to world in ScanNet's files, world to camera in MegaDepth's"),
    # Intrinsics
    Cause("K_missing", "error", "intrinsics missing", "cameras",
          "Give K of the depth camera: intrinsics.npz beside the index, or "
          "intrinsic/intrinsic_depth.txt in the scene's folder"),
    Cause("K_impossible", "error", "intrinsics impossible", "cameras",
          "K is nine finite numbers, fx 0 cx 0 fy cy 0 0 1, in pixels of the depth "
          "map: write them again"),
    Cause("K_other_size", "error", "intrinsics of another size", "cameras",
          "The principal point lies far from the middle of the depth map, so K is of "
          "another size: scale it to the depth map's pixels (ScanNet: the depth "
          "camera's K, not the colour camera's)"),
    Cause("stray", "info", "files that nothing uses", "files",
          "Nothing to do: frames without a partner, or that no row of the index uses"),
)  # fmt: skip

CAUSES: dict[str, Cause] = {cause.name: cause for cause in _ALL}

# Faults that make a frame unusable, by number: rows of an index carry the number.
FRAME_FAULTS: tuple[str, ...] = (
    "scene_missing", "image_missing", "depth_missing", "pose_missing",
    "image_ambiguous", "image_truncated", "image_unreadable", "image_size",
    "depth_truncated", "depth_unreadable", "depth_kind", "depth_empty", "pose_damaged",
    "pose_not_finite", "pose_not_rotation", "K_missing", "K_impossible",
)  # fmt: skip
MISSING = frozenset(FRAME_FAULTS[:4])
ROW_EMPTY = len(FRAME_FAULTS) + 1


def code_of(cause: str) -> int:
    """1 ... for a fault of a frame, 0 for one that leaves it usable."""
    return FRAME_FAULTS.index(cause) + 1 if cause in FRAME_FAULTS else 0


def cause_of(code: int) -> str:
    """The fault behind a row's number: a frame's, or an empty slot."""
    return "row_empty" if code == ROW_EMPTY else FRAME_FAULTS[code - 1]
