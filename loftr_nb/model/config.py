"""The sizes and choices that make one LoFTR, as one frozen value.

A checkpoint carries this value beside its weights, so that a file says by itself
which network it belongs to.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError, nearest

CHOICES = {
    "attention": ("linear", "full"),
    "position": ("fixed", "released"),
    "matcher": ("ds", "ot"),
    "recompute": ("none", "layers", "all"),
}

# Fields that change how matches are read off or gradients are made, not what the
# weights mean.
READING_FIELDS = ("threshold", "border", "recompute")


@dataclass(frozen=True)
class LoFTRConfig:
    """Sizes and choices of one LoFTR; the defaults are the paper's network.

    initial_dim: channels after the first convolution, equal to block_dims[0].
    block_dims: channels at 1/2, 1/4 and 1/8 of the image. The first is also the
        width of the fine stage, the last that of the coarse stage.
    coarse_layers, fine_layers: pairs of one self- and one cross-attention layer.
    attention: ``linear`` (elu + 1) or ``full`` (softmax).
    window: side of the fine window in fine cells, odd.
    position: which of the two position encodings the weights are trained with.
        ``released`` is the one with the precedence slip, which the published
        indoor_ds, indoor_ot, outdoor_ds and outdoor_ot weights need. A wrong
        choice gives no error in the network and worse matches, which is why it
        travels with the weights.
    matcher: ``ds`` dual-softmax or ``ot`` optimal transport.
    temperature: of the dual-softmax; optimal transport has none.
    sinkhorn_iterations, dustbin_init: of optimal transport.
    threshold: confidence above which a coarse match counts.
    border: coarse cells along the unpadded border that give no match.
    recompute: what training makes a second time instead of keeping it: ``none``,
        the insides of transformer ``layers``, or ``all``, the stages of the
        backbone too, and freed memory goes back to the system. The numbers are
        the same. A step at 640x480 on a CPU: 13.7 s and 4.8 GiB, 15.7 s and
        3.1 GiB, 24.5 s and 1.4 GiB.
    """

    initial_dim: int = 128
    block_dims: tuple[int, int, int] = (128, 196, 256)
    coarse_layers: int = 4
    coarse_heads: int = 8
    fine_layers: int = 1
    fine_heads: int = 8
    attention: str = "linear"
    window: int = 5
    position: str = "fixed"
    matcher: str = "ds"
    temperature: float = 0.1
    sinkhorn_iterations: int = 3
    dustbin_init: float = 1.0
    threshold: float = 0.2
    border: int = 2
    recompute: str = "layers"

    def __post_init__(self) -> None:
        object.__setattr__(self, "block_dims", tuple(self.block_dims))
        for field, known in CHOICES.items():
            value = getattr(self, field)
            if value not in known:
                raise ConfigError(
                    f"{field}={value!r} is unknown; {nearest(str(value), known)}"
                )
        if len(self.block_dims) != 3:
            raise ConfigError(f"block_dims={self.block_dims} must be three numbers")
        for wrong, message in self._contradictions():
            if wrong:
                raise ConfigError(message)

    def _contradictions(self) -> list[tuple[bool, str]]:
        fine, coarse = self.fine_dim, self.coarse_dim
        counts = ("coarse_layers", "coarse_heads", "fine_layers", "fine_heads")
        low = [f for f in (*counts, "sinkhorn_iterations") if getattr(self, f) < 1]
        if low:
            return [(True, f"{low[0]}={getattr(self, low[0])} must be at least 1")]
        return [
            (
                self.initial_dim != fine,
                f"initial_dim={self.initial_dim} must equal block_dims[0]={fine}: "
                "the first stage adds its input to its output",
            ),
            (
                coarse % self.coarse_heads != 0,
                f"coarse_heads={self.coarse_heads} does not divide "
                f"block_dims[2]={coarse}",
            ),
            (
                fine % self.fine_heads != 0,
                f"fine_heads={self.fine_heads} does not divide block_dims[0]={fine}",
            ),
            (
                coarse % 4 != 0,
                f"block_dims[2]={coarse} must be divisible by 4: the position "
                "encoding needs a sine and a cosine for x and for y",
            ),
            (
                self.window % 2 == 0 or self.window < 3,
                f"window={self.window} must be odd and at least 3: it has a centre",
            ),
            (
                not self.temperature > 0,
                f"temperature={self.temperature} must be above 0",
            ),
            (
                not 0 <= self.threshold < 1,
                f"threshold={self.threshold} is a probability, 0 up to 1",
            ),
            (self.border < 0, f"border={self.border} must be 0 or more"),
        ]

    @property
    def coarse_dim(self) -> int:
        """Channels of the coarse stage."""
        return self.block_dims[2]

    @property
    def fine_dim(self) -> int:
        """Channels of the fine stage."""
        return self.block_dims[0]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists, for a checkpoint or a JSON file."""
        return dataclasses.asdict(self) | {"block_dims": list(self.block_dims)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LoFTRConfig:
        """The config that :meth:`to_dict` wrote.

        Raises:
            ConfigError: a name is unknown, or a value cannot be.
        """
        known = [f.name for f in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                raise ConfigError(
                    f"a LoFTR has no setting {name!r}; {nearest(str(name), known)}"
                )
        try:
            return cls(**values)
        except TypeError as error:
            raise ConfigError(f"the settings of a LoFTR do not fit: {error}") from error

    def to_kornia(self) -> dict[str, Any]:
        """The same network as the ``config`` of ``kornia.feature.LoFTR``.

        Raises:
            ConfigError: for optimal transport, which kornia does not carry.
        """
        if self.matcher != "ds":
            raise ConfigError(
                "kornia has no optimal transport: only matcher='ds' has a twin there"
            )
        return {
            "backbone_type": "ResNetFPN",
            "resolution": (8, 2),
            "fine_window_size": self.window,
            "fine_concat_coarse_feat": True,
            "resnetfpn": {
                "initial_dim": self.initial_dim,
                "block_dims": list(self.block_dims),
            },
            "coarse": {
                "d_model": self.coarse_dim,
                "d_ffn": self.coarse_dim,
                "nhead": self.coarse_heads,
                "layer_names": ["self", "cross"] * self.coarse_layers,
                "attention": self.attention,
                "temp_bug_fix": self.position == "fixed",
            },
            "match_coarse": {
                "thr": self.threshold,
                "border_rm": self.border,
                "match_type": "dual_softmax",
                "dsmax_temperature": self.temperature,
                "skh_iters": self.sinkhorn_iterations,
                "skh_init_bin_score": self.dustbin_init,
                "skh_prefilter": True,
                "train_coarse_percent": 0.4,
                "train_pad_num_gt_min": 200,
            },
            "fine": {
                "d_model": self.fine_dim,
                "d_ffn": self.fine_dim,
                "nhead": self.fine_heads,
                "layer_names": ["self", "cross"] * self.fine_layers,
                "attention": self.attention,
            },
        }
