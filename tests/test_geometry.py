"""Warps against OpenCV, kornia, float64 numpy and cases worked out by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from kornia.feature.loftr.utils.geometry import warp_kpts

from loftr_nb.geometry import (
    CorrespondenceWarp,
    DepthMap,
    DepthWarp,
    HomographyWarp,
    cell_corners,
    project,
    relative_pose,
    unproject,
)


def small_camera(dtype=torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    K = torch.tensor([[60.0, 0, 31], [0, 62, 23], [0, 0, 1]], dtype=dtype)[None]
    turn = cv2.Rodrigues(np.array([0.05, -0.1, 0.03]))[0]
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = turn, [0.2, -0.1, 0.15]
    return K, torch.tensor(T, dtype=dtype)[None]


def random_points(n: int, w: int, h: int, dtype=torch.float64) -> torch.Tensor:
    return torch.rand(1, n, 2, dtype=dtype) * torch.tensor([w - 1, h - 1], dtype=dtype)


def test_unproject_then_project_returns_the_pixels():
    K, _ = small_camera()
    points, depth = random_points(50, 64, 48), torch.rand(1, 50).double() + 0.5
    pixels, z = project(unproject(points, depth, K), K)
    assert torch.allclose(pixels, points, atol=1e-10)
    assert torch.allclose(z, depth)


def test_a_point_behind_the_camera_has_no_pixel():
    K, _ = small_camera()
    pixels, z = project(torch.tensor([[[0.1, 0.1, -2.0], [0.1, 0.1, 0]]]).double(), K)
    assert torch.isnan(pixels).all()
    assert z.tolist() == [[-2.0, 0.0]]


def test_relative_pose_goes_through_the_world():
    a, b = np.eye(4), np.eye(4)
    a[:3, 3], b[:3, 3] = [1, 0, 0], [0, 2, 0]
    a[:3, :3] = cv2.Rodrigues(np.array([0.0, 0, np.pi / 2]))[0]
    world = np.array([0.3, 0.4, 5.0, 1.0])
    assert np.allclose(relative_pose(a, b) @ (a @ world), b @ world)


def test_depth_warp_equals_float64_numpy():
    K, T = small_camera()
    depth = torch.rand(1, 48, 64, dtype=torch.float64) * 3 + 1
    points = random_points(200, 64, 48)
    moved, valid = DepthWarp(DepthMap.full(depth), None, K, K, T).to1(points)
    k, t = K[0].numpy(), T[0].numpy()
    for (x, y), answer in zip(points[0].numpy(), moved[0].numpy(), strict=True):
        z = depth[0, round(y), round(x)].item()
        there = k @ (t[:3, :3] @ (np.linalg.inv(k) @ [x, y, 1] * z) + t[:3, 3])
        assert np.allclose(answer, there[:2] / there[2], atol=1e-9)
    assert valid.all()


def test_depth_warp_equals_kornia_up_to_its_division():
    """kornia divides by z + 1e-4: at 1 m and pixel 64 that is 0.006 px."""
    K, T = small_camera(torch.float32)
    depth = torch.rand(1, 48, 64) * 3 + 1
    points = random_points(200, 64, 48, torch.float32)
    ours, _ = DepthWarp(DepthMap.full(depth), None, K, K, T).to1(points)
    _, theirs = warp_kpts(points, depth, depth, T, K, K)
    assert (ours - theirs).abs().max() < 0.02


def test_depth_warp_goes_back_the_way_it_came():
    """Both depth maps see one plane, so to0 undoes to1."""
    K, T = small_camera()
    normal, distance = torch.tensor([0.1, -0.2, 1.0]).double(), 3.0

    def plane(normal, distance):
        y, x = np.mgrid[0:48, 0:64]
        points = torch.tensor(np.stack([x, y], -1).reshape(1, -1, 2)).double()
        rays = unproject(points, torch.ones(1, 48 * 64).double(), K)
        return (distance / (rays @ normal)).reshape(1, 48, 64)

    turned = T[0, :3, :3] @ normal
    depth1 = plane(turned, distance + turned @ T[0, :3, 3])
    warp = DepthWarp(
        DepthMap.full(plane(normal, distance)), DepthMap.full(depth1), K, K, T
    )
    points = torch.tensor([[[20.0, 20.0], [33.0, 30.0], [40.0, 11.0]]]).double()
    back, valid = warp.to0(warp.to1(points).points)
    assert valid.all()
    # Depth is read at the rounded pixel, which costs some hundredths of one.
    assert (back - points).abs().max() < 0.1


def test_depth_map_of_corners_equals_the_whole_map_at_corners():
    depth = torch.rand(2, 61, 83) + 1
    scale = torch.tensor([[1.3, 1.7], [1.0, 1.25]])
    points = cell_corners((4, 6), scale)
    full = DepthMap.full(depth).at(points)
    corners = DepthMap(full.reshape(2, 4, 6), 8 * scale)
    assert torch.equal(corners.at(points), full)
    by_hand = depth[0, round(8 * 3 * 1.7), round(8 * 5 * 1.3)]
    assert full[0, 3 * 6 + 5] == by_hand


def test_depth_outside_the_map_is_unknown():
    at = torch.tensor([[[-0.6, 0.0], [0.0, 4.6], [5.0, 0.0], [torch.nan, 1.0]]])
    assert DepthMap.full(torch.ones(1, 5, 5)).at(at).tolist() == [[0, 0, 0, 0]]


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_a_pixel_without_depth_has_no_answer(bad):
    K, T = small_camera(torch.float32)
    depth = torch.full((1, 48, 64), bad)
    moved, valid = DepthWarp(DepthMap.full(depth), None, K, K, T).to1(
        torch.tensor([[[10.0, 10.0]]])
    )
    assert not valid.any()
    assert torch.isnan(moved).all()


@pytest.mark.parametrize("bad", [float("-inf"), float("nan")])
def test_a_pose_that_is_not_finite_answers_nothing_and_raises_nothing(bad):
    K, T = small_camera(torch.float32)
    depth = DepthMap.full(torch.ones(1, 48, 64))
    for entries in (slice(None), (0, 0, 3), (0, 2, 2)):
        broken = T.clone()
        broken[entries] = bad
        warp = DepthWarp(depth, depth, K, K, broken)
        points = random_points(20, 64, 48, torch.float32)
        assert not warp.to1(points).valid.any()
        assert not warp.to0(points).valid.any()


def test_autocast_does_not_move_points():
    K, T = small_camera(torch.float32)
    depth = DepthMap.full(torch.rand(1, 48, 64) + 1)
    warps = DepthWarp(depth, depth, K, K, T), HomographyWarp(K)
    points = random_points(50, 64, 48, torch.float32)
    for warp in warps:
        plain = warp.to1(points).points, warp.to0(points).points
        with torch.autocast("cpu", dtype=torch.bfloat16):
            low = warp.to1(points).points, warp.to0(points).points
        assert torch.equal(plain[0], low[0])
        assert torch.equal(plain[1], low[1])


@pytest.mark.parametrize("scene", ["graf", "boat"])
@pytest.mark.parametrize("k", range(2, 7))
def test_homography_equals_opencv_on_real_image_pairs(shared_data, scene, k):
    H = np.loadtxt(shared_data / "oxford_affine" / scene / f"H_1_{k}")
    points = random_points(100, 800, 640)
    warp = HomographyWarp(torch.tensor(H)[None])
    forth, valid = warp.to1(points)
    back, _ = warp.to0(points)
    assert valid.all()
    expected = cv2.perspectiveTransform(points.numpy(), H)
    assert np.allclose(forth.numpy(), expected, atol=1e-8)
    expected = cv2.perspectiveTransform(points.numpy(), np.linalg.inv(H))
    assert np.allclose(back.numpy(), expected, atol=1e-8)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_points_beyond_the_horizon_have_no_answer(sign):
    """w = 1 - x / 100: the horizon of image 0 is the line x = 100."""
    H = sign * torch.tensor([[[1.0, 0, 0], [0, 1, 0], [-0.01, 0, 1]]])
    warp = HomographyWarp(H)
    points = torch.tensor([[[50.0, 10.0], [99.0, 10.0], [100.0, 10.0], [150.0, 10.0]]])
    moved, valid = warp.to1(points)
    assert valid.tolist() == [[True, True, False, False]]
    assert torch.allclose(moved[0, 0], torch.tensor([100.0, 20.0]))
    # Backwards w = 1 + x / 100: x = -150 shows what lies behind the camera.
    back, valid = warp.to0(torch.tensor([[[100.0, 20.0], [-150.0, 0.0]]]))
    assert valid.tolist() == [[True, False]]
    assert torch.allclose(back[0, 0], points[0, 0])


def test_the_way_back_keeps_the_side_of_the_horizon():
    """Image 1's origin lies beyond its horizon; points on the right side count."""
    forth = torch.tensor([[[1.0, 0, 300], [0, 1, 0], [0.01, 0, 1]]])
    points = torch.tensor([[[50.0, 10.0], [150.0, 40.0]]])
    warp = HomographyWarp(forth)
    assert torch.linalg.inv(forth)[0, 2, 2] < 0
    moved, _ = warp.to1(points)
    back, valid = warp.to0(moved)
    assert valid.all()
    assert torch.allclose(back, points, atol=1e-3)


