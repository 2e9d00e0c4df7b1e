"""What the losses can be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args, get_type_hints

from ..errors import ConfigError, nearest


@dataclass(frozen=True)
class LossConfig:
    """Settings of the coarse loss, the fine loss and the draw of fine samples.

    supervision: ``dense`` (every cell; what the released scripts train) or
        ``sparse`` (matches, and dustbins if there are any; the paper's text).
    alpha, gamma: of the focal loss.
    clamp: ``log`` works on log P and silences nothing. ``released`` clamps P to
        [1e-6, 1 - 1e-6] first, which gives every match below 1e-6 a gradient of
        exactly zero: at the start of training, most of them.
    coarse_weight, fine_weight: of the two losses in their sum.
    fine_share: fine samples of a pair, as a share of its coarse cells (the
        released code calls it ``train_coarse_percent``).
    fine_min_gt: how many of them, at least, come from the ground truth.
    matrix: ``streamed`` computes the coarse loss block by block, in memory that
        grows with the number of cells; ``plain`` builds the matrix of all pairs
        of cells (92 MB at 640x480, and several of it), as the released code does.
        Both give the same loss.
    fine_std_min: radii of the fine window; a smaller std weighs as this one does.
        The default is the released one and never binds: one heat map that is
        sure of itself (std 2e-5) can then outweigh all other samples of a pair.

    Raises:
        ConfigError: a value that the losses cannot work with.
    """

    supervision: Literal["dense", "sparse"] = "dense"
    alpha: float = 0.25
    gamma: float = 2.0
    clamp: Literal["log", "released"] = "log"
    coarse_weight: float = 1.0
    fine_weight: float = 1.0
    fine_share: float = 0.2
    fine_min_gt: int = 200
    fine_std_min: float = 1e-10
    matrix: Literal["streamed", "plain"] = "streamed"

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for field in ("supervision", "clamp", "matrix"):
            value, known = getattr(self, field), get_args(hints[field])
            if value not in known:
                raise ConfigError(
                    f"loss {field} is {value!r}: {nearest(str(value), known)}"
                )
        if not 0 < self.fine_share <= 1:
            raise ConfigError(
                f"loss fine_share is {self.fine_share:g}; it is a share of the "
                "coarse cells, above 0 and at most 1"
            )
        if not self.fine_std_min > 0:
            raise ConfigError(
                f"loss fine_std_min is {self.fine_std_min:g}; it divides and must "
                "be above 0"
            )
        # Between 0 and 1 the slope of (1 - P)^gamma is infinite at P = 1.
        if self.gamma != 0 and not self.gamma >= 1:
            raise ConfigError(
                f"loss gamma is {self.gamma:g}; it is 0 (no focus) or at least 1"
            )
        for field in ("alpha", "coarse_weight", "fine_weight", "fine_min_gt"):
            value = getattr(self, field)
            if not value >= 0:
                raise ConfigError(f"loss {field} is {value:g}; it cannot be negative")
