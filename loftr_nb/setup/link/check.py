"""Whether what an index names is found below the links, on a sample."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...datasets.layout import Found, Layout, find_layout
from ...datasets.linked import image_root
from ...datasets.megadepth import MegaDepth
from ...datasets.scannet import ScanNet
from ...errors import DataError
from ...recordings.megadepth_paths import MegaDepthPaths

_FILES = 6  # index files of the sample, spread over all of them
_ROWS = 40  # pairs of each


@dataclass
class LinkCheck:
    """One side: files that sampled pairs name, found and missing.

    note: why there is nothing to count, or the first file that is missing.
    """

    split: str
    images: int = 0
    images_missing: int = 0
    depths: int = 0
    depths_missing: int = 0
    note: str = ""

    @property
    def ok(self) -> bool:
        """Everything that was looked for is there."""
        return self.images > 0 and not (self.images_missing or self.depths_missing)


def check_links(
    folder: Path, layout: Layout, sides: Collection[str]
) -> list[LinkCheck]:
    """Look for the images and depth maps of some pairs of each linked side.

    sides: those that must have pairs; another is looked at only if it has some.
    """
    checks = []
    for split in ("train", "test"):
        root = image_root(folder, split)
        if not root.is_dir() or not any(root.iterdir()):
            continue  # no images were linked for it
        check = LinkCheck(split)
        try:
            _sample(find_layout(folder, split, layout), check)
        except DataError as error:
            if split not in sides:
                continue
            check.note = check.note or str(error)
        checks.append(check)
    return checks


def _sample(found: Found, check: LinkCheck) -> None:
    chosen = np.linspace(0, len(found.index) - 1, min(_FILES, len(found.index)))
    for k in chosen.round().astype(int):
        for image, depth in _named(found, found.index[k]):
            for kind, path in (("images", image), ("depths", depth)):
                there = isinstance(path, Path) and path.is_file()
                name = kind if there else f"{kind}_missing"
                setattr(check, name, getattr(check, name) + 1)
                if not there and not check.note:
                    check.note = f"missing: {path}"


def _named(found: Found, index: Path) -> list[tuple[Path | str, Path | str]]:
    """Image and depth map of both frames of some pairs; a text where it is missing."""
    if found.layout == "scannet":
        dataset = ScanNet(found.root, index, found.intrinsics)
        pairs = [dataset.image_paths(i) for i in _rows(len(dataset))]
        return [
            (p, p.parent.parent / "depth" / f"{p.stem}.png")
            for pair in pairs
            for p in pair
        ]
    table = MegaDepth(found.root, index).table
    paths = MegaDepthPaths(found.root)
    named = []
    for i in _rows(len(table)):
        for frame in (int(table.frame0[i]), int(table.frame1[i])):
            image, depth = table.frames.image[frame], table.frames.depth[frame]
            try:
                place: Path | str = paths.image(image, depth)
            except DataError as error:
                place = str(error)
            depth_place = paths.find_depth(depth) if depth else None
            named.append((place, depth_place or f"the depth map {depth or 'of it'}"))
    return named


def _rows(count: int) -> list[int]:
    return np.linspace(0, count - 1, min(_ROWS, count)).round().astype(int).tolist()
