"""From index files and folders to scenes of frames to check, each frame once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError
from ...files import safe_load
from ...recordings import Scene
from ...recordings.megadepth import MegaDepthScene, place_name, used_slots
from ...recordings.megadepth_paths import MegaDepthPaths
from ...recordings.scannet import require_python_export
from .report import Tally
from .rows import Codes, FlatIndex, IndexFile, MegaDepthFile, used_frames
from .scenes import IndexedScanNetScene
from .sources import Part, Source

Progress = Callable[[int, int, str], None]


class Opened:
    """Scenes to check, and how rows of the index files lead to their frames.

    files: index files that could be read. damaged: those that could not.
    codes: (F,) uint8 of each scene, once it was checked.
    """

    def __init__(self, source: Source) -> None:
        self.layout, self.root = source.layout, source.root
        self.excerpt, self.indexed = source.excerpt, bool(source.parts)
        self.scenes: list[Scene] = []
        self.files: list[IndexFile] = []
        self.codes: dict[int, np.ndarray] = {}
        self._parts: list[Part] = []
        # For each file: scene as its rows name it -> (their frames, scene, places)
        self._maps: list[dict[str, tuple[np.ndarray, int, np.ndarray | None]]] = []

    def set_codes(self, n: int, codes: np.ndarray) -> None:
        """What the check of scene n found of each of its frames."""
        self.codes[n] = codes

    def is_missing(self, scene: Scene) -> bool:
        """A scene of an index whose folder is not there."""
        return isinstance(scene, IndexedScanNetScene) and not scene.folder.is_dir()

    def add_file(self, part: Part, file: IndexFile, places: dict) -> None:
        """An index file and the map from its frames to those of the scenes."""
        self._parts.append(part)
        self.files.append(file)
        self._maps.append(places)

    def part_of(self, number: int) -> Part:
        """The part that an index file belongs to."""
        return self._parts[number]

    def codes_of(self, number: int) -> Codes:
        """The codes of all frames that the rows of an index file may use."""
        codes = Codes()
        for name, (frames, n, places) in self._maps[number].items():
            if places is None:  # ScanNet: numbers of all frames of the scene
                frames, found = self.scenes[n].numbers, self.codes[n]
            else:
                found = self.codes[n][places]
            codes.set(name, frames, found)
        return codes


def open_source(source: Source, tally: Tally, progress: Progress | None) -> Opened:
    """Read the index files of a source; what is wrong with them goes to ``tally``.

    Raises:
        DataError: an export of ScanNet's C++ tool.
    """
    opened = Opened(source)
    for words in source.absent:
        tally.add("part_missing", words)
    if source.recording is not None:
        opened.scenes = list(source.recording.scenes)
        _tell_without_pose(opened.scenes, tally)
        return opened
    make = _ScanNetScenes if source.layout == "scannet" else _MegaDepthScenes
    scenes = make(opened, tally)
    total, done = sum(len(part.files) for part in source.parts), 0
    for part in source.parts:
        tally.looked_at("index files", len(part.files) + len(part.missing))
        for entry in part.missing:
            tally.add("index_missing", entry)
        for path in part.files:
            try:
                file, _, frames = used_frames(path, source.layout)
                scenes.add(part, file, frames)
            except DataError as error:
                tally.add(_index_cause(error), str(error))
            done += 1
            if progress and total > 20:
                progress(done, total, "index files")
    scenes.finish()
    return opened


def _index_cause(error: DataError) -> str:
    refused = "could run code", "refers to something outside"
    return "index_refused" if any(r in str(error) for r in refused) else "index_damaged"


def _tell_without_pose(scenes: list[Scene], tally: Tally) -> None:
    """Images that no pose belongs to: of a recording, no frames at all."""
    for scene in scenes:
        names = getattr(scene, "without_pose", ())
        if names:
            first = f"{scene.folder / 'color' / names[0]}.jpg has no file in pose/"
            tally.looked_at("poses", len(names))
            tally.add("pose_missing", first, len(names), "warning")
        count = getattr(scene, "without", 0)
        if count:
            tally.looked_at("poses", count)
            first = f"{scene.name}: images without depth or pose near in time"
            tally.add("pose_missing", first, count, "warning")


class _ScanNetScenes:
    """Scenes by folder; their frames are the union over all index files."""

    def __init__(self, opened: Opened, tally: Tally) -> None:
        self.opened, self.tally = opened, tally
        self._numbers: dict[tuple[Path, str], np.ndarray] = {}
        self._place: dict[tuple[Path, str], int] = {}
        self._K: dict[Path | None, dict[str, Any]] = {None: {}}
        self._K_of: dict[tuple[Path, str], Any] = {}

    def add(self, part: Part, file: IndexFile, frames: dict[str, np.ndarray]) -> None:
        """Frames that one more index file uses, by scene."""
        table = self._intrinsics(part.intrinsics)
        if isinstance(file, FlatIndex):
            table = file.table().intrinsics() | table
        places = {}
        for name, numbers in frames.items():
            key = part.root, name
            known = self._numbers.get(key)
            if known is None:
                self._place[key] = len(self._place)
                self._numbers[key] = numbers
            else:
                self._numbers[key] = np.union1d(known, numbers)
            if table.get(name) is not None:
                self._K_of.setdefault(key, table[name])
            places[name] = (numbers, self._place[key], None)
        self.opened.add_file(part, file, places)

    def _intrinsics(self, path: Path | None) -> dict[str, Any]:
        if path not in self._K:
            try:
                self._K[path] = safe_load(path)
            except DataError as error:
                self.tally.looked_at("index files", 1)
                self.tally.add("index_damaged", str(error))
                self._K[path] = {}
        return self._K[path]

    def finish(self) -> None:
        """Make the scenes."""
        exported = False
        for (root, name), numbers in self._numbers.items():
            K = self._K_of.get((root, name))
            scene = IndexedScanNetScene(root / name, numbers, K)
            self.opened.scenes.append(scene)
            if not exported and scene.folder.is_dir():
                require_python_export(scene.folder)
                exported = True


class _MegaDepthScenes:
    """Scenes by place; an image that several index files name is one frame."""

    def __init__(self, opened: Opened, tally: Tally) -> None:
        self.opened = opened
        self._paths: dict[Path, MegaDepthPaths] = {}
        self._place: dict[tuple[Path, str], int] = {}

    def add(self, part: Part, file: IndexFile, frames: dict[str, np.ndarray]) -> None:
        """Slots that one more index file uses, by scene."""
        columns = _columns(file)
        used = used_slots(columns)
        places = {}
        for name, slots in frames.items():
            slots = slots[(slots >= 0) & (slots < len(used))]
            slots = slots[used[slots]]
            n = self._scene(part.root, place_name(name))
            scene = self.opened.scenes[n]
            where = f"{file.path}, slot "
            numbers = [scene.add(columns, s, where + str(s)) for s in slots.tolist()]
            places[name] = (slots, n, np.array(numbers, np.int64))
        self.opened.add_file(part, file, places)

    def _scene(self, root: Path, name: str) -> int:
        if (root, name) not in self._place:
            paths = self._paths.setdefault(root, MegaDepthPaths(root))
            taken = {scene.name for scene in self.opened.scenes}
            self._place[root, name] = len(self.opened.scenes)
            unique = f"{root.name}/{name}" if name in taken else name
            self.opened.scenes.append(MegaDepthScene(unique, paths))
        return self._place[root, name]

    def finish(self) -> None:
        """Nothing is left to do."""


def _columns(file: IndexFile) -> dict[str, Any]:
    if isinstance(file, MegaDepthFile):
        return file.load()
    frames = file.table().frames
    count = len(frames.slot)
    return {
        "image_paths": [frames.image[i] for i in range(count)],
        "depth_paths": [frames.depth[i] for i in range(count)],
        "intrinsics": np.asarray(frames.K),
        "poses": np.asarray(frames.pose),
    }
