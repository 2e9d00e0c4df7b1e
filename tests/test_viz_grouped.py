"""Grouped bars: each value stands at its name, in its group's colour."""

from __future__ import annotations

from loftr_nb import viz


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
