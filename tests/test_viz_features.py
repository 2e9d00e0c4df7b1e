"""Pictures of features and attention show the values they are given."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from loftr_nb import viz

IMAGE = torch.rand(24, 32)


def heat_of(ax) -> np.ndarray:
    """The map drawn over the image of a panel."""
    return np.asarray(ax.images[-1].get_array())


def test_the_same_feature_has_the_same_colour_in_all_maps():
    torch.manual_seed(0)
    kinds = torch.randn(4, 8)
    where = [torch.randint(0, 4, (5, 6)), torch.randint(0, 4, (3, 7))]
    # Other lengths, same directions: colour is about the direction.
    maps = [(kinds[w] * (1 + torch.rand(*w.shape, 1))).permute(2, 0, 1) for w in where]
    one, two = viz.pca_colours(maps, stride=2)
    assert one.shape == (10, 12, 3) and two.shape == (6, 14, 3)
    assert one.min() >= 0 and one.max() <= 1
    colours = {}
    for picture, kind in zip((one, two), where, strict=True):
        for y, x in np.ndindex(*kind.shape):
            colours.setdefault(int(kind[y, x]), []).append(picture[2 * y, 2 * x])
    means = torch.stack([torch.stack(c).mean(0) for _, c in sorted(colours.items())])
    for kind, seen in colours.items():
        assert torch.allclose(torch.stack(seen), means[kind].expand(len(seen), 3))
    assert torch.pdist(means).min() > 0.1


def test_colours_do_not_depend_on_the_sign_of_a_direction():
    torch.manual_seed(1)
    feature = torch.randn(6, 4, 5)
    (first,) = viz.pca_colours([feature])
    # Rotating all channels alike turns the directions; their order stays.
    (again,) = viz.pca_colours([feature.clone()])
    assert torch.equal(first, again)


def test_heat_lies_around_the_corner_of_its_cell():
    values = torch.zeros(3, 4)
    values[1, 2] = 5.0
    picture = viz.show_maps({"one bright cell": (IMAGE, values)}, "Title of four words")
    ax = picture.axes[0]
    shown = ax.images[-1]
    assert shown.get_extent() == [-4, 28, 20, -4]  # cell (2, 1) is centred on (16, 8)
    assert heat_of(ax)[1, 2] == 5 and shown.get_clim() == (0, 5)
    assert ax.get_xlim() == (-0.5, 31.5)
    assert repr(picture) == "<Picture: Title of four words>"


def test_maps_share_one_scale_unless_told_otherwise():
    low, high = torch.full((3, 4), 1.0), torch.full((3, 4), 4.0)
    panels = {"low": (IMAGE, low), "high": (IMAGE, high), "none": (IMAGE, None)}
    shared = viz.show_maps(panels)
    assert [ax.images[-1].get_clim()[1] for ax in shared.axes[:2]] == [4, 4]
    own = viz.show_maps(panels, shared=False)
    named = {ax.get_title(): ax for ax in own.axes}
    assert [named[n].images[-1].get_clim()[1] for n in ("low", "high")] == [1, 4]
    assert len(named["none"].images) == 1  # the image alone


def test_marks_and_boxes_are_where_they_should_be():
    picture = viz.show_maps(
        {"a": (IMAGE, torch.ones(3, 4))},
        marks={"a": (16, 8)},
        boxes={"a": (8, 0, 20, 9)},
    )
    ax = picture.axes[0]
    np.testing.assert_array_equal(ax.collections[0].get_offsets(), [[16, 8]])
    assert ax.patches[0].get_bbox().extents.tolist() == [7.5, -0.5, 20.5, 9.5]


def test_encodings_keep_their_sign_and_their_order():
    codes = {"a": torch.linspace(-1, 1, 12).reshape(3, 4), "b": torch.zeros(3, 4)}
    picture = viz.show_encoding(codes, "Two codes side by side")
    first, second = picture.axes[:2]
    np.testing.assert_allclose(heat_of(first), codes["a"])
    assert first.images[0].get_clim() == (-1, 1) == second.images[0].get_clim()


def test_lines_differ_by_more_than_colour():
    x = torch.arange(1, 4)
    picture = viz.show_series({"a": (x, x), "b": (x, x**2)}, "t", "x", "y", log="xy")
    ax = picture.axes[0]
    assert ax.get_xscale() == ax.get_yscale() == "log"
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), [1, 4, 9])
    assert ax.lines[0].get_linestyle() != ax.lines[1].get_linestyle()


def test_a_logarithmic_axis_names_the_places_that_were_measured():
    lines = {"a": ([300, 1200], [1, 2])}
    ax = viz.show_series(lines, "t", log="x", marker=True).axes[0]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["300", "1,200"]


def test_a_small_bright_spot_keeps_its_colour_in_the_stored_picture():
    values = torch.zeros(24, 32)
    values[11:13, 15:17] = 1.0
    picture = viz.show_maps({"a spot": (torch.rand(24, 32), values)}, stride=1)
    stored = Image.open(io.BytesIO(picture._repr_png_())).convert("RGB")
    red, green, blue = np.asarray(stored).astype(int).reshape(-1, 3).T
    yellow = (red > 180) & (green > 160) & (blue < 110)  # the top of the colour map
    assert yellow.sum() > 50
    orange = (abs(red - 0xE6) < 30) & (abs(green - 0x61) < 30) & (blue < 40)
    assert orange.sum() == 0


def test_looks_show_each_layer_on_its_own_scale():
    weights = {"layer 1": (IMAGE, torch.full((3, 4), 2.0)),
               "layer 2": (IMAGE, torch.full((3, 4), 30.0))}  # fmt: skip
    picture = viz.show_looks(
        (IMAGE, (8, 16)), {"before": weights, "after": weights}, "Where it looks",
        truth={"layer 2": (24, 0)},
    )  # fmt: skip
    titles = [ax.get_title() for ax in picture.axes]
    assert titles[:3] == ["before: this cell", "layer 1\nup to 2", "layer 2\nup to 30"]
    rings = [ax.collections[-1].get_offsets()[0].tolist() for ax in picture.axes[:3]]
    assert rings == [[8, 16], [8, 16], [24, 0]]
    assert "blue ring" in picture.get_supxlabel()


@pytest.mark.parametrize("count", [1, 4])
def test_heads_lie_side_by_side(count):
    heads = {f"head {n}": torch.rand(3, 4) for n in range(count)}
    picture = viz.show_heads(IMAGE, heads, (0, 0), "Heads look at other things")
    assert len(picture.axes) == count
    assert picture._repr_png_().startswith(b"\x89PNG")


def test_lines_over_one_setting_are_a_series_with_a_mark():
    x, values = [1, 2, 4], {"a": torch.tensor([1.0, 10, 100]), "b": [3.0, 2, 1]}
    mark = (3.0, "usual")
    picture = viz.show_lines(x, values, "steps", "cost", mark=mark, log=True, title="t")
    (ax,) = picture.axes
    a, b, upright = ax.lines
    assert a.get_xdata().tolist() == b.get_xdata().tolist() == x
    assert a.get_ydata().tolist() == [1, 10, 100] and a.get_ls() != b.get_ls()
    assert upright.get_xdata() == [3.0, 3.0]
    assert [t.get_text() for t in ax.get_legend().texts] == ["a", "b", "usual"]
    assert (ax.get_xscale(), ax.get_yscale()) == ("linear", "log")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("steps", "cost")
