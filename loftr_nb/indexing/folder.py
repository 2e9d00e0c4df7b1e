"""The folder of an index: what lies where, what is finished, what may be replaced.

::

    OUT/index.json            where the images are, the options, the reports
    OUT/{train,test}.txt      lists of index files
    OUT/{train,test}/*.npz    index files
    OUT/intrinsics.npz        K by scene (ScanNet's style)
    OUT/scenes/NAME.json      a finished scene: its report and its fingerprint

A scene's report is written after its index files, and the lists last: a run that
was stopped anywhere goes on with the scene that it was at.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..files import write_whole
from ..recordings import Scene
from .report import SceneReport

HEAD = "index.json"
PARTS = ("train", "test")
VERSION = 1  # raise it whenever the same options give other pairs


@dataclass(frozen=True)
class BuiltIndex:
    """An index folder that ``loftr-nb data index`` made, and where its images are.

    folder: of the index. root: what its rows start from. style: ``scannet`` or
    ``megadepth``. train, test: lists of index files, None without a pair.
    intrinsics: npz by scene, or None.
    """

    folder: Path
    root: Path
    style: str
    train: Path | None
    test: Path | None
    intrinsics: Path | None

    def pairs_of(self, part: str) -> tuple[Path, bool]:
        """The list of a part's files, and whether the part is still to be divided.

        Raises:
            DataError: there is no such pair.
        """
        if self.test is None and self.train is not None:
            return self.train, True
        path = self.train if part == "train" else self.test
        if path is None:
            raise DataError(f"{self.folder} has no {part} pairs: index more frames")
        return path, False


def find_built(folder: Path) -> BuiltIndex | None:
    """The index in a folder, None where this is no folder of ours.

    Raises:
        DataError: it is unfinished, damaged, or its images have moved away.
    """
    folder = Path(folder)
    if not (folder / HEAD).is_file():
        return None
    head = read_json(folder / HEAD)
    if not isinstance(head, dict) or "style" not in head:
        return None
    again = "run the same `loftr-nb data index` again"
    if not head.get("complete"):
        raise DataError(f"{folder} is an unfinished index: {again} to go on")
    places = [Path(head["root"]), folder / head["root_from_here"]]
    root = next((p for p in places if p.is_dir()), None)
    if root is None:
        raise DataError(
            f"{folder} is an index of the images in {places[0]}, which is not there. "
            f"Put them back, or {again} with the folder they are in now"
        )

    def present(name: str) -> Path | None:
        return folder / name if (folder / name).is_file() else None

    lists = [present(f"{part}.txt") for part in PARTS]
    return BuiltIndex(folder, root, head["style"], *lists, present("intrinsics.npz"))


def read_json(path: Path) -> Any:
    """A JSON file of ours.

    Raises:
        DataError: it is none.
    """
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} is damaged ({error}): delete it, or give another --out"
        ) from None


def write_json(path: Path, data: Any) -> None:
    """Write JSON that is there whole or not at all."""
    text = json.dumps(data, indent=1)
    write_whole(path, lambda file: file.write(text.encode()))


class IndexFolder:
    """An index folder while it is written."""

    def __init__(
        self, out: Path, root: Path, style: str, options: dict[str, Any], force: bool
    ) -> None:
        """
        Raises:
            DataError: ``out`` holds something else, an index of other images or
                with other options, and ``force`` is not given; or it cannot be
                written to.
        """
        self.out, self.force = out, force
        self.head = {
            "version": VERSION,
            "style": style,
            "root": str(root.resolve()),
            "root_from_here": os.path.relpath(root.resolve(), out.resolve()),
            "options": options,
        }
        if not force:
            self._refuse_others()
        try:
            for part in ("scenes", *PARTS):
                (out / part).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"{out} cannot be written to ({error.strerror}): give another folder "
                "with --out"
            ) from None
        # A finished index stays marked as such until something changes in it.
        self.changed = not (self._old().get("complete") and not force)
        if self.changed:
            self._mark(False)

    def _old(self) -> dict[str, Any]:
        path = self.out / HEAD
        old = read_json(path) if path.is_file() else {}
        return old if isinstance(old, dict) else {}

    def _refuse_others(self) -> None:
        if not self.out.exists():
            return
        if not self.out.is_dir():
            raise DataError(f"{self.out} is a file; --out is a folder")
        held = sorted(p.name for p in self.out.iterdir() if p.name[0] != ".")
        old = self._old()
        if held and "options" not in old:
            shown = ", ".join(held[:4]) + (", ..." if len(held) > 4 else "")
            raise DataError(
                f"{self.out} holds {shown} and no index of this command's: give "
                "another folder with --out, or --force to write into it"
            )
        for key in ("version", "style", "root", "options") if old else ():
            if old.get(key) != json.loads(json.dumps(self.head[key])):
                raise DataError(
                    f"{self.out} holds an index with {_differs(key, old, self.head)}: "
                    "give another folder with --out, or --force to replace it"
                )

    def finished(self, scene: str, fingerprint: str) -> SceneReport | None:
        """The report of a scene that an earlier run finished, unless it changed.

        Raises:
            DataError: it has changed since, and ``force`` is not given.
        """
        path = self._state(scene)
        if not path.is_file():
            return None
        old = read_json(path)
        report = SceneReport.of(old["report"])
        there = all((self.out / name).is_file() for name in report.files)
        if old["fingerprint"] == fingerprint and there:
            return report
        if there and not self.force:
            raise DataError(
                f"{path}: the files of {scene} have changed since it was indexed. Give "
                "--force to index it again, or another folder with --out"
            )
        for name in report.files:
            (self.out / name).unlink(missing_ok=True)
        path.unlink()
        return None

    def add(self, report: SceneReport, fingerprint: str) -> None:
        """Note a scene whose index files have been written."""
        self._touch()
        path = self._state(report.scene)
        write_json(path, {"fingerprint": fingerprint, "report": asdict(report)})

    def drop_others(self, scenes: set[str]) -> None:
        """Delete what belongs to scenes that are no longer there.

        Raises:
            DataError: there are such, and ``force`` is not given.
        """
        for path in sorted((self.out / "scenes").glob("*.json")):
            if path in {self._state(scene) for scene in scenes}:
                continue
            if not self.force:
                raise DataError(
                    f"{self.out} also indexes {path.stem}, which is no longer there. "
                    "Give --force to drop it, or another folder with --out"
                )
            for name in read_json(path)["report"]["files"]:
                (self.out / name).unlink(missing_ok=True)
            path.unlink()

    def complete(self, lists: dict[str, Callable[[], None] | None]) -> None:
        """Write what spans all scenes (None: delete it), then mark the end."""
        for name, write in lists.items():
            if write is not None:
                write()
            else:
                (self.out / name).unlink(missing_ok=True)
        # A process that was killed could not take away the file it was writing.
        for part in PARTS:
            for half in (self.out / part).glob(".*.npz.*"):
                half.unlink(missing_ok=True)
        self._mark(True)

    def _state(self, scene: str) -> Path:
        return self.out / "scenes" / f"{scene.replace('/', '_')}.json"

    def _touch(self) -> None:
        if not self.changed:
            self.changed = True
            self._mark(False)

    def _mark(self, complete: bool) -> None:
        write_json(self.out / HEAD, {**self.head, "complete": complete})


def _differs(key: str, old: dict[str, Any], new: dict[str, Any]) -> str:
    if key != "options":
        return f"{key} {old.get(key)!r}, now it is {new[key]!r}"
    options = old.get(key) or {}
    odd = [
        k for k, v in new[key].items() if options.get(k) != json.loads(json.dumps(v))
    ]
    name = odd[0] if odd else next(iter(set(options) - set(new[key])))
    return f"{name} {options.get(name)!r}, now it is {new[key].get(name)!r}"


def fingerprint(scene: Scene, options: dict[str, Any], role: str) -> str:
    """Changes with the options and with any file that the scene's pairs come from.

    Files are known by name, size and time: reading them would cost as much as
    indexing them.
    """
    digest = hashlib.sha256(json.dumps([VERSION, options, role]).encode())
    for k in range(len(scene)):
        for path in (scene.image_path(k), scene.depth_path(k), scene.pose_path(k)):
            digest.update(f"{path}".encode())
            try:
                state = os.stat(path) if path is not None else None
            except OSError:
                state = None
            if state is not None:
                digest.update(f"{state.st_size} {state.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]
