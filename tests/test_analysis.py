"""Analysis of scores against counts and cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from loftr_nb.datasets import collate, motorcycle
from loftr_nb.errors import ConfigError
from loftr_nb.evaluation import (
    OracleMatcher,
    PairMatches,
    Protocol,
    auc_by_thirds,
    pair_facts,
    place_errors,
    plane_share,
    pose_auc,
    remember,
    resampled_auc,
    sweep,
)


@pytest.fixture(scope="module")
def pair():
    return motorcycle(size=(160, 112))


def test_a_remembered_pair_is_matched_once(pair):
    asked = []

    def matcher(batch):
        asked.append(len(batch))
        return OracleMatcher()(batch)

    recall = remember(matcher)
    first, second = recall(collate([pair])), recall(collate([pair]))
    assert asked == [1]
    assert np.array_equal(first[0].keypoints1, second[0].keypoints1)


def test_true_places_have_no_error_and_a_shift_is_seen(pair):
    batch = collate([pair, pair])
    m = OracleMatcher()(batch)[1]
    assert place_errors(batch, m, row=1).max() < 1e-3
    moved = m._replace(keypoints1=m.keypoints1 + 3 * batch.scale1[1].numpy() * [1, 0])
    assert place_errors(batch, moved, row=1) == pytest.approx(3.0, abs=1e-3)


def test_a_sweep_sets_the_field_and_names_a_wrong_one(pair):
    protocol = Protocol()
    scores = sweep(OracleMatcher(), [pair], protocol, "threshold_px", (0.5, 1.0))
    assert [s.protocol.threshold_px for s in scores] == [0.5, 1.0]
    with pytest.raises(ConfigError, match="no field 'treshold'"):
        sweep(OracleMatcher(), [pair], protocol, "treshold", (1,))


def test_a_resampled_score_is_the_score_of_the_pairs_drawn():
    errors = np.array([1.0, 4.0, np.inf, 8.0])
    draws = np.array([[0, 1, 2, 3], [0, 0, 0, 0], [2, 2, 2, 2]])
    by_draw = resampled_auc(errors, draws)
    assert by_draw[0] == pytest.approx(pose_auc(errors))
    assert by_draw[1] == pytest.approx(pose_auc([1.0, 1.0, 1.0, 1.0]))
    assert by_draw[2] == pytest.approx([0, 0, 0])


def test_thirds_hold_the_pairs_with_small_and_large_values():
    errors = {"a": [1.0, np.inf, 2.0, np.inf, 3.0, np.inf]}
    bins = auc_by_thirds(errors, [1, 6, 2, 5, 3, 4])
    assert list(bins) == ["below 2.7", "2.7 to 4.3", "4.3 or more"]
    areas = [group["a"] for group in bins.values()]
    assert areas == pytest.approx(
        [pose_auc(e, [10])[0] for e in ([1, 2], [3, np.inf], [np.inf, np.inf])]
    )


def test_a_plane_fits_one_homography_and_a_room_does_not():
    rng = np.random.default_rng(0)
    x0 = rng.uniform(0, 300, (60, 2))
    turned = x0 @ [[0.9, -0.1], [0.2, 1.1]] + [5, -9]
    one = np.ones(60)
    assert plane_share(PairMatches(x0, turned, one)) == 1.0
    near = turned + np.where(np.arange(60) % 2 == 0, 1, 0)[:, None] * rng.uniform(
        20, 90, (60, 1)
    )
    assert plane_share(PairMatches(x0, near, one)) < 0.7
    assert plane_share(PairMatches(x0[:3], turned[:3], one[:3])) == 0.0


def test_facts_of_the_stereo_pair(pair):
    (fact,) = pair_facts([pair], [0])
    assert fact.index == 0
    assert fact.turn == pytest.approx(0.0, abs=1e-3)  # a rectified pair
    depth = pair.view0.cell_depth
    metres = float(depth[depth > 0].median())
    assert fact.baseline == pytest.approx(0.193 / metres, rel=0.01)
    assert 0 < fact.plane < 1
