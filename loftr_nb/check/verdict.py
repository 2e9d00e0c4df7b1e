"""Verdicts: what a check found, in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Verdict:
    """What a check found. Prints as its words, is true when all is well."""

    ok: bool
    words: str

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        return f"{'ok' if self.ok else 'not yet'}: {self.words}"


def same(
    what: str,
    got: Tensor | np.ndarray | float | Sequence,
    expected: Tensor | np.ndarray | float | Sequence,
    tolerance: float = 0.0,
    unit: str = "",
) -> Verdict:
    """Compare two sets of numbers; NaN equals NaN.

    Args:
        what: what is compared with what, the start of the sentence.
        tolerance: largest absolute difference that passes, in ``unit``.
    """
    a, b = _numbers(got), _numbers(expected)
    if a.shape != b.shape:
        return Verdict(False, f"{what}: shapes differ, {a.shape} and {b.shape}")
    if (np.isnan(a) != np.isnan(b)).any():
        place = tuple(int(n) for n in np.argwhere(np.isnan(a) != np.isnan(b))[0])
        return Verdict(False, f"{what}: only one of the two is NaN at {place}")
    # Equal infinities differ by NaN when subtracted: where they are equal, by 0.
    with np.errstate(invalid="ignore"):
        apart = np.where(a == b, 0.0, np.abs(a - b))
    largest = float(np.nanmax(apart, initial=0.0))
    shown = f"{largest:.1e}" if largest else "0"
    words = f"{what}: {a.size} numbers, largest difference {shown} {unit}".rstrip()
    if largest > tolerance:
        return Verdict(False, f"{words}, at most {tolerance:g} is right")
    return Verdict(True, words)


def _numbers(values) -> np.ndarray:
    if isinstance(values, Tensor):
        values = values.detach().cpu()
    return np.asarray(values, dtype=np.float64)


def judge(
    run: Callable[[], Tensor],
    right: Tensor,
    mistakes: dict[str, Tensor],
    praise: str = "",
) -> Verdict:
    """Run an exercise's answer; compare it with the right one, then with mistakes.

    Args:
        run: gives the learner's answer as one tensor.
        mistakes: the sentence about a usual mistake, and what it would give.
        praise: what was tried, for the verdict of a right answer.
    """
    try:
        got = run()
    except NotImplementedError:
        return Verdict(False, "still the stub, replace the line that raises")
    except Exception as error:  # noqa: BLE001 - a learner's code may raise anything
        return Verdict(False, f"your function raises {type(error).__name__}: {error}")
    if got is None or got is Ellipsis:
        return Verdict(False, "your function returns nothing: end it with a return")
    got = torch.as_tensor(got).to(right)
    if _alike(got, right):
        return Verdict(True, praise)
    for words, wrong in mistakes.items():
        if _alike(got, wrong.to(right)):
            return Verdict(False, words)
    if got.shape != right.shape:
        return Verdict(
            False, f"the shape is {tuple(got.shape)}, it should be {tuple(right.shape)}"
        )
    return Verdict(
        False, f"for one case the answer is {got.tolist()}, right is {right.tolist()}"
    )


def _alike(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, atol=1e-4, equal_nan=True)
