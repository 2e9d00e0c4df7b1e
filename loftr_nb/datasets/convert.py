"""From every form of index into one flat file, and back.

Released pickles, npz files of ScanNet and MegaDepth, glue-factory's and flat files
become one flat index (:mod:`.flat`), which loses nothing that training or
evaluation reads: pairs, overlap, poses, K, paths, ``rel_pose`` and the order of the
source's rows. What is dropped is read by no training that is known:
``central_matches`` (one point a pair), the images of a MegaDepth scene that no pair
names, and keys beyond those of :mod:`.index` and :mod:`.scene_info`. Overlap is
kept as float32, K and poses of MegaDepth as float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError, DataError, nearest
from .flat import open_flat
from .flat_file import flat_layout, is_flat
from .flat_writer import FlatWriter
from .index import (
    find_index_files,
    index_layout,
    load_intrinsics,
    load_scannet_file,
)
from .scene_info import load_megadepth_scene
from .table import PairTable

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Converted:
    """What a conversion wrote.

    out: the file, or the folder of npz files. files: index files read (or
    written). scenes, pairs, frames: how many; frames are known for MegaDepth only.
    intrinsics: scenes whose K is in it. bytes: size on disk.
    """

    out: Path
    layout: str
    files: int
    scenes: int
    pairs: int
    frames: int
    intrinsics: int
    bytes: int

    def __str__(self) -> str:
        frames = f", {self.frames:,} images" if self.frames else ""
        K = f", K of {self.intrinsics:,} scenes" if self.intrinsics else ""
        return (
            f"{self.out}: {self.layout}, {self.pairs:,} pairs of {self.scenes:,} "
            f"scenes ({self.files:,} index files){frames}{K}, "
            f"{self.bytes / 1e6:,.1f} MB"
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"out": str(self.out)}


def index_tables(files: Sequence[Path], layout: str) -> Iterator[PairTable]:
    """The table of each index file, one at a time; flat ones file by file.

    Raises:
        DataError: a file is damaged, or of another layout.
    """
    read = load_scannet_file if layout == "scannet" else load_megadepth_scene
    for path in files:
        if not is_flat(path):
            yield read(path)
            continue
        if flat_layout(path) != layout:
            raise DataError(f"{path} is of {flat_layout(path)}, others of {layout}")
        whole = open_flat(path)
        for number in range(len(whole.files)):
            yield whole.of_file(number).compact()


def count_sources(files: Sequence[Path]) -> int:
    """How many tables :func:`index_tables` yields."""
    return sum(len(open_flat(f).files) if is_flat(f) else 1 for f in files)


def convert_index(
    index: Path | Sequence[Path],
    out: Path,
    layout: str | None = None,
    intrinsics: Path | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> Converted:
    """Write any index as one flat file, index file by index file.

    Args:
        index: index file(s), a text list of them, or a folder of them, in any form
            that :class:`ScanNet` and :class:`MegaDepth` read.
        out: the flat file, such as ``index/train.h5``.
        layout: "scannet" or "megadepth"; None finds it out from the first file.
        intrinsics: ScanNet's npz of K by scene, to be kept in the index too.
        progress: called with files done, files in all, and a line of words.
        overwrite: replace ``out`` if it is there.

    Raises:
        DataError: the index is damaged, ``out`` exists, or the disk is full.
        ConfigError: a layout that is not known, or intrinsics of MegaDepth.
    """
    files = find_index_files(index)
    layout = _layout(files[0], layout)
    if intrinsics is not None and layout == "megadepth":
        raise ConfigError(
            "a MegaDepth index has K of each image: leave out the intrinsics file"
        )
    total = count_sources(files)
    with FlatWriter(out, layout, overwrite) as writer:
        for done, table in enumerate(index_tables(files, layout), start=1):
            writer.add(table)
            if progress is not None:
                text = f"{table.files[0].name}, {writer.pairs:,} pairs"
                progress(done, total, text)
        if intrinsics is not None:
            writer.add_intrinsics(load_intrinsics(Path(intrinsics)))
    return Converted(
        writer.out,
        layout,
        writer.files,
        writer.scenes,
        writer.pairs,
        writer.frames,
        writer.scenes_with_intrinsics,
        writer.out.stat().st_size,
    )


def _layout(path: Path, layout: str | None) -> str:
    if layout is None:
        return index_layout(path)
    known = ("scannet", "megadepth")
    if layout not in known:
        raise ConfigError(f"unknown layout {layout!r}; {nearest(layout, known)}")
    return layout
