"""Pictures show what they claim: places, colours, counts, and nothing is kept."""

from __future__ import annotations

import gc
import io
import json
import subprocess
import sys
import weakref

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex, to_rgb
from PIL import Image
from skimage import data
from skimage.color import deltaE_ciede2000, rgb2lab

from loftr_nb import viz
from loftr_nb.datasets.pair import Pair, View, collate
from loftr_nb.errors import RunError
from loftr_nb.geometry import HomographyWarp
from loftr_nb.supervision import supervise
from loftr_nb.training import get_recipe, make_plan
from loftr_nb.viz import matrices, style
from loftr_nb.viz.curves import series


def lines_of(picture) -> dict[str, np.ndarray]:
    """Drawn segments by colour: hex -> (N, 2, 2)."""
    found = {}
    for ax in picture.axes:
        for item in ax.collections:
            if isinstance(item, LineCollection) and len(item.get_segments()):
                found[to_hex(item.get_color()[0])] = np.array(item.get_segments())
    return found


def legend_of(picture) -> list[str]:
    return [
        t.get_text()
        for ax in picture.axes
        if ax.get_legend()
        for t in ax.get_legend().texts
    ]


def homography_pair(shift: float = 16.0, scale: float = 2.0) -> Pair:
    """A 32x24 pair whose image 1 is image 0 moved by ``shift`` original pixels."""
    image = torch.rand(1, 24, 32)
    view = View(
        image=image,
        cell_depth=torch.zeros(12),
        K=torch.eye(3),
        scale=torch.full((2,), scale),
        mask=torch.ones(3, 4, dtype=torch.bool),
        name="left.png",
    )
    H = torch.eye(3)
    H[0, 2] = shift
    return Pair(view, view, torch.eye(4), "hand-made", H_0to1=H)


