"""Find out which layout a folder of frames is in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..errors import DataError
from ..files import require_folder
from .colmap import find_colmap
from .megadepth import find_megadepth
from .photos import find_photos
from .scannet import find_scannet
from .scene import Recording
from .sevenscenes import find_sevenscenes
from .tum import find_tum

# Tried in this order; each returns None for a folder that is not its own.
FINDERS: dict[str, Callable[[Path], Recording | None]] = {
    "scannet": find_scannet,
    "megadepth": find_megadepth,
    "sevenscenes": find_sevenscenes,
    "tum": find_tum,
    "colmap": find_colmap,
    "photos": find_photos,  # last: takes any folder of images
}


def find_recording(root: Path, layout: str | None = None) -> Recording:
    """The scenes below a folder, in whichever known layout they are.

    Args:
        layout: one of ``FINDERS``; None finds it out.

    Raises:
        DataError: no such folder, or no layout that is known here.
    """
    root = Path(root)
    require_folder(root, "the folder of frames")
    for name, find in FINDERS.items():
        if layout in (None, name):
            found = find(root)
            if found is not None:
                return found
    looked = ", ".join(FINDERS) if layout is None else layout
    held = sorted(p.name for p in root.iterdir())[:8]
    raise DataError(
        f"{root} is in no layout that is known here (looked for {looked}); it holds "
        f"{', '.join(held) or 'nothing'}"
    )
