"""What a dataset yields and what a training step reads.

A dataset yields a :class:`Pair` of :class:`View`; :func:`collate` stacks pairs
into a :class:`Batch`. Letters: B pairs, H and W input pixels, L = (H/8)(W/8)
coarse cells of image 0, S those of image 1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import DataError
from ..geometry import COARSE_STRIDE, DepthMap, DepthWarp, HomographyWarp, Warp


@dataclass
class View:
    """One image as the network and the supervision see it.

    image: (1, H, W) grey in [0, 1], sides divisible by 8, padded with 0.
    cell_depth: (L,) metres at the corners of the coarse cells, 0 = unknown.
    K: (3, 3) in pixels of the original image (where depth lies), not of ``image``.
    scale: (2,) original pixels per input pixel, x and y.
    mask: (H/8, W/8) bool, True = image, False = padding.
    name: the image's path, for messages and pictures.
    """

    image: Tensor
    cell_depth: Tensor
    K: Tensor
    scale: Tensor
    mask: Tensor
    name: str


@dataclass
class Pair:
    """Two views and the motion between them.

    T_0to1: (4, 4) camera 0 to camera 1, metres.
    scene: name of the scene. overlap: the index's score, NaN when it has none.
    H_0to1: (3, 3) original pixels to original pixels, for pairs that a
        homography relates instead of depth and pose.
    """

    view0: View
    view1: View
    T_0to1: Tensor
    scene: str
    overlap: float = float("nan")
    H_0to1: Tensor | None = None


@dataclass
class Batch:
    """B pairs, stacked. See :class:`View` and :class:`Pair` for the fields."""

    image0: Tensor  # (B, 1, H0, W0)
    image1: Tensor  # (B, 1, H1, W1)
    cell_depth0: Tensor  # (B, L)
    cell_depth1: Tensor  # (B, S)
    K0: Tensor  # (B, 3, 3)
    K1: Tensor
    T_0to1: Tensor  # (B, 4, 4)
    scale0: Tensor  # (B, 2)
    scale1: Tensor
    mask0: Tensor  # (B, H0/8, W0/8)
    mask1: Tensor
    names0: tuple[str, ...]
    names1: tuple[str, ...]
    scenes: tuple[str, ...]
    overlap: Tensor  # (B,)
    H_0to1: Tensor | None = None  # (B, 3, 3)

    def __len__(self) -> int:
        return self.image0.shape[0]

    @property
    def T_1to0(self) -> Tensor:
        """(B, 4, 4) camera 1 to camera 0."""
        return torch.linalg.inv(self.T_0to1)

    @property
    def grid0(self) -> tuple[int, int]:
        """Rows and columns of coarse cells of image 0."""
        return tuple(s // COARSE_STRIDE for s in self.image0.shape[-2:])

    @property
    def grid1(self) -> tuple[int, int]:
        """Rows and columns of coarse cells of image 1."""
        return tuple(s // COARSE_STRIDE for s in self.image1.shape[-2:])

    def warp(self) -> Warp:
        """How points of these pairs move between their images."""
        if self.H_0to1 is not None:
            return HomographyWarp(self.H_0to1)
        B = len(self)
        return DepthWarp(
            DepthMap(
                self.cell_depth0.reshape(B, *self.grid0), COARSE_STRIDE * self.scale0
            ),
            DepthMap(
                self.cell_depth1.reshape(B, *self.grid1), COARSE_STRIDE * self.scale1
            ),
            self.K0,
            self.K1,
            self.T_0to1,
        )

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The same batch with its tensors on ``device``."""
        return self._map(lambda t: t.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory; the DataLoader calls this."""
        return self._map(Tensor.pin_memory)

    def rows(self, rows: slice) -> Batch:
        """Some of the pairs, as a batch of their own: ``batch.rows(slice(0, 2))``."""
        return dataclasses.replace(
            self,
            **{
                f.name: value[rows]
                for f in dataclasses.fields(self)
                if (value := getattr(self, f.name)) is not None
            },
        )

    def _map(self, move) -> Batch:
        moved = {
            f.name: move(value)
            for f in dataclasses.fields(self)
            if isinstance(value := getattr(self, f.name), Tensor)
        }
        return dataclasses.replace(self, **moved)


def collate(pairs: Sequence[Pair]) -> Batch:
    """Stack pairs into a batch.

    Raises:
        DataError: image 0 (or image 1) has different sizes in these pairs, or
            some pairs have a homography and others depth.
    """
    for side in ("view0", "view1"):
        shapes = {tuple(getattr(p, side).image.shape[-2:]): p for p in pairs}
        if len(shapes) > 1:
            named = ", ".join(
                f"{getattr(p, side).name} ({w}x{h})" for (h, w), p in shapes.items()
            )
            raise DataError(
                f"pairs of one batch have different image sizes: {named}. Use "
                "batch size 1, or let the dataset pad to a square"
            )
    if len({p.H_0to1 is None for p in pairs}) > 1:
        raise DataError("a batch mixes pairs with depth and pairs with a homography")
    first, second = [p.view0 for p in pairs], [p.view1 for p in pairs]

    def stack(views: list[View], field: str) -> Tensor:
        return torch.stack([getattr(v, field) for v in views])

    return Batch(
        image0=stack(first, "image"),
        image1=stack(second, "image"),
        cell_depth0=stack(first, "cell_depth"),
        cell_depth1=stack(second, "cell_depth"),
        K0=stack(first, "K"),
        K1=stack(second, "K"),
        T_0to1=torch.stack([p.T_0to1 for p in pairs]),
        scale0=stack(first, "scale"),
        scale1=stack(second, "scale"),
        mask0=stack(first, "mask"),
        mask1=stack(second, "mask"),
        names0=tuple(v.name for v in first),
        names1=tuple(v.name for v in second),
        scenes=tuple(p.scene for p in pairs),
        overlap=torch.tensor([p.overlap for p in pairs]),
        H_0to1=(
            None if pairs[0].H_0to1 is None else torch.stack([p.H_0to1 for p in pairs])
        ),
    )
