"""What ``loftr-nb data link`` made in a folder: undo removes that and no more."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath

from ...errors import DataError
from ...files import write_whole

MANIFEST = ".loftr_nb_links.json"
_VERSION = 1


@dataclass
class Manifest:
    """Links by name below the folder, folders, and the paths file's text.

    Written before a link is made: what is named here and not there is no harm, what
    is there and not named would never be removed.
    """

    layout: str
    links: dict[str, str] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    paths_file: str | None = None
    version: int = _VERSION

    def save(self, folder: Path) -> None:
        """Write it, whole or not at all."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        write_whole(folder / MANIFEST, lambda file: file.write(text.encode()))


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a folder, None where nothing was linked.

    Raises:
        DataError: damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        manifest = Manifest(**json.loads(path.read_text(encoding="utf-8")))
        for name in (*manifest.links, *manifest.folders):
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise ValueError(f"{name!r} is no name below it")
        if not all(isinstance(t, str) for t in manifest.links.values()):
            raise ValueError("a target is not text")
        if manifest.version != _VERSION:
            raise ValueError(f"version {manifest.version}")
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is damaged ({error}), so which links are ours is not known. "
            "Nothing was changed: remove the links in its folder by hand, and this file"
        ) from None
    return manifest


def is_our_link(path: Path, target: str) -> bool:
    """Whether a link is there and still points to what we made it point to."""
    return path.is_symlink() and os.readlink(path) == target


def refused(folder: Path, error: OSError) -> str:
    """What to say where the system refuses to link."""
    where = error.filename or folder
    return (
        f"{where} could not be written ({error.strerror or error}); {folder} is as it "
        "was. Link where you may write with --data"
    )
