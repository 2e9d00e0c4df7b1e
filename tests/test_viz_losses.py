"""Pictures of losses: costs over P, pushes with their signs, the block in memory."""

from __future__ import annotations

import numpy as np
import torch

from loftr_nb import viz
from loftr_nb.viz.style import RIGHT, WRONG


def test_costs_stand_on_the_side_they_belong_to():
    p = torch.linspace(0.1, 0.9, 5)
    match, other = {"plain": -p.log(), "focal": (1 - p) ** 2}, {"plain": p}
    picture = viz.show_costs(p, match, other, "What is right costs little")
    left, right = picture.axes
    assert [line.get_label() for line in left.lines] == ["plain", "focal"]
    np.testing.assert_allclose(left.lines[1].get_ydata(), (1 - p) ** 2)
    np.testing.assert_allclose(right.lines[0].get_ydata(), p)
    assert "match" in left.get_title() and "other" in right.get_title()
    assert repr(picture) == "<Picture: What is right costs little>"


def colour_of(image, value):
    return image.cmap(image.norm(value))[:3]


def test_pushes_carry_their_sign_in_number_and_colour():
    push = torch.tensor([[23.4, -6.0], [0.2, -100.0]])
    notes = {"b": "dustbin +57"}
    picture = viz.show_push({"a": push, "b": -push}, "thousandths", notes)
    first, second = picture.axes
    assert [t.get_text() for t in first.texts] == ["+23", "-6", "0", "-100"]
    assert [t.get_text() for t in second.texts] == ["-23", "+6", "0", "+100"]
    assert (first.get_xlabel(), second.get_xlabel()) == ("", "dustbin +57")
    tint = np.asarray(first.images[0].get_array())
    np.testing.assert_array_equal(np.sign(tint), push.sign().numpy())
    assert tint.min() == -1  # the strongest push has the strongest colour
    up, down = (colour_of(first.images[0], v) for v in (1.25, -1.25))
    hexes = ["#" + "".join(f"{round(255 * c):02X}" for c in rgb) for rgb in (up, down)]
    assert hexes == [RIGHT.upper(), WRONG.upper()]


def test_nothing_pushed_is_white():
    picture = viz.show_push({"none": torch.zeros(2, 2)}, "units")
    image = picture.axes[0].images[0]
    np.testing.assert_allclose(colour_of(image, 0.0), (1, 1, 1), atol=0.01)
    assert not np.asarray(image.get_array()).any()


def test_only_the_block_is_drawn_as_held():
    full = torch.arange(48.0).reshape(8, 6)
    a, b = torch.arange(8.0), torch.arange(6.0)
    picture = viz.show_block(full, a, b, slice(2, 4), "One block at a time")
    ax, right, below = picture.axes
    _, held = (np.ma.filled(i.get_array(), np.nan) for i in ax.images)
    np.testing.assert_array_equal(held[2:4], full[2:4])
    assert np.isnan(held[:2]).all() and np.isnan(held[4:]).all()
    assert ax.get_title() == "in memory: rows 2 to 3, 25% of all"
    assert right.images[0].get_array().shape == (8, 1)
    assert below.images[0].get_array().shape == (1, 6)
