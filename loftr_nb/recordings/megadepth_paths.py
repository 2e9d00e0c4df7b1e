"""Where a file of MegaDepth is, whichever way the tree was unpacked.

The released index names D2-Net's images (``Undistorted_SfM/0015/images/x.jpg``),
which can no longer be downloaded; people use the images of MegaDepth_v1
(``phoenix/S6/zl548/MegaDepth_v1/0015/dense0/imgs/x.JPG``), link only a part of
the tree, or unpack it without its long prefix. Extensions differ in case and kind.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePath

from ..errors import DataError

IMAGES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm"))
DEPTHS = frozenset((".h5", ".hdf5"))
_V1 = "phoenix/S6/zl548/MegaDepth_v1"
_D2NET = re.compile(r"(?:.*/)?(?P<scene>[^/]+)/images/[^/]+")
_RELEASED = re.compile(
    r"(?:.*/)?(?P<scene>[^/]+)/(?P<dense>dense\d+)/(?:imgs|depths)/[^/]+"
)


class MegaDepthPaths:
    """Finds the images and depth maps that an index names, below one root.

    A file is looked for where the index says, then in the places where other
    ways of unpacking put it, and there also with another extension. A name that
    fits two files there is refused: they may be two different pictures.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listings: dict[Path, dict[str, list[str]]] = {}

    def image(self, written: str, depth: str = "") -> Path:
        """Path of an image, from what the index says of it and of its depth.

        Raises:
            DataError: in none of the places, or two files go by the name.
        """
        folders = self._image_folders(written, depth)
        return self._required(written, folders, IMAGES, "the images")

    def images(self, written: str, depth: str = "") -> list[Path]:
        """The files that an image may be: one, none, or several to choose from."""
        return self._candidates(written, self._image_folders(written, depth), IMAGES)

    def depth(self, written: str) -> Path:
        """Path of a depth map, from what the index says.

        Raises:
            DataError: in none of the places.
        """
        folders = self._depth_folders(written)
        return self._required(
            written,
            folders,
            DEPTHS,
            "the depth maps (the download of the 1,500 test pairs has none: evaluate "
            "with depth='optional')",
        )

    def find_image(self, written: str, depth: str = "") -> Path | None:
        """Path of an image, the first that it may be, or None where there is none."""
        found = self.images(written, depth)
        return found[0] if found else None

    def find_depth(self, written: str) -> Path | None:
        """Path of a depth map, or None where there is none."""
        found = self._candidates(written, self._depth_folders(written), DEPTHS)
        return found[0] if found else None

    def _image_folders(self, written: str, depth: str) -> list[str]:
        place = _RELEASED.fullmatch(written) or _RELEASED.fullmatch(depth)
        named = _RELEASED.fullmatch(written) or _D2NET.fullmatch(written)
        if named is None:
            return []
        scene = named["scene"]
        folders = [f"{scene}/images", f"Undistorted_SfM/{scene}/images"]
        dense = [place["dense"]] if place else self._dense_folders(scene)
        for name in dense:
            folders += _released_folders(scene, name, "imgs")
        return folders

    def _dense_folders(self, scene: str) -> list[str]:
        found = {
            p.name
            for base in (_V1, "MegaDepth_v1", ".")
            for p in (self.root / base / scene).glob("dense*")
        }
        return sorted(found)

    def _depth_folders(self, written: str) -> list[str]:
        named = _RELEASED.fullmatch(written)
        if named is None:
            return []
        scene = named["scene"]
        folders = _released_folders(scene, named["dense"], "depths")
        return [*folders, f"depth_undistorted/{scene}"]

    def _candidates(
        self, written: str, folders: list[str], kinds: frozenset[str]
    ) -> list[Path]:
        exact = self.root / written
        if exact.is_file():
            return [exact]
        for folder in (exact.parent, *(self.root / f for f in folders)):
            names = self._listing(folder).get(exact.stem.lower(), [])
            names = [n for n in names if PurePath(n).suffix.lower() in kinds]
            # Names may differ in case alone: the one that is nearer wins.
            for nearer in (exact.name, exact.stem):
                close = [n for n in names if nearer in (n, PurePath(n).stem)]
                names = close or names
            if names:
                return [folder / n for n in names]
        return []

    def _listing(self, folder: Path) -> dict[str, list[str]]:
        if folder not in self._listings:
            listing: dict[str, list[str]] = {}
            for path in sorted(folder.iterdir()) if folder.is_dir() else []:
                listing.setdefault(path.stem.lower(), []).append(path.name)
            self._listings[folder] = listing
        return self._listings[folder]

    def _required(
        self, written: str, folders: list[str], kinds: frozenset[str], what: str
    ) -> Path:
        found = self._candidates(written, folders, kinds)
        if len(found) > 1:
            names = " and ".join(p.name for p in found)
            raise DataError(
                f"{self.root / written} does not exist, and {names} in "
                f"{found[0].parent} could both be meant. Take one of them away"
            )
        if not found:
            also = ", ".join(dict.fromkeys(folders)) or "no other place"
            raise DataError(
                f"{self.root / written} does not exist; also looked below "
                f"{self.root} in: {also}. Link or unpack {what} there"
            )
        return found[0]


def _released_folders(scene: str, dense: str, kind: str) -> list[str]:
    return [
        f"{base}{scene}/{dense}/{kind}" for base in (f"{_V1}/", "MegaDepth_v1/", "")
    ]
