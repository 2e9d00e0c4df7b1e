"""What one process of a comparison is asked to do; travels as JSON."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Literal

from ..errors import ConfigError
from ..geometry import COARSE_STRIDE

SideName = Literal["ours", "plain", "kornia"]


@dataclass(frozen=True)
class Order:
    """One side of a comparison.

    what: ``step`` (forward, backward, clip, AdamW) or ``match`` (inference).
    side: ``ours``; ``plain``, ours with the whole matrix; or ``kornia``.
    width, height: network input, multiples of 8. match: ``ds`` or ``ot``.
    precision: ``fp32`` or ``bf16``. repeats: timed runs after one that is not.
    memory_limit: bytes the process may take, 0 for no limit.
    compile: give ``torch.compile`` a try (ours only).
    recompute: what ours makes a second time instead of keeping it, see
        :class:`.LoFTRConfig`; with ``all`` freed memory goes back to the system.
    keep: the process keeps the memory it frees, either side, as ``loftr-nb eval``.
    """

    what: Literal["step", "match"]
    side: SideName
    width: int = 640
    height: int = 480
    match: Literal["ds", "ot"] = "ds"
    precision: Literal["fp32", "bf16"] = "fp32"
    repeats: int = 3
    device: str = "cpu"
    memory_limit: int = 0
    compile: bool = False
    recompute: Literal["none", "layers", "all"] = "layers"
    keep: bool = False

    def __post_init__(self) -> None:
        for name, value in (("width", self.width), ("height", self.height)):
            if value < 32 or value % COARSE_STRIDE:
                near = max(round(value / COARSE_STRIDE), 4) * COARSE_STRIDE
                raise ConfigError(
                    f"{name} is {value}: a multiple of {COARSE_STRIDE} is needed, 32 "
                    f"or more, such as {near}"
                )
        if self.repeats < 1:
            raise ConfigError(f"repeats is {self.repeats}: at least 1 is needed")
        if self.side == "kornia" and self.match == "ot":
            raise ConfigError(
                "kornia has no optimal transport: its LoFTR runs dual-softmax only. "
                "Compare with --against plain, our own version with the whole matrix"
            )

    def to_json(self) -> str:
        """One line, for the command line of the process."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Order:
        """What :meth:`to_json` wrote."""
        return cls(**json.loads(text))
