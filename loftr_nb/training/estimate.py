"""What a process needs for a recipe's steps: numbers, measured and expected.

Letters: N input pixels of a pair's image, L = N / 64 coarse cells.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from ..geometry import COARSE_STRIDE
from .config import Recipe

# Bytes for each entry of a pair's L x L confidence matrix while a step lives through
# its peak, in float32, where ``loss.matrix=plain`` builds it. They do not depend on how
# wide the network is. Streamed, the default, it is never there as a whole: memory
# follows the pixels alone.
MATRIX_BYTES = {"ds": 13.6, "ot": 36.0}


def matrix_bytes(recipe: Recipe) -> float:
    """Bytes for each entry of a confidence matrix in the recipe's steps."""
    plain = recipe.loss.matrix == "plain"
    return MATRIX_BYTES[recipe.model.matcher] if plain else 0.0


@dataclass(frozen=True)
class Estimate:
    """Peak bytes of a process as a function of what it is given.

    base: network, optimiser, libraries. per_pixel: of the network's maps.
    matrix: bytes for each entry of a confidence matrix, see :func:`matrix_bytes`.
    """

    base: float
    per_pixel: float
    matrix: float

    def peak(self, size: tuple[int, int], pairs: int) -> float:
        """Bytes for ``pairs`` pairs at a time of (w, h) pixels."""
        pixels = size[0] * size[1]
        return self.base + pairs * (self.per_pixel * pixels + self.matrices(size))

    def matrices(self, size: tuple[int, int]) -> float:
        """Bytes of one pair that go into its confidence matrix."""
        cells = size[0] * size[1] / COARSE_STRIDE**2
        return self.matrix * cells**2


@dataclass(frozen=True)
class Measurement:
    """What a process needs for a recipe's steps.

    name: of the card, or CPU. size: (w, h) of the input. parts: batches that are
    added up in each of the measured steps. free: bytes that may be used.
    estimate: from small sizes, None where the real one is as small. peak: bytes
    measured, None where the real size was not tried (or did not fit). rows: whole,
    waiting for data, forward and optimiser seconds of each step. batch_bytes: of
    one batch in shared memory. out_of_memory: the real size ran out of it.
    """

    recipe: Recipe
    device: str
    name: str
    batch: int
    size: tuple[int, int]
    parts: int
    data: str | None
    free: float
    estimate: Estimate | None
    peak: float | None = None
    rows: tuple[tuple[float, ...], ...] = ()
    batch_bytes: float = 0.0
    out_of_memory: bool = False

    @property
    def predicted(self) -> float | None:
        """Peak bytes as small sizes let expect."""
        return self.estimate and self.estimate.peak(self.size, self.batch)

    @property
    def need(self) -> float:
        """Peak bytes: measured, or else predicted."""
        return self.peak if self.peak is not None else self.predicted or 0.0

    def seconds(self, accumulate: int) -> tuple[float, float, float]:
        """Median, lower and upper quartile of a step of ``accumulate`` batches."""
        steps = sorted(
            (whole - optimizer) / self.parts * accumulate + optimizer
            for whole, _, _, optimizer in self.rows
        )
        if len(steps) == 1:
            return steps[0], steps[0], steps[0]
        low, middle, high = statistics.quantiles(steps, n=4, method="inclusive")
        return middle, low, high

    def split(self, accumulate: int) -> dict[str, float]:
        """Medians of a step's parts in seconds: data, forward, backward, optimizer."""
        times = accumulate / self.parts
        columns = [statistics.median(column) for column in zip(*self.rows, strict=True)]
        whole, waited, forward, optimizer = columns
        return {
            "data": waited * times,
            "forward": forward * times,
            "backward": max(0.0, whole - waited - forward - optimizer) * times,
            "optimizer": optimizer,
        }
