"""Every file of a frame, opened as training opens it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...errors import DataError
from ...recordings import Scene
from ...recordings.megadepth import MegaDepthScene
from .probe import Fault, diagnose, diagnose_pose, quick_size, torn_png

RGBD = frozenset({"scannet", "sevenscenes", "tum"})  # one camera and K a scene, metres
_SPARSE = 0.05  # share of known depth below which a frame teaches next to nothing
_CENTRE = (0.3, 0.7)  # of the size: where a principal point may lie


@dataclass
class FrameCheck:
    """What was seen of a frame. Sizes are (w, h); median in metres, NaN unknown."""

    k: int
    faults: list[Fault] = field(default_factory=list)
    image: tuple[int, int] | None = None
    depth: tuple[int, int] | None = None
    median: float = np.nan
    bytes: int = 0


def check_frames(
    scene: Scene, ks: Sequence[int], layout: str, quick: bool
) -> list[FrameCheck]:
    """Check frames of a scene, one after the other; never raises for their files."""
    return [check_frame(scene, k, layout, quick) for k in ks]


def check_frame(scene: Scene, k: int, layout: str, quick: bool) -> FrameCheck:
    """Image, depth, pose and (where each frame has its own) K of frame k.

    Args:
        quick: headers and end marks only, no pixels.
    """
    seen = FrameCheck(k)
    _image(scene, seen, quick)
    if layout == "photos":
        return seen
    _depth(scene, seen, quick)
    _pose(scene, seen)
    if layout not in RGBD:
        _own_camera(scene, seen)
    _sizes(scene, seen, layout)
    return seen


def check_camera(scene: Scene, k: int, size: tuple[int, int] | None) -> Fault | None:
    """K of frame k: readable, possible, and of the depth map's ``size``."""
    try:
        K = scene.K(k)
    except DataError as error:
        missing = "no intrinsics" in str(error) or "does not exist" in str(error)
        return Fault("K_missing" if missing else "K_impossible", str(error))
    if size is None:
        return None
    share = K[:2, 2] / size
    if (share < _CENTRE[0]).any() or (share > _CENTRE[1]).any():
        return Fault(
            "K_other_size",
            f"{scene.name}, {scene.frames[k]}: cx, cy = {K[0, 2]:.1f}, {K[1, 2]:.1f} "
            f"on a depth map of {size[0]}x{size[1]}",
        )
    return None


def _image(scene: Scene, seen: FrameCheck, quick: bool) -> None:
    path = scene.image_path(seen.k)
    if isinstance(scene, MegaDepthScene) and len(scene.image_paths(seen.k)) > 1:
        names = ", ".join(p.name for p in scene.image_paths(seen.k))
        where = f"{path.parent}: {names} are all called {scene.frames[seen.k]}"
        seen.faults.append(Fault("image_ambiguous", where))
        return
    if quick:
        seen.image = _quickly(path, "image", seen)
        return
    try:
        seen.image = scene.image(seen.k).shape[::-1]
    except DataError as error:
        seen.faults.append(diagnose(path, "image", error))
        return
    _whole_png(path, "image", seen)


def _depth(scene: Scene, seen: FrameCheck, quick: bool) -> None:
    path = scene.depth_path(seen.k)
    if path is None:
        where = f"{scene.image_path(seen.k)}: the index names no depth for it"
        seen.faults.append(Fault("depth_missing", where))
        return
    if quick:
        seen.depth = _quickly(path, "depth", seen)
        return
    try:
        depth = scene.depth(seen.k)
    except DataError as error:
        seen.faults.append(diagnose(path, "depth", error))
        return
    seen.depth = depth.shape[::-1]
    known = depth > 0
    share = known.mean()
    if share < _SPARSE:
        seen.faults.append(
            Fault("depth_sparse", f"{path}: {share:.1%} of its pixels are known")
        )
    # A tenth of the pixels gives the median to a per cent.
    some = depth.ravel()[::11]
    some = some[some > 0]
    if len(some):
        seen.median = float(np.median(some))
    _whole_png(path, "depth", seen)


def _quickly(path: Path, kind: str, seen: FrameCheck) -> tuple[int, int] | None:
    found = quick_size(path, kind)
    if isinstance(found, Fault):
        seen.faults.append(found)
        return None
    seen.bytes += path.stat().st_size
    return found


def _whole_png(path: Path, kind: str, seen: FrameCheck) -> None:
    seen.bytes += path.stat().st_size
    if path.suffix.lower() == ".png":
        torn = torn_png(path)
        if torn is not None:
            seen.faults.append(Fault(f"{kind}_unreadable", torn))


def _pose(scene: Scene, seen: FrameCheck) -> None:
    try:
        scene.world_to_camera(seen.k)
    except DataError as error:
        numbers, path = None, scene.pose_path(seen.k)
        if isinstance(scene, MegaDepthScene):
            numbers, path = scene.stored_pose(seen.k), None
        seen.faults.append(diagnose_pose(path, numbers, error))


def _own_camera(scene: Scene, seen: FrameCheck) -> None:
    try:
        fault = check_camera(scene, seen.k, seen.depth)
    except OSError as error:
        fault = Fault("K_missing", str(error))
    # COLMAP's K follows the depth map's header: with a bad one it is not K's fault.
    told = any(f.cause.startswith("depth") for f in seen.faults)
    if fault is not None and not (told and fault.cause != "K_other_size"):
        seen.faults.append(fault)


def _sizes(scene: Scene, seen: FrameCheck, layout: str) -> None:
    if seen.image is None or seen.depth is None or layout == "colmap":
        return
    (w, h), (dw, dh) = seen.image, seen.depth
    if layout == "megadepth":
        fits = (w, h) == (dw, dh)
    else:
        fits = abs((w / h) / (dw / dh) - 1) <= 0.01
    if not fits or min(w, h) < 8:
        seen.faults.append(
            Fault(
                "image_size",
                f"{scene.image_path(seen.k)} is {w}x{h} and its depth map {dw}x{dh}",
            )
        )
