"""How many matches, and how many of them right: the plainest score of a matcher."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from ..datasets.pair import Batch
from ..errors import DataError
from .analysis import place_errors
from .matchers import Matcher


class RightMatches(NamedTuple):
    """Means over pairs. matches: all that were found. right: those near their true
    place; matches whose place no depth tells count as not right."""

    matches: float
    right: float


def right_matches(
    matcher: Matcher, batches: Iterable[Batch], limit: float = 3.0
) -> RightMatches:
    """Match every pair and count.

    Unlike a share, the count of right matches does not rise when a matcher turns
    cautious. Pose scores need both; see :func:`.evaluate.evaluate`.

    Args:
        matcher: a :class:`LoFTRMatcher`, or anything alike.
        batches: pairs with depth and pose, or with a homography.
        limit: input pixels of image 1, below which a match is right.

    Raises:
        DataError: there are no pairs.
    """
    counts = []
    for batch in batches:
        for row, found in enumerate(matcher(batch)):
            error = place_errors(batch, found, row)
            counts.append((len(error), int((error < limit).sum())))
    if not counts:
        raise DataError("there is no pair to match: the list of batches is empty")
    return RightMatches(*np.mean(counts, axis=0).tolist())
