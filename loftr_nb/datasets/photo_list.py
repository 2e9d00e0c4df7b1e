"""``photos.json``: plain photos, and sets of photos with homographies between them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..files import require_file, write_whole
from .groups import SceneGroups

MANIFEST = "photos.json"
FORMAT = 1


@dataclass(frozen=True)
class PhotoSet:
    """Photos of one flat scene. H: (N, 3, 3), photo 0 to each, pixels."""

    name: str
    images: tuple[str, ...]
    H: np.ndarray


@dataclass(frozen=True)
class PhotoList:
    """What ``photos.json`` holds.

    root: the folder that paths start from. photos: plain ones. sets: with
    homographies. pairs_per_photo: how many an epoch can draw of one photo.
    """

    root: Path
    photos: tuple[str, ...]
    sets: tuple[PhotoSet, ...]
    pairs_per_photo: int


@dataclass(frozen=True)
class PhotoRows:
    """Rows by scene. scene: (N,) int32, number in ``scenes``, their names."""

    scene: np.ndarray
    scenes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.scene)

    def groups(self) -> SceneGroups:
        """Which rows belong to which scene."""
        return SceneGroups.of(self.scene)


def read_photo_list(folder: Path) -> PhotoList:
    """Read ``<folder>/photos.json``.

    Raises:
        DataError: missing, damaged, or of another version.
    """
    path = Path(folder) / MANIFEST
    require_file(path)
    try:
        data = json.loads(path.read_text())
        if data["format"] != FORMAT:
            raise DataError(f"{path} has format {data['format']}, known is {FORMAT}")
        sets = tuple(
            PhotoSet(
                str(s["name"]),
                tuple(map(str, s["images"])),
                np.array(s["H"], np.float64).reshape(len(s["images"]), 3, 3),
            )
            for s in data["sets"]
        )
        photos = tuple(map(str, data["photos"]))
        return PhotoList(
            Path(folder) / data["root"], photos, sets, int(data["pairs_per_photo"])
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is damaged ({type(error).__name__}: {error}): write it again with "
            "`loftr-nb data import folder`"
        ) from None


def write_photo_list(folder: Path, photos: PhotoList) -> None:
    """Write ``<folder>/photos.json``, whole or not at all."""
    data = {
        "format": FORMAT,
        "root": str(photos.root),
        "pairs_per_photo": photos.pairs_per_photo,
        "photos": list(photos.photos),
        "sets": [
            {"name": s.name, "images": list(s.images), "H": s.H.reshape(-1, 9).tolist()}
            for s in photos.sets
        ],
    }
    text = json.dumps(data, indent=1).encode()
    write_whole(Path(folder) / MANIFEST, lambda file: file.write(text))


def is_photos(data: Path, layout: str | None) -> bool:
    """Whether ``data`` is to be opened as photos: asked for, or a list lies there."""
    return layout == "photos" or (layout is None and (Path(data) / MANIFEST).is_file())
