"""The picture of right and wrong readings, and raw pairs as pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_geometry_check import K, shoot

from loftr_nb import viz
from loftr_nb.recordings import RawPair, find_recording, raw_pair
from loftr_nb.viz import style
from loftr_nb.viz.conventions import readings, show_conventions
from loftr_nb.viz.places import shared_places, spread


@pytest.fixture(scope="module")
def frames() -> list:
    """Two frames of a rendered room, with its poses."""
    return shoot(K, np.zeros(3))


@pytest.fixture(scope="module")
def pair(frames) -> RawPair:
    (i0, d0, W0), (i1, d1, W1) = frames[1], frames[5]
    T = W1 @ np.linalg.inv(W0)
    return RawPair(i0, i1, d0, d1, K, K, T, "a/1.png", "a/5.png")


def panels(picture) -> dict[str, str]:
    """Title to caption of the panels with readings."""
    return {ax.get_title(): ax.get_xlabel() for ax in picture.axes[2:]}


def edges(picture) -> dict[str, str]:
    return {
        ax.get_title(): style.to_rgb(ax.spines["left"].get_edgecolor())
        for ax in picture.axes[2:]
    }


def pixels(caption: str) -> float:
    return float(caption.split("·")[1].split("px")[0])


def test_only_the_pair_as_given_is_right(pair):
    picture = show_conventions(pair)
    shown = panels(picture)
    assert [t for t in shown if t.startswith("right")] == ["right: as given"]
    assert len(shown) == 6 and "as given" in picture.get_suptitle()
    assert pixels(shown["right: as given"]) < 0.7
    assert min(pixels(c) for t, c in shown.items() if t.startswith("wrong")
               and "px" in c) > 5  # fmt: skip
    blue = {t for t, c in edges(picture).items() if c == style.to_rgb(style.RIGHT)}
    assert blue == {"right: as given"}


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda p: replace(p, T_0to1=np.linalg.inv(p.T_0to1)), "pose backwards"),
        (
            lambda p: replace(p, **{k: np.diag([2.0, 2, 1]) @ K for k in ("K0", "K1")}),
            "K of half the size",
        ),
    ],
)
def test_a_wrong_pair_shows_what_would_fit(pair, change, name):
    picture = show_conventions(change(pair))
    shown = panels(picture)
    assert f"fits: {name}" in shown and "wrong: as given" in shown
    assert name in picture.get_suptitle()


def test_the_best_of_a_bad_lot_is_not_called_right(pair):
    T = pair.T_0to1.copy()
    T[:3, 3] += 0.15
    picture = show_conventions(replace(pair, T_0to1=T))
    assert not [t for t in panels(picture) if t.startswith(("right", "fits"))]
    assert "None of these" in picture.get_suptitle()


def test_poses_add_the_reading_in_the_wrong_direction(frames, pair):
    poses = frames[1][2], frames[5][2]
    found = {r.name: r.pair.T_0to1 for r in readings(pair, poses)}
    expected = np.linalg.inv(poses[1]) @ poses[0]
    np.testing.assert_allclose(found["pose inverted"], expected)
    # Camera centres by hand: OpenGL turns y and z of both cameras.
    flip = np.diag([1, -1, -1])
    gl = found["OpenGL camera axes"]
    np.testing.assert_allclose(gl[:3, 3], flip @ pair.T_0to1[:3, 3])
    np.testing.assert_allclose(gl[:3, :3], flip @ pair.T_0to1[:3, :3] @ flip)


def test_images_without_places_are_judged_by_their_grey(pair):
    picture = show_conventions(pair, matches=(np.empty((0, 2)), np.empty((0, 2))))
    assert "right: as given" in panels(picture)
    assert "grey" in panels(picture)["right: as given"]
    blank = replace(pair, image0=0 * pair.image0, image1=0 * pair.image1)
    assert show_conventions(blank)._repr_png_()


def test_a_larger_image_lies_on_its_depth(pair):
    """Colour of twice the size: K belongs to the depth map, and places do not move."""
    larger = replace(pair, image0=np.kron(pair.image0, np.ones((2, 2), np.uint8)))
    larger = replace(larger, image1=np.kron(pair.image1, np.ones((2, 2), np.uint8)))
    assert pixels(panels(show_conventions(larger))["right: as given"]) < 0.8


def test_places_are_shared_and_spread(pair):
    at0, at1 = shared_places(pair.image0, pair.image1)
    assert at0.shape == at1.shape and len(at0) > 30
    none, _ = shared_places(0 * pair.image0, pair.image1)
    assert len(none) == 0 and len(spread(none)) == 0
    grid = np.stack(np.meshgrid(np.arange(10.0), np.arange(10.0)), -1).reshape(-1, 2)
    chosen = grid[spread(grid)]
    assert len(chosen) == 9
    corners = {(0.0, 0.0), (0.0, 9.0), (9.0, 0.0), (9.0, 9.0)}
    assert corners <= {tuple(c) for c in chosen}


def test_real_frames_are_right_as_given(shared_data):
    scene = find_recording(shared_data / "hololens").scenes[0]
    poses = scene.world_to_camera(44), scene.world_to_camera(46)
    shown = panels(viz.show_conventions(raw_pair(scene, 44, 46), poses))
    assert pixels(shown["right: as given"]) < 3
    assert "wrong: pose inverted" in shown


def test_show_pair_draws_a_raw_pair_with_its_depth(pair):
    holes = pair.depth0.copy()
    holes[:120] = 0
    at = np.array([[10.0, 20], [30, 40]])
    picture = viz.show_pair(replace(pair, depth0=holes), matches=(at, at + 5))
    top, bottom = picture.axes[:2], picture.axes[2:4]
    assert [ax.get_title() for ax in top] == ["1.png", "5.png"]
    assert "50% unknown" in bottom[0].get_title()
    np.testing.assert_array_equal(top[1].collections[0].get_offsets(), at + 5)
    limits = {ax.images[0].get_clim() for ax in bottom}
    assert len(limits) == 1  # one scale for both maps
    assert picture.axes[4].get_ylabel() == "depth (metres)"
