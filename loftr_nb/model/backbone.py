"""ResNet with a feature pyramid: one grey image to a coarse and a fine map.

Three stages of two residual blocks go down to 1/2, 1/4 and 1/8 of the image;
the pyramid then carries what the 1/8 map knows back up to 1/2. Parameter names
are kornia's, so that published weights load strictly. Source: LoFTR, section 3.1.

Letters: B images, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .norm_conv import activate_, convolve_normed, convolve_twice
from .recompute import recomputed


def _conv1x1(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)


def _conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm, added to their input."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv3x3(inputs, outputs, stride)
        self.conv2 = _conv3x3(outputs, outputs)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.bn2 = nn.BatchNorm2d(outputs)
        # Shapes change only where the stride does; the identity has no weights.
        self.downsample = nn.Identity()
        if stride != 1:
            self.downsample = nn.Sequential(
                _conv1x1(inputs, outputs, stride), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        if torch.is_grad_enabled():
            y = self.bn2(convolve_twice(x, self.conv1, self.bn1, self.conv2))
            return F.relu(y + self.downsample(x), inplace=True)
        y = activate_(convolve_normed(x, self.conv1, self.bn1), 0.0)
        y = convolve_normed(y, self.conv2, self.bn2)
        if isinstance(self.downsample, nn.Sequential):
            x = convolve_normed(x, *self.downsample)
        return activate_(y.add_(x), 0.0)


def _stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        ResidualBlock(inputs, outputs, stride), ResidualBlock(outputs, outputs, 1)
    )


class Smooth(nn.Sequential):
    """3x3 convolution, batch norm, leaky ReLU, 3x3 convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            _conv3x3(inputs, inputs),
            nn.BatchNorm2d(inputs),
            nn.LeakyReLU(inplace=True),
            _conv3x3(inputs, outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H, W)."""
        first, norm, activation, second = self
        return convolve_twice(x, first, norm, second, activation.negative_slope)


class Backbone(nn.Module):
    """One grey image to a coarse map at 1/8 and a fine map at 1/2.

    Args:
        initial_dim: channels after the first convolution.
        block_dims: channels at 1/2, 1/4 and 1/8.
        recompute: keep the maps between the stages only, and make those within
            again in the backward pass.
    """

    def __init__(
        self,
        initial_dim: int,
        block_dims: tuple[int, int, int],
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.recompute = recompute
        half, quarter, eighth = block_dims
        self.conv1 = nn.Conv2d(1, initial_dim, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(initial_dim)
        self.layer1 = _stage(initial_dim, half, stride=1)
        self.layer2 = _stage(half, quarter, stride=2)
        self.layer3 = _stage(quarter, eighth, stride=2)
        self.layer3_outconv = _conv1x1(eighth, eighth)
        self.layer2_outconv = _conv1x1(quarter, eighth)
        self.layer2_outconv2 = Smooth(eighth, quarter)
        self.layer1_outconv = _conv1x1(half, quarter)
        self.layer1_outconv2 = Smooth(quarter, half)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(
                    module.weight, mode="fan_out", nonlinearity="relu"
                )
        # Channels innermost: convolutions run about a third faster on a CPU, and
        # the tokens of the transformers come out without a copy.
        self.to(memory_format=torch.channels_last)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Coarse (B, block_dims[2], H/8, W/8) and fine (B, block_dims[0], H/2, W/2).

        ``image`` is (B, 1, H, W) with H and W divisible by 8.
        """
        image = image.contiguous(memory_format=torch.channels_last)
        x1 = self._run(self._first_stage, image)
        x2 = self._run(self.layer2, x1)
        coarse = self.layer3_outconv(self._run(self.layer3, x2))
        middle = self._run(self._middle, x2, coarse)
        return coarse, self._run(self._fine, x1, middle)

    def _run(self, stage: Callable, *inputs: Tensor) -> Tensor:
        return recomputed(self, stage, *inputs) if self.recompute else stage(*inputs)

    def _first_stage(self, image: Tensor) -> Tensor:
        x = convolve_normed(image, self.conv1, self.bn1)
        return self.layer1(activate_(x, 0.0))

    def _middle(self, x2: Tensor, coarse: Tensor) -> Tensor:
        # In place: no backward pass needs the summands.
        return self.layer2_outconv2(self.layer2_outconv(x2).add_(_twice(coarse)))

    def _fine(self, x1: Tensor, middle: Tensor) -> Tensor:
        return self.layer1_outconv2(self.layer1_outconv(x1).add_(_twice(middle)))


def _twice(x: Tensor) -> Tensor:
    # align_corners=True is what the published weights are trained with.
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True)
