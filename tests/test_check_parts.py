"""Verdicts on backbone, positions and attention: right answers pass, mistakes don't."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from loftr_nb import check
from loftr_nb.model.attention import linear_attention
from loftr_nb.model.position import PositionEncoding, frequencies
from loftr_nb.model.transformer import Transformer


def test_the_largest_tensor_is_counted_and_views_are_not():
    x = torch.zeros(100)  # made outside: not counted

    def run():
        y = x[:50].reshape(5, 10) + 1  # 200 bytes
        return (y[:, None, :] * y[None, :, :]).sum(0)  # 5 x 5 x 10 floats on the way

    assert check.largest_tensor(run) == 4 * 250
    assert check.largest_tensor(lambda: (x + 1).expand(1000, 100)) == 400
    assert check.largest_tensor(lambda: None) == 0


def field_by_gradient(layers):
    """The same question asked of real convolutions, by the extent of a gradient."""
    size = 301
    x = torch.zeros(1, 1, size, dtype=torch.float64, requires_grad=True)
    y = x
    for kernel, stride in layers:
        y = F.conv1d(y, torch.ones(1, 1, kernel).double(), stride=stride)
    (g,) = torch.autograd.grad(y[0, 0, y.shape[2] // 2], x)
    return int((g != 0).sum())


def field(layers, late=True, extra=1, start=1):
    size, jump = start, 1
    for kernel, stride in layers:
        jump *= 1 if late else stride
        size += (kernel - extra) * jump
        jump *= stride if late else 1
    return size


def test_receptive_fields_are_judged_by_a_gradient():
    assert check.receptive_field(field_by_gradient)


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda c: 1 + sum(k - 1 for k, _ in c), "strides are not used"),
        (lambda c: field(c, late=False), "too early"),
        (lambda c: field(c, extra=0), "one of its taps"),
        (lambda c: field(c, start=0), "starts at 0"),
        (lambda c: 7, "right is"),
    ],
)
def test_receptive_field_mistakes_are_named(mistake, words):
    verdict = check.receptive_field(mistake)
    assert not verdict and words in repr(verdict)


def code_by_package(x, channels):
    """Columns of the package's map: sin x, cos x are two of every four channels."""
    whole = PositionEncoding(2 * channels, "fixed").encoding(1, int(x))
    return whole.unflatten(0, (-1, 4))[:, :2, 0, -1].flatten()


def code(x, channels, base=1e4, power=2.0, sign=-1):
    rate = base ** (sign * power * torch.arange(channels // 2) / channels)
    return torch.stack([(x * rate).sin(), (x * rate).cos()], 1)


def test_codes_are_judged_by_the_package():
    assert check.encode_cell(code_by_package)


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (
            lambda x, c: torch.stack(
                [
                    (x * frequencies(2 * c, "released")).sin(),
                    (x * frequencies(2 * c, "released")).cos(),
                ],
                1,
            ).flatten(),
            "slip",
        ),
        (lambda x, c: code(x, c, power=1).flatten(), "exponent's 2"),
        (lambda x, c: code(x, c, power=4).flatten(), "number of frequencies"),
        (lambda x, c: code(x, c, sign=1).flatten(), "rise"),
        (lambda x, c: code(x, c).flip(1).flatten(), "sine comes first"),
        (lambda x, c: code(x, c).T.flatten(), "alternate"),
        (lambda x, c: code(x, c), "shape"),
    ],
)
def test_code_mistakes_are_named(mistake, words):
    verdict = check.encode_cell(mistake)
    assert not verdict and words in repr(verdict)


def moved_by_matrix(c, rates, d, way=1.0):
    blocks = [
        torch.tensor(
            [[math.cos(d * r), way * math.sin(d * r)],
             [-way * math.sin(d * r), math.cos(d * r)]]
        )
        for r in rates.tolist()
    ]  # fmt: skip
    return torch.block_diag(*blocks).double() @ c


def test_moves_are_judged_by_a_matrix():
    assert check.move_code(moved_by_matrix)


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda c, r, d: moved_by_matrix(c, r, -d), "backwards"),
        (lambda c, r, d: moved_by_matrix(c, torch.ones(3), d), "same angle"),
        (lambda c, r, d: c, "nothing moves"),
        (
            lambda c, r, d: (
                c + torch.stack([(d * r).sin(), (d * r).cos()], 1).flatten()
            ),
            "not added",
        ),
        (
            lambda c, r, d: torch.stack(
                [
                    c[::2] * (d * r).cos() + c[1::2] * (d * r).sin(),
                    c[1::2] * (d * r).cos() + c[::2] * (d * r).sin(),
                ],
                1,
            ).flatten(),
            "MINUS",
        ),
    ],
)
def test_move_mistakes_are_named(mistake, words):
    verdict = check.move_code(mistake)
    assert not verdict and words in repr(verdict)


def phi(x):
    return F.elu(x) + 1


def by_package(q, k, v):
    """The package takes values as wide as keys: three times two columns."""
    assert v.shape[1] == 3 or v.shape[1] == k.shape[1]
    columns = torch.cat([v, v[:, :1]], 1).split(2, dim=1)
    got = [
        linear_attention(q[None, :, None], k[None, :, None], c[None, :, None])
        for c in columns
    ]
    return torch.cat(got, -1)[0, :, 0, : v.shape[1]]


