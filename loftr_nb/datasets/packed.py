"""Readers of a pack: the pairs of ScanNet's and MegaDepth's readers, bit for bit.

They are those readers, with frames from the pack in place of files. Index, rows,
relative poses, augmentation and padding are the same code.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..geometry import check_pose
from .columns import encode
from .images import InputFrame
from .megadepth import MegaDepth
from .pack_file import SceneFile, SceneFiles
from .pack_folder import (
    PackedSplit,
    PackHead,
    check_request,
    read_pack,
    refuse_changed,
    require_split,
)
from .scannet import ScanNet
from .split import divided, without_range


def frame_key(dataset: ScanNet | MegaDepth, i: int, side: int) -> bytes:
    """What a pack calls the frame on one side (0 or 1) of pair i."""
    table = dataset.table
    number = int((table.frame1 if side else table.frame0)[i])
    if table.frames is None:
        return b"%d" % number
    return encode(f"{table.frames.image[number]}\n{table.frames.depth[number]}")


def scene_name(dataset: ScanNet | MegaDepth, i: int) -> str:
    """The packed scene of pair i: overlap ranges of one place share their images."""
    return without_range(dataset.table.scenes[dataset.table.scene[i]])


class _Packed:
    """What both readers of packs have in common. Mixed in before the plain reader."""

    def __init__(
        self, pack: Path, split: str, head: PackHead, packed: PackedSplit, **kwargs: Any
    ) -> None:
        kwargs.setdefault("depth", packed.depth)
        index = [pack / one.file for one in packed.index]
        super().__init__(pack, index, **{"size": head.options.size} | kwargs)
        self.pack = pack
        self._use_root(Path(packed.root))
        self._scenes = SceneFiles(pack / split, self.root)

    def _use_root(self, root: Path) -> None:
        self.root = root

    def frame(self, i: int, side: int) -> InputFrame:
        """Image and depth of one side (0 or 1) of pair i, from the pack."""
        where = self.table.where(i)
        frame = self._scene(i).read(frame_key(self, i, side), where)
        if frame.cell_depth is None and self.depth == "required":
            raise DataError(
                f"{frame.name} was packed without depth: its depth map was not there. "
                "Training needs it; for an evaluation open with depth='optional'"
            )
        return frame

    def full_depth(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Both whole depth maps of pair i, read from the source of the pack.

        Raises:
            DataError: the source is not there: a pack has depth at cell corners only.
        """
        try:
            return super().full_depth(i)
        except DataError as error:
            raise DataError(
                f"{self.pack} keeps depth at cell corners only, and the whole map "
                f"could not be read from its source: {error}"
            ) from None

    def _scene(self, i: int) -> SceneFile:
        return self._scenes[scene_name(self, i)]


class PackedScanNet(_Packed, ScanNet):
    """:class:`ScanNet` from a pack."""

    def relative_pose(self, i: int) -> np.ndarray:
        """(4, 4) float64 ``T_0to1``: of the packed poses, or else the index's own."""
        where, scene = self.table.where(i), self._scene(i)
        cam0_to_world, cam1_to_world = (
            scene.pose(frame_key(self, i, side), where) for side in (0, 1)
        )
        known = [np.isfinite(p).all() for p in (cam0_to_world, cam1_to_world)]
        if not any(known) and self.table.rel_pose is not None:
            rel_pose = self.table.rel_pose[i].reshape(3, 4)
            return check_pose(rel_pose, f"{where}, rel_pose")
        if not all(known):
            raise DataError(f"{where}: a frame of this pair was packed without a pose")
        return np.linalg.inv(cam1_to_world) @ cam0_to_world

    def intrinsics(self, scene: str) -> np.ndarray:
        """(3, 3) float64 K of a scene's depth camera, from the pack."""
        return self._scenes[scene].K


class PackedMegaDepth(_Packed, MegaDepth):
    """:class:`MegaDepth` from a pack."""

    def _use_root(self, root: Path) -> None:
        self.root = self._paths.root = root


def open_pack(
    pack: Path,
    split: str,
    layout: str | None,
    kwargs: dict[str, Any],
    find: Callable[..., tuple[Path, ...] | None],
) -> PackedScanNet | PackedMegaDepth:
    """Open the training or test pairs of a pack. See :func:`.open_dataset`.

    Args:
        kwargs: of :class:`ScanNet` or :class:`MegaDepth`; size and least overlap are
            the pack's where they are not given.
        find: the index that a reader of the source takes today.

    Raises:
        DataError: unfinished, a file of it is missing or damaged, or the index of
            its source has changed.
        ConfigError: another layout, size or more pairs than it was made with.
    """
    head = read_pack(pack)
    packed = require_split(pack, head, split)
    check_request(pack, head, split, layout, kwargs)
    source, built = Path(head.options.source), packed.built
    place = None if built is None else pack / built
    refuse_changed(
        pack, head, split, lambda: find(source, split, head.options.layout, place)
    )
    kwargs = {"min_overlap": packed.min_overlap} | kwargs
    kind = PackedScanNet
    if head.options.layout == "megadepth":
        kind, kwargs = PackedMegaDepth, {"divisor": head.options.divisor} | kwargs
    if not packed.held_out:
        return kind(pack, split, head, packed, **kwargs)
    least, most = kwargs.pop("min_overlap"), kwargs.pop("max_overlap", 1.0)
    opened = kind(pack, split, head, packed, **kwargs)
    return divided(opened, split, str(source), least, most)
