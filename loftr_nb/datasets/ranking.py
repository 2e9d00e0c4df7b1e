"""How far down its ranked pairs a scene overlaps by some amount.

Letters: N stored pairs, P spans, Q some of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .columns import StoredColumn

STEPS = np.arange(101, dtype=np.float32) / np.float32(100)  # of ``at_least``


@dataclass(frozen=True)
class Ranking:
    """Scores of stored pairs, falling within each span; those without are last.

    overlap: (N,) float32, or None where no pair has a score.
    begin: (P,) int64 first stored row of each span. scored: (P,) int64 rows with a
        score. at_least: (P, 101), rows that overlap by 0.00, 0.01 ... 1.00 or more.
    """

    overlap: StoredColumn | None
    begin: np.ndarray
    scored: np.ndarray
    at_least: StoredColumn

    def reach(self, spans: np.ndarray, least: np.float32) -> np.ndarray:
        """(Q,) int64 stored row after each span's last with ``overlap >= least``.

        Recipes ask for 0.4, and the table of hundredths knows that without a look
        at the scores. Between two hundredths they are bisected.
        """
        if self.overlap is None:
            return self.begin[spans]
        known = np.asarray(self.at_least)[spans].astype(np.int64)
        known = np.minimum(known, self.scored[spans, None])
        below = np.searchsorted(STEPS, least, side="right") - 1
        above = np.searchsorted(STEPS, least, side="left")
        most = known[:, below] if below >= 0 else self.scored[spans]
        surely = known[:, above] if above < len(STEPS) else np.zeros_like(most)
        begin = self.begin[spans]
        bounds = zip((begin + surely).tolist(), (begin + most).tolist(), strict=True)
        return np.array([self._bisect(lo, hi, least) for lo, hi in bounds], np.int64)

    def extremes(self) -> tuple[float, float]:
        """Smallest and largest score; inf and -inf where there is none."""
        low, high = np.inf, -np.inf
        for begin, scored in zip(self.begin, self.scored, strict=True):
            if scored:
                high = max(high, float(self.overlap[begin]))
                low = min(low, float(self.overlap[begin + scored - 1]))
        return low, high

    def _bisect(self, low: int, high: int, least: np.float32) -> int:
        while low < high:
            middle = (low + high) // 2
            if self.overlap[middle] >= least:
                low = middle + 1
            else:
                high = middle
        return low
