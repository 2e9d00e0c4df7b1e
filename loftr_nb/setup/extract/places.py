"""Where indices and images lie among the files of a release."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

# (what, pattern of a name below the target); the first group is the folder to link.
_PATTERNS = (
    ("scannet index", re.compile(r"(.*?)/?scene_data/(?:train|train_list)/.*")),
    ("scannet index", re.compile(r"(.*?)/?scannet_test\.txt")),
    ("megadepth index", re.compile(r"(.*?)/?scene_info_(?:0\.1_0\.7|val_1500)/.*")),
    ("megadepth index", re.compile(r"(.*?)/?trainvaltest_list/.*")),
    ("megadepth index", re.compile(r"(.*?)/?megadepth_test_1500\.txt")),
    ("scannet images", re.compile(r"(.*?)/?scene\d{4}_\d{2}/color/.*")),
    ("megadepth images", re.compile(r"(.*?)/?(?:Undistorted_SfM|phoenix)/.*")),
)


@dataclass(frozen=True)
class Places:
    """Folders that ``loftr-nb data link`` is given, by what they hold."""

    folders: dict[str, tuple[Path, ...]]

    def commands(self) -> list[str]:
        """The next commands; DIR stands for training images, which no archive holds."""
        lines = []
        for layout in ("scannet", "megadepth"):
            index = self.folders.get(f"{layout} index", ())
            images = self.folders.get(f"{layout} images", ())
            if not index and not images:
                continue
            words = ["loftr-nb data link", layout, "--images DIR"]
            if images:
                words += ["--test-images", _quoted(images[0])]
            words += ["--index", *([_quoted(p) for p in index] or ["INDEX"])]
            lines.append(" ".join(words))
        return lines


def find_places(to: Path, names: Iterable[str]) -> Places:
    """Folders of indices and images among names below ``to``."""
    found: dict[str, dict[Path, None]] = {}
    for name in names:
        for what, pattern in _PATTERNS:
            match = pattern.fullmatch(name)
            if match:
                found.setdefault(what, {})[to / match[1]] = None
                break
    return Places({what: tuple(sorted(places)) for what, places in found.items()})


def _quoted(path: Path) -> str:
    text = str(path)
    return f'"{text}"' if re.search(r"[^\w./~:+-]", text) else text
