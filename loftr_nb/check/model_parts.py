"""Verdicts of the exercises on the backbone, positions and attention.

As in :mod:`.supervision`: a known case, and the answers that usual mistakes give.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from .verdict import Verdict, judge


def largest_tensor(run: Callable[[], Any]) -> int:
    """Bytes of the largest tensor that ``run()`` makes on its way.

    A count, not a measurement: the same on every machine. Views cost nothing, and
    what a fused kernel keeps to itself is not seen.
    """
    with _Largest() as seen:
        run()
    return seen.bytes


class _Largest(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                self.bytes = max(self.bytes, leaf.untyped_storage().nbytes())
        return made


def receptive_field(answer: Callable[[Sequence[tuple[int, int]]], int]) -> Verdict:
    """Exercise: ``answer(layers)`` is how many pixels one output value sees.

    layers: (kernel, stride) of each convolution, from the image on.
    """
    cases = [[(7, 2)], [(3, 1), (3, 1)], [(7, 2), (3, 1), (3, 2), (3, 1), (5, 2)]]

    def field(layers, jump_first=False, stride=True, start=1, full=False) -> int:
        size, jump = start, 1
        for kernel, step in layers:
            jump = jump * step if jump_first else jump
            size += (kernel if full else kernel - 1) * (jump if stride else 1)
            jump = jump if jump_first else jump * step
        return size

    def all_cases(rule: Callable) -> Tensor:
        return torch.tensor([float(rule(layers)) for layers in cases])

    mistakes = {
        "strides are not used: after a stride of 2 a step to the neighbour is 2 "
        "pixels, and a kernel reaches twice as far": lambda c: field(c, stride=False),
        "a convolution's own stride counts too early: its kernel still lies on the "
        "finer grid, only later ones reach further": lambda c: field(c, True),
        "a kernel adds kernel - 1 steps, not kernel: one of its taps is the pixel "
        "itself": lambda c: field(c, full=True),
        "the count starts at 0: without any layer a value sees 1 pixel": lambda c: (
            field(c, start=0)
        ),
    }
    return judge(
        lambda: all_cases(answer),
        all_cases(field),
        {words: all_cases(rule) for words, rule in mistakes.items()},
        "one layer, two layers, and five with three strides",
    )


def encode_cell(answer: Callable[[float, int], Tensor]) -> Verdict:
    """Exercise: ``answer(x, channels)`` is the position code of one coordinate.

    Returns (channels,): sin, cos of the fastest frequency, then of the next;
    frequency k is 10,000 ** (-2k / channels) radians a cell.
    """
    x, channels = 5.0, 8
    k = torch.arange(channels // 2, dtype=torch.float64)

    def code(exponent: Tensor = -2 * k / channels, x: float = x) -> Tensor:
        angle = x * 1e4**exponent
        return torch.stack([angle.sin(), angle.cos()], 1).flatten()

    released = 2 * k * (-math.log(1e4) / channels // 2) / math.log(1e4)
    right = code()
    mistakes = {
        "this is the released code's slip: `-log(1e4) / channels // 2` is floored to "
        "a whole number. Divide by the number of channels": code(released),
        "the exponent's 2 is missing: with it frequencies end near 1 / 10,000": code(
            -k / channels
        ),
        "the exponent is divided by the number of frequencies, so they end at "
        "1e-8 and the last ones say nothing": code(-4 * k / channels),
        "frequencies rise instead of falling: the exponent is negative": code(
            2 * k / channels
        ),
        "sine and cosine are swapped: the sine comes first": right.reshape(-1, 2)
        .flip(1)
        .flatten(),
        "all sines come first and then all cosines: they alternate": right.reshape(
            -1, 2
        ).T.flatten(),
    }
    return judge(
        lambda: torch.as_tensor(answer(x, channels)),
        right,
        mistakes,
        "8 channels of cell 5, from 1 radian a cell down to 0.001",
    )


def move_code(answer: Callable[[Tensor, Tensor, float], Tensor]) -> Verdict:
    """Exercise: ``answer(code, rates, d)`` moves a position code by d cells.

    code: (2N,) sin, cos alternately, of an unknown x; rates: (N,) radians a cell.
    Returns the code of x + d.
    """
    rates = torch.tensor([1.0, 0.3, 0.01], dtype=torch.float64)
    x, d = 7.0, 2.0

    def at(x: float, rates: Tensor = rates) -> Tensor:
        angle = x * rates
        return torch.stack([angle.sin(), angle.cos()], 1).flatten()

    sin, cos = at(x).reshape(-1, 2).T
    turn = d * rates
    same_sign = torch.stack(
        [sin * turn.cos() + cos * turn.sin(), cos * turn.cos() + sin * turn.sin()], 1
    )
    mistakes = {
        "it moves backwards, to x - d: turn the other way": at(x - d),
        "codes are not added: sin x + sin d is no sine of x + d": at(x) + at(d),
        "nothing moves": at(x),
        "every pair turns by the same angle: pair k turns by d * rates[k]": at(
            x, rates
        ).reshape(-1, 2)
        @ torch.tensor(
            [[math.cos(d), -math.sin(d)], [math.sin(d), math.cos(d)]],
            dtype=torch.float64,
        ),
        "a sign is wrong: cos(a + b) = cos a cos b MINUS sin a sin b": same_sign,
    }
    return judge(
        lambda: answer(at(x), rates, d),
        at(x + d),
        {words: wrong.flatten() for words, wrong in mistakes.items()},
        "cell 7 moved by 2, three frequencies, and x itself never used",
    )


def _small_attention() -> tuple[Tensor, Tensor, Tensor]:
    q = torch.tensor([[1.0, -0.5], [-1.5, 0.3], [0.2, 2.0]], dtype=torch.float64)
    k = torch.tensor([[0.7, 0.1], [-0.4, 1.2], [-2.0, -1.0], [1.5, 0.4]]).double()
    v = torch.tensor([[1.0, 0, 2], [0, 1, -1], [3, -1, 0], [0.5, 2, 1]]).double()
    return q, k, v


def _phi(x: Tensor) -> Tensor:
    return torch.where(x > 0, x + 1, x.exp())


def linear_weights(answer: Callable[[Tensor, Tensor], Tensor]) -> Verdict:
    """Exercise: ``answer(q, k)`` is who listens to whom in linear attention.

    q: (L, D); k: (S, D). Returns (L, S), each row a distribution over keys.
    """
    q, k, _ = _small_attention()

    def shares(a: Tensor) -> Tensor:
        return a / a.sum(1, keepdim=True)

    mixed = _phi(q) @ _phi(k).T
    elu = torch.nn.functional.elu
    mistakes = {
        "rows do not sum to 1: divide by the sum over keys": mixed,
        "columns sum to 1, not rows: a query shares out its attention over the "
        "keys, so divide by the sum over dim 1": mixed / mixed.sum(0),
        "this is softmax attention (without its scale): the weights here are "
        "phi(q) . phi(k)": (q @ k.T).softmax(1),
        "this is softmax attention: the weights here are phi(q) . phi(k)": (
            q @ k.T / q.shape[1] ** 0.5
        ).softmax(1),
        "the + 1 is missing: elu alone goes down to -1, and a negative weight is no "
        "share": shares(elu(q) @ elu(k).T),
        "phi is missing: q . k can be negative, and a negative weight is no "
        "share": shares(q @ k.T),
    }
    return judge(
        lambda: answer(q, k),
        shares(mixed),
        mistakes,
        "3 queries, 4 keys; rows sum to 1 and nothing is negative",
    )


def linear_attend(answer: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Verdict:
    """Exercise: ``answer(q, k, v)`` is linear attention in linear memory.

    q: (L, D); k: (S, D); v: (S, E). Returns (L, E). The numbers are judged first,
    then that no L x S matrix is made on the way.
    """
    q, k, v = _small_attention()
    a = _phi(q) @ _phi(k).T
    elu = torch.nn.functional.elu
    bare = elu(q) @ elu(k).T
    mistakes = {
        "the result is not divided by the sum of the weights": a @ v,
        "the + 1 after elu is missing, in the numerator and below": (bare @ v)
        / bare.sum(1, keepdim=True),
        "it is divided by the number of keys: the weights are not all 1, divide by "
        "phi(q) . sum of phi(k)": (a @ v) / len(k),
        "the sum below runs over the queries: it is phi(q) . (sum of phi(k) over the "
        "keys), one number a query": (a / a.sum(0)) @ v,
        "this is softmax attention: phi takes the place of exp": (
            q @ k.T / q.shape[1] ** 0.5
        ).softmax(1)
        @ v,
    }
    verdict = judge(lambda: answer(q, k, v), (a @ v) / a.sum(1, keepdim=True), mistakes)
    if not verdict:
        return verdict
    torch.manual_seed(0)
    many = torch.randn(1000, 4)
    size = largest_tensor(lambda: answer(many, many, many))
    if size >= 4 * 1000 * 1000:
        return Verdict(
            False,
            f"the numbers are right, but for 1,000 cells you made a tensor of "
            f"{size / 1e6:.0f} MB, the L x S matrix: multiply phi(k) with v first",
        )
    return Verdict(
        True,
        f"3 queries and 4 keys; for 1,000 cells the largest tensor is {size:,} bytes",
    )


def self_then_cross(answer: Callable[..., tuple[Tensor, Tensor]]) -> Verdict:
    """Exercise: ``answer(own, across, x0, x1)`` runs one pair of layers.

    own, across: layers, called as ``layer(x, source)``, both of which give x plus
    a message. Returns the new x0 and x1.
    """
    x0 = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    x1 = torch.tensor([[3.0, -1.0]], dtype=torch.float64)

    def own(x: Tensor, source: Tensor) -> Tensor:
        return x + 0.5 * source

    def across(x: Tensor, source: Tensor) -> Tensor:
        return x + 10 * source

    def both(first: Tensor, second: Tensor) -> Tensor:
        return torch.cat([first, second])

    a, b = own(x0, x0), own(x1, x1)
    c = across(a, b)
    swapped = across(b, a)
    c_first, d_first = across(x0, x1), across(x1, across(x0, x1))
    mistakes = {
        "image 1 looks at the old x0: as released, it looks at what image 0 has "
        "become": both(c, across(b, a)),
        "image 1 goes first: as released, image 0 looks first": both(
            across(a, swapped), swapped
        ),
        "the self-attention is left out": both(c_first, d_first),
        "the cross-attention is left out": both(a, b),
        "cross comes before self: it is self first": both(
            own(c_first, c_first), own(d_first, d_first)
        ),
        "the layers are swapped: `own` looks at the same image, `across` at the "
        "other": both(
            own(across(x0, x0), across(x1, x1)),
            own(across(x1, x1), own(across(x0, x0), across(x1, x1))),
        ),
        "in the cross step each image looks at itself": both(
            across(a, a), across(b, b)
        ),
    }
    return judge(
        lambda: torch.cat(answer(own, across, x0, x1)),
        both(c, across(b, c)),
        mistakes,
        "self in both images, then 0 looks at 1, then 1 at the new 0",
    )
