"""The folder of a pack: what it was made of, which scenes it holds, what is complete.

::

    PACK/pack.json                   source, layout, sizes, scenes, index files
    PACK/{train,test}/NAME.h5        a scene (:mod:`.pack_file`), whole or not there
    PACK/index/{train,test}/*        copies of the source's index files

A pack can be copied to another disk or machine: nothing of its source is read.
Where the source is there, its index is compared with the copy.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ConfigError, DataError
from ..files import write_whole

HEAD = "pack.json"
FORMAT = "loftr_nb pack"
VERSION = 1


@dataclass(frozen=True)
class PackOptions:
    """What decides the bytes of a pack.

    source: the folder it is made of. layout: ``scannet`` or ``megadepth``. size:
    ScanNet's (w, h), MegaDepth's longer side, None for the stored size. divisor:
    MegaDepth's. compress: images as PNG.
    """

    source: str
    layout: str
    size: tuple[int, int] | int | None
    divisor: int = 8
    compress: bool = False

    @property
    def size_in_words(self) -> str:
        """As ``--size`` takes it."""
        return size_in_words(self.size)

    def command(self, out: Path | str, size: Any = ..., min_overlap: float = 0) -> str:
        """The command line that makes such a pack."""
        words = ["loftr-nb", "data", "pack", self.source, "--out", str(out)]
        words += ["--layout", self.layout]
        words += ["--size", size_in_words(self.size if size is ... else size)]
        words += ["--min-overlap", f"{min_overlap:g}"] if min_overlap > 0 else []
        words += ["--compress"] if self.compress else []
        return shlex.join(words)


def size_in_words(size: Any) -> str:
    """``640x480``, ``640`` (a longer side) or ``stored``."""
    if size is None:
        return "stored"
    return str(size) if isinstance(size, int) else "x".join(map(str, size))


@dataclass(frozen=True)
class IndexCopy:
    """An index file of the source, and its copy in the pack.

    file: below the pack, "" where it is watched and not copied (intrinsics).
    """

    source: str
    file: str
    bytes: int
    mtime_ns: int
    sha256: str

    def changed(self) -> bool:
        """Whether the source's file is there and holds something else now."""
        path = Path(self.source)
        if not path.is_file():
            return False
        stat = path.stat()
        if (stat.st_size, stat.st_mtime_ns) == (self.bytes, self.mtime_ns):
            return False
        return stat.st_size != self.bytes or file_digest(path) != self.sha256


@dataclass
class PackedSplit:
    """What a pack holds of "train" or "test".

    root: of the source's images. held_out: the source came without a split.
    min_overlap: pairs below it have no frames here. depth: "required", or
    "optional" where frames may lack it. built: folder in the pack of the index that
    was made of bare ScanNet scenes. index: copies, in the order they are read.
    intrinsics: of the source, watched. scenes: bytes of each file, by its name.
    """

    root: str
    held_out: bool
    min_overlap: float
    depth: str
    built: str | None = None
    index: list[IndexCopy] = field(default_factory=list)
    intrinsics: IndexCopy | None = None
    scenes: dict[str, int] = field(default_factory=dict)


@dataclass
class PackHead:
    """``pack.json``. complete: every scene is there."""

    options: PackOptions
    splits: dict[str, PackedSplit] = field(default_factory=dict)
    complete: bool = False

    def write(self, folder: Path) -> None:
        """Write it, whole or not at all."""
        data = {"format": FORMAT, "version": VERSION, **asdict(self)}
        text = json.dumps(data, indent=1).encode()
        write_whole(Path(folder) / HEAD, lambda file: file.write(text))


def is_pack(folder: Path) -> bool:
    """Whether a folder is a pack, finished or not."""
    return (Path(folder) / HEAD).is_file()


def refuse_pack(folder: Path) -> None:
    """Refuse a pack where images and whole depth maps are needed.

    Raises:
        DataError: it is one; names the folder that it was made of.
    """
    if is_pack(folder):
        source = read_pack(folder).options.source
        raise DataError(
            f"{folder} is a pack, which holds images at training size and depth at "
            "cell corners only. Training and evaluation read it; checks, reports and "
            f"what works on files read the data that it was made of: {source}"
        )