def test_drawing_leaves_pyplot_alone_and_nothing_behind():
    code = (
        "import sys, loftr_nb.viz as v; v.show_matches(*2*[[[0.0, 1.0]]], [[0, 0]], "
        "[[0, 0]])._repr_png_(); print('matplotlib.pyplot' in sys.modules)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "False"
    picture = viz.show_depth(np.ones((4, 4)))
    style.png(picture)
    gone = weakref.ref(picture)
    del picture
    gc.collect()
    assert gone() is None


def test_match_lines_start_and_end_on_their_keypoints():
    small, large = np.zeros((20, 40)), np.zeros((30, 50, 3), np.uint8)
    picture = viz.show_matches(
        small, large, [[3, 4], [5, 6], [7, 8]], [[10, 11], [12, 13], [14, 15]],
        errors=[1.0, 9.0, np.nan], threshold=5,
    )  # fmt: skip
    lines = lines_of(picture)
    left = picture.axes[0].images[1].get_extent()[0] + 0.5  # where image 1 begins
    assert left >= 40
    expect = {style.RIGHT: (3, 4, 10, 11), style.WRONG: (5, 6, 12, 13)}
    expect[style.UNKNOWN] = (7, 8, 14, 15)
    for colour, (x0, y0, x1, y1) in expect.items():
        np.testing.assert_allclose(lines[colour.lower()], [[[x0, y0], [x1 + left, y1]]])


def test_counts_are_of_all_matches_when_few_are_drawn():
    at = np.random.rand(1000, 2) * 10
    errors = np.where(np.arange(1000) < 900, 0.0, 10.0)
    picture = viz.show_matches(
        np.zeros((16, 16)), np.zeros((16, 16)), at, at, errors, limit=50
    )
    assert sum(len(s) for s in lines_of(picture).values()) == 50
    assert [t.split(": ")[1] for t in legend_of(picture)] == ["900", "100"]
    assert "50 of 1000 drawn" in picture.axes[0].get_title()


def test_no_match_is_a_picture_too():
    empty = np.zeros((0, 2))
    for errors in (None, np.zeros(0)):
        picture = viz.show_matches(
            np.zeros((8, 8)), np.zeros((8, 8)), empty, empty, errors
        )
        assert picture._repr_png_()


def test_matches_picture_takes_original_pixels_and_crops_padding():
    pair = homography_pair()
    pair.view0.mask = pair.view0.mask.clone()
    pair.view0.mask[:, 3] = False
    batch = collate([pair])
    picture = viz.matches_picture(
        batch, torch.tensor([[20.0, 10.0]]), torch.tensor([[4.0, 2.0]]), [0.0]
    )
    (line,) = lines_of(picture)[style.RIGHT.lower()]
    np.testing.assert_allclose(line[0], [10, 5])
    assert picture.axes[0].images[0].get_array().shape[1] == 24  # 3 of 4 cells


def test_supervision_lines_join_matching_cells():
    batch = collate([homography_pair(shift=16.0, scale=2.0)])
    picture = viz.show_supervision(batch, supervise(batch), limit=100)
    (segments,) = lines_of(picture).values()
    left = picture.axes[0].images[1].get_extent()[0] + 0.5
    # 16 original pixels are one cell to the right; the last column leaves.
    moved = segments[:, 1] - segments[:, 0] - [left, 0]
    assert len(segments) == 9
    np.testing.assert_allclose(moved, np.tile([8, 0], (9, 1)))
    assert legend_of(picture) == ["a match: 9 cells", "no match: 3 cells"]


def test_matrix_dots_sit_on_the_ones():
    matrix = np.zeros((12, 20))
    matrix[3, 7] = matrix[11, 19] = 1
    picture = viz.show_matrix(matrix, (3, 4), (4, 5), block=(0, 1))
    whole, block = picture.axes
    dots = whole.collections[0].get_offsets().tolist()
    assert sorted(dots) == [[7, 3], [19, 11]]
    # Block (0, 1): cells 0-3 of image 0 against cells 5-9 of image 1.
    assert block.collections[0].get_offsets().tolist() == [[2, 3]]
    assert "2 ones, 238 zeros" in [t.get_text() for t in whole.texts]


def test_a_single_peak_survives_the_shrinking_of_a_large_matrix():
    matrix = np.zeros((2000, 1500), np.float32)
    matrix[1234, 77] = 0.9
    pooled = matrices._pooled(matrix)
    assert max(pooled.shape) <= 600
    n = -(-2000 // 600)
    assert np.unravel_index(pooled.argmax(), pooled.shape) == (1234 // n, 77 // n)


@pytest.mark.parametrize("value", [1.0, 0.4])
def test_row_of_the_matrix_is_shown_at_its_cell(value):
    image = np.zeros((24, 40))
    matrix = np.zeros((15, 15))
    matrix[7, 11] = value
    picture = viz.show_row_on_image(matrix, 7, image, image, (3, 5), (3, 5))
    left, right = picture.axes[:2]
    assert "column 2, row 1" in left.get_title()
    assert "column 1, row 2" in right.get_title()
    if value == 1:
        box = right.patches[0].get_bbox()
        assert (box.x0, box.y0, box.width) == (4, 12, 8)  # corner (8, 16) +- 4
    else:
        assert right.images[1].get_extent() == [-4.0, 36.0, 20.0, -4.0]
    empty = viz.show_row_on_image(matrix, 3, image, image, (3, 5), (3, 5))
    assert "empty" in empty.axes[1].get_title()


def test_unknown_depth_has_no_colour():
    depth = np.array([[1.0, 0.0], [np.nan, 2.0]])
    picture = viz.show_depth(depth)
    shown = picture.axes[0].images[0].get_array()
    assert np.ma.getmaskarray(shown).tolist() == [[False, True], [True, False]]
    assert legend_of(picture) == ["unknown (50%)"]
    assert [t.get_text() for t in picture.axes[0].texts] == ["1.0", "?", "?", "2.0"]


def test_false_missing_and_right_cell_matches_differ():
    picture = viz.show_cell_matches(
        {"case": ([0, 1], [0, 2])}, (2, 2), (2, 2), {"case": ([0, 3], [0, 3])}
    )
    drawn = {
        (to_hex(c.get_facecolor()[0]), to_hex(c.get_edgecolor()[0])): (
            c.get_offsets().tolist()
        )
        for c in picture.axes[0].collections
    }
    blue, orange, ink = (c.lower() for c in (style.RIGHT, style.WRONG, style.INK))
    assert drawn == {
        (blue, blue): [[0, 0]],
        (orange, orange): [[2, 1]],  # column j, row i
        ("#ffffff", ink): [[3, 3]],
    }


def test_supervised_entries_are_those_of_the_four_losses():
    matrix = np.zeros((4, 3))
    matrix[0, 1] = matrix[2, 0] = 1
    picture = viz.show_supervised(matrix)
    counts = [ax.get_title().split("\n")[1] for ax in picture.axes]
    assert counts == [
        "2 pushed up, 0 down",
        "5 pushed up, 0 down",  # 2 rows and 1 column without a match
        "2 pushed up, 10 down",
    ]


def test_rebuilding_by_a_known_shift_gives_the_image_back():
    image0 = torch.rand(1, 1, 16, 24)
    image1 = torch.zeros_like(image0)
    image1[..., 3:] = image0[..., :-3]  # moved 3 input = 6 original pixels right
    H = torch.eye(3)[None].clone()
    H[0, 0, 2] = 6
    scale = torch.full((1, 2), 2.0)
    rebuilt = viz.rebuild(HomographyWarp(H), image1, (16, 24), scale, scale)
    assert torch.isnan(rebuilt[0, :, -3:]).all()
    torch.testing.assert_close(rebuilt[0, :, :-3], image0[0, 0, :, :-3])
    assert viz.grey_difference(image0[0, 0], rebuilt[0]) < 1e-3
    darker = 0.5 * rebuilt[0] + 0.1  # another exposure of the same place
    assert viz.grey_difference(image0[0, 0], darker) < 1e-3
    wrong = viz.rebuild(
        HomographyWarp(torch.linalg.inv(H)), image1, (16, 24), scale, scale
    )
    assert viz.grey_difference(image0[0, 0], wrong[0]) > 0.1


def test_overlay_is_grey_where_two_pictures_agree():
    mine = torch.tensor([[0.5, 0.8, 0.2, 0.3]])
    twin = torch.tensor([[0.5, 0.2, 0.8, torch.nan]])
    grey, orange, blue, unknown = viz.overlay(mine, twin)[0]
    assert grey.tolist() == [0.5, 0.5, 0.5]
    assert orange[0] > orange[1] > orange[2]
    assert blue[2] > blue[1] > blue[0]
    assert unknown.unique().numel() == 1


def test_table_is_a_table_in_both_forms():
    shown = viz.table([{"name": "<a>", "count": 12345}, {"name": "b", "count": 7}])
    assert repr(shown).splitlines() == ["name   count", "<a>   12,345", "b          7"]
    assert '<td style="text-align:left">&lt;a&gt;</td>' in shown._repr_html_()
    assert repr(viz.table([])) == ""


def test_offsets_outside_the_window_are_orange():
    offset = torch.tensor([[0.5, -0.25], [1.5, 0.0]])
    inside = torch.tensor([True, False])
    picture = viz.show_offsets(offset, inside, radius=4.0)
    used, left_out = picture.axes[0].collections[:2]
    np.testing.assert_allclose(used.get_offsets(), [[2, -1]])
    np.testing.assert_allclose(left_out.get_offsets(), [[6, 0]])


def test_curves_come_from_a_file_still_being_written(tmp_path):
    rows = [{"step": s, "loss": 1 / s, "lr": 1e-3} for s in range(1, 5)]
    rows.append({"step": 4, "event": "validation", "auc10": 31.5, "auc5": None})
    text = "\n".join(json.dumps(r) for r in rows) + '\n{"step": 5, "lo'
    (tmp_path / "metrics.jsonl").write_text(text)
    picture = viz.curves(tmp_path)
    drawn = {ln.get_label(): ln for ax in picture.axes for ln in ax.get_lines()}
    assert set(drawn) == {"loss", "lr", "auc10"}
    np.testing.assert_allclose(drawn["loss"].get_ydata(), [1, 1 / 2, 1 / 3, 1 / 4])
    assert drawn["auc10"].get_xdata().tolist() == [4]


def test_smoothing_is_a_mean_of_the_last_rows():
    values = np.random.rand(50)
    rows = [{"step": n, "loss": v} for n, v in enumerate(values)]
    picture = viz.curves({"mine": rows}, smooth=5)
    raw, smooth = picture.axes[0].get_lines()
    np.testing.assert_allclose(raw.get_ydata(), values)
    expected = np.convolve(values, np.ones(5) / 5, "valid")
    np.testing.assert_allclose(smooth.get_ydata()[4:], expected)
    assert smooth.get_label() == "mine loss"


def test_curves_say_what_is_missing(tmp_path):
    with pytest.raises(RunError, match=r"metrics\.jsonl does not exist"):
        viz.curves(tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\nbroken\n{"step": 2}\n')
    with pytest.raises(RunError, match="line 2 is not JSON"):
        viz.curves(tmp_path)
    with pytest.raises(RunError, match="nothing to draw"):
        viz.curves([{"step": 1, "other": 2}])
    assert series([{"step": 1, "loss": None}], "loss")[0].size == 0


def test_stored_pictures_are_small_and_keep_their_size(tmp_path):
    picture = viz.show_images({"cat": data.chelsea()}, columns=1)
    path = viz.save(picture, tmp_path / "new" / "picture.png")
    stored = Image.open(path)
    width, height = picture.get_size_inches() * style.DPI
    assert stored.mode == "P"
    assert abs(stored.width - width) < 2 and abs(stored.height - height) < 2
    full = io.BytesIO()
    picture.savefig(full, format="png")
    assert path.stat().st_size < 0.6 * len(full.getvalue())
    house = [round(255 * c) for c in to_rgb(style.WRONG)]
    held = np.reshape(stored.getpalette(), (-1, 3)).tolist()
    assert house in held and [255, 255, 255] in held
    with pytest.raises(RunError, match="ends in .png"):
        viz.save(picture, tmp_path / "picture.nonsense")


def test_paper_stays_white():
    matrix = np.eye(36)
    picture = viz.show_matrix(matrix, (6, 6), (6, 6), block=(1, 1))
    stored = Image.open(io.BytesIO(style.png(picture))).convert("RGB")
    assert stored.getpixel((0, 0)) == (255, 255, 255)


def test_repr_of_a_picture_is_its_title():
    assert repr(viz.show_depth(np.ones((2, 2)), "near\n is  left")) == (
        "<Picture: near is left>"
    )
    titled = viz.show_images({"a": np.ones((2, 2))}, "what to see")
    assert repr(titled) == "<Picture: what to see>"


def test_a_bright_peak_in_a_photograph_keeps_its_colour():
    """64 colours for many greys left the peak the house's orange: "wrong"."""
    rng = np.random.default_rng(0)
    photo = np.linspace(0.2, 1, 300)[None] * rng.uniform(0.7, 1, (200, 300))
    row = np.zeros((25, 38))
    row[10, 12:14] = 0.96, 0.5
    picture = viz.Picture(4, 3)
    ax = picture.subplots()
    ax.imshow(photo, "gray")
    ax.imshow(row, style.HEAT, alpha=(row > 0) * 0.9, extent=(0, 300, 200, 0))
    raw = io.BytesIO()
    for _ in range(2):  # the second time the layout has settled
        raw = io.BytesIO()
        picture.savefig(raw, format="png")
    true = np.asarray(Image.open(raw).convert("RGB")).astype(int)
    given = Image.open(io.BytesIO(style.png(picture))).convert("RGB")
    yellow = (true[..., 0] > 200) & (true[..., 2] < 120)
    assert yellow.sum() > 30, "the peak is not in the picture"
    off = np.abs(true - np.asarray(given).astype(int)).max(-1)
    assert off[yellow].max() <= style.FAR
    assert (off > style.FAR).mean() < 0.001


def test_letters_on_the_heat_map_are_the_ones_that_read_better():
    """Contrast as WCAG counts it, with the colour that is drawn."""

    def light(colour) -> float:
        c = np.array(to_rgb(colour))
        linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    for low, high in ((0.0, 1.0), (-3.0, 0.5)):
        for value in np.linspace(low, high, 41):
            ground = light(colormaps[style.HEAT]((value - low) / (high - low))[:3])
            dark = (ground + 0.05) / (light(style.INK) + 0.05)
            white = 1.05 / (ground + 0.05)
            better = style.INK if dark > white else "white"
            if abs(dark - white) > 0.5:
                assert style.ink_on(value, low, high) == better, value
    picture = viz.show_numbers({"scores": np.array([[-3.0, -1.0], [0.0, 0.5]])})
    inks = {t.get_text(): t.get_color() for t in picture.axes[0].texts[:4]}
    assert inks == {"-3.00": "white", "-1.00": style.INK, "0.00": style.INK,
                    "0.50": style.INK}  # fmt: skip


def test_titles_above_ticks_stay_clear_of_the_title_of_the_picture():
    panels = {name: np.eye(3) for name in ("each row", "each column", "product")}
    picture = viz.show_numbers(panels, title="Rows 0 and 1 want cell 0")
    style.png(picture)
    above = picture._suptitle.get_window_extent()
    for ax in picture.axes:
        assert ax.title.get_window_extent().y1 < above.y0


def test_explorer_shows_the_same_pictures_as_its_static_twin(monkeypatch):
    widgets = pytest.importorskip("ipywidgets")

    def draw(column: int, row: int):
        return viz.show_depth(np.full((4, 4), 1.0 + column + 10 * row))

    sliders = {"column": (0, 3, 1), "row": (0, 3, 2)}
    monkeypatch.setenv("LOFTR_NB_STATIC", "1")
    twin = viz.explore(draw, **sliders)
    assert style.png(twin) == style.png(draw(1, 2))
    monkeypatch.delenv("LOFTR_NB_STATIC")
    box = viz.explore(draw, **sliders)
    column, _, picture = box.children
    assert isinstance(column, widgets.IntSlider)
    assert picture.value == style.png(draw(1, 2))
    column.value = 3
    assert picture.value == style.png(draw(3, 2))


# Machado, Oliveira and Fernandes 2009, table of severity 1.0.
COLOUR_VISION = {
    "protan": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deutan": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritan": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


@pytest.mark.parametrize("kind", COLOUR_VISION)
def test_right_and_wrong_stay_apart_for_colour_blind_readers(kind):
    def seen(colour: str) -> np.ndarray:
        rgb = np.array(to_rgb(colour))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        linear = np.clip(np.array(COLOUR_VISION[kind]) @ linear, 0, 1)
        back = np.where(
            linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055
        )
        return rgb2lab(back)

    names = (style.RIGHT, style.WRONG, style.UNKNOWN)
    for n, a in enumerate(names):
        for b in names[n + 1 :]:
            assert deltaE_ciede2000(seen(a), seen(b)) > 20, (a, b)


def test_chosen_values_are_drawn_without_the_praise_of_the_panels():
    rows = [{"step": n, "loss": 5, "loss_coarse": n, "lr": 1} for n in range(3)]
    picture = viz.curves({"a": rows}, "It gets worse", keys=["loss_coarse"])
    (ax,) = picture.axes
    assert [ln.get_label() for ln in ax.get_lines()] == ["a"]
    assert ax.get_title() == "" and "It gets worse" in repr(picture)
    with pytest.raises(RunError, match="nothing to draw"):
        viz.curves(rows, keys=["lr2"])


def test_learning_rates_of_scaled_runs_lie_on_one_another():
    recipe = get_recipe("indoor_ds")
    plans = {n: make_plan(recipe, n, 1) for n in (4, 64)}
    picture = viz.learning_rates({f"{n} GPUs": p for n, p in plans.items()})
    by_step, by_epoch = picture.axes
    few, many = by_step.get_lines()
    assert np.nanmax(few.get_ydata()) == pytest.approx(3.75e-4)
    assert np.nanmax(many.get_ydata()) == pytest.approx(6e-3)
    assert few.get_xdata()[-1] == plans[4].total_steps
    x = np.linspace(0, 29.9, 500)
    shapes = [np.interp(x, *line.get_data()) for line in by_epoch.get_lines()]
    assert np.nanmedian(np.abs(shapes[0] - shapes[1])) < 1e-3
