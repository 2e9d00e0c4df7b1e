"""Linear and full attention over cells.

Letters: B pairs, N heads, L queries, S keys, D channels of a head. Queries, keys
and values are (B, L or S, N, D).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-6  # keeps a query that no key answers from dividing by zero


def linear_attention(
    query: Tensor, key: Tensor, value: Tensor, key_mask: Tensor | None = None
) -> Tensor:
    """Attention with the kernel elu(q) + 1 times elu(k) + 1, linear in L and S.

    Source: Katharopoulos et al., "Transformers are RNNs", 2020. Computed in
    float32 whatever the input: sums over thousands of keys overflow float16, and
    this product is one fortieth of an encoder layer's arithmetic.

    Args:
        key_mask: (B, S) bool, False = the key is padding and is not attended to.
            Padded queries give finite values that nobody reads.

    Returns:
        (B, L, N, D) in the dtype of ``query``.
    """
    with torch.autocast(query.device.type, enabled=False):
        q = F.elu(_heads_first(query)).add_(1)
        k = F.elu(_heads_first(key)).add_(1)
        if key_mask is not None:
            # A key of zero drops out of both sums, so the values need no mask.
            k = k * key_mask[:, None, :, None]
        summary = k.transpose(2, 3) @ _heads_first(value)  # (B, N, D, D)
        weight = q @ k.sum(dim=2)[..., None] + EPSILON  # (B, N, L, 1)
        answer = (q @ summary) / weight
    return answer.transpose(1, 2).to(query.dtype)


def full_attention(
    query: Tensor, key: Tensor, value: Tensor, key_mask: Tensor | None = None
) -> Tensor:
    """Softmax attention; arguments and result as :func:`linear_attention`."""
    seen = None
    if key_mask is not None:
        # A softmax over nothing is NaN: a pair whose keys are all padding
        # attends to them all, and its result is not read.
        nothing = ~key_mask.any(dim=1, keepdim=True)
        seen = (key_mask | nothing)[:, None, None, :]
    answer = F.scaled_dot_product_attention(
        query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), seen
    )
    return answer.transpose(1, 2)


def _heads_first(x: Tensor) -> Tensor:
    # Sums run in float32, or in float64 where a gradient check asks for it. Copied
    # once here, or else every product below copies its own.
    dtype = torch.promote_types(x.dtype, torch.float32)
    return x.to(dtype).transpose(1, 2).contiguous()
