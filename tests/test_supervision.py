"""Supervision against cases worked out by hand, brute force, and kornia on real pairs.

The released rule (which kornia carries) differs from ours at the edges only. On
real pairs every single difference is put into one of those edge cases, from a
float64 recomputation that shares no code with the package.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import cv2
import h5py
import numpy as np
import pytest
import torch
from kornia.feature.loftr.utils.supervision import (
    compute_supervision_coarse,
    compute_supervision_fine,
)

from loftr_nb.datasets import MegaDepth, ScanNet, collate
from loftr_nb.geometry import CorrespondenceWarp, DepthMap, DepthWarp, HomographyWarp
from loftr_nb.supervision import coarse_supervision, fine_targets, supervise

KORNIA = {"LOFTR": {"RESOLUTION": (8, 2), "FINE_WINDOW_SIZE": 5}}


@dataclass
class Scene:
    """One real or made-up pair, in numpy, as large as it comes."""

    name: str
    depth: tuple[np.ndarray, np.ndarray]  # (H, W) metres
    K: tuple[np.ndarray, np.ndarray]
    T: np.ndarray  # 0 to 1
    grid: tuple[tuple[int, int], tuple[int, int]]
    scale: tuple[np.ndarray, np.ndarray]
    mask: tuple[np.ndarray, np.ndarray] | None = None

    def ours(self, dtype=torch.float32, device="cpu"):
        def put(a):
            return torch.as_tensor(np.asarray(a), dtype=dtype, device=device)[None]

        warp = DepthWarp(
            *(DepthMap.full(put(d)) for d in self.depth),
            *(put(k) for k in self.K),
            put(self.T),
        )
        masks = [None, None]
        if self.mask is not None:
            masks = [torch.as_tensor(m, device=device)[None] for m in self.mask]
        return coarse_supervision(warp, *self.grid, *map(put, self.scale), *masks)

    def kornia(self) -> dict:
        def put(a):
            return torch.as_tensor(np.asarray(a), dtype=torch.float32)[None]

        data = {"dataset_name": ["megadepth"]}
        for n in (0, 1):
            h, w = self.grid[n]
            data[f"image{n}"] = torch.zeros(1, 1, 8 * h, 8 * w)
            data[f"scale{n}"] = put(self.scale[n])
            data[f"K{n}"] = put(self.K[n])
            data[f"depth{n}"] = put(pad_to_grid(self, n))
            if self.mask is not None:
                data[f"mask{n}"] = torch.as_tensor(self.mask[n])[None]
        data["T_0to1"], data["T_1to0"] = put(self.T), put(np.linalg.inv(self.T))
        compute_supervision_coarse(data, KORNIA)
        return data


def pad_to_grid(scene: Scene, n: int) -> np.ndarray:
    """Depth padded so that kornia can index it at padded corners."""
    (h, w), (sx, sy) = scene.grid[n], scene.scale[n]
    depth = scene.depth[n]
    size = (max(depth.shape[0], int(8 * h * sy) + 1), int(8 * w * sx) + 1)
    padded = np.zeros((size[0], max(depth.shape[1], size[1])), np.float32)
    padded[: depth.shape[0], : depth.shape[1]] = depth
    return padded


def pairs_of(result) -> set[tuple[int, int]]:
    return set(zip(result.i.tolist(), result.j.tolist(), strict=True))


def kornia_pairs_of(data: dict) -> set[tuple[int, int]]:
    matrix = data["conf_matrix_gt"][0]
    return {(i, j) for i, j in matrix.nonzero().tolist()}


# --- the table of edge cases, worked out by hand -----------------------------
#
# Both cameras: 32 x 32 pixels, f = 8, principal point at cell (x 2, y 2), so that
# at depth 1 a camera that moves by 1 m moves the picture by one cell.

K4 = np.array([[8.0, 0, 16], [0, 8, 16], [0, 0, 1]])


def by_hand(move=(0, 0, 0), mask=None) -> Scene:
    T = np.eye(4)
    T[:3, 3] = move
    depth = np.ones((32, 32)), np.full((32, 32), 1.0 + max(0, move[2]))
    one = np.ones(2)
    return Scene("by hand", depth, (K4, K4), T, ((4, 4), (4, 4)), (one, one), mask)


def cell(x: int, y: int) -> int:
    return 4 * y + x


SAME = {(c, c) for c in range(16)}
MIDDLE = (cell(2, 2), cell(2, 2))


def test_one_cell_to_the_right():
    expected = {(cell(x, y), cell(x + 1, y)) for x in range(3) for y in range(4)}
    assert pairs_of(by_hand((1, 0, 0)).ours()) == expected


def test_cell_0_is_a_match_like_any_other():
    """Nothing moves: 16 matches; the released rule drops the corner."""
    scene = by_hand()
    assert pairs_of(scene.ours()) == SAME
    assert kornia_pairs_of(scene.kornia()) == SAME - {(0, 0)}


def test_depth_0_is_no_match():
    """Depth 0 goes to where the translation points: here the middle, and back."""
    scene = by_hand((0, 0, 1))
    assert MIDDLE in pairs_of(scene.ours())
    scene.depth[0][16, 16] = 0
    assert MIDDLE not in pairs_of(scene.ours())
    assert MIDDLE in kornia_pairs_of(scene.kornia())


def test_depth_0_in_image_1_is_no_match():
    scene = by_hand((0, 0, 1))
    scene.depth[1][16, 16] = 0
    assert MIDDLE not in pairs_of(scene.ours())
    assert MIDDLE in kornia_pairs_of(scene.kornia())


def test_behind_the_camera_is_no_match():
    """Camera 1 stands 2 m ahead, all points lie at 1 m: it sees none of them."""
    scene = by_hand((0, 0, -2))
    assert pairs_of(scene.ours()) == set()
    assert MIDDLE in kornia_pairs_of(scene.kornia())


def test_outside_image_1_is_no_match():
    """Cell 1 is so near that it leaves to the left; cell 0 of image 1 shows 1."""
    scene = by_hand((-1, 0, 0))
    shifted = {(cell(x, y), cell(x - 1, y)) for x in range(1, 4) for y in range(4)}
    assert pairs_of(scene.ours()) == shifted
    scene.depth[0][0, 8] = 0.1
    assert pairs_of(scene.ours()) == shifted - {(1, 0)}
    assert (1, 0) in kornia_pairs_of(scene.kornia())


@pytest.mark.parametrize("padded", [0, 1])
def test_padded_cells_are_no_match(padded):
    mask = np.ones((4, 4), bool), np.ones((4, 4), bool)
    mask[padded][:, 3] = False
    result = by_hand(mask=mask).ours()
    assert pairs_of(result) == {(c, c) for c in range(16) if c % 4 != 3}
    hidden = torch.isnan(result.warped0[0]).any(-1).reshape(4, 4)
    assert hidden[:, 3].all() == (padded == 0)
    assert not hidden[:, :3].any()


def test_padded_cells_stay_out_under_a_homography():
    """A homography moves padding as well: the mask alone keeps it out."""
    mask = torch.ones(1, 4, 4, dtype=torch.bool)
    mask[..., 3] = False
    one = torch.ones(1, 2)
    warp = HomographyWarp(torch.eye(3)[None])
    for masks in ((mask, None), (None, mask)):
        result = coarse_supervision(warp, (4, 4), (4, 4), one, one, *masks)
        assert pairs_of(result) == {(c, c) for c in range(16) if c % 4 != 3}


@pytest.mark.parametrize("bad", [float("-inf"), float("nan")])
def test_a_pose_that_is_not_finite_gives_no_match_and_spares_its_neighbour(bad):
    one, depth = torch.ones(2, 2), DepthMap.full(torch.ones(2, 32, 32))
    K = torch.tensor(K4, dtype=torch.float32).expand(2, 3, 3)
    T = torch.eye(4).repeat(2, 1, 1)
    T[0] = bad
    warp = DepthWarp(depth, depth, K, K, T)
    result = coarse_supervision(warp, (4, 4), (4, 4), one, one)
    assert result.counts.tolist() == [0, 16]
    assert result.b.unique().tolist() == [1]
    target = fine_targets(
        result, torch.tensor([0]), torch.tensor([5]), torch.tensor([5]), one
    )
    assert torch.isfinite(target.offset).all()
    assert not target.inside.any()


def test_one_way_is_not_enough():
    """Two cells of image 0 land on one of image 1: only the way back decides."""
    scene = by_hand((1, 0, 0))
    scene.depth[0][0, 0] = 0.5  # moves two cells: lands on cell 2 as cell 1 does
    expected = {(cell(x, y), cell(x + 1, y)) for x in range(3) for y in range(4)}
    assert pairs_of(scene.ours()) == expected - {(0, 1)}


def test_half_a_cell_rounds_to_the_even_one():
    """A shift by exactly half a cell: 0.5 goes to 0, 1.5 to 2, as torch rounds."""
    scene = by_hand((0.5, 0, 0))
    lands = {x: int(torch.tensor(x + 0.5).round()) for x in range(4)}
    comes = {x: int(torch.tensor(x - 0.5).round()) for x in range(4)}
    expected = {
        (cell(x, y), cell(to, y))
        for x, to in lands.items()
        for y in range(4)
        if to < 4 and comes[to] == x
    }
    assert pairs_of(scene.ours(torch.float64)) == expected


# --- the rule written out as loops, in float64 -------------------------------


def brute_force(scene: Scene) -> set[tuple[int, int]]:
    def lands(n: int, c: int) -> int | None:
        (_, w), (h1, w1) = scene.grid[n], scene.grid[1 - n]
        T = scene.T if n == 0 else np.linalg.inv(scene.T)
        if scene.mask is not None and not scene.mask[n].reshape(-1)[c]:
            return None
        x, y = 8 * (c % w) * scene.scale[n][0], 8 * (c // w) * scene.scale[n][1]
        z = scene.depth[n][round(y), round(x)]
        if not z > 0:
            return None
        p = T[:3, :3] @ (np.linalg.inv(scene.K[n]) @ [x, y, 1] * z) + T[:3, 3]
        if p[2] <= 0:
            return None
        u, v, _ = scene.K[1 - n] @ p / p[2]
        u, v = (
            round(u / (8 * scene.scale[1 - n][0])),
            round(v / (8 * scene.scale[1 - n][1])),
        )
        return v * w1 + u if 0 <= u < w1 and 0 <= v < h1 else None

    cells = range(scene.grid[0][0] * scene.grid[0][1])
    found = {(i, lands(0, i)) for i in cells}
    return {(i, j) for i, j in found if j is not None and lands(1, j) == i}


def made_up(seed: int) -> Scene:
    """Different sizes, scales and cameras; holes, padding, some points behind."""
    r = np.random.default_rng(seed)
    scale = r.uniform(0.8, 1.6, 2), r.uniform(0.8, 1.6, 2)
    grid = (6, 8), (9, 5)
    depth, mask, K = [], [], []
    for (h, w), s in zip(grid, scale, strict=True):
        d = np.full((int(8 * h * s[1]) + 2, int(8 * w * s[0]) + 2), 2.0)
        d += r.uniform(0, 0.05, d.shape)
        d[r.uniform(size=d.shape) < 0.15] = 0
        depth.append(d.astype(np.float32).astype(np.float64))
        m = np.ones((h, w), bool)
        m[h - 1] = False
        mask.append(m)
        f = 40 * s
        K.append(
            np.array([[f[0], 0, 4 * w * s[0]], [0, f[1], 4 * h * s[1]], [0, 0, 1]])
        )
    T = np.eye(4)
    T[:3, :3] = cv2.Rodrigues(r.normal(0, 0.1, 3))[0]
    T[:3, 3] = r.normal(0, 0.1, 3)
    if seed == 0:
        T[2, 3] = -2.01  # the nearer half of the points lies behind camera 1
    return Scene(f"made up {seed}", tuple(depth), tuple(K), T, grid, scale, tuple(mask))


@pytest.mark.parametrize("seed", range(4))
def test_equals_brute_force_in_float64(seed):
    scene = made_up(seed)
    result = scene.ours(torch.float64)
    assert pairs_of(result) == brute_force(scene)
    assert seed == 0 or len(result) >= 10


def test_a_batch_equals_its_pairs_one_by_one():
    """Same result whatever else is in the batch, with pair numbers in b."""
    r = np.random.default_rng(1)
    depth = torch.tensor(r.uniform(1, 2, (3, 40, 56)), dtype=torch.float32)
    T = torch.eye(4).repeat(3, 1, 1)
    T[:, 0, 3] = torch.tensor([0.0, 0.3, 40.0])
    K = torch.tensor(K4, dtype=torch.float32).repeat(3, 1, 1)
    scale = torch.tensor([[1.0, 1.0], [1.2, 1.1], [1.0, 1.2]])

    def run(rows):
        d = DepthMap.full(depth[rows])
        warp = DepthWarp(d, d, K[rows], K[rows], T[rows])
        return coarse_supervision(warp, (4, 5), (4, 5), scale[rows], scale[rows])

    whole = run(slice(0, 3))
    alone = [run(slice(n, n + 1)) for n in range(3)]
    assert whole.counts.tolist() == [len(a) for a in alone]
    assert whole.counts[2] == 0
    for n, one in enumerate(alone):
        mine = whole.b == n
        assert torch.equal(whole.i[mine], one.i)
        assert torch.equal(whole.j[mine], one.j)
    matrix = whole.matrix()
    assert matrix.shape == (3, 20, 20)
    assert torch.equal(torch.stack([whole.b, whole.i, whole.j], 1), matrix.nonzero())


def test_correspondences_supervise_the_cells_they_lie_on():
    """Two correspondences near cell corners, one far from any: two matches."""
    here = torch.tensor([[[16.0, 8.0], [25.0, 25.0], [12.0, 20.0]]])
    there = torch.tensor([[[8.0, 8.0], [9.0, 17.0], [20.0, 28.0]]])
    one = torch.ones(1, 2)
    warp = CorrespondenceWarp(here, there, radius=2.0)
    result = coarse_supervision(warp, (4, 4), (4, 4), one, one)
    assert pairs_of(result) == {(cell(2, 1), cell(1, 1)), (cell(3, 3), cell(1, 2))}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_gives_the_same_matches():
    for seed in range(4):
        scene = made_up(seed)
        on_gpu = scene.ours(torch.float64, "cuda")
        assert pairs_of(on_gpu) == pairs_of(scene.ours(torch.float64))


def test_autocast_does_not_change_matches():
    scene = made_up(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = pairs_of(scene.ours())
    assert low == pairs_of(scene.ours())


# --- fine targets -----------------------------------------------------------


def test_fine_targets_by_hand():
    """A shift by 9 px: one cell and 1 px, so 1/4 of the radius to the right."""
    scene = by_hand((9 / 8, 0, 0))
    result = scene.ours()
    target = fine_targets(result, result.b, result.i, result.j, torch.ones(1, 2))
    assert torch.allclose(target.offset, torch.tensor([0.25, 0.0]), atol=1e-6)
    assert target.inside.all()


def test_fine_targets_outside_the_window_are_left_out():
    """A match that the network predicts one cell off lies two radii away."""
    result = by_hand().ours()
    b, i = torch.zeros(3, dtype=torch.int64), torch.tensor([5, 5, 5])
    target = fine_targets(result, b, i, torch.tensor([5, 6, 9]), torch.ones(1, 2))
    assert target.offset.tolist() == [[0, 0], [-2, 0], [0, -2]]
    assert target.inside.tolist() == [True, False, False]


def test_an_offset_of_one_radius_is_left_out():
    H = torch.tensor([[[1.0, 0, 4], [0, 1, 0], [0, 0, 1]]])
    one = torch.ones(1, 2)
    result = coarse_supervision(HomographyWarp(H), (4, 4), (4, 4), one, one)
    c = torch.tensor([5])
    target = fine_targets(result, c * 0, c, c, one)
    assert target.offset.tolist() == [[1, 0]]
    assert not target.inside.any()


def test_fine_targets_count_input_pixels_and_leave_padding_out():
    """Image 1 was shrunk to a half and a quarter: 4 original px are 2 and 1."""
    H = torch.tensor([[[1.0, 0, 4], [0, 1, 4], [0, 0, 1]]])
    one, scale1 = torch.ones(1, 2), torch.tensor([[2.0, 4.0]])
    mask1 = torch.ones(1, 4, 4, dtype=torch.bool)
    mask1[..., 3] = False
    result = coarse_supervision(
        HomographyWarp(H), (4, 8), (4, 4), one, scale1, mask1=mask1
    )
    i, j = torch.tensor([2, 6]), torch.tensor([1, 3])  # pixel 16 to 20, 48 to 52
    target = fine_targets(result, i * 0, i, j, scale1)
    assert target.offset.tolist() == [[0.5, 0.25], [0, 0]]
    assert target.inside.tolist() == [True, False]


# --- kornia on real pairs ---------------------------------------------------


def read_depth_png(path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.float32) / 1000


def hololens(root, first: int, second: int, sizes) -> Scene:
    scene = root / "hololens" / "scene9000_00"
    K = np.loadtxt(scene / "intrinsic" / "intrinsic_depth.txt")[:3, :3]
    depth = [read_depth_png(scene / "depth" / f"{n}.png") for n in (first, second)]
    pose = [np.loadtxt(scene / "pose" / f"{n}.txt") for n in (first, second)]
    grid = tuple((h // 8, w // 8) for w, h in sizes)
    scale = tuple(
        np.array([d.shape[1] / w, d.shape[0] / h])
        for d, (w, h) in zip(depth, sizes, strict=True)
    )
    T = np.linalg.inv(pose[1]) @ pose[0]
    return Scene(f"hololens {first}-{second}", tuple(depth), (K, K), T, grid, scale)


def megadepth(name, depths, K, poses, sides) -> Scene:
    """Longer side resized, sides divisible by 8, padded to a square with a mask."""
    depth, grid, scale, mask = [], [], [], []
    for path, side in zip(depths, sides, strict=True):
        with h5py.File(path) as f:
            depth.append(np.asarray(f["depth"], np.float32))
        h, w = depth[-1].shape
        shrink = side / max(h, w)
        new_h, new_w = (int(round(s * shrink) // 8 * 8) for s in (h, w))
        padded = max(new_h, new_w) // 8
        grid.append((padded, padded))
        scale.append(np.array([w / new_w, h / new_h]))
        mask.append(np.zeros((padded, padded), bool))
        mask[-1][: new_h // 8, : new_w // 8] = True
    T = np.asarray(poses[1], np.float64) @ np.linalg.inv(poses[0])
    return Scene(
        name, tuple(depth), tuple(K), T, tuple(grid), tuple(scale), tuple(mask)
    )


def fountain(root, i: int, j: int, sides) -> Scene:
    index = np.load(root / "fountain/scene_info/fountain.npz", allow_pickle=True)
    pick = [root / "fountain" / index["depth_paths"][n] for n in (i, j)]
    K, poses = ([index[k][n] for n in (i, j)] for k in ("intrinsics", "poses"))
    return megadepth(f"fountain {i}-{j}", pick, K, poses, sides)


def genuine_megadepth(root, swap: bool, sides) -> Scene:
    folder = root / "megadepth_pair"
    index = np.load(folder / "sample.npz", allow_pickle=True)
    pair = list(index["pair_infos"][0][0])[:: -1 if swap else 1]
    names = [str(index["depth_paths"][n]).rsplit("/", 1)[-1] for n in pair]
    K, poses = ([index[k][n] for n in pair] for k in ("intrinsics", "poses"))
    return megadepth("megadepth", [folder / n for n in names], K, poses, sides)


def hololens_scenes(root):
    full, half, odd = (640, 480), (320, 240), (480, 352)
    for first, second, sizes in [
        (30, 31, (half, half)),
        (30, 32, (half, odd)),
        (3, 8, (odd, half)),
        (87, 97, (half, half)),
        (101, 121, (half, odd)),
        (50, 90, (half, half)),
        (30, 32, (full, full)),
    ]:
        yield hololens(root, first, second, sizes)


def fountain_scenes(root):
    for i, j, sides in [
        (0, 1, (320, 320)),
        (0, 3, (640, 320)),
        (2, 7, (320, 480)),
        (4, 5, (416, 320)),
        (1, 9, (320, 320)),
        (10, 0, (320, 256)),
    ]:
        yield fountain(root, i, j, sides)


def megadepth_scenes(root):
    for swap, sides in [
        (False, (640, 640)),
        (True, (640, 640)),
        (False, (320, 480)),
        (True, (320, 480)),
    ]:
        yield genuine_megadepth(root, swap, sides)


@dataclass
class Facts:
    """What float64 says about every cell corner of one image."""

    unknown: np.ndarray
    behind: np.ndarray
    padded: np.ndarray
    plain: np.ndarray  # cell where it lands, -1 outside
    divided: np.ndarray  # the same with kornia's z + 1e-4
    border: np.ndarray  # cells from there to where rounding changes


def facts(scene: Scene, n: int) -> Facts:
    (h, w), (h1, w1) = scene.grid[n], scene.grid[1 - n]
    T = scene.T if n == 0 else np.linalg.inv(scene.T)
    padded = np.zeros(h * w, bool)
    if scene.mask is not None:
        padded = ~scene.mask[n].reshape(-1)
    y, x = (a.reshape(-1) for a in np.mgrid[0:h, 0:w])
    # The corner is rounded in float32 on both sides, so it is here.
    s = scene.scale[n].astype(np.float32)
    px, py = (
        np.float32(8) * s[0] * x.astype("f4"),
        np.float32(8) * s[1] * y.astype("f4"),
    )
    px, py = np.where(padded, 0, px), np.where(padded, 0, py)
    z = pad_to_grid(scene, n)[np.rint(py).astype(int), np.rint(px).astype(int)]
    points = np.linalg.inv(scene.K[n]) @ np.stack([px, py, np.ones_like(px)]) * z
    points = T[:3, :3] @ points + T[:3, 3:]
    u, v, d = scene.K[1 - n] @ points

    def lands(denominator):
        with np.errstate(divide="ignore", invalid="ignore"):
            exact = np.stack([u, v]) / denominator / (8 * scene.scale[1 - n][:, None])
            cx, cy = np.rint(exact)
            border = np.abs(np.abs(exact - np.rint(exact)) - 0.5).min(axis=0)
        inside = (cx >= 0) & (cx < w1) & (cy >= 0) & (cy < h1)
        return np.where(inside, cy * w1 + cx, -1).astype(int), border

    (plain, border), (divided, other) = lands(d), lands(d + 1e-4)
    return Facts(z <= 0, d <= 0, padded, plain, divided, np.minimum(border, other))


def rule(f0: Facts, f1: Facts, how: str) -> set[tuple[int, int]]:
    """Mutual cells in float64, ours ("plain") or with kornia's division."""
    forth, back = getattr(f0, how), getattr(f1, how)
    good0 = ~(f0.unknown | f0.behind | f0.padded) & (forth >= 0)
    good1 = ~(f1.unknown | f1.behind | f1.padded)
    (i,) = np.nonzero(good0)
    j = forth[i]
    keep = good1[j] & (back[j] == i)
    return set(zip(i[keep].tolist(), j[keep].tolist(), strict=True))


