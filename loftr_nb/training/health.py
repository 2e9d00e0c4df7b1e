"""Supervision health: are there enough true matches to learn from?

Pairs with next to none come from an index with too little overlap, or from depth,
pose or intrinsics that do not fit together. They give no error and little gradient:
a run on them looks slow, not wrong.
"""

from __future__ import annotations

from ..progress import StatusLine
from .config import LogConfig


class Health:
    """Warns when the share of pairs with few true matches is above a limit.

    Once when it rises above, and once when it has fallen again; a row in between
    would only repeat it.
    """

    def __init__(self, config: LogConfig, status: StatusLine) -> None:
        self.config, self.status = config, status
        self.poor = False

    def look(self, share: float, step: int) -> None:
        """Judge the pairs of a row of ``metrics.jsonl``.

        Args:
            share: of its pairs with fewer than ``few_matches`` true matches, 0 to 1.
        """
        few, limit = self.config.few_matches, self.config.few_share
        if share > limit and not self.poor:
            self.status.say(
                f"step {step:,}: warning: {share:.0%} of the pairs have fewer than "
                f"{few} true coarse matches (log.few_share warns above {limit:.0%}). "
                "They teach little. Check depth, pose and intrinsics with `loftr-nb "
                "data check` and `data report`, or raise data.min_overlap"
            )
        if share <= limit and self.poor:
            self.status.say(
                f"step {step:,}: {share:.0%} of the pairs have fewer than {few} true "
                "coarse matches: below the limit again"
            )
        self.poor = share > limit
