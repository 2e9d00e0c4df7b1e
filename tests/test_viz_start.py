"""The picture of all steps and the map of the course, against network and files."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
import torch
from PIL import Image

from loftr_nb import viz
from loftr_nb.datasets import collate, motorcycle
from loftr_nb.errors import DataError
from loftr_nb.model import LoFTR
from loftr_nb.model.fine_matching import window_grid
from loftr_nb.model.shipped import shipped
from loftr_nb.viz.__main__ import main as overview_main

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
STORED = [c for c in viz.COURSE if (NOTEBOOKS / c.file).exists()]


@pytest.fixture(scope="module")
def batch():
    return collate([motorcycle((160, 112))])


@pytest.fixture
def mini() -> Path:
    return NOTEBOOKS.parent / "data" / "mini"  # rendered by `make data`


@pytest.fixture(scope="module")
def model():
    return LoFTR.load(shipped("mini_ds"))


def test_steps_are_those_of_the_network(model, batch):
    steps = viz.steps_of(model, batch)
    with torch.no_grad():
        found = model(batch.image0, batch.image1)
    assert len(found.i) > 50
    assert torch.equal(steps.i, found.i) and torch.equal(steps.j, found.j)
    torch.testing.assert_close(steps.points0, found.keypoints0)
    torch.testing.assert_close(steps.points1, found.keypoints1)
    P = steps.confidence[steps.i, steps.j]
    torch.testing.assert_close(P, found.confidence, atol=1e-5, rtol=1e-4)


def test_heat_maps_have_the_answer_as_their_mean(model, batch):
    steps = viz.steps_of(model, batch)
    grid = window_grid(5, steps.heats)
    mean = torch.einsum("myx,yxc->mc", steps.heats, grid.unflatten(0, (5, 5)))
    columns = steps.maps[1].shape[2]
    corner = 8.0 * torch.stack([steps.j % columns, steps.j // columns], 1)
    torch.testing.assert_close(corner + 4 * mean, steps.points1, atol=1e-3, rtol=0)


def test_before_the_transformer_image_1_does_not_matter(model, batch):
    other = collate([motorcycle((160, 112))])
    other.image1 = other.image1.flip(-1)
    a, b = viz.steps_of(model, batch), viz.steps_of(model, other)
    torch.testing.assert_close(a.maps[0], b.maps[0], atol=1e-4, rtol=0)
    assert (a.mixed[0] - b.mixed[0]).abs().max() > 0.1


def test_the_picture_follows_the_surest_match(model, batch):
    picture = viz.show_steps(model, batch, title="All steps of one pair")
    assert repr(picture) == "<Picture: All steps of one pair>"
    steps = viz.steps_of(model, batch)
    surest = steps.confidence[steps.i, steps.j].max()
    assert any(f"P {surest:.2f}" == ax.get_xlabel() for ax in picture.axes)
    assert len(viz.style.png(picture)) > 10_000


def test_two_pairs_and_no_match_are_refused(model, batch):
    pair = motorcycle((160, 112))
    with pytest.raises(DataError, match="the batch has 2"):
        viz.steps_of(model, collate([pair, pair]))
    blank = collate([motorcycle((160, 112))])
    blank.image1 = torch.zeros_like(blank.image1)
    with pytest.raises(DataError, match=r"motorcycle left.*finds no match"):
        viz.show_steps(model, blank)


def test_the_map_is_the_course(model):
    numbers = [c.number for c in viz.COURSE]
    assert numbers == [f"{n:02d}" for n in range(13)]
    words = {t.get_text() for t in viz.show_course("03").axes[0].texts}
    assert {c.title for c in viz.COURSE} | {c.heart for c in viz.COURSE} <= words
    assert sorted(p.name for p in NOTEBOOKS.glob("[0-9]*.ipynb")) == [
        c.file for c in STORED
    ]


@pytest.mark.parametrize("chapter", STORED, ids=lambda c: c.number)
def test_titles_and_next_links_are_those_of_the_notebooks(chapter):
    cells = nbformat.read(NOTEBOOKS / chapter.file, as_version=4).cells
    first = cells[0].source.splitlines()[0]
    assert first == f"# {chapter.number} · {chapter.title}"
    following = viz.COURSE[int(chapter.number) + 1 :]
    last = cells[-1].source
    named = re.findall(r"\]\((\d\d_\w+\.ipynb)\)|`(\d\d_\w+\.ipynb)`", last)
    if following:
        assert named and "".join(named[0]) == following[0].file, last


@pytest.mark.parametrize("page", ["README.md", "notebooks/00_start_here.ipynb"])
def test_every_notebook_is_linked_from_the_first_pages(page):
    text = (NOTEBOOKS.parent / page).read_text(encoding="utf-8")
    for chapter in viz.COURSE[1:]:
        assert f"({'notebooks/' * (page[0] == 'R')}{chapter.file})" in text


def test_the_first_pages_picture_is_drawn_and_kept(tmp_path, capsys, mini):
    """As the README says it, and the kept one is small and readable on any ground."""
    assert overview_main([str(tmp_path / "all.png"), "--data", str(mini)]) == 0
    assert "all.png: " in capsys.readouterr().out
    drawn = Image.open(tmp_path / "all.png").convert("RGB")
    kept = NOTEBOOKS / "figures" / "overview.png"
    stored = Image.open(kept).convert("RGB")
    assert stored.size == drawn.size and kept.stat().st_size < 300_000
    assert stored.getpixel((0, 0)) == (255, 255, 255)
    assert "](notebooks/figures/overview.png)" in (
        NOTEBOOKS.parent / "README.md"
    ).read_text(encoding="utf-8")


def test_an_unwritable_picture_is_said_in_words(tmp_path, capsys, mini):
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "all.png"
    assert overview_main([str(out), "--data", str(mini)]) == 2
    assert "all.png: the picture cannot be written" in capsys.readouterr().err