def explain_extra(i: int, j: int, f0: Facts, f1: Facts) -> str:
    """Why the released rule has a match that ours has not."""
    if f0.padded[i] or f1.padded[j]:
        return "padded"
    if f0.unknown[i] or f1.unknown[j]:
        return "depth 0"
    if f0.behind[i] or f1.behind[j]:
        return "behind"
    if j == 0 and f0.divided[i] == -1:
        return "outside"
    return _by_rounding(i, j, f0, f1)


def explain_missing(i: int, j: int, f0: Facts, f1: Facts) -> str:
    """Why the released rule lacks a match that ours has."""
    if i == 0 and (i, j) in rule(f0, f1, "plain"):
        return "cell 0"
    return _by_rounding(i, j, f0, f1)


def _by_rounding(i: int, j: int, f0: Facts, f1: Facts) -> str:
    plain, divided = ((i, j) in rule(f0, f1, how) for how in ("plain", "divided"))
    if plain != divided:
        return "1e-4"
    on_border = min(f0.border[i], f1.border[j]) < 1e-4
    return "float32" if on_border else "unexplained"


def differences(scene: Scene) -> tuple[set, set, Counter]:
    """Our matches, kornia's, and the reasons for those that only one has."""
    ours, theirs = pairs_of(scene.ours()), kornia_pairs_of(scene.kornia())
    f0, f1 = facts(scene, 0), facts(scene, 1)
    why = Counter(explain_extra(*m, f0, f1) for m in theirs - ours)
    return (
        ours,
        theirs,
        why + Counter(explain_missing(*m, f0, f1) for m in ours - theirs),
    )


