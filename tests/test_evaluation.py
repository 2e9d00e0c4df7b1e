"""Pose errors, AUC, epipolar distance, SIFT and whole evaluations."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from loftr_nb.datasets import MegaDepth, Pair, ScanNet, View, collate
from loftr_nb.errors import ConfigError, DataError
from loftr_nb.evaluation import (
    LoFTRMatcher,
    OracleMatcher,
    PairMatches,
    Protocol,
    SiftMatcher,
    epipolar_distance,
    evaluate,
    match_precision,
    merge,
    pose_auc,
    relative_pose_error,
    score_table,
)
from loftr_nb.evaluation.sift import crop_padding, match_descriptors

K = np.array([[100.0, 0, 80], [0, 110, 60], [0, 0, 1]])


def pose(axis_degrees: list[float], t: list[float]) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = Rotation.from_rotvec(np.radians(axis_degrees)).as_matrix()
    T[:3, 3] = t
    return T


# --- pose errors ---------------------------------------------------------------


def test_rotation_error_is_the_angle_between() -> None:
    for angle in (0.0, 1e-4, 0.5, 89.0, 179.9):
        truth = pose([0, 30, 0], [1, 0, 0])
        turn = Rotation.from_rotvec(np.radians(angle) * np.array([0.6, 0.0, 0.8]))
        error, _ = relative_pose_error(
            truth, truth[:3, :3] @ turn.as_matrix(), [1, 0, 0]
        )
        assert error == pytest.approx(angle, abs=1e-6)


def test_rounding_to_float32_is_no_error() -> None:
    truth = pose([12, -34, 56], [1, 2, 3])
    rounded = truth.astype(np.float32)
    error_R, error_t = relative_pose_error(rounded, truth[:3, :3], truth[:3, 3])
    assert error_R < 1e-4
    assert error_t < 1e-4


def test_translation_error_is_up_to_sign_and_length() -> None:
    truth = pose([0, 0, 0], [2.0, 0, 0])
    for t, expected in [
        ([5, 0, 0], 0.0),
        ([-1, 0, 0], 0.0),
        ([1, 1, 0], 45.0),
        ([-1, 1, 0], 45.0),
        ([0, 0, 3], 90.0),
        ([0, 0, 0], 90.0),
    ]:
        assert relative_pose_error(truth, np.eye(3), np.array(t))[1] == pytest.approx(
            expected
        )


def test_no_pose_is_infinite_and_no_baseline_has_no_direction() -> None:
    assert relative_pose_error(pose([0, 1, 0], [1, 0, 0]), None, None) == (
        np.inf,
        np.inf,
    )
    still = relative_pose_error(np.eye(4), np.eye(3), np.array([0, 1.0, 0]))
    assert still == (0.0, 0.0)


# --- AUC -----------------------------------------------------------------------


def test_auc_by_hand() -> None:
    # Errors 2, 4, 12 and no pose. The curve: (0,0) (2,1/4) (4,1/2) (12,3/4).
    # To 5:  triangle 2*.25/2, trapezoid 2*(.25+.5)/2, level 1*.5   = 1.5  of 5
    # To 10: the same, level from 4 to 10: 6*.5                     = 4    of 10
    # To 20: .25 + .75 + 8*(.5+.75)/2 + 8*.75                       = 12   of 20
    errors = [12.0, np.inf, 2.0, 4.0]
    assert pose_auc(errors) == pytest.approx([30.0, 40.0, 60.0])


def test_auc_ends() -> None:
    assert pose_auc([0.0, 0.0, 0.0]) == pytest.approx([100.0] * 3)
    assert pose_auc([np.inf, np.nan]) == [0.0] * 3
    assert pose_auc([30.0]) == [0.0] * 3
    # A single pair at 10 degrees: half a triangle of the last 20.
    assert pose_auc([10.0])[2] == pytest.approx(100 * (0.25 + 0.5))
    assert all(np.isnan(pose_auc([])))


def test_auc_is_the_integral_of_the_recall_curve() -> None:
    rng = np.random.default_rng(0)
    errors = np.r_[rng.gamma(1.5, 6.0, 97), [np.inf] * 3]
    x = np.sort(errors[np.isfinite(errors)])
    knots, recall = np.r_[0.0, x], np.arange(len(x) + 1) / len(errors)
    for threshold, area in zip((5, 10, 20), pose_auc(errors), strict=True):
        fine = np.linspace(0, threshold, 2_000_001)[:-1] + threshold / 4_000_000
        below = knots < threshold
        curve = np.interp(fine, knots[below], recall[below])  # level after the last
        assert area == pytest.approx(100 * curve.mean(), abs=1e-4)


# --- epipolar distance ---------------------------------------------------------


def test_epipolar_distance_by_hand() -> None:
    # A step along x: epipolar lines are rows. 0.3 normalised units off the row
    # in each image make 0.3^2 + 0.3^2.
    T = pose([0, 0, 0], [1, 0, 0])
    p0 = np.array([[80.0, 60.0], [80.0, 60.0]])
    p1 = np.array([[20.0, 60.0], [20.0, 60.0 + 0.3 * 110]])
    distance = epipolar_distance(p0, p1, K, K, T)
    assert distance == pytest.approx([0.0, 0.18], abs=1e-12)
    assert match_precision(distance, 1e-4) == 50.0
    assert match_precision(np.empty(0), 1e-4) == 0.0


def test_epipolar_distance_equals_kornia() -> None:
    from kornia.geometry import epipolar

    rng = np.random.default_rng(0)
    T = pose([5, -20, 3], [0.5, 0.1, -0.2])
    K1 = np.array([[140.0, 0, 70], [0, 130, 90], [0, 0, 1]])
    p0, p1 = rng.uniform(0, 160, (2, 50, 2))

    def tensor(a: np.ndarray) -> torch.Tensor:
        return torch.tensor(a)[None]

    E = epipolar.essential_from_Rt(
        tensor(np.eye(3)),
        torch.zeros(1, 3, 1).double(),
        tensor(T[:3, :3]),
        tensor(T[:3, 3:]),
    )
    x0 = (np.c_[p0, np.ones(50)] @ np.linalg.inv(K).T)[:, :2]
    x1 = (np.c_[p1, np.ones(50)] @ np.linalg.inv(K1).T)[:, :2]
    theirs = epipolar.symmetrical_epipolar_distance(
        tensor(x0), tensor(x1), E, squared=True, eps=0.0
    )
    ours = epipolar_distance(p0, p1, K, K1, T)
    assert ours == pytest.approx(theirs[0].numpy(), rel=1e-9)


def test_without_baseline_the_points_themselves_are_compared() -> None:
    T = pose([0, 10, 0], [0, 0, 0])
    p0 = np.array([[80.0, 60.0], [30.0, 40.0]])
    rays = np.c_[p0, np.ones(2)] @ np.linalg.inv(K).T @ T[:3, :3].T @ K.T
    p1 = rays[:, :2] / rays[:, 2:]
    assert epipolar_distance(p0, p1, K, K, T) == pytest.approx([0, 0], abs=1e-20)
    assert (epipolar_distance(p0, p1 + 5, K, K, T) > 1e-3).all()


# --- SIFT ----------------------------------------------------------------------


def test_ratio_and_mutual_by_hand() -> None:
    d1 = np.array([[0.0, 0], [10, 0], [100, 0]])
    d0 = np.array([[1.0, 0], [4.9, 0], [97, 0], [95, 0]])
    # 0: nearest 0 at 1, second 1 at 9: kept. 1: 4.9 against 5.1: fails the ratio.
    # 2: nearest 2, mutual: kept. 3: nearest 2 as well, which prefers row 2.
    i, j, confidence = match_descriptors(d0, d1, 0.8)
    assert i.tolist() == [0, 2]
    assert j.tolist() == [0, 2]
    assert confidence == pytest.approx([1 - 1 / 9, 1 - 3 / 87])


def test_descriptors_match_as_opencv_matches_them(texture: np.ndarray) -> None:
    sift = SiftMatcher()
    turned = cv2.warpAffine(
        texture, cv2.getRotationMatrix2D((100, 75), 20, 0.9), texture.shape[::-1]
    )
    _, d0 = sift.detect(texture)
    _, d1 = sift.detect(turned)
    i, j, _ = match_descriptors(d0, d1, 0.8)
    forth = cv2.BFMatcher().knnMatch(d0, d1, k=2)
    back = {m.queryIdx: m.trainIdx for m in cv2.BFMatcher().match(d1, d0)}
    theirs = {
        (m.queryIdx, m.trainIdx)
        for m, n in forth
        if m.distance < 0.8 * n.distance and back[m.trainIdx] == m.queryIdx
    }
    assert len(theirs) > 30
    assert set(zip(i.tolist(), j.tolist(), strict=True)) == theirs


@pytest.mark.parametrize("counts", [(0, 5), (5, 0), (0, 0), (5, 1)])
def test_too_few_descriptors_match_nothing(counts: tuple[int, int]) -> None:
    d0, d1 = (np.ones((n, 128), np.float32) for n in counts)
    assert [len(a) for a in match_descriptors(d0, d1, 0.8)] == [0, 0, 0]


@pytest.mark.parametrize("size", [(8, 8), (40, 24)])
def test_a_flat_image_has_no_keypoints(size: tuple[int, int]) -> None:
    points, descriptors = SiftMatcher().detect(np.full(size, 128, np.uint8))
    assert points.shape == (0, 2)
    assert descriptors.shape == (0, 128)


def test_keypoints_sit_where_the_blobs_are() -> None:
    # A round blob centred on pixel (40, 30), first pixel's centre at (0, 0).
    y, x = np.mgrid[0:64, 0:96]
    blob = 255 * np.exp(-((x - 40) ** 2 + (y - 30) ** 2) / (2 * 4.0**2))
    points, _ = SiftMatcher().detect(blob.round().astype(np.uint8))
    assert np.abs(points - [40, 30]).max(1).min() < 0.05


def test_padding_is_cropped() -> None:
    image = torch.rand(1, 24, 32)
    mask = torch.zeros(3, 4, dtype=torch.bool)
    mask[:2, :3] = True
    cropped = crop_padding(image, mask)
    assert cropped.shape == (16, 24)
    assert cropped[5, 7] == round(float(image[0, 5, 7]) * 255)


# --- whole evaluations ---------------------------------------------------------


@pytest.fixture(scope="module")
def texture() -> np.ndarray:
    from skimage import data

    return cv2.resize(data.gravel(), (200, 152), interpolation=cv2.INTER_AREA)


class Wall:
    """Pairs of views of one textured wall, rendered exactly, with depth.

    Flat scenes fix no unique essential matrix, so a second wall stands in front
    of the first one's right half.
    """

    def __init__(self, texture: np.ndarray, poses: list[np.ndarray]) -> None:
        self.texture, self.poses = texture, poses
        self.K = np.array([[180.0, 0, 100], [0, 180, 76], [0, 0, 1]])

    def __len__(self) -> int:
        return len(self.poses)

    def __getitem__(self, index: int) -> Pair:
        T = self.poses[index]
        view0 = self.view(self.texture, self.depth0())
        return Pair(
            view0,
            self.view(self.render(T), np.zeros_like(self.depth0())),
            torch.tensor(T, dtype=torch.float32),
            scene=f"wall{index}",
            overlap=0.5,
        )

    def depth0(self) -> np.ndarray:
        depth = np.full(self.texture.shape, 4.0)
        depth[:, 100:] = 2.5
        return depth

    def render(self, T: np.ndarray) -> np.ndarray:
        out = np.zeros_like(self.texture)
        for z in (4.0, 2.5):
            # The homography of the plane at depth z: K (R + t n^T / z) K^-1.
            n = np.array([[0, 0, 1 / z]])
            H = self.K @ (T[:3, :3] + T[:3, 3:] @ n) @ np.linalg.inv(self.K)
            layer = np.where(self.depth0() == z, 255, 0).astype(np.uint8)
            size = self.texture.shape[::-1]
            seen = cv2.warpPerspective(layer, H, size) > 127
            out = np.where(seen, cv2.warpPerspective(self.texture, H, size), out)
        return out

    def view(self, image: np.ndarray, depth: np.ndarray) -> View:
        h, w = image.shape
        return View(
            image=torch.tensor(image / 255.0, dtype=torch.float32)[None],
            cell_depth=torch.tensor(depth[::8, ::8].ravel(), dtype=torch.float32),
            K=torch.tensor(self.K, dtype=torch.float32),
            scale=torch.ones(2),
            mask=torch.ones(h // 8, w // 8, dtype=torch.bool),
            name="wall.png",
        )


@pytest.fixture(scope="module")
def walls(texture: np.ndarray) -> Wall:
    return Wall(
        texture,
        [
            pose([0, 2, 0], [0.3, 0.0, 0.0]),
            pose([1, -2, 1], [0.2, 0.1, 0.05]),
            pose([0, 0, 5], [-0.2, 0.1, 0.0]),
            pose([2, 1, 0], [0.0, 0.25, 0.1]),
        ],
    )


def test_the_oracle_scores_near_100(walls: Wall) -> None:
    scores = evaluate(OracleMatcher(), walls, Protocol())
    assert scores.pairs == 4
    assert scores.auc5 > 98
    assert scores.precision == pytest.approx(100.0)
    assert scores.matches_per_pair > 200
    assert [r.scene for r in scores.records] == ["wall0", "wall1", "wall2", "wall3"]


def test_a_wrong_true_pose_shows_in_every_score(texture: np.ndarray) -> None:
    class Wrong(Wall):
        def __getitem__(self, index: int) -> Pair:
            pair = super().__getitem__(index)
            return dataclasses.replace(pair, T_0to1=torch.linalg.inv(pair.T_0to1))

    poses = [pose([0, 12, 0], [0.3, 0, 0.1])]
    right, wrong = (
        evaluate(SiftMatcher(), kind(texture, poses), Protocol())
        for kind in (Wall, Wrong)
    )
    # The rotation is off by twice 12 degrees.
    assert right.records[0].error_R < 3
    assert wrong.records[0].error_R == pytest.approx(24, abs=3)
    assert right.precision > 90
    assert wrong.precision < 50


def test_sift_finds_the_poses(walls: Wall) -> None:
    scores = evaluate(SiftMatcher(), walls, Protocol(solver="lo-ransac"))
    assert np.median([r.error_R for r in scores.records]) < 1.0
    assert scores.precision > 90
    assert scores.matches_per_pair > 50


def test_nothing_matched_is_scored_not_raised(walls: Wall) -> None:
    scores = evaluate(
        lambda batch: [PairMatches.none()] * len(batch), walls, Protocol()
    )
    assert scores.summary() == {
        "auc5": 0.0,
        "auc10": 0.0,
        "auc20": 0.0,
        "precision": 0.0,
        "matches_per_pair": 0.0,
    }
    assert np.isinf(scores.errors).all()


def test_ranks_batches_and_order_change_nothing(walls: Wall) -> None:
    sift = SiftMatcher()
    whole = evaluate(sift, walls, Protocol())
    assert evaluate(sift, walls, Protocol(), batch_size=3) == whole
    parts = [evaluate(sift, walls, Protocol(), rank=r, world=3) for r in range(3)]
    assert [p.pairs for p in parts] == [2, 1, 1]
    assert merge(parts[::-1]) == whole
    # A sampler that pads the last round hands out pairs twice.
    assert merge([*parts, parts[0]]) == whole
    # More processes than pairs: the last one has nothing and says so.
    empty = evaluate(sift, walls, Protocol(), rank=4, world=5)
    assert empty.pairs == 0
    assert set(empty.summary().values()) == {None}
    assert merge([empty, whole]) == whole


def test_scores_of_different_protocols_do_not_mix(walls: Wall) -> None:
    def run(solver: str):
        return evaluate(OracleMatcher(), walls, Protocol(solver, max_pairs=1))

    with pytest.raises(ConfigError, match="different protocols"):
        merge([run("ransac"), run("magsac")])


def test_max_pairs_spreads_over_the_data(walls: Wall) -> None:
    scores = evaluate(OracleMatcher(), walls, Protocol(max_pairs=2))
    assert [r.index for r in scores.records] == [0, 2]
    assert "2 of 4" in scores.card()


def test_progress_counts_to_the_end(walls: Wall) -> None:
    seen: list[tuple[int, int]] = []
    evaluate(
        OracleMatcher(),
        walls,
        Protocol(),
        batch_size=3,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(3, 4), (4, 4)]


def test_scale_and_padding_reach_the_keypoints(walls: Wall) -> None:
    pair = walls[0]
    doubled = {
        f"view{n}": dataclasses.replace(
            view,
            scale=torch.tensor([2.0, 3.0]),
            K=torch.diag(torch.tensor([2.0, 3.0, 1.0])) @ view.K,
        )
        for n, view in enumerate((pair.view0, pair.view1))
    }
    sift = SiftMatcher()
    plain = sift(collate([pair]))[0]
    scaled = sift(collate([dataclasses.replace(pair, **doubled)]))[0]
    assert scaled.keypoints0 == pytest.approx(plain.keypoints0 * [2, 3])
    assert scaled.keypoints1 == pytest.approx(plain.keypoints1 * [2, 3])
    oracle = OracleMatcher()
    plain = oracle(collate([pair]))[0]
    scaled = oracle(collate([dataclasses.replace(pair, **doubled)]))[0]
    assert scaled.keypoints1 == pytest.approx(plain.keypoints1 * [2, 3], abs=1e-2)


def test_an_empty_dataset_and_homographies_are_refused(walls: Wall) -> None:
    with pytest.raises(DataError, match="no pair"):
        evaluate(OracleMatcher(), [], Protocol())
    no_pose = torch.full((4, 4), torch.nan)
    flat = [dataclasses.replace(walls[0], H_0to1=torch.eye(3), T_0to1=no_pose)]
    with pytest.raises(ConfigError, match="homography"):
        evaluate(OracleMatcher(), flat, Protocol())


def test_the_card_names_everything_a_score_depends_on(walls: Wall) -> None:
    protocol = Protocol(solver="magsac", data="walls", seed=66)
    card = evaluate(OracleMatcher(), walls, protocol).card()
    for word in (
        "200x152",
        "magsac",
        f"cv2 {cv2.__version__}",
        "0.5 px",
        "0.99999",
        "0.0005",
        "all 4",
        "66",
        "walls",
        "says nothing",
    ):
        assert word in card
    assert max(map(len, card.splitlines())) < 80
    assert json.loads(json.dumps(protocol.as_dict()))["solver"] == "magsac"


def test_a_mistyped_solver_is_named() -> None:
    with pytest.raises(ConfigError, match="did you mean 'magsac'"):
        Protocol(solver="magsak")
    for wrong in (
        {"threshold_px": 0},
        {"confidence": 1.0},
        {"max_pairs": 0},
        {"seed": -1},
    ):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            Protocol(**wrong)


def test_the_table_is_aligned_and_in_percent(walls: Wall) -> None:
    scores = evaluate(OracleMatcher(), walls, Protocol())
    table = score_table({"LoFTR": scores, "SIFT, ratio 0.8": scores})
    lines = table.splitlines()
    assert len({len(line) for line in lines}) == 1
    assert f"{scores.auc5:.1f}" in lines[1]
    assert lines[0].split()[:4] == ["matcher", "AUC@5", "AUC@10", "AUC@20"]
    assert set(scores.summary()) == {
        "auc5",
        "auc10",
        "auc20",
        "precision",
        "matches_per_pair",
    }


def test_loftr_is_a_matcher(walls: Wall) -> None:
    from loftr_nb.model import LoFTR, LoFTRConfig

    small = LoFTRConfig(
        initial_dim=16,
        block_dims=(16, 24, 32),
        coarse_layers=1,
        coarse_heads=4,
        fine_heads=4,
        threshold=0.0,
        border=0,
    )
    model = LoFTR(small).train()
    found = LoFTRMatcher(model)(collate([walls[0], walls[1]]))
    assert model.training
    assert len(found) == 2
    for k, matches in enumerate(found):
        alone = LoFTRMatcher(model)(collate([walls[k]]))[0]
        assert len(matches.keypoints0) > 0
        assert matches.keypoints0.shape == matches.keypoints1.shape
        assert matches.confidence.shape == (len(matches.keypoints0),)
        assert alone.keypoints0 == pytest.approx(matches.keypoints0, abs=1e-3)


# --- real data -----------------------------------------------------------------


def test_sift_on_real_indoor_frames(shared_data: Path, tmp_path: Path) -> None:
    # 0.4 m and 15 degrees apart: the rotation is easy, the direction is not.
    data = hololens_pairs(shared_data, tmp_path, gap=5, count=12)
    scores = evaluate(SiftMatcher(), data, Protocol("lo-ransac"))
    assert np.median([r.error_R for r in scores.records]) < 1.5
    assert np.median(scores.errors) < 5
    assert scores.precision > 60
    assert evaluate(OracleMatcher(), data, Protocol(max_pairs=6)).auc5 > 98


def test_sift_on_real_outdoor_frames(shared_data: Path) -> None:
    root = shared_data / "fountain"
    data = MegaDepth(root, root / "scene_info", size=640)
    scores = evaluate(SiftMatcher(), data, Protocol(max_pairs=6))
    assert np.median(scores.errors) < 5
    assert scores.auc10 > 60


def hololens_pairs(root: Path, out: Path, gap: int, count: int) -> ScanNet:
    starts = [3 + 10 * k for k in range(count)]
    name = np.array([[9000, 0, k, k + gap] for k in starts], np.uint16)
    np.savez(out / "index.npz", name=name, score=np.full(count, 0.5))
    return ScanNet(root / "hololens", out / "index.npz")
