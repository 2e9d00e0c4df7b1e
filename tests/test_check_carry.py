"""Verdicts on pixels, names and rates: right answers pass, mistakes are named."""

from __future__ import annotations

import pytest
import torch

from loftr_nb import check
from loftr_nb.model.weights_file import open_weights
from loftr_nb.training import get_recipe, override
from loftr_nb.training.parts import parameter_groups


def named(judge, mistake, words):
    verdict = judge(mistake)
    assert not verdict and words in repr(verdict), verdict


def by_loops(points, original, resized):
    """Each coordinate alone: so many original pixels lie in one of the resized."""
    rows = []
    for x, y in points.tolist():
        rows.append([x / resized[0] * original[0], y / resized[1] * original[1]])
    return torch.tensor(rows)


def test_pixels_are_judged_by_proportion():
    assert check.original_pixels(by_loops)
    assert check.original_pixels(lambda *a: by_loops(*a).numpy())


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda p, o, r: p, "as they were"),
        (lambda p, o, r: by_loops(p, r, o), "it is divided"),
        (lambda p, o, r: by_loops(p, o[::-1], r[::-1]), "each other's factor"),
        (lambda p, o, r: p * o[0] / r[0], "factor of x serves for both"),
        (lambda p, o, r: p * o[1] / r[1], "factor of y serves for both"),
        (lambda p, o, r: p * (o[0] // r[0]), "not with //"),
        (lambda p, o, r: by_loops(p, o, r).round(), "are rounded"),
        (lambda p, o, r: by_loops(p, o, r).flip(1), "swapped"),
        (lambda p, o, r: by_loops(p, o, r)[0], "shape"),
        (lambda p, o, r: p * torch.tensor(o) * torch.tensor(r), "right is"),
    ],
)
def test_pixel_mistakes_are_named(mistake, words):
    named(check.original_pixels, mistake, words)


def renamed(rename):
    return lambda c: {rename(k): v for k, v in c["state_dict"].items()}


def by_our_reader(tmp_path):
    def answer(checkpoint):
        torch.save(checkpoint, tmp_path / "theirs.ckpt")
        return open_weights(tmp_path / "theirs.ckpt").state

    return answer


def test_names_are_judged_by_the_packages_reader(tmp_path):
    assert check.release_names(by_our_reader(tmp_path))
    assert check.release_names(renamed(lambda k: k.split(".", 1)[1]))
    assert check.release_names(renamed(lambda k: k[len("matcher.") :]))


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (renamed(lambda k: k.lstrip("matcher.")), "lstrip takes off every letter"),
        (renamed(lambda k: k.replace("matcher.", "")), "replace takes the word out"),
        (renamed(lambda k: k.removeprefix("matcher")), "the point stays"),
        (renamed(lambda k: k), "still begin with"),
        (lambda c: c, "taken out of checkpoint['state_dict']"),
        (lambda c: c["state_dict"], "still begin with"),
        (renamed(lambda k: k.split(".")[-1]), "names collide"),
        (renamed(lambda k: "matcher." + k), "prefix is doubled"),
        (renamed(lambda k: k.split(".", 2)[2]), "first two parts"),
        (lambda c: list(c["state_dict"]), "a dict is asked for, not a list"),
        (lambda c: {}, "for one case"),
    ],
)
def test_name_mistakes_are_named(mistake, words):
    named(check.release_names, mistake, words)


def by_package(model, rate, share):
    optim = override(get_recipe("mini_ot"), [f"optim.backbone_rate={share}"]).optim
    groups = parameter_groups(model, optim)
    return [{"params": g["params"], "lr": rate * g["share"]} for g in groups]


def by_parts(model, rate, share, slow=None, fast=None, parts=None):
    slow, fast = (
        d if v is None else v for v, d in ((slow, rate * share), (fast, rate))
    )
    return [
        {"params": part.parameters(), "lr": slow if name == "backbone" else fast}
        for name, part in model.named_children()
        if parts is None or name in parts
    ]


@pytest.mark.parametrize("answer", [by_package, by_parts])
def test_rates_are_judged_by_others(answer):
    assert check.two_rates(answer)


OTHERS = ["loftr_coarse", "coarse_matching", "fine_preprocess", "loftr_fine"]


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda m, r, s: by_parts(m, r, s, slow=r), "all learn at the full"),
        (lambda m, r, s: by_parts(m, r, s, slow=r, fast=r * s), "other way round"),
        (lambda m, r, s: by_parts(m, r, s, fast=r * s), "all learn slowly"),
        (lambda m, r, s: by_parts(m, r, s, slow=s), "times the rate"),
        (lambda m, r, s: by_parts(m, r, s, slow=r / s), "divided by the share"),
        (
            lambda m, r, s: by_parts(m, r, s, parts=["backbone"]),
            "other parts are in no",
        ),
        (lambda m, r, s: by_parts(m, r, s, parts=OTHERS), "the backbone is in no"),
        (
            lambda m, r, s: [
                *by_parts(m, r, s, parts=["backbone"]),
                {"params": m.parameters(), "lr": r},
            ],
            "comes twice",
        ),
        (
            lambda m, r, s: [
                {"params": m.parameters(), "lr": r},
                *by_parts(m, r, s, parts=["backbone"]),
            ],
            "first at the full rate",
        ),
        (
            lambda m, r, s: by_parts(
                m, r, s, parts=["backbone", *(p for p in OTHERS if "match" not in p)]
            ),
            "coarse_matching is forgotten",
        ),
        (lambda m, r, s: [{"params": m.parameters()}], "KeyError"),
    ],
)
def test_rate_mistakes_are_named(mistake, words):
    named(check.two_rates, mistake, words)


def test_an_empty_stub_is_not_an_error():
    def stub(*_):
        raise NotImplementedError

    for judge in (check.original_pixels, check.release_names, check.two_rates):
        assert repr(judge(stub)).startswith("not yet: still the stub")