def plain(q, k, v):
    return torch.stack(
        [
            sum(float(phi(a) @ phi(b)) * c for b, c in zip(k, v, strict=True))
            / sum(float(phi(a) @ phi(b)) for b in k)
            for a in q
        ]
    )


def in_linear_memory(q, k, v):
    return phi(q) @ (phi(k).T @ v) / (phi(q) @ phi(k).sum(0))[:, None]


def test_linear_attention_is_judged_by_the_package():
    verdict = check.linear_attend(in_linear_memory)
    assert verdict and "16,000 bytes" in repr(verdict)
    q, k, v = (torch.randn(4, 2).double() for _ in range(3))
    torch.testing.assert_close(in_linear_memory(q, k, v), plain(q, k, v))
    torch.testing.assert_close(
        in_linear_memory(q, k, v), by_package(q, k, v), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda q, k, v: phi(q) @ (phi(k).T @ v), "not divided"),
        (lambda q, k, v: phi(q) @ (phi(k).T @ v) / len(k), "number of keys"),
        (
            lambda q, k, v: F.elu(q) @ F.elu(k).T @ v
            / (F.elu(q) @ F.elu(k).T).sum(1, keepdim=True),
            "+ 1 after elu",
        ),
        (lambda q, k, v: (q @ k.T / 2**0.5).softmax(1) @ v, "softmax"),
        (
            lambda q, k, v: (phi(q) @ phi(k).T / (phi(q) @ phi(k).T).sum(0)) @ v,
            "over the queries",
        ),
        (
            lambda q, k, v: (phi(q) @ phi(k).T) @ v
            / (phi(q) @ phi(k).T).sum(1, keepdim=True),
            "the L x S matrix",
        ),
    ],
)  # fmt: skip
def test_linear_attention_mistakes_are_named(mistake, words):
    verdict = check.linear_attend(mistake)
    assert not verdict and words in repr(verdict)


def weights_by_values(q, k):
    """Attention to one-hot values gives the weights themselves, two at a time."""
    return by_package_wide(q, k, torch.eye(len(k), dtype=q.dtype))


def by_package_wide(q, k, v):
    heads = [x[None, :, None] for x in (q, k)]
    parts = [
        linear_attention(*heads, c[None, :, None]) for c in v.split(k.shape[1], dim=1)
    ]
    return torch.cat(parts, -1)[0, :, 0]


def test_weights_are_judged_by_one_hot_values():
    assert check.linear_weights(weights_by_values)


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda q, k: phi(q) @ phi(k).T, "rows do not sum"),
        (lambda q, k: phi(q) @ phi(k).T / (phi(q) @ phi(k).T).sum(0), "columns"),
        (lambda q, k: (q @ k.T).softmax(1), "without its scale"),
        (lambda q, k: (q @ k.T / 2**0.5).softmax(1), "softmax"),
        (
            lambda q, k: F.elu(q) @ F.elu(k).T
            / (F.elu(q) @ F.elu(k).T).sum(1, keepdim=True),
            "+ 1 is missing",
        ),
        (lambda q, k: (q @ k.T) / (q @ k.T).sum(1, keepdim=True), "phi is missing"),
    ],
)  # fmt: skip
def test_weight_mistakes_are_named(mistake, words):
    verdict = check.linear_weights(mistake)
    assert not verdict and words in repr(verdict)


class _Layer(nn.Module):
    """One of the exercise's layers, called as the package calls its own."""

    def __init__(self, call):
        super().__init__()
        self.call = call

    def forward(self, x, source, mask):
        return self.call(x, source)


def pair_of_package(own, across, x0, x1):
    """The package's own loop, with the exercise's layers in it."""
    net = Transformer(4, 2, 1, "linear")
    net.layers = nn.ModuleList([_Layer(own), _Layer(across)])
    return net(x0, x1)


def test_the_alternation_is_judged_by_the_package():
    assert check.self_then_cross(pair_of_package)


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (
            lambda own, across, a, b: (
                across(own(a, a), own(b, b)), across(own(b, b), own(a, a)),
            ),
            "old x0",
        ),
        (
            lambda own, across, a, b: (
                c := across(a, b), across(b, c),
            ),
            "self-attention is left out",
        ),
        (lambda own, across, a, b: (own(a, a), own(b, b)), "cross-attention is left"),
        (
            lambda own, across, a, b: (
                across(own(a, a), own(a, a)), across(own(b, b), own(b, b)),
            ),
            "looks at itself",
        ),
        (
            lambda own, across, a, b: pair_of_package(own, across, b, a)[::-1],
            "image 1 goes first",
        ),
        (lambda own, across, a, b: pair_of_package(across, own, a, b), "swapped"),
    ],
)  # fmt: skip
def test_alternation_mistakes_are_named(mistake, words):
    verdict = check.self_then_cross(mistake)
    assert not verdict and words in repr(verdict)


def test_stubs_are_no_errors():
    def stub(*_):
        raise NotImplementedError

    for judge in (
        check.receptive_field,
        check.encode_cell,
        check.move_code,
        check.linear_weights,
        check.linear_attend,
        check.self_then_cross,
    ):
        assert repr(judge(stub)).startswith("not yet: still the stub")
