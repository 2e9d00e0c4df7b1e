"""What there is to check in a folder: index files, images, or both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ...datasets.flat_file import flat_layout, is_flat
from ...datasets.index import find_index_files
from ...datasets.layout import LAYOUTS, PLACES, find_layout
from ...errors import ConfigError, DataError, LoftrNbError, nearest
from ...files import require_folder, safe_load
from ...indexing.folder import BuiltIndex, find_built
from ...recordings import Recording, find_recording
from ...recordings.find import FINDERS
from .rows import open_index

_PARTS = ("train", "test")


@dataclass
class Part:
    """Index files whose rows start from one root.

    missing: entries of a list that have no file. intrinsics: npz by scene.
    """

    name: str
    root: Path
    files: list[Path]
    missing: list[str] = field(default_factory=list)
    intrinsics: Path | None = None


@dataclass
class Source:
    """Data in one layout, with an index (``parts``) or without (``recording``).

    place: the index that ``--fix`` writes a cleaned copy of, a file or a folder.
    excerpt: only some of the images of the index were ever meant to be here.
    absent: what was looked for and is not there, in words.
    """

    layout: str
    root: Path
    parts: list[Part] = field(default_factory=list)
    recording: Recording | None = None
    place: Path | None = None
    excerpt: bool = False
    absent: list[str] = field(default_factory=list)


def find_sources(
    root: Path, layout: str | None = None, index: Path | None = None
) -> list[Source]:
    """What a folder holds, in whichever known layout it is.

    Args:
        layout: ``scannet``, ``megadepth`` or another of ``FINDERS``; None finds it
            out.
        index: index files that belong to the images in ``root``: a file, a text
            list, or a folder; None looks for them.

    Raises:
        DataError: no such folder, or nothing in it that is known here.
        ConfigError: a mistyped layout.
    """
    root = Path(root)
    require_folder(root, "the folder to check")
    if layout is not None and layout not in FINDERS:
        raise ConfigError(f"unknown layout {layout!r}; {nearest(layout, FINDERS)}")
    if index is not None:
        return [_given(root, layout, Path(index))]
    built = find_built(root) or find_built(root / "index")
    if built is not None and layout in (None, built.style):
        return [_built(built)]
    wanted = [name for name in LAYOUTS if layout in (None, name)]
    found = [source for name in wanted for source in _indexed(root, name)]
    if found:
        return found
    if _holds_link(root):
        find_layout(root, "train", layout)  # raises, and says what it looked for
    recording = find_recording(root, layout)
    if recording.layout == "megadepth":
        return [_excerpt(recording)]
    return [Source(recording.layout, root, recording=recording)]


def _built(built: BuiltIndex) -> Source:
    """An index that ``loftr-nb data index`` made."""
    lists = [p for p in (built.train, built.test) if p is not None]
    parts = [_listed_part(p.stem, built.root, p) for p in lists]
    for part in parts:
        part.root, part.intrinsics = built.root, built.intrinsics
    return Source(built.style, built.root, parts, place=built.folder)


def _holds_link(root: Path) -> bool:
    return any((root / name / "index").is_dir() for name in (".", *LAYOUTS))


def _excerpt(recording: Recording) -> Source:
    """Images with an index beside them, which may name more images than these."""
    files = [p for p in sorted(recording.root.glob("*.npz")) if sniff(p) == "megadepth"]
    part = Part("all", recording.root, files)
    place = files[0] if len(files) == 1 else None
    return Source("megadepth", recording.root, [part], place=place, excerpt=True)


def _indexed(root: Path, layout: str) -> Iterator[Source]:
    """Train and test as the readers find them, or what is left of a damaged index."""
    folder = root / layout if (root / layout).is_dir() else root
    parts, absent = [], []
    for name in _PARTS:
        try:
            part = _part(root, folder, name, layout)
        except LoftrNbError as error:
            absent.append(f"{name}: {error}")
            continue
        if part is not None:
            parts.append(part)
            if part.name == "all":
                break
    if parts:
        places = folder / "index", folder / "scene_info", folder / "scene_info.h5"
        place = next((p for p in places if p.exists()), parts[0].files[0].parent)
        yield Source(layout, folder, parts, place=place, absent=absent)


def _part(root: Path, folder: Path, name: str, layout: str) -> Part | None:
    """One part, None where the files are of the other layout.

    Raises:
        LoftrNbError: there is no such part.
    """
    try:
        found = find_layout(root, name, layout)
    except LoftrNbError:
        part = _damaged_part(folder, name, layout)
        if part is None or not _is_of(part.files, folder, layout):
            raise
        return part
    if not _is_of(found.index, folder, layout):
        return None
    name = "all" if found.held_out else name
    return Part(name, found.root, list(found.index), [], found.intrinsics)


def _damaged_part(folder: Path, name: str, layout: str) -> Part | None:
    """A part whose index files are partly missing or damaged."""
    index, root = folder / "index", folder / name
    if layout == "megadepth" and not root.is_dir():
        root = folder / ("train" if name == "test" else "test")
    if not index.is_dir() or not root.is_dir():
        return None
    for listed, place in PLACES[layout, name]:
        if listed is None or not (index / listed).is_file():
            continue
        entries = (index / listed).read_text(errors="replace").split()
        files = [index / place / _npz(entry) for entry in entries]
        there = [f for f in files if f.is_file()]
        missing = [f"{index / listed}: {f.name}" for f in files if not f.is_file()]
        if there:
            names = (f"intrinsics_{name}.npz", "intrinsics.npz")
            places = [d / n for d in (there[0].parent, index) for n in names]
            K = next((p for p in places if p.is_file()), None)
            return Part(name, root, there, missing, K if layout == "scannet" else None)
    return None


def _npz(entry: str) -> str:
    return entry if entry.endswith(".npz") else f"{entry}.npz"


def _is_of(files: list[Path] | tuple[Path, ...], folder: Path, layout: str) -> bool:
    """Whether the first readable of the files is of that layout."""
    for path in files:
        found = sniff(path)
        if found is not None:
            return found == layout
    return folder.name == layout or layout == "scannet"


def sniff(path: Path) -> str | None:
    """``scannet`` or ``megadepth``, by what an index file holds; None: neither."""
    try:
        if is_flat(path):
            return flat_layout(path)
        keys = safe_load(path, ("name", "image_paths")).keys()
    except DataError:
        return None
    if "name" in keys:
        return "scannet"
    return "megadepth" if "image_paths" in keys else None


def _given(root: Path, layout: str | None, index: Path) -> Source:
    """Images and the index that was named for them."""
    parts = list(_given_parts(root, index))
    if not parts:
        raise DataError(f"{index} has no index files (*.npz) and no lists of them")
    found = next((s for p in parts for f in p.files if (s := sniff(f))), layout)
    if found is None:
        first = parts[0].files[0]
        open_index(first, "scannet")
        safe_load(first, ("name",))  # raises if it is damaged
        raise DataError(
            f"{first} has neither 'name' (ScanNet) nor 'image_paths' (MegaDepth): it "
            "is no index"
        )
    if layout not in (None, found):
        raise ConfigError(f"{index} is an index in {found}'s layout, not in {layout}'s")
    if found == "scannet":
        for part in parts:
            part.intrinsics = part.intrinsics or _intrinsics_near(part.files[0], index)
    return Source(found, root, parts, place=index)


def _given_parts(root: Path, index: Path) -> Iterator[Part]:
    if not index.is_dir():
        if index.suffix == ".txt" and index.is_file():
            yield _listed_part("all", root, index)
        else:
            yield Part("all", root, find_index_files(index))
        return
    lists = [index / f"{name}.txt" for name in _PARTS]
    for path in lists:
        if path.is_file():
            yield _listed_part(path.stem, root, path)
    if any(p.is_file() for p in lists):
        return
    held = [p for p in sorted(index.rglob("*.npz")) if not _is_intrinsics(p)]
    held += [p for p in sorted(index.rglob("*.h5")) if is_flat(p)]
    if held:
        for name in _PARTS:
            roots = root / name
            files = [p for p in held if name in p.relative_to(index).parts[:-1]]
            if files and roots.is_dir():
                yield Part(name, roots, files)
                held = [p for p in held if p not in files]
    if held:
        yield Part("all", root, held)


def _listed_part(name: str, root: Path, path: Path) -> Part:
    """Of a text list; images may lie in a folder of the part's name."""
    folders = [path.parent / path.stem, path.parent]
    files, missing = [], []
    for entry in path.read_text(errors="replace").split():
        place = next((d / _npz(entry) for d in folders if (d / _npz(entry)).is_file()),
                     None)  # fmt: skip
        if place is None:
            missing.append(f"{path}: {_npz(entry)}")
        else:
            files.append(place)
    if not files:
        files = find_index_files(path)  # looks further, or says what is wrong
        missing = []
    return Part(name, root / name if (root / name).is_dir() else root, files, missing)


def _is_intrinsics(path: Path) -> bool:
    return path.stem.startswith("intrinsics")


def _intrinsics_near(file: Path, index: Path) -> Path | None:
    folders = [
        file.parent,
        file.parent.parent,
        index if index.is_dir() else index.parent,
    ]
    for folder in folders:
        found = folder / "intrinsics.npz"
        if found.is_file():
            return found
    return None
