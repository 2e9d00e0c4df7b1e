"""The motorcycle pair: depth, calibration and pose agree with the photographs."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from loftr_nb.datasets.middlebury import motorcycle, motorcycle_depth
from loftr_nb.datasets.pair import collate
from loftr_nb.errors import ConfigError
from loftr_nb.geometry import DepthMap, DepthWarp
from loftr_nb.supervision import supervise


def sift_matches(image0, image1) -> tuple[np.ndarray, np.ndarray]:
    sift = cv2.SIFT_create(2000)
    points0, found0 = sift.detectAndCompute(image0, None)
    points1, found1 = sift.detectAndCompute(image1, None)
    best = cv2.BFMatcher().knnMatch(found0, found1, k=2)
    good = [a for a, b in best if a.distance < 0.7 * b.distance]
    first = np.array([points0[m.queryIdx].pt for m in good])
    return first, np.array([points1[m.trainIdx].pt for m in good])


def test_warping_agrees_with_correspondences_found_in_the_images():
    """SIFT knows nothing of depth or calibration: 0.26 px in the median."""
    stereo = motorcycle_depth()
    first, second = sift_matches(stereo.image0, stereo.image1)

    def put(a):
        return torch.tensor(np.asarray(a), dtype=torch.float64)[None]

    warp = DepthWarp(
        DepthMap.full(put(stereo.depth0)),
        DepthMap.full(put(stereo.depth1)),
        put(stereo.K0),
        put(stereo.K1),
        put(stereo.T_0to1),
    )
    for here, there, move in ((first, second, warp.to1), (second, first, warp.to0)):
        moved, valid = move(put(here))
        error = (moved[0] - torch.tensor(there)).norm(dim=-1)[valid[0]]
        print(f"{len(error)} correspondences, median {error.median():.2f} px")
        assert len(error) > 400
        assert error.median() < 0.5
        assert (error < 2).double().mean() > 0.85


def test_depth_is_metres_and_unknown_is_0():
    stereo = motorcycle_depth()
    for depth, known in ((stereo.depth0, 0.90), (stereo.depth1, 0.80)):
        assert depth.shape == (500, 741)
        assert np.isfinite(depth).all()
        assert (depth > 0).mean() > known
        # A workshop: nearest surface beyond 2 m, far wall at 5 m.
        assert 2 < depth[depth > 0].min() < depth.max() < 5.1


@pytest.mark.parametrize("size", [None, (320, 240), (640, 480)])
def test_a_sample_of_any_size_has_its_scale_and_its_matches(size):
    pair = motorcycle(size)
    w, h = size or (736, 496)
    assert pair.view0.image.shape == (1, h, w)
    assert torch.allclose(pair.view0.scale, torch.tensor([741 / w, 500 / h]))
    assert pair.overlap > 0.9
    batch = collate([pair])
    result = supervise(batch)
    cells = batch.grid0[0] * batch.grid0[1]
    assert len(result) > 0.6 * cells
    # Rectified: a match stays in its row, and moves to the left.
    width = batch.grid0[1]
    assert ((result.i // width) == (result.j // width)).all()
    assert (result.j % width <= result.i % width).all()


def test_a_size_that_cells_do_not_fill_is_an_error():
    with pytest.raises(ConfigError, match="multiples of 8"):
        motorcycle((100, 80))
