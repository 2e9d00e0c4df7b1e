"""Which file below a folder each path of a MegaDepth index means."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets import load_megadepth_scene
from ..datasets.table import FlatNames, PairTable
from ..errors import DataError
from ..files import safe_load
from ..recordings.megadepth_paths import MegaDepthPaths

_COLUMNS = ("image_paths", "depth_paths", "intrinsics", "poses")


class PathRewriter:
    """Finds files by what an index calls them, and counts.

    rewritten, unchanged, depths_rewritten, depths_missing: different paths so far.
    missing: images that are nowhere, as written. dropped, kept: pairs.
    """

    def __init__(self, root: Path, drop_missing: bool) -> None:
        """
        Args:
            root: where paths start. drop_missing: leave out pairs without images.
        """
        self.root = root
        self.drop_missing = drop_missing
        self.paths = MegaDepthPaths(root)
        self.dropped = self.kept = 0
        self._images: dict[str, str | None] = {}
        self._depths: dict[str, str | None] = {}
        self._several: dict[str, list[Path]] = {}

    @property
    def rewritten(self) -> int:
        """Images that got another path."""
        return _changed(self._images)

    @property
    def unchanged(self) -> int:
        """Images that lie where the index says."""
        return sum(new == old for old, new in self._images.items())

    @property
    def missing(self) -> list[str]:
        """Images that are nowhere, as the index has them."""
        return [old for old, new in self._images.items() if new is None]

    @property
    def depths_rewritten(self) -> int:
        """Depth maps that got another path."""
        return _changed(self._depths)

    @property
    def depths_missing(self) -> int:
        """Depth maps that are nowhere."""
        return sum(new is None for new in self._depths.values())

    def image(self, written: str, depth: str) -> str | None:
        """Path below the root of an image, None where there is none."""
        if written not in self._images:
            found = self.paths.images(written, depth)
            if len(found) > 1:
                self._several[written] = found
            self._images[written] = self._below(found[0]) if found else None
        return self._images[written]

    def depth(self, written: str) -> str | None:
        """Path below the root of a depth map, None where there is none."""
        if written not in self._depths:
            found = self.paths.find_depth(written)
            self._depths[written] = None if found is None else self._below(found)
        return self._depths[written]

    def table(self, table: PairTable) -> PairTable:
        """A table whose frames have the new paths; pairs are dropped if asked for."""
        frames = table.frames
        image = [frames.image[k] for k in range(len(frames.slot))]
        depth = [frames.depth[k] for k in range(len(frames.slot))]
        new = [self.image(i, d) for i, d in zip(image, depth, strict=True)]
        found = [self.depth(d) if d else None for d in depth]
        keep = self._keep(np.array([n is None for n in new]), table)
        frames = dataclasses.replace(
            frames,
            image=FlatNames(n or old for n, old in zip(new, image, strict=True)),
            depth=FlatNames(f or old for f, old in zip(found, depth, strict=True)),
        )
        return dataclasses.replace(table, frames=frames).select(keep)

    def scene(self, path: Path) -> tuple[dict[str, Any], int]:
        """An index file's content with the new paths, and how many pairs it keeps."""
        table = load_megadepth_scene(path)
        content = dict(safe_load(path))
        slots = table.frames.slot.tolist()
        columns = {k: _objects(content[k]) for k in _COLUMNS if k in content}
        missing = np.zeros(len(slots), bool)
        for k, slot in enumerate(slots):
            depth = table.frames.depth[k]
            new = self.image(table.frames.image[k], depth)
            missing[k] = new is None
            columns["image_paths"][slot] = new or columns["image_paths"][slot]
            if depth:
                found = self.depth(depth)
                columns["depth_paths"][slot] = found or depth
        keep = self._keep(missing, table)
        if not keep.all():
            for slot in np.array(slots)[missing]:
                for column in columns.values():
                    column[slot] = None
            rows = np.sort(table.row[keep])
            for key in ("pair_infos", "pairs", "overlaps"):
                if key in content:
                    content[key] = [content[key][r] for r in rows]
                    if key != "pair_infos":
                        content[key] = np.array(content[key])
        return content | columns, int(keep.sum())

    def settle(self) -> None:
        """Refuse what must not be written, when all paths have been looked for.

        Raises:
            DataError: a name fits several files, no image was found, or no pair is
                left.
        """
        if self._several:
            written, files = next(iter(self._several.items()))
            names = ", ".join(self._below(f) for f in files)
            raise DataError(
                f"{len(self._several)} image(s) of the index fit several files, the "
                f"first: {written} may be {names}. Take away all but one of each"
            )
        if self._images and len(self.missing) == len(self._images):
            raise DataError(
                f"none of the {len(self._images):,} images of the index is below "
                f"{self.root}, the first: {self.missing[0]}. Give the folder that "
                "holds phoenix/, MegaDepth_v1/, Undistorted_SfM/ or the scenes"
            )
        if not self.kept:
            raise DataError(
                f"no pair has both its images below {self.root}; the first that is "
                f"missing: {self.missing[0]}. Unpack more of the images"
            )

    def _keep(self, missing: np.ndarray, table: PairTable) -> np.ndarray:
        keep = np.ones(len(table), bool)
        if self.drop_missing:
            keep = ~(missing[table.frame0] | missing[table.frame1])
        self.kept += int(keep.sum())
        self.dropped += int((~keep).sum())
        return keep

    def _below(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def _changed(paths: dict[str, str | None]) -> int:
    return sum(new is not None and new != old for old, new in paths.items())


def _objects(column: Any) -> np.ndarray:
    """A column of any kind as objects: text of fixed length cuts longer paths."""
    objects = np.empty(len(column), object)
    for k, value in enumerate(column):
        objects[k] = value
    return objects