@pytest.mark.parametrize("scenes", [hololens_scenes, fountain_scenes, megadepth_scenes])
def test_equals_kornia_on_real_pairs_up_to_the_table(shared_data, scenes):
    total, matches, pairs = Counter(), Counter(), 0
    for scene in scenes(shared_data):
        ours, theirs, why = differences(scene)
        sizes = [f"{8 * w}x{8 * h}" for h, w in scene.grid]
        print(
            f"{scene.name:16} {sizes[0]:>8} to {sizes[1]:8} ours {len(ours):5} "
            f"kornia {len(theirs):5} both {len(ours & theirs):5} {dict(why)}"
        )
        assert len(ours) > 20, scene.name
        exact = rule(facts(scene, 0), facts(scene, 1), "plain")
        assert pairs_of(scene.ours(torch.float64)) == exact, scene.name
        total += why
        matches += Counter(ours=len(ours), both=len(ours & theirs))
        pairs += 1
    print(f"{pairs} pairs, {dict(matches)}, differences {dict(total)}")
    assert total["unexplained"] == 0
    # The explanations are edge cases: what both find is nearly all there is.
    assert matches["both"] > 0.97 * matches["ours"]


@pytest.mark.parametrize("scenes", [hololens_scenes, fountain_scenes, megadepth_scenes])
def test_fine_targets_equal_kornia_on_common_matches(shared_data, scenes):
    """Up to kornia's z + 1e-4: a share of 1e-4 / z of the pixel's coordinate."""
    for scene in scenes(shared_data):
        result, data = scene.ours(), scene.kornia()
        common = sorted(pairs_of(result) & kornia_pairs_of(data))
        i, j = torch.tensor(common).T
        b = torch.zeros_like(i)
        scale1 = torch.tensor(scene.scale[1], dtype=torch.float32)[None]
        ours = fine_targets(result, b, i, j, scale1)
        data.update(b_ids=b, i_ids=i, j_ids=j)
        compute_supervision_fine(data, KORNIA)
        theirs = data["expec_f_gt"]
        share = 1e-4 / shallowest(scene)
        pixel = result.warped0[0, i].abs() * share / (4 * scale1)
        assert ((ours.offset - theirs).abs() <= 2 * pixel + 2e-4).all(), scene.name
        clear = (theirs.abs() - 1).abs().min(dim=1).values > 2 * pixel.max() + 2e-4
        inside = (theirs.abs() < 1).all(dim=1)
        assert torch.equal(ours.inside[clear], inside[clear])