def test_correspondences_move_what_lies_near_them():
    here = torch.tensor([[[100.0, 50.0], [1500.0, 1200.0], [torch.nan, torch.nan]]])
    there = torch.tensor([[[110.0, 60.0], [1400.0, 1100.0], [torch.nan, torch.nan]]])
    warp = CorrespondenceWarp(here, there, radius=4.0)
    query = torch.tensor([[[102.0, 50.0], [1500.0, 1203.9], [1500.0, 1204.1]]])
    moved, valid = warp.to1(query)
    assert valid.tolist() == [[True, True, False]]
    assert torch.allclose(moved[0, 0], torch.tensor([112.0, 60.0]))
    assert torch.allclose(moved[0, 1], torch.tensor([1400.0, 1103.9]))
    assert torch.isnan(moved[0, 2]).all()
    assert torch.allclose(warp.to0(there[:, :2]).points, here[:, :2])


def test_many_correspondences_keep_their_precision():
    """The nearest of 3,000 at pixels near 2,000, against float64 by hand."""
    here = torch.rand(1, 3000, 2) * 2000
    there = here + torch.rand(1, 3000, 2) * 50
    query = torch.rand(1, 500, 2) * 2000
    moved, valid = CorrespondenceWarp(here, there, radius=20.0).to1(query)
    gaps = (query[0, :, None].double() - here[0, None].double()).norm(dim=-1)
    best = gaps.argmin(dim=1)
    assert torch.equal(valid[0], gaps.min(dim=1).values <= 20.0)
    expected = query[0] + (there - here)[0, best]
    assert torch.allclose(moved[0][valid[0]], expected[valid[0]], atol=1e-3)


def test_no_correspondences_answer_nothing():
    empty = torch.zeros(1, 0, 2)
    assert not CorrespondenceWarp(empty, empty).to1(torch.ones(1, 3, 2)).valid.any()
