"""Verdicts of the exercises on taking a matcher elsewhere: pixels, names, rates.

As in :mod:`.supervision`: a known case, and the answers that usual mistakes give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from ..model import LoFTR, LoFTRConfig
from .verdict import Verdict, judge

PREFIX = "matcher."


def original_pixels(answer: Callable) -> Verdict:
    """Exercise: ``answer(points, original, resized)`` are pixels of the original.

    points: (M, 2) x and y in the resized image. original, resized: (w, h).
    """
    points = torch.tensor([[0.0, 0.0], [8.0, 16.0], [203.5, 100.25]])
    original, resized = (741, 500), (320, 216)
    sides = torch.tensor([original, resized], dtype=torch.float32)
    x, y = (sides[0] / sides[1]).tolist()

    def times(a: float, b: float) -> Tensor:
        return points * torch.tensor([a, b])

    mistakes = {
        "the points come back as they were: they are pixels of the resized "
        "image": times(1, 1),
        "it is divided: a pixel of the smaller image is worth more than one of the "
        "original": times(1 / x, 1 / y),
        "x and y have each other's factor: sizes are (w, h), as points are (x, "
        "y)": times(y, x),
        "the factor of x serves for both: sides are rounded to multiples of 8, so the "
        "factors differ": times(x, x),
        "the factor of y serves for both: sides are rounded to multiples of 8, so the "
        "factors differ": times(y, y),
        "the factors are whole numbers: divide with /, not with //": times(2, 2),
        "the pixels are rounded: the fine stage's work is lost": times(x, y).round(),
        "x and y are swapped: a point is (x, y)": times(x, y).flip(1),
    }
    return judge(
        lambda: answer(points.clone(), original, resized),
        times(x, y),
        mistakes,
        "three points of 320x216 in 741x500, with a factor each for x and y",
    )


def release_names(answer: Callable) -> Verdict:
    """Exercise: ``answer(checkpoint)`` are a release's weights under our names.

    checkpoint: ``{"epoch": ..., "state_dict": {"matcher.backbone...": tensor}}``.
    Returns a dict of names without the prefix to tensors. One name has the prefix's
    word inside once more.
    """
    names = [
        "backbone.conv1.weight",
        "coarse_matching.bin_score",
        "loftr_coarse.layers.0.q_proj.weight",
        "another.matcher.weight",
    ]
    state = {PREFIX + name: torch.tensor(1.0 + n) for n, name in enumerate(names)}
    checkpoint = {"epoch": 3, "state_dict": state}

    def told(found: Mapping[str, Tensor]) -> Tensor:
        """A value a wanted name, NaN where it is missing; lengths of wrong names."""
        values = [float(found.get(name, torch.nan)) for name in names]
        wrong = sorted(len(str(name)) for name in set(found) - set(names))
        lengths = [float(n) for n in [*wrong, *[0] * len(names)][: len(names)]]
        return torch.tensor([*values, *lengths])

    def named(rename: Callable[[str], str]) -> Tensor:
        return told({rename(k): v for k, v in state.items()})

    mistakes = {
        "lstrip takes off every letter of m, a, t, c, h, e, r, not the word: "
        "removeprefix": named(lambda k: k.lstrip(PREFIX)),
        "replace takes the word out of the middle of a name too: removeprefix": named(
            lambda k: k.replace(PREFIX, "")
        ),
        "the point stays in front of the names: the prefix is 'matcher.', with "
        "it": named(lambda k: k.removeprefix("matcher")),
        "the names still begin with 'matcher.', or the weights are not taken out of "
        "checkpoint['state_dict']": named(lambda k: k),
        "the prefix is doubled: take it off": named(lambda k: PREFIX + k),
        "only the last part of each name is left, and names collide": named(
            lambda k: k.split(".")[-1]
        ),
        "the first two parts of each name are gone: only the prefix goes": named(
            lambda k: k.split(".", 2)[2]
        ),
    }

    def run() -> Tensor:
        got = answer({**checkpoint, "state_dict": dict(state)})
        if not isinstance(got, Mapping):
            raise TypeError(f"a dict is asked for, not a {type(got).__name__}")
        if "epoch" in got or "state_dict" in got:
            return named(lambda k: k)
        return told(got)

    return judge(run, told(dict(zip(names, state.values(), strict=True))), mistakes,
                 "4 names, one of which has 'matcher.' inside")  # fmt: skip


def two_rates(answer: Callable) -> Verdict:
    """Exercise: ``answer(model, rate, share)`` are groups for an optimiser.

    Returns a list of ``{"params": [...], "lr": ...}``: the backbone at ``rate`` times
    ``share``, all other parts at ``rate``, every parameter once.
    """
    rate, share = 2.0, 0.25  # large enough for a tolerance that is absolute
    config = LoFTRConfig(
        initial_dim=8,
        block_dims=(8, 8, 8),
        coarse_layers=1,
        coarse_heads=2,
        fine_heads=2,
        matcher="ot",  # its dustbin is a parameter that is easily forgotten
    )
    model = LoFTR(config)
    slow = [name.startswith("backbone.") for name, _ in model.named_parameters()]

    def rates(backbone: float, others: float, repeated: int = 0) -> Tensor:
        values = [backbone if s else others for s in slow]
        return torch.tensor([*values, float(repeated)])

    def told(groups: Iterable[Mapping]) -> Tensor:
        """The rate of each parameter, NaN without one; how many have several."""
        found: dict[int, list[float]] = {}
        for group in groups:
            for p in group["params"]:
                found.setdefault(id(p), []).append(float(group["lr"]))
        lists = [found.get(id(p), [torch.nan]) for p in model.parameters()]
        return torch.tensor(
            [*(v[0] for v in lists), float(sum(len(v) > 1 for v in lists))]
        )

    nan = torch.nan
    mistakes = {
        "all learn at the full rate": rates(rate, rate),
        "it is the other way round: the backbone is the part that learns slowly": rates(
            rate, rate * share
        ),
        "all learn slowly, the other parts too": rates(rate * share, rate * share),
        "the backbone's rate is the share itself: times the rate": rates(share, rate),
        "the rate is divided by the share: a share below 1 makes it smaller": rates(
            rate / share, rate
        ),
        "the other parts are in no group: they would not learn at all": rates(
            rate * share, nan
        ),
        "the backbone is in no group: it would not learn at all": rates(nan, rate),
        "the backbone is in both groups: AdamW refuses a parameter that comes "
        "twice": rates(rate * share, rate, sum(slow)),
        "the backbone is in both groups, and first at the full rate: AdamW refuses a "
        "parameter that comes twice": rates(rate, rate, sum(slow)),
    }
    dustbin = rates(rate * share, rate)
    where = [name for name, _ in model.named_parameters()]
    dustbin[where.index("coarse_matching.bin_score")] = nan
    mistakes["coarse_matching is forgotten: with optimal transport it has a "
             "parameter, the dustbin's score"] = dustbin  # fmt: skip

    def run() -> Tensor:
        # Generators, as model.parameters() is one, can be read once only.
        groups = [
            {**g, "params": list(g["params"])} for g in answer(model, rate, share)
        ]
        return told(groups)

    return judge(
        run,
        rates(rate * share, rate),
        mistakes,
        f"{len(slow)} parameters, each once; {sum(slow)} of them at a quarter of the "
        "rate",
    )