def shallowest(scene: Scene) -> float:
    """Least depth that camera 1 measures: where 1e-4 weighs most."""
    depth = scene.depth[1]
    return float(depth[depth > 0].min())


# --- what the readers sample at cell corners is all that supervision needs ------


def test_a_scannet_batch_equals_the_whole_depth_maps(shared_data, tmp_path):
    rows = [(30, 31), (87, 97)]
    index = tmp_path / "scene9000_00.npz"
    np.savez(index, name=[(9000, 0, *r) for r in rows], score=[0.5, 0.5])
    dataset = ScanNet(shared_data / "hololens", index, size=(480, 352))
    result = supervise(collate(list(dataset)))
    for n, (first, second) in enumerate(rows):
        whole = hololens(shared_data, first, second, ((480, 352), (480, 352))).ours()
        mine = result.b == n
        assert torch.equal(result.i[mine], whole.i)
        assert torch.equal(result.j[mine], whole.j)
    assert result.counts.min() > 300


def test_a_megadepth_batch_equals_the_whole_depth_maps(shared_data):
    root = shared_data / "fountain"
    dataset = MegaDepth(root, root / "scene_info" / "fountain.npz", size=320)
    rows = [0, 2, 25]
    result = supervise(collate([dataset[r] for r in rows]))
    assert result.mask0 is not None
    for n, row in enumerate(rows):
        i, j = (int(p.stem) for p in dataset.image_paths(row))
        whole = fountain(shared_data, i, j, (320, 320)).ours()
        mine = result.b == n
        assert torch.equal(result.i[mine], whole.i)
        assert torch.equal(result.j[mine], whole.j)
    assert result.counts.min() > 50
