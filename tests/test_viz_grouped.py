"""Grouped bars: each value stands at its name, in its group's colour."""

from __future__ import annotations

import numpy as np
import torch

from loftr_nb import viz
from loftr_nb.datasets import collate, motorcycle


def test_every_value_has_its_bar():
    groups = {"at night": [3.0, 1.0, 0.0], "by day": [2.0, 5.0, 4.0]}
    picture = viz.show_grouped(
        ["a", "b", "c"], groups, "matches", "Day and night differ"
    )
    (ax,) = picture.axes
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b", "c"]
    for bars, (name, values) in zip(ax.containers, groups.items(), strict=True):
        assert bars.get_label() == name
        assert [bar.get_width() for bar in bars] == values
        # A bar's middle is nearest to its own name.
        middles = [bar.get_y() + bar.get_height() / 2 for bar in bars]
        assert [round(m) for m in middles] == [0, 1, 2]
    spans = [
        sorted((bar.get_y(), bar.get_y() + bar.get_height()))
        for bars in ax.containers
        for bar in bars
    ]
    ordered = sorted(spans)
    assert all(a[1] <= b[0] for a, b in zip(ordered, ordered[1:], strict=False))
    assert {t.get_text() for t in ax.texts} == {"3", "1", "0", "2", "5", "4"}
    assert repr(picture) == "<Picture: Day and night differ>"


def test_nothing_right_anywhere_is_drawn_too():
    picture = viz.show_grouped(["a"], {"x": [0.0]}, "matches")
    assert picture.axes[0].get_xlim() == (0, 1)


def test_answers_are_counted_under_their_names():
    batch = collate([motorcycle((160, 112))])
    points = np.array([[8.0, 8], [40, 48], [80, 24]], np.float32)
    errors = {"one": np.array([0.5, 9, np.nan]), "two": np.array([1.0, 1, 1])}
    answers = {name: (points, points, e) for name, e in errors.items()}
    before = batch.image0.clone()
    picture = viz.show_answers(batch, answers, brighter=3.0, title="Two say otherwise")
    heads = [ax.get_title() for ax in picture.axes]
    assert heads == ["one: 3 matches", "two: 3 matches"]
    first, second = (
        [t.get_text() for t in ax.get_legend().get_texts()] for ax in picture.axes
    )
    assert [line.split(": ")[1] for line in first] == ["1", "1", "1"]
    assert second[0].startswith("right") and second[0].endswith(": 3")
    assert torch.equal(batch.image0, before)
    shown = picture.axes[0].images[0].get_array()
    assert shown.max() <= 1 and shown.mean() > before.mean()
