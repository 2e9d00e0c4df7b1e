"""Warnings of pairs that teach nothing: once, and again when it got clearly worse."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest

from loftr_nb.progress import StatusLine
from loftr_nb.training import LogConfig
from loftr_nb.training.health import Health


def said(shares: list[float], pairs: int = 50, **config: float) -> list[str]:
    """What is said over rows with these shares, ``pairs`` pairs each."""
    out = io.StringIO()
    health = Health(LogConfig(**config), StatusLine(out))
    for step, share in enumerate(shares, start=1):
        health.look(share, pairs, step)
    return [line for line in out.getvalue().splitlines() if line]


def test_a_share_that_rises_and_falls_is_warned_of_once() -> None:
    lines = said([0.4, 0.4, 0.1, 0.1, 0.1, 0.1] * 20)
    assert [re.match(r"step (\d+): (warning)?", x).groups() for x in lines] == [
        ("1", "warning"),
        ("4", None),  # (0.4 + 0.4 + 0.1 + 0.1) / 4 is the limit of 25 % again
    ]
    assert "40% of the pairs have fewer than 20 true" in lines[0]
    assert lines[1].endswith(
        "25% of the pairs have fewer than 20 true coarse matches: below the limit again"
    )


def test_clearly_worse_is_said_again_with_what_it_was() -> None:
    lines = said([0.4] * 8 + [0.5] * 8 + [0.65] * 8 + [1.0] * 8)
    steps = [int(re.match(r"step (\d+): warning", x)[1]) for x in lines]
    # 0.5 is less than half as much again. Of four rows judged together, 0.6 is
    # reached by the third of 0.65: (0.5 + 3 x 0.65) / 4.
    assert steps == [1, 19, 28]
    assert "61% of the pairs" in lines[1] and ", after 40% (log.few_share" in lines[1]
    assert "100% of the pairs" in lines[2] and ", after 61% " in lines[2]


@pytest.mark.parametrize("seed", range(3))
def test_chance_does_not_fill_the_log(seed: int) -> None:
    """10,000 rows of 10 pairs, a third of which are poor."""
    chance = np.random.default_rng(seed)
    lines = said(list(chance.binomial(10, 0.33, 10_000) / 10), pairs=10)
    assert 1 <= sum("warning" in x for x in lines) <= 3
    assert len(lines) <= 6
    # Few poor ones: rows of 10 with three and more of them are common, and no matter.
    assert not said(list(chance.binomial(10, 0.15, 10_000) / 10), pairs=10)


def test_a_few_pairs_have_to_be_clear_about_it() -> None:
    assert not said([0.5], pairs=2)  # one of two: by chance, more often than not
    assert said([1.0], pairs=2)
    assert said([0.5], pairs=8)


@pytest.mark.parametrize(("limit", "warnings"), [(1.0, 0), (0.0, 1)])
def test_limits_at_the_ends(limit: float, warnings: int) -> None:
    lines = said([0.0, 1.0, 1.0], pairs=400, few_share=limit)
    assert sum("warning" in x for x in lines) == warnings
    assert not said([0.0] * 5, few_share=0.0)
