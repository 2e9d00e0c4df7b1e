"""Supervision health: are there enough true matches to learn from?

Pairs with next to none come from an index with too little overlap, or from depth,
pose or intrinsics that do not fit together. They give no error and little gradient:
a run on them looks slow, not wrong.
"""

from __future__ import annotations

import math
from collections import deque

from ..progress import StatusLine
from .config import LogConfig

WINDOW = 200  # pairs that are judged together, the latest
WORSE = 1.5  # times the share that was warned of last
AT_LEAST = 0.1  # and as much more in any case: two small shares are one and the same


class Health:
    """Warns when the share of pairs with few true matches is above a limit.

    Rows are short, and a share of a few pairs goes up and down by chance. So the last
    200 pairs are judged together, and they have to exceed the limit by more than one
    standard deviation of a share of so many. A run says it once, and again only when
    half as many more have few matches: with the default limit that is four times at
    most, however long the run. That it got better is said once after each warning.
    """

    def __init__(self, config: LogConfig, status: StatusLine) -> None:
        self.config, self.status = config, status
        self.rows: deque[tuple[float, int]] = deque()
        self.warned = -math.inf  # the share at the last warning
        self.poor = False

    def look(self, share: float, pairs: int, step: int) -> None:
        """Judge the pairs of a row of ``metrics.jsonl``.

        Args:
            share: of its pairs with fewer than ``few_matches`` true matches, 0 to 1.
            pairs: how many these are, of all processes.
        """
        share, pairs = self._latest(share, pairs)
        limit, told = self.config.few_share, f"{share:.0%} of the pairs have fewer "
        told += f"than {self.config.few_matches} true coarse matches"
        clearly = limit + math.sqrt(max(limit * (1 - limit), 0.0) / pairs)
        worse = share >= max(WORSE * self.warned, self.warned + AT_LEAST)
        if share > clearly and worse:
            before = f", after {self.warned:.0%}" if self.warned >= 0 else ""
            self.status.say(
                f"step {step:,}: warning: {told}{before} (log.few_share warns above "
                f"{limit:.0%}). They teach little. Check depth, pose and intrinsics "
                "with `loftr-nb data check` and `data report`, or raise "
                "data.min_overlap"
            )
            self.warned, self.poor = share, True
        elif share <= limit and self.poor:
            self.status.say(f"step {step:,}: {told}: below the limit again")
            self.poor = False

    def _latest(self, share: float, pairs: int) -> tuple[float, int]:
        """Share of the latest pairs, this row's among them, and how many they are."""
        self.rows.append((share * pairs, pairs))
        total = sum(n for _, n in self.rows)
        while total - self.rows[0][1] >= WINDOW:
            total -= self.rows.popleft()[1]
        return sum(few for few, _ in self.rows) / total, total
