"""A MegaDepth index whose paths are the images that are really there.

The released index names D2-Net's images, which can no longer be downloaded. Those
of MegaDepth_v1 lie elsewhere, with extensions of their own. Readers here find them
as they are; the released code and others do not, and want the index rewritten.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets import MegaDepth
from ..datasets.convert import index_tables
from ..datasets.export import whole_folder
from ..datasets.flat_file import is_flat
from ..datasets.flat_writer import FlatWriter
from ..datasets.index import find_index_files, index_layout
from ..datasets.scene_file import save_scene
from ..errors import ConfigError, DataError
from ..files import read_depth_h5, read_image_grey, require_folder
from .geometry import GeometryReport
from .geometry_check import geometry_check
from .rewrite_paths import PathRewriter

Progress = Callable[[int, int, str], None]
_LOOKED = 2000  # pairs looked at for files, in an index of which most are not there


@dataclass(frozen=True)
class Rewritten:
    """What a rewriting did, and whether the images fit what the index says of them.

    out: the new index. files, pairs: that it has. rewritten, unchanged: images that
    got another path, and that lie where the index said. missing: images that pairs
    need and that are nowhere, as written. dropped: pairs without their images.
    depths_rewritten, depths_missing: the same of depth maps.
    sizes_checked: images of a sample that were held against their depth maps.
    sizes_differ: those of another size, in words. geometry: of a sample of pairs;
    None where no depth map was found, or where sizes differ.
    """

    out: Path
    files: int
    pairs: int
    rewritten: int
    unchanged: int
    missing: tuple[str, ...]
    dropped: int
    depths_rewritten: int
    depths_missing: int
    sizes_checked: int
    sizes_differ: tuple[str, ...] = field(default=())
    geometry: GeometryReport | None = None

    @property
    def ok(self) -> bool:
        """All images of the new index are there, and nothing speaks against them."""
        fits = self.geometry is None or self.geometry.ok
        return fits and not self.sizes_differ and (not self.missing or self.dropped > 0)

    def text(self) -> str:
        """The report as lines for a terminal."""
        lines = [
            f"{self.out}: {self.pairs:,} pairs in {self.files:,} file(s)",
            f"  images: {self.rewritten:,} rewritten, {self.unchanged:,} unchanged, "
            f"{len(self.missing):,} missing",
            f"  depth maps: {self.depths_rewritten:,} rewritten, "
            f"{self.depths_missing:,} missing",
        ]
        if self.missing:
            what = (
                f"{self.dropped:,} pairs that need them are dropped"
                if self.dropped
                else "pairs that need them are kept: drop them with --drop-missing"
            )
            lines.append(f"  missing first: {self.missing[0]}; {what}")
        lines.append(self._sizes())
        if self.geometry is not None:
            lines += self.geometry.text(pairs=False).splitlines()
        return "\n".join(lines)

    def _sizes(self) -> str:
        if self.sizes_differ:
            return (
                f"  sizes: {len(self.sizes_differ)} of {self.sizes_checked} images do "
                f"not fit their depth maps, the first: {self.sizes_differ[0]}. K and "
                "depth belong to other images: take both from one release, none of "
                "them resized"
            )
        if not self.sizes_checked:
            return (
                "  sizes and geometry: not checked, no image with a depth map was found"
            )
        return (
            f"  sizes: {self.sizes_checked} images checked, all of their depth's size"
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        shown = {k: getattr(self, k) for k in self.__dataclass_fields__}
        geometry = None if self.geometry is None else self.geometry.to_dict()
        missing = {"missing": len(self.missing), "missing_first": self.missing[:5]}
        shown |= {"ok": self.ok, "out": str(self.out), "geometry": geometry}
        return shown | missing


def rewrite_image_paths(
    index: Path | Sequence[Path],
    images_root: Path,
    out: Path,
    drop_missing: bool = False,
    pickled: bool = False,
    pairs: int = 24,
    seed: int = 0,
    progress: Progress | None = None,
) -> Rewritten:
    """Write an index anew with the paths of the files that exist below a folder.

    Depth maps are looked for as well, as the tree may be linked or unpacked in
    another way. The old index stays as it is.

    Args:
        index: MegaDepth index file(s), a text list or a folder of them, or a flat
            index.
        images_root: what paths start from: it holds ``phoenix``,
            ``Undistorted_SfM``, ``MegaDepth_v1`` or the scenes' folders.
        out: a file for a single file; a folder for several, which keep their names.
        drop_missing: leave out pairs whose images are nowhere; otherwise they stay,
            with the path that they had.
        pickled: write pickled dicts named npz, as the released files are and as the
            released code needs them, and not real npz files.
        pairs: of the geometry check; 0 leaves it out. seed: of its choice.
        progress: called with how much is done, of how much, and a few words.

    Raises:
        DataError: the index is damaged or of ScanNet, ``out`` exists, no image or
            none of the pairs is left, or a name fits two files.
        ConfigError: flat and other files at once, or a flat file to be pickled.
    """
    files = find_index_files(index)
    root, out = Path(images_root), Path(out)
    require_folder(root, "the folder of images")
    if index_layout(files[0]) != "megadepth":
        raise DataError(f"{files[0]} is no MegaDepth index: ScanNet's has no paths")
    flat = [f for f in files if is_flat(f)]
    if flat and (len(files) > 1 or pickled):
        raise ConfigError(
            f"{flat[0]} is a flat index: it is rewritten by itself and stays flat. "
            "Join or turn it with `loftr-nb data convert` before or after"
        )
    if out.exists() and len(files) == 1:
        raise DataError(f"{out} exists and is left as it is. Name another file")
    paths = PathRewriter(root, drop_missing)
    if flat:
        _write_flat(files[0], out, paths)
    else:
        _write_files(files, out, paths, pickled, progress)
    opened = MegaDepth(root, out, size=None, depth="optional")
    checked, differ = _compare_sizes(opened, max(pairs, 1), seed)
    geometry = None
    if pairs and checked and not differ:
        geometry = geometry_check(opened, pairs, seed, progress)
    return Rewritten(
        out=out,
        files=len(files),
        pairs=paths.kept,
        rewritten=paths.rewritten,
        unchanged=paths.unchanged,
        missing=tuple(paths.missing),
        dropped=paths.dropped,
        depths_rewritten=paths.depths_rewritten,
        depths_missing=paths.depths_missing,
        sizes_checked=checked,
        sizes_differ=differ,
        geometry=geometry,
    )


def _write_flat(path: Path, out: Path, paths: PathRewriter) -> None:
    with FlatWriter(out, "megadepth") as writer:
        for table in index_tables([path], "megadepth"):
            table = paths.table(table)
            if len(table):
                writer.add(table.compact())
        paths.settle()


def _write_files(
    files: Sequence[Path],
    out: Path,
    paths: PathRewriter,
    pickled: bool,
    progress: Progress | None,
) -> None:
    if len(files) == 1:
        content, _ = paths.scene(files[0])
        paths.settle()
        out.parent.mkdir(parents=True, exist_ok=True)
        save_scene(out, content, pickled)
        return
    names = [f.name for f in files]
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise DataError(f"two index files are named {twice}: rewrite them one by one")
    with whole_folder(out) as folder:
        listed = []
        for done, path in enumerate(files, start=1):
            content, kept = paths.scene(path)
            if kept:
                save_scene(folder / path.name, content, pickled)
                listed.append(path.stem)
            if progress is not None:
                progress(done, len(files), f"{path.name}, {paths.kept:,} pairs")
        paths.settle()
        (folder / "list.txt").write_text("".join(f"{name}\n" for name in listed))


def _compare_sizes(
    opened: MegaDepth, count: int, seed: int
) -> tuple[int, tuple[str, ...]]:
    """How many images were held against their depth maps, and which do not fit."""
    rows = np.random.default_rng(seed).permutation(len(opened))
    sizes: dict[str, str | None] = {}
    for i in rows[:_LOOKED].tolist():
        if len(sizes) >= count:
            break
        for side in (0, 1):
            image, depth = opened.files(i, side)
            if image is None or depth is None or str(image) in sizes:
                continue
            sizes[str(image)] = _misfit(image, depth)
    return len(sizes), tuple(words for words in sizes.values() if words)


def _misfit(image: Path, depth: Path) -> str | None:
    """In words, why an image cannot lie on its depth map; None where it can."""
    try:
        (h, w), (H, W) = read_image_grey(image).shape, read_depth_h5(depth).shape
    except DataError as error:
        return str(error)
    fits = (h, w) == (H, W)
    return None if fits else f"{image} is {w}x{h} and its depth map {W}x{H}"