def read_pack(folder: Path) -> PackHead:
    """Read ``pack.json``.

    Raises:
        DataError: missing, damaged, or of a later version.
    """
    path = Path(folder) / HEAD
    try:
        data = json.loads(path.read_text())
        if data["format"] != FORMAT:
            raise ValueError(f"its format is {data['format']!r}")
        if data["version"] > VERSION:
            raise ValueError("it was written by a later loftr_nb")
        size = data["options"]["size"]
        size = tuple(size) if isinstance(size, list) else size
        options = PackOptions(**data["options"] | {"size": size})
        splits = {name: _split(one) for name, one in data["splits"].items()}
        return PackHead(options, splits, bool(data["complete"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is damaged ({type(error).__name__}: {error}). Run the same "
            "`loftr-nb data pack` again with another --out, or delete this pack"
        ) from None


def _split(data: dict[str, Any]) -> PackedSplit:
    watched = data["intrinsics"]
    return PackedSplit(
        **data
        | {
            "index": [IndexCopy(**one) for one in data["index"]],
            "intrinsics": None if watched is None else IndexCopy(**watched),
        }
    )


def require_split(folder: Path, head: PackHead, split: str) -> PackedSplit:
    """A split that is complete and undamaged, as far as sizes tell.

    Raises:
        DataError: unfinished, no such split, or a file is missing or damaged.
    """
    folder = Path(folder)
    again = f"run `{head.options.command(folder)}` again"
    if not head.complete:
        raise DataError(f"{folder} is an unfinished pack: {again} to go on")
    if split not in head.splits:
        held = " and ".join(head.splits) or "no"
        raise DataError(
            f"{folder} is a pack of {held} pairs, and {split} pairs are asked for: "
            f"{again}, with --split both"
        )
    packed = head.splits[split]
    files = {f"{split}/{name}.h5": size for name, size in packed.scenes.items()}
    files |= {one.file: one.bytes for one in packed.index}
    for name, size in files.items():
        path = folder / name
        found = path.stat().st_size if path.is_file() else None
        if found != size:
            state = "is missing" if found is None else f"has {found:,} bytes"
            raise DataError(
                f"{path} {state}; {size:,} bytes were packed. Copy the pack again, or "
                f"{again}: scenes that are right are kept"
            )
    return packed


def refuse_changed(
    folder: Path,
    head: PackHead,
    split: str,
    find: Callable[[], tuple[Path, ...] | None],
) -> None:
    """Refuse a pack whose source has another index by now.

    Args:
        find: the index files that a reader of the source takes today, None where
            they cannot be known.

    Raises:
        DataError: naming the file, and the command that brings the pack up to date.
    """
    packed = head.splits[split]
    watched = [*packed.index, *([packed.intrinsics] if packed.intrinsics else [])]
    changed = next((one.source for one in watched if one.changed()), None)
    why = f"{changed} has changed"
    if changed is None and Path(head.options.source).is_dir():
        today = find()
        known = [Path(one.source) for one in packed.index]
        if today is None or [Path(p).resolve() for p in today] == known:
            return
        new = [p for p in today if Path(p).resolve() not in known]
        why = f"the {split} index of {head.options.source} is another one"
        why += f", now with {new[0]}," if new else f", now of {len(today)} files,"
        if not today:
            why = f"the frames in {head.options.source} are other ones"
    elif changed is None:
        return
    command = head.options.command(folder, min_overlap=packed.min_overlap)
    raise DataError(
        f"{why} since {folder} was packed. Run `{command}` again: scenes that are "
        "still right are kept"
    )


def check_request(
    folder: Path, head: PackHead, split: str, layout: str | None, asked: dict[str, Any]
) -> None:
    """Refuse what a pack cannot give: another layout, size or more pairs.

    Raises:
        ConfigError: naming both, and the command that makes a pack which can.
    """
    options, packed = head.options, head.splits[split]
    if layout not in (None, options.layout):
        raise ConfigError(
            f"{folder} is a pack in {options.layout}'s layout, and {layout} is asked "
            "for: choose a recipe of that layout, or pack other data"
        )
    size, other = asked.get("size", options.size), Path(f"{folder}_{{size}}")
    size = tuple(size) if isinstance(size, list) else size
    least = asked.get("min_overlap", packed.min_overlap)
    if size != options.size:
        words = size_in_words(size)
        command = options.command(str(other).format(size=words), size, least)
        raise ConfigError(
            f"{folder} is packed at {options.size_in_words}, and {words} is asked for. "
            f"Ask for {options.size_in_words}, or pack at the other size: `{command}`"
        )
    if asked.get("divisor", options.divisor) != options.divisor:
        raise ConfigError(
            f"{folder} is packed with sides divisible by {options.divisor}, and "
            f"{asked['divisor']} is asked for: open the source, {options.source}"
        )
    if split == "train" and least < packed.min_overlap:
        command = options.command(folder, min_overlap=least)
        raise ConfigError(
            f"{folder} holds pairs that overlap by {packed.min_overlap:g} or more, and "
            f"{least:g} is asked for. Add the others with `{command}`, or ask for "
            f"min_overlap {packed.min_overlap:g}"
        )


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
