"""Verdicts of the exercises on several processes, and the pictures beside them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from loftr_nb import check, viz
from loftr_nb.datasets import SceneBalancedSampler, SceneGroups


def by_sampler(order, rank, world):
    """The same question answered by the package's sampler: one pair at a time."""
    return torch.stack(
        [
            row[torch.tensor([n for n in range(len(row)) if n % world == rank])]
            for row in order
        ]
    )


def by_loop(gradients, pairs):
    total = torch.zeros(gradients.shape[1])
    for gradient, count in zip(gradients, pairs.tolist(), strict=True):
        for _ in range(count):  # every pair once
            total += gradient / int(pairs.sum())
    return total


def test_right_answers_pass() -> None:
    assert check.dealt_in_turns(by_sampler)
    assert check.dealt_in_turns(lambda order, rank, world: order[:, rank::world])
    assert check.joined_gradient(by_loop)
    assert check.run_days(lambda n, p, b, s: n // (p * b) * s / 86_400)


def test_the_sampler_deals_in_turns_too() -> None:
    """What the exercise asks for is what training reads."""
    groups = SceneGroups.from_counts([9, 14])
    whole = SceneBalancedSampler(groups, 8, seed=3).sequence().reshape(-1, 4)
    for rank in range(2):
        own = list(SceneBalancedSampler(groups, 8, 3, rank, 2))
        assert own == whole[:, rank::2].flatten().tolist()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda o, r, w: o[:, r * 2 : r * 2 + 2], "cut into blocks"),
        (lambda o, r, w: o[r::w], "every rank takes part in every step"),
        (lambda o, r, w: o, "holds the whole batch"),
        (lambda o, r, w: o[:, r + 1 :: w], "rank r begins at place r"),
        (lambda o, r, w: o.flatten()[6:12].reshape(3, 2), "one part for each rank"),
        (lambda o, r, w: None, "returns nothing"),
        (lambda o, r, w: o[:, :1], "the shape is (3, 1), it should be (3, 2)"),
        (lambda o, r, w: o[:, 9], "raises IndexError"),
    ],
)
def test_wrong_shares_are_named(answer, words) -> None:
    verdict = check.dealt_in_turns(answer)
    assert not verdict and words in repr(verdict)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda g, n: g.mean(0), "counts four times as much"),
        (lambda g, n: g.sum(0), "added up"),
        (lambda g, n: (g * n[:, None]).sum(0), "not divided by all of them"),
        (lambda g, n: (g * n[:, None]).mean(0), "divide by the number of pairs"),
        (lambda g, n: g[n.argmax()], "only the largest part"),
        (
            lambda g, n: (g / n[:, None]).sum(0) / (1 / n).sum(),
            "weights are turned round",
        ),
    ],
)
def test_wrong_gradients_are_named(answer, words) -> None:
    verdict = check.joined_gradient(answer)
    assert not verdict and words in repr(verdict)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda n, p, b, s: n / b * s / 86_400, "processes are left out"),
        (lambda n, p, b, s: n / p * s / 86_400, "batch is left out"),
        (lambda n, p, b, s: n * s / 86_400, "neither processes nor batch"),
        (lambda n, p, b, s: n / (p * b) * s / 3600, "hours"),
        (lambda n, p, b, s: n / (p * b) * s, "in seconds"),
        (lambda n, p, b, s: n / (p * b), "number of steps"),
        (lambda n, p, b, s: n / (p * b) / s / 86_400, "multiplied where to divide"),
    ],
)
def test_wrong_days_are_named(answer, words) -> None:
    verdict = check.run_days(answer)
    assert not verdict and words in repr(verdict)


def stub(*_):
    raise NotImplementedError


def test_stubs_are_seen() -> None:
    for judge in (check.dealt_in_turns, check.joined_gradient, check.run_days):
        assert "still the stub" in repr(judge(stub))


def test_a_table_shows_who_holds_what() -> None:
    pairs = np.arange(12).reshape(3, 4)
    panels = {
        f"{n} processes": (pairs, np.tile(np.arange(4) % n, (3, 1))) for n in (1, 4)
    }
    picture = viz.show_dealt(panels, title="one")
    one, four = picture.axes
    assert [t.get_text() for t in four.texts] == [str(n) for n in range(12)]
    colours = four.images[0].get_array()
    assert len({tuple(c) for c in colours[0]}) == 4
    assert len({tuple(c) for c in one.images[0].get_array()[0]}) == 1
    labels = [t.get_text() for t in picture.legends[0].get_texts()]
    assert labels == ["rank 0", "rank 1", "rank 2", "rank 3"]


def test_gaps_of_exactly_nothing_can_be_drawn() -> None:
    picture = viz.show_gradient_gaps({"frozen": [0.0, 1e-15], "train": [0.1, 0.2]})
    (ax,) = picture.axes
    drawn = ax.collections[0].get_offsets()
    assert 0 < drawn[0][1] < drawn[1][1] == pytest.approx(1e-15)


def test_stays_lie_on_the_undisturbed_run() -> None:
    rows = [{"step": n, "loss": 10.0 - n} for n in range(1, 9)]
    stays = {"killed": rows[:5], "to the end": rows[3:]}
    (ax,) = viz.show_stays(rows, stays, "loss", "loss", "same").axes
    whole, killed, line, rest = ax.lines
    assert len(whole.get_xdata()) == 8 and list(rest.get_xdata()) == [4, 5, 6, 7, 8]
    assert line.get_xdata()[0] == killed.get_xdata()[-1] + 0.5


def test_bars_and_days_carry_their_numbers() -> None:
    (ax,) = viz.show_bars(
        {"1 process": 12.34, "2 processes": 20}, "pairs/s", "t", 1
    ).axes
    assert [t.get_text() for t in ax.texts] == ["12.3", "20.0"]
    (ax,) = viz.show_days({"card": ([1, 4], [80, 20])}, {"paper": (64, 1)}, "t").axes
    assert list(ax.lines[0].get_ydata()) == [80, 20]
    assert ax.texts[0].get_text() == "paper"
