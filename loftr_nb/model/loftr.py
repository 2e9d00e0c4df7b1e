"""LoFTR: two images in, matches out.

The stages can be called one by one, which is what training does:
:meth:`LoFTR.features`, ``coarse_matching.streamed`` (or ``log_confidence``, the same
as a matrix), ``coarse_matching.predict``, :meth:`LoFTR.refine`.
:meth:`LoFTR.forward` runs them in a row, :meth:`LoFTR.match` takes images as people
have them.

Letters: B pairs, L and S coarse cells of image 0 and 1, C channels, M matches.
Pixels are (x, y), grids (rows, columns).
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import DataError
from ..geometry import COARSE_STRIDE, FINE_STRIDE
from . import images, weights
from .backbone import Backbone
from .coarse_matching import CoarseMatching
from .config import LoFTRConfig
from .fine_matching import FineOffsets, FinePreprocess, expected_offset
from .position import PositionEncoding
from .transformer import Transformer


@dataclass
class Features:
    """What both images look like after the coarse transformer.

    coarse0, coarse1: (B, L, C) and (B, S, C), each has seen the other image.
    fine0, fine1: (B, Cf, H/2, W/2), each of its own image only.
    grid0, grid1: (h, w) rows and columns of coarse cells.
    mask0, mask1: (B, L) and (B, S) bool, False = padding; None = no padding.
    """

    coarse0: Tensor
    coarse1: Tensor
    fine0: Tensor
    fine1: Tensor
    grid0: tuple[int, int]
    grid1: tuple[int, int]
    mask0: Tensor | None = None
    mask1: Tensor | None = None


@dataclass
class Matches:
    """M matches of a batch.

    b: (M,) the pair. keypoints0, keypoints1: (M, 2) original pixels when scales
    were given, input pixels otherwise. confidence: (M,) P of the coarse match.
    i, j: (M,) coarse cells. std: (M,) spread of the fine heat map, in radii.
    """

    b: Tensor
    keypoints0: Tensor
    keypoints1: Tensor
    confidence: Tensor
    i: Tensor
    j: Tensor
    std: Tensor


@dataclass
class MatchResult:
    """Matches of two images, as arrays.

    keypoints0, keypoints1: (M, 2) float32, pixels of the images given.
    confidence: (M,) float32. Nothing matched: M = 0, and no error.
    """

    keypoints0: np.ndarray
    keypoints1: np.ndarray
    confidence: np.ndarray

    def __len__(self) -> int:
        return len(self.confidence)


class LoFTR(nn.Module):
    """Detector-free matching of two images (Sun et al., CVPR 2021).

    Parameter names and shapes are those of ``kornia.feature.LoFTR``, so that
    weights go both ways; optimal transport adds ``coarse_matching.bin_score``.
    """

    def __init__(self, config: LoFTRConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or LoFTRConfig()
        coarse, fine, kind = config.coarse_dim, config.fine_dim, config.attention
        again, layers = config.recompute == "all", config.recompute != "none"
        self.backbone = Backbone(config.initial_dim, config.block_dims, again)
        self.pos_encoding = PositionEncoding(coarse, config.position)
        self.loftr_coarse = Transformer(
            coarse, config.coarse_heads, config.coarse_layers, kind, layers
        )
        self.coarse_matching = CoarseMatching(config)
        self.fine_preprocess = FinePreprocess(coarse, fine, config.window)
        self.loftr_fine = Transformer(
            fine, config.fine_heads, config.fine_layers, kind, layers
        )

    def features(
        self,
        image0: Tensor,
        image1: Tensor,
        mask0: Tensor | None = None,
        mask1: Tensor | None = None,
    ) -> Features:
        """Backbone, position encoding and coarse transformer.

        Args:
            image0, image1: (B, 1, H, W) grey in [0, 1], sides divisible by 8; the
                two images may differ in size.
            mask0, mask1: (B, H/8, W/8) bool, False = padding.

        Raises:
            DataError: a shape does not fit, naming it.
        """
        _check_image(image0, "image0")
        _check_image(image1, "image1")
        mask0, mask1 = _flat_mask(mask0, image0), _flat_mask(mask1, image1)
        (coarse0, fine0), (coarse1, fine1) = self._maps(image0, image1)
        x0, x1 = (
            self.pos_encoding(c).flatten(2).transpose(1, 2).contiguous()
            for c in (coarse0, coarse1)
        )
        x0, x1 = self.loftr_coarse(x0, x1, mask0, mask1)
        grid0, grid1 = tuple(coarse0.shape[-2:]), tuple(coarse1.shape[-2:])
        return Features(x0, x1, fine0, fine1, grid0, grid1, mask0, mask1)

    def _maps(self, image0: Tensor, image1: Tensor) -> list[tuple[Tensor, Tensor]]:
        if image0.shape[-2:] != image1.shape[-2:]:
            return [self.backbone(image0), self.backbone(image1)]
        # One pass over both: faster, and batch norm sees both images at once.
        coarse, fine = self.backbone(torch.cat([image0, image1]))
        # split, not slices: its gradient is put together in one piece, theirs is
        # two maps of zeros that are filled and added.
        B = image0.shape[0]
        return list(zip(coarse.split(B), fine.split(B), strict=True))

    def refine(
        self, features: Features, b: Tensor, i: Tensor, j: Tensor
    ) -> FineOffsets:
        """Where coarse matches land in image 1, finer than a cell.

        Args:
            b, i, j: (M,) pair, cell of image 0, cell of image 1. M = 0 is fine.
        """
        f = features
        w0 = self.fine_preprocess(f.fine0, f.coarse0, f.grid0, b, i)
        w1 = self.fine_preprocess(f.fine1, f.coarse1, f.grid1, b, j)
        return expected_offset(*self.loftr_fine(w0, w1))

    def forward(
        self,
        image0: Tensor,
        image1: Tensor,
        mask0: Tensor | None = None,
        mask1: Tensor | None = None,
        scale0: Tensor | None = None,
        scale1: Tensor | None = None,
    ) -> Matches:
        """All stages. ``scale0/1``: (B, 2) original pixels per input pixel.

        Gradients flow through the fine offsets; the choice of matches has none.
        Arguments and errors otherwise as :meth:`features`.
        """
        f = self.features(image0, image1, mask0, mask1)
        with torch.no_grad():
            found = self.coarse_matching.streamed(
                f.coarse0, f.coarse1, f.mask0, f.mask1
            )
        b, i, j, confidence = self.coarse_matching.predict(
            found, f.grid0, f.grid1, f.mask0, f.mask1
        )
        offset, std = self.refine(f, b, i, j)
        radius = self.config.window // 2 * FINE_STRIDE
        points0 = _corners(i, f.grid0)
        points1 = _corners(j, f.grid1) + offset * radius
        if scale0 is not None:
            points0 = points0 * scale0[b]
        if scale1 is not None:
            points1 = points1 * scale1[b]
        return Matches(b, points0, points1, confidence, i, j, std)

    def match(
        self,
        image0: images.ImageLike,
        image1: images.ImageLike,
        max_size: int | None = None,
    ) -> MatchResult:
        """Match two images as people have them; see :func:`images.read_image`.

        Works in eval mode whatever mode the model is in, and leaves that mode as
        it was. Sides that 8 does not divide are padded.

        Args:
            max_size: longer side to shrink larger images to, in pixels. Memory
                grows with the area, time of the coarse matching with its square.

        Raises:
            DataError: an image is missing, damaged, or smaller than 8 pixels.
            ConfigError: the feature maps of images this large do not fit into
                memory; the message names a ``max_size`` that does.
        """
        return images.match_images(self, image0, image1, max_size)

    def save(self, path: str | PathLike[str]) -> None:
        """Write weights and config; see :func:`weights.save`."""
        weights.save(self, path)

    @classmethod
    def load(
        cls,
        path: str | PathLike[str],
        config: LoFTRConfig | None = None,
        position: str | None = None,
    ) -> LoFTR:
        """A model from a file, in eval mode; see :func:`weights.load`."""
        return weights.load(path, config, position)

    @classmethod
    def pretrained(cls, name: str) -> LoFTR:
        """Published weights: ``outdoor``, ``indoor`` or ``indoor_new``.

        See :func:`weights.pretrained`.
        """
        return weights.pretrained(name)


def _corners(cells: Tensor, grid: tuple[int, int]) -> Tensor:
    """(M, 2) input pixels x and y of cells, float32."""
    return COARSE_STRIDE * torch.stack([cells % grid[1], cells // grid[1]], -1).float()


def _check_image(image: Tensor, name: str) -> None:
    shape = tuple(image.shape)
    if image.dim() != 4 or shape[1] != 1:
        raise DataError(
            f"{name} has shape {shape}; a (B, 1, H, W) grey image is needed"
        )
    if any(side % COARSE_STRIDE or side == 0 for side in shape[2:]):
        raise DataError(
            f"{name} is {shape[3]}x{shape[2]} px; both sides must be divisible by "
            f"{COARSE_STRIDE}: pad or resize it, or use LoFTR.match, which does"
        )


def _flat_mask(mask: Tensor | None, image: Tensor) -> Tensor | None:
    """(B, L) bool, or None where nothing is hidden."""
    if mask is None:
        return None
    want = (image.shape[0], *(side // COARSE_STRIDE for side in image.shape[-2:]))
    if tuple(mask.shape) != want:
        raise DataError(
            f"a mask has shape {tuple(mask.shape)}; this image needs {want}, one value "
            "for each coarse cell"
        )
    # On a CPU looking is cheap and masking is not; on a GPU it is the other way
    # round, since looking waits for the device.
    if mask.device.type == "cpu" and mask.all():
        return None
    return mask.bool().flatten(1)
