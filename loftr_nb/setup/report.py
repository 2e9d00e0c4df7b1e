"""One page on a folder of data: what is there, whether it fits, what it looks like.

A single HTML file with its pictures inside: it opens without a network, can be
sent to a colleague, and is what one wants to see before a GPU is rented.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, LoftrNbError
from ..files import write_whole
from ..recordings import RawPair, Recording, raw_pair
from ..viz import Picture, show_conventions, show_index, show_matches, show_pair
from .check import CheckReport, check_data
from .check.open import open_source
from .check.report import Tally
from .check.sources import find_sources
from .geometry.correspond import rescale
from .geometry.sources import RecordingSource
from .geometry.views import Sample, move
from .geometry_check import choose
from .report_page import MARK, page

Progress = Callable[[int, int, str], None]
_LIMIT = 5.0  # pixels: lines of points that land further off are orange


@dataclass(frozen=True)
class DataReport:
    """What :func:`build_report` wrote, and found.

    path: the page. bytes: its size. check: what it tells. pictures: how many.
    notes: what could not be drawn, and why.
    """

    path: Path
    bytes: int
    check: CheckReport
    pictures: int
    notes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Nothing stands in the way of training."""
        return self.check.ok

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "report": str(self.path),
            "bytes": self.bytes,
            "ok": self.ok,
            "pictures": self.pictures,
            "notes": list(self.notes),
            "check": self.check.to_dict(),
        }


@dataclass(frozen=True)
class Drawn:
    """A picture with the words that stand for it where it cannot be seen."""

    heading: str
    picture: Picture
    words: str


def build_report(
    root: Path | str,
    out: Path | str,
    index: Path | str | None = None,
    pairs: int = 24,
    quick: bool = False,
    force: bool = False,
    samples: int = 3,
    progress: Progress | None = None,
) -> DataReport:
    """Check a folder of data, draw it, and write one page about it.

    Args:
        root: the data, in any layout that :func:`check_data` knows.
        out: the HTML file to write; it appears whole or not at all.
        index: of the images in ``root``, where it lies elsewhere.
        pairs: of the geometry check. samples: pairs to draw.
        quick: check headers only.
        force: overwrite a file that is no such report.
        progress: called with done, total and words.

    Raises:
        DataError: nothing known in ``root``, or ``out`` is a file of another kind
            or cannot be written.
    """
    out = Path(out)
    refuse_foreign(out, force)
    check = check_data(root, index=index, pairs=pairs, quick=quick, progress=progress)
    if check.stopped:
        raise KeyboardInterrupt
    notes: list[str] = []
    drawn = _drawings(Path(root), index, samples, notes, progress)
    content = page(Path(root), check, drawn, notes, index)
    write_whole(out, lambda file: file.write(content.encode()))
    return DataReport(out, out.stat().st_size, check, len(drawn), tuple(notes))


def refuse_foreign(out: Path, force: bool) -> None:
    """Raise unless ``out`` may be written: new, or a report of this kind.

    Raises:
        DataError: naming the file and the way out.
    """
    if out.is_dir():
        raise DataError(f"{out} is a folder; give the name of an HTML file in it")
    if not out.parent.is_dir():
        raise DataError(f"{out.parent} does not exist: make the folder first")
    if force or not out.exists():
        return
    try:
        with out.open("rb") as file:
            own = MARK.encode() in file.read(400)
    except OSError as error:
        raise DataError(f"{out} cannot be read ({error})") from None
    if not own:
        raise DataError(
            f"{out} exists and is no report of this kind: it is left as it is. Choose "
            "another --out, or say --force"
        )


def _drawings(
    root: Path,
    index: Path | str | None,
    count: int,
    notes: list[str],
    progress: Progress | None,
) -> list[Drawn]:
    found: list[Drawn] = []
    _overlaps(root, index, found, notes)
    source = find_sources(root, None, None if index is None else Path(index))[0]
    if source.layout == "photos":
        notes.append("Plain photos have neither depth nor pose: no pairs to draw.")
        return found
    opened = open_source(source, Tally(), None)
    scenes = tuple(s for s in opened.scenes if not opened.is_missing(s))
    recording = Recording(opened.layout, opened.root, scenes)
    chosen = choose(
        RecordingSource(recording).samples(count, np.random.default_rng(1)), count
    )
    for n, sample in enumerate(chosen):
        if progress:
            progress(n + 1, len(chosen), "pictures")
        _draw_sample(recording, sample, n == 0, found, notes)
    if not chosen:
        notes.append(
            "No pair could be drawn: none has enough correspondences with depth."
        )
    return found


def _overlaps(
    root: Path, index: Path | str | None, found: list[Drawn], notes: list[str]
) -> None:
    try:
        picture = show_index(root if index is None else Path(index))
    except LoftrNbError as error:
        notes.append(f"No overlap histogram: {error}")
        return
    words = f"Histogram of overlaps, with sample pairs: {picture.get_suptitle()}"
    found.append(Drawn("Overlap of the pairs", picture, words))


def _draw_sample(
    recording: Recording,
    sample: Sample,
    first: bool,
    found: list[Drawn],
    notes: list[str],
) -> None:
    scene = recording.scene(sample.view0.scene)
    try:
        pair = raw_pair(scene, sample.view0.frame, sample.view1.frame)
    except LoftrNbError as error:
        notes.append(str(error))
        return
    names = f"{Path(pair.name0).name} and {Path(pair.name1).name}"
    if first:
        poses = sample.view0.pose, sample.view1.pose
        picture = show_conventions(pair, poses)
        words = (
            f"{names} under the right and wrong readings of depth, pose and K: "
            f"{picture.get_suptitle()}"
        )
        found.append(Drawn("Conventions", picture, words))
    if first:
        picture = show_pair(pair, title=f"{scene.name}: images and depth as stored")
        found.append(Drawn("As stored", picture, f"{names} with their depth maps"))
    found.append(warped_points(pair, sample, f"{scene.name}: {names}"))


def warped_points(pair: RawPair, sample: Sample, name: str) -> Drawn:
    """Real places of image 0 joined with where depth, pose and K put them."""
    z = sample.view0.depth_at(sample.points0)
    known = np.isfinite(z)
    landed, _ = move(sample.points0[known], z[known], pair.K0, pair.K1, sample.T_0to1)
    errors = np.linalg.norm(landed - sample.points1[known], axis=1)
    (h0, w0), (h1, w1) = pair.image0.shape, pair.image1.shape
    at0 = rescale(sample.points0[known], np.array([w0, h0]) / sample.view0.size)
    at1 = rescale(landed, np.array([w1, h1]) / sample.view1.size)
    inside = (
        np.isfinite(at1).all(1) & (at1 > -0.2 * w1).all(1) & (at1 < 1.2 * w1).all(1)
    )
    off = float(np.median(errors)) if len(errors) else float("nan")
    title = f"{name}\nplaces found in both images land {off:.1f} px off (median)"
    picture = show_matches(
        pair.image0,
        pair.image1,
        at0[inside],
        at1[inside],
        errors=errors[inside],
        threshold=_LIMIT,
        limit=80,
        title=title,
    )
    words = f"Lines from image 0 to where depth, pose and K put its places: {title}"
    return Drawn("Points moved by depth, pose and K", picture, " ".join(words.split()))
