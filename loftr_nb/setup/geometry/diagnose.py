"""From pairs whose correspondences land elsewhere to what is likely wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from .hypotheses import (
    Hypothesis,
    ViewOf,
    along_ray,
    image_hypotheses,
    inverse_depth,
    orientation_hypotheses,
    other_depth,
    pooled,
    pose_hypotheses,
    scaled_depth,
    scaled_K,
    search,
)
from .registration import fit
from .report import Cause
from .views import Sample, depth_disagreement, median_error
from .words import AGREES, UNREGISTERED, K_words, unexplained, unit_words, unregistered

PAIRS = 8  # that are looked at
_POINTS = 150  # of each


@dataclass(frozen=True)
class _Tried:
    """A hypothesis with the error that it leaves."""

    fault: str
    words: str
    error: float
    rank: int
    change: Callable[[Sample], Sample | None]


def limit_px(sample: Sample) -> float:
    """Median error that a pair may have: 5 px at 640x480, less for smaller maps.

    Real recordings are between 0.3 and 4.5 px there, the smallest mistake on this
    list (depth beside colour) begins at 6. SIFT alone has half a pixel.
    """
    return max(0.00625 * (sample.view0.diagonal + sample.view1.diagonal) / 2, 1.5)


def diagnose(
    bad: Sequence[Sample],
    view_of: ViewOf | None = None,
    frames_of=None,
) -> list[Cause]:
    """What explains the errors of these pairs; never empty.

    Args:
        bad: pairs whose error is beyond :func:`limit_px`.
        view_of, frames_of: give other frames of a scene, for the question whether
            images belong to them.
    """
    chosen = [
        bad[k] for k in np.unique(np.linspace(0, len(bad) - 1, PAIRS).astype(int))
    ]
    samples = [_thinned(s) for s in chosen]
    before = pooled(samples)
    given = _disagreement(samples)

    def cause(fault: str, words: str, after: float) -> Cause:
        return Cause(fault, words, len(samples), before, after)

    tried = list(_try_all(samples, view_of, frames_of))
    if found := _best(tried, samples, before, given):
        return [cause(found.fault, found.words, found.error)]
    if given <= AGREES or np.isnan(given):
        registered = fit(samples)
        depth = _typical_depth(samples)
        if (
            registered is not None
            and registered.error <= min(1.5 * _allowed(samples), 0.7 * before)
            and registered.plausible(depth)
        ):
            return [
                cause(UNREGISTERED, unregistered(samples, registered), registered.error)
            ]
    found = _best(list(_try_two(samples)), samples, before, given)
    if found:
        faults = found.fault.split(" + ")
        return [cause(f, found.words, found.error) for f in faults[:1]] + [
            cause(f, "as said above, both at once", found.error) for f in faults[1:]
        ]
    return [cause(*unexplained(samples, given), float("nan"))]


def _try_all(samples, view_of, frames_of) -> Iterator[_Tried]:
    plain = [
        *pose_hypotheses(),
        *orientation_hypotheses(),
        *image_hypotheses(view_of, frames_of),
        Hypothesis(
            "depth along the ray",
            "depth maps hold distances from the camera along each pixel's ray, not "
            "along the optical axis: divide by the length of K^-1 (x, y, 1)",
            lambda s: other_depth(s, along_ray),
        ),
    ]
    for h in plain:
        yield _tried(samples, h.fault, h.words, h.change, h.rank)
    yield from _searched(samples)


def _searched(samples: Sequence[Sample]) -> Iterator[_Tried]:
    factor, _ = search(samples, scaled_depth, 1e-4, 1e4)
    yield _tried(
        samples, "depth unit", unit_words(factor), lambda s: scaled_depth(s, factor), 1
    )
    size, _ = search(samples, scaled_K, 0.1, 10)
    yield _tried(
        samples,
        "K of another size",
        K_words(samples, size),
        lambda s: scaled_K(s, size),
        1,
    )
    focal, _ = search(samples, lambda s, f: scaled_K(s, f, False), 0.2, 5)
    f = float(np.median([s.view0.K[0, 0] for s in samples]))
    yield _tried(
        samples,
        "K of another camera",
        f"a focal length of about {focal * f:.0f} px fits, K says {f:.0f}: take K from "
        "this camera's own calibration",
        lambda s: scaled_K(s, focal, False),
        2,
    )
    inverse = [other_depth(s, inverse_depth) for s in samples]
    unit, _ = search(inverse, scaled_depth, 1e-4, 1e4)
    yield _tried(
        samples,
        "inverse depth",
        "the maps hold inverse depth (disparity): depth is its inverse times "
        f"{unit:.3g}",
        lambda s: scaled_depth(other_depth(s, inverse_depth), unit),
        2,
    )


def _try_two(samples: Sequence[Sample]) -> Iterator[_Tried]:
    """Two mistakes at once: poses with depth's unit or K's size, or those two."""
    units = {f: scaled_depth for f in (1e-3, 1e-2, 0.1, 10, 100, 1e3)}
    sizes = {f: scaled_K for f in (0.25, 0.5, 2.0, 4.0)}
    few = samples[:5]
    for h in pose_hypotheses():
        for f, change in [*units.items(), *sizes.items()]:
            name, words = (
                ("depth unit", unit_words(f))
                if change is scaled_depth
                else ("K of another size", K_words(samples, f))
            )

            def both(s, h=h, f=f, change=change):
                turned = h.change(s)
                return None if turned is None else change(turned, f)

            yield _tried(
                few, f"{h.fault} + {name}", f"{h.words}. And {words}", both, h.rank
            )
    for unit, size in product(units, sizes):
        yield _tried(
            few,
            "depth unit + K of another size",
            f"{unit_words(unit)}. And {K_words(samples, size)}",
            lambda s, u=unit, k=size: scaled_K(scaled_depth(s, u), k),
            1,
        )


def _tried(samples, fault, words, change, rank) -> _Tried:
    return _Tried(fault, words, pooled(samples, change), rank, change)


def _best(
    tried: Sequence[_Tried], samples: Sequence[Sample], before: float, given: float
) -> _Tried | None:
    """The simplest of those that explain the errors about as well as the best one.

    A change that spoils an agreement of the depth maps among themselves is no
    explanation: the images can be brought nearer by a wrong K, too.
    """
    enough = min(_allowed(samples), 0.4 * before)
    spoils = 0.002 + 1.3 * given if np.isfinite(given) else np.inf
    good = [
        t
        for t in tried
        if t.error <= enough
        and not _disagreement([c for s in samples if (c := t.change(s))]) > spoils
    ]
    if not good:
        return None
    least = min(t.error for t in good)
    near = [t for t in good if t.error <= 1.3 * least + 0.2]
    return min(near, key=lambda t: (t.rank, t.error))


def _allowed(samples: Sequence[Sample]) -> float:
    return float(np.median([limit_px(s) for s in samples]))


def _disagreement(samples: Sequence[Sample]) -> float:
    found = [depth_disagreement(s) for s in samples]
    found = [f for f in found if np.isfinite(f)]
    return float(np.median(found)) if found else float("nan")


def _typical_depth(samples: Sequence[Sample]) -> float:
    found = [s.view0.depth[::8, ::8] * s.unit0 for s in samples]
    known = np.concatenate([d[np.isfinite(d) & (d > 0)] for d in found])
    return float(np.median(known)) if known.size else 1.0


def _thinned(s: Sample) -> Sample:
    rows = np.linspace(0, len(s.points0) - 1, min(_POINTS, len(s.points0))).astype(int)
    return replace(s, points0=s.points0[rows], points1=s.points1[rows])


def is_bad(sample: Sample) -> bool:
    """Whether a pair's median error is beyond its limit."""
    return not median_error(sample) <= limit_px(sample)
