"""Do depth, pose and K say where the images' own correspondences are?

Depth, pose and intrinsics supervise the training. Correspondences found in two
colour images alone know nothing of them: moved by depth, pose and K they must
land where they really are. When they do not, the usual mistakes are undone one by
one, and the one that brings them home is named.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from ..datasets import PosedPairs
from ..errors import ConfigError
from ..recordings import RawPair, Recording
from .geometry.correspond import LEAST, detect, displacement
from .geometry.diagnose import diagnose, is_bad, limit_px
from .geometry.indexed import source_of
from .geometry.report import Cause, GeometryReport, PairRow
from .geometry.sources import Frame, moves_enough, pair_up, view_of
from .geometry.views import (
    Sample,
    depth_disagreement,
    errors,
    median_error,
    rotation_angle,
)

Progress = Callable[[int, int, str], None]


def geometry_check(
    source: Recording | PosedPairs,
    pairs: int = 24,
    seed: int = 0,
    progress: Progress | None = None,
) -> GeometryReport:
    """Hold depth, poses and K of a sample of pairs against the images themselves.

    Args:
        source: a recording, or a dataset with its index.
        pairs: how many to judge; spread over the scenes. Which pairs is decided by
            the images (enough correspondences, enough motion), because depth and
            poses may be what is wrong.
        seed: of that choice; the same seed, the same pairs.
        progress: called with pairs done, pairs asked for, and a few words.

    Returns:
        A report that is ``ok`` when nothing is wrong, and says so when nothing
        could be judged (``judged``).

    Raises:
        ConfigError: ``pairs`` is not positive.

    A sample is a sample: one bad scene of a thousand may be missed. A scene of
    which at least three pairs were judged and most are off is reported even when
    the others are right.
    """
    if pairs < 1:
        raise ConfigError(f"pairs is {pairs}; the geometry check needs at least 1")
    origin = source_of(source)
    samples = choose(
        origin.samples(pairs, np.random.default_rng(seed)), pairs, progress
    )
    return judge(
        samples,
        str(source.root),
        pairs,
        origin.unusable,
        getattr(origin, "view", None),
        getattr(origin, "frames_of", None),
    )


def choose(
    attempts: Iterable[Sample | None], pairs: int, progress: Progress | None = None
) -> list[Sample]:
    """The first so many usable pairs, each once."""
    chosen: dict[tuple[str, str], Sample] = {}
    idle = 0
    for sample in attempts:
        idle += 1
        if sample is not None and usable(sample):
            key = sample.view0.name, sample.view1.name
            if key not in chosen:
                chosen[key], idle = sample, 0
        if progress:
            progress(len(chosen), pairs, "pairs with correspondences")
        # A short recording has fewer pairs than were asked for.
        if len(chosen) >= pairs or idle > max(2 * pairs, 16):
            break
    return list(chosen.values())


def check_pair(pair: RawPair) -> GeometryReport:
    """The geometry check of one pair, taken as it is."""
    sample = sample_of(pair)
    samples = [sample] if usable(sample, motion=False) else []
    names = f"{Path(pair.name0).name} and {Path(pair.name1).name}"
    return judge(samples, names, 1)


def sample_of(pair: RawPair) -> Sample:
    """A pair with the correspondences of its images."""
    frames = [
        Frame(view_of(pair, side), detect(pair.image1 if side else pair.image0))
        for side in (0, 1)
    ]
    return pair_up(*frames, pair.T_0to1)


def usable(sample: Sample, motion: bool = True) -> bool:
    """Whether a pair has enough correspondences with depth, and enough motion."""
    if motion and not moves_enough(sample):
        return False
    return len(sample.points0) >= LEAST and len(errors(sample)) >= LEAST


def judge(
    samples: Sequence[Sample],
    source: str,
    asked: int,
    unusable: Iterable[str] = (),
    view=None,
    frames_of=None,
) -> GeometryReport:
    """The report on pairs with correspondences."""
    bad = _faulty(samples)
    causes: list[Cause] = diagnose(bad, view, frames_of) if bad else []
    disagree = [d for s in samples if np.isfinite(d := depth_disagreement(s))]
    return GeometryReport(
        source=source,
        rows=tuple(_row(s) for s in samples),
        causes=tuple(causes),
        asked=asked,
        depth_disagreement=float(np.median(disagree)) if disagree else float("nan"),
        notes=tuple(_notes(samples, bad, asked)),
        unusable=tuple(unusable),
    )


def _faulty(samples: Sequence[Sample]) -> list[Sample]:
    """The bad pairs, when they are too many to be chance; else none.

    A moving person, a mirror or a wrong match spoils a pair now and then. A third
    of all pairs, or most pairs of one scene, is no chance.
    """
    bad = [s for s in samples if is_bad(s)]
    if 3 * len(bad) > len(samples):
        return bad
    by_scene: dict[str, list[Sample]] = defaultdict(list)
    for s in samples:
        by_scene[s.view0.scene].append(s)
    found = []
    for group in by_scene.values():
        off = [s for s in group if is_bad(s)]
        if len(group) >= 3 and 2 * len(off) > len(group):
            found += off
    return found


def _notes(samples: Sequence[Sample], bad: Sequence[Sample], asked: int):
    if samples and len(samples) < asked:
        yield f"only {len(samples)} of {asked} pairs could be judged"
    scenes = {s.view0.scene for s in samples}
    wrong = sorted({s.view0.scene for s in bad})
    if wrong and len(wrong) < len(scenes):
        shown = ", ".join(wrong[:5]) + (", ..." if len(wrong) > 5 else "")
        yield f"the errors are in {len(wrong)} of {len(scenes)} scenes: {shown}"


def _row(s: Sample) -> PairRow:
    return PairRow(
        scene=s.view0.scene,
        name0=s.view0.name,
        name1=s.view1.name,
        correspondences=len(s.points0),
        median_px=median_error(s),
        limit_px=limit_px(s),
        moved_px=displacement(s.points0, s.points1),
        degrees=rotation_angle(s.T_0to1),
    )
