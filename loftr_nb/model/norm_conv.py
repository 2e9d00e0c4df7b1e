"""Batch norm between two convolutions, in less memory and less time.

Training needs the input of every batch norm and of every convolution for the
backward pass. What lies between a batch norm and the convolution after it is a
product, a sum and an activation: cheaper to make again than to keep. So
:func:`convolve_twice` keeps one map where the plain layers keep two.

Letters: B images, C channels, H and W of the map.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable


def convolve_twice(
    x: Tensor, first: nn.Conv2d, norm: nn.Module, second: nn.Conv2d, slope: float = 0.0
) -> Tensor:
    """``second(activation(norm(first(x))))``.

    Args:
        norm: a batch norm; synchronised ones take the plain way.
        slope: of the activation below 0; 0 is a ReLU.
    """
    if not torch.is_grad_enabled():
        return second(activate_(convolve_normed(x, first, norm), slope))
    x = first(x)
    # A momentum of None averages over all steps so far, with another factor each.
    if type(norm) is not nn.BatchNorm2d or norm.momentum is None:
        return second(activate_(norm(x), slope))
    if norm.training:
        norm.num_batches_tracked.add_(1)
    return _NormActConv.apply(x, norm.weight, norm.bias, second.weight, norm, slope)


def convolve_normed(x: Tensor, conv: nn.Conv2d, norm: nn.Module) -> Tensor:
    """``norm(conv(x))``; without gradients, in eval mode, as one convolution."""
    if norm.training or torch.is_grad_enabled():
        return norm(conv(x))
    factor = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    bias = norm.bias - norm.running_mean * factor
    weight = conv.weight * factor[:, None, None, None]
    return F.conv2d(x, weight, bias, conv.stride, conv.padding)


def activate_(x: Tensor, slope: float) -> Tensor:
    """ReLU (slope 0) or leaky ReLU, in place."""
    return F.relu_(x) if slope == 0 else F.leaky_relu_(x, slope)


class _NormActConv(torch.autograd.Function):
    """Batch norm, activation, 3x3 convolution; only the input is kept."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x: Tensor,
        scale: Tensor,
        shift: Tensor,
        weight: Tensor,
        norm: nn.BatchNorm2d,
        slope: float,
    ) -> Tensor:
        mean, variance = norm.running_mean, norm.running_var
        y, own_mean, own_rstd = torch.native_batch_norm(
            x, scale, shift, mean, variance, norm.training, norm.momentum, norm.eps
        )
        y = F.conv2d(activate_(y, slope), weight, padding=1)
        if not norm.training:  # later steps of others may move the averages
            own_mean, own_rstd = mean.clone(), torch.rsqrt(variance + norm.eps)
        ctx.save_for_backward(x, scale, shift, weight, own_mean, own_rstd)
        ctx.training, ctx.eps, ctx.slope, ctx.dtype = (
            norm.training,
            norm.eps,
            slope,
            y.dtype,
        )
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, by_y: Tensor) -> tuple:
        x, scale, shift, weight, mean, rstd = ctx.saved_tensors
        variance = (rstd**-2 - ctx.eps).clamp_(min=0)
        active = torch.native_batch_norm(
            x, scale, shift, mean, variance, False, 0.0, ctx.eps
        )[0]
        active = activate_(active, ctx.slope).to(ctx.dtype)
        by_active, by_weight, _ = torch.ops.aten.convolution_backward(
            by_y.to(ctx.dtype), active, weight.to(ctx.dtype), None,
            [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [True, True, False],
        )  # fmt: skip
        if ctx.slope == 0:
            by_active = torch.ops.aten.threshold_backward(by_active, active, 0)
        else:
            by_active = torch.ops.aten.leaky_relu_backward(
                by_active, active, ctx.slope, True
            )
        del active
        by_x, by_scale, by_shift = torch.ops.aten.native_batch_norm_backward(
            by_active.to(x.dtype), x, scale, mean, variance, mean, rstd,
            ctx.training, ctx.eps, [True, True, True],
        )  # fmt: skip
        return by_x, by_scale, by_shift, by_weight.to(weight.dtype), None, None
