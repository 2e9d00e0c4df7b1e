"""Image 0 rebuilt from image 1: the check that shows a wrong convention at a glance.

Every pixel of image 0 is asked where it lies in image 1 and takes its grey from
there. With the right depth, pose and intrinsics the result looks like image 0.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from ..geometry import Warp


def rebuild(
    warp: Warp, image1: Tensor, size: tuple[int, int], scale0: Tensor, scale1: Tensor
) -> Tensor:
    """Image 0 as image 1 shows it, through ``warp``.

    Args:
        warp: moves original pixels of image 0 into image 1.
        image1: (B, 1, H1, W1), input pixels.
        size: (h, w) of the result; its pixel (x, y) stands for input pixel
            (x, y) of image 0.
        scale0, scale1: (B, 2) original pixels per input pixel.

    Returns:
        (B, h, w) grey, NaN where depth is unknown or the point leaves image 1.
    """
    h, w = size
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    pixels = torch.stack([x, y], -1).reshape(1, -1, 2).to(scale0)
    landed = warp.to1(pixels * scale0[:, None]).points / scale1[:, None]
    H1, W1 = image1.shape[-2:]
    # grid_sample counts from -1 to 1 between the centres of the outer pixels.
    unit = 2 * landed / landed.new_tensor([W1 - 1, H1 - 1]) - 1
    grey = grid_sample(
        image1, unit.nan_to_num(9.0)[:, None].to(image1), align_corners=True
    )
    inside = (unit.abs() <= 1).all(-1)
    return torch.where(inside, grey[:, 0, 0], torch.nan).reshape(-1, h, w)


def grey_difference(image0: Tensor, rebuilt: Tensor) -> float:
    """How much of a picture's contrast its rebuilt twin does not explain, 0 to 1.

    0 is the same picture up to brightness and contrast, 1 an unrelated one:
    sqrt(1 - r^2) with the correlation r over the pixels that ``rebuilt`` has (a
    negative one counts as 0). Two exposures of one place differ by nothing.
    NaN where ``rebuilt`` has no value at all.
    """
    known = torch.isfinite(rebuilt)
    if not known.any():
        return float("nan")
    one, two = (x[known] - x[known].mean() for x in (image0, rebuilt))
    r = (one * two).sum() / (one.norm() * two.norm()).clamp(min=1e-12)
    return float((1 - r.clamp(0, 1) ** 2).sqrt())


def overlay(image0: Tensor, rebuilt: Tensor) -> Tensor:
    """Two grey pictures in one: grey where they agree, coloured where not.

    Orange where ``image0`` is brighter, blue where ``rebuilt`` is; light grey
    where ``rebuilt`` has no value. Both (h, w) in 0 to 1; returns (h, w, 3).
    """
    known = torch.isfinite(rebuilt)[..., None]
    other = torch.where(known[..., 0], rebuilt, 0.0)
    mixed = torch.stack([image0, (image0 + other) / 2, other], dim=-1)
    return torch.where(known, mixed, 0.85)
