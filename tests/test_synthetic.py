"""The ray-caster and the embedded data: geometry, files, determinism, refusals."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
import torch

from loftr_nb.datasets.layout import open_dataset
from loftr_nb.errors import DataError
from loftr_nb.geometry import DepthMap, DepthWarp
from loftr_nb.synthetic import MiniOptions, make_mini, mini, read_manifest, textures
from loftr_nb.synthetic.atlas import LEVELS, Atlas
from loftr_nb.synthetic.cameras import camera_path, intrinsics, look_at
from loftr_nb.synthetic.render import Camera, Hits, Lights, Scene, cast, locate, render
from loftr_nb.synthetic.rooms import Shot, motion, overlaps, shoot, spread
from loftr_nb.synthetic.scene import random_scene, room_lights
from loftr_nb.synthetic.shapes import FACES, Box, Cylinder, Skin, Sphere

TINY = MiniOptions(
    train_scenes=1,
    test_scenes=1,
    train_frames=6,
    test_frames=6,
    size=(96, 72),
    megadepth_train=1,
    megadepth_test=0,
    megadepth_images=6,
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A very small set, made by this process alone."""
    out = tmp_path_factory.mktemp("with space") / "mini"
    return make_mini(out, seed=3, workers=1, options=TINY)


@pytest.fixture(scope="module")
def room() -> tuple[Scene, list[Camera], Lights]:
    """A furnished room of the test photographs and eight cameras in it."""
    rng = np.random.default_rng(11)
    scene = random_scene(textures.load_photos("test"), rng)
    lens = intrinsics((96, 72), rng), (96, 72)
    return scene, camera_path(scene, [lens] * 8, rng), room_lights(scene, rng)


def warp_of(shot0: Shot, shot1: Shot, depth0: np.ndarray, depth1: np.ndarray):
    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.asarray(array, np.float64))[None]

    return DepthWarp(
        DepthMap.full(tensor(depth0)),
        DepthMap.full(tensor(depth1)),
        tensor(shot0.camera.K),
        tensor(shot1.camera.K),
        tensor(motion(shot0, shot1)),
    )


def pixels(size: tuple[int, int], step: int) -> torch.Tensor:
    w, h = size
    y, x = np.mgrid[:h:step, :w:step]
    return torch.from_numpy(np.stack([x.ravel(), y.ravel()], 1).astype(np.float64))[
        None
    ]


def surface_at(
    scene: Scene, camera: Camera, points: np.ndarray
) -> tuple[np.ndarray, Hits]:
    """The renderer's own answer at (N, 2) pixels: surface (N,) and coordinates."""
    rays = camera.rays(points[:, 0], points[:, 1])
    depth, surface = cast(scene, camera.center, rays)
    return surface, locate(scene, camera.center, rays, depth, surface)


# --- geometry -----------------------------------------------------------------


def test_warped_points_keep_their_surface_coordinates(room):
    """Depth, pose and K move a pixel to where the same texel is seen, to 0.05 px."""
    scene, cameras, lights = room
    shots = []
    for camera in cameras:
        depth = render(scene, camera, lights).depth
        shots.append(Shot(camera, np.zeros(1), depth, depth))
    worst, compared, kinds = 0.0, 0, set()
    for shot0, shot1 in zip(shots[:-1], shots[1:], strict=True):
        points0 = pixels(shot0.camera.size, 3)
        moved = warp_of(shot0, shot1, shot0.depth, shot1.depth).to1(points0)
        points1 = moved.points[0][moved.valid[0]].numpy()
        points0 = points0[0][moved.valid[0]].numpy()
        surface0, hits0 = surface_at(scene, shot0.camera, points0)
        surface1, hits1 = surface_at(scene, shot1.camera, points1)
        steps = [
            surface_at(scene, shot1.camera, points1 + step)[1].uv - hits1.uv
            for step in ([0.01, 0.0], [0.0, 0.01])
        ]
        texels = np.stack(steps, axis=2).transpose(1, 0, 2) / 0.01
        # Another surface means that the point is hidden; so does the far side of
        # the same ball. At a crease the step to the right leaves the face.
        toward = shot1.camera.center[:, None] - hits0.points
        front = (toward * hits0.normal).sum(0) > 0
        same = (surface0 == surface1) & front & (np.abs(np.linalg.det(texels)) > 1e-3)
        apart = (hits1.uv - hits0.uv).T[same]
        off = np.linalg.solve(texels[same], apart[..., None])
        worst = max(worst, np.abs(off).max(initial=0))
        compared += len(off)
        kinds |= {type(scene.shapes[s // FACES]) for s in surface0[same]}
    assert compared > 1000
    assert kinds >= {Box, Sphere} or kinds >= {Box, Cylinder}
    assert worst < 0.05


def test_quantised_files_cost_no_more_than_half_a_millimetre(tiny):
    """What png, txt and npz hold moves points as far as 0.5 mm of depth does."""
    job = TINY.jobs(3)[0]
    shots = shoot(job)
    folder = tiny / "scannet" / "train" / "scene0000_00"
    K = np.load(tiny / "scannet" / "index" / "intrinsics.npz")["scene0000_00"]
    read = []
    for n, shot in enumerate(shots):
        depth = cv2.imread(str(folder / "depth" / f"{n * 10}.png"), -1) / 1000
        pose = np.loadtxt(folder / "pose" / f"{n * 10}.txt")
        read.append(replace(shot, camera=Camera(K.reshape(3, 3), pose, (96, 72))))
        assert np.abs(depth - shot.sensed).max() <= 0.0005 + 1e-12
        read[-1] = replace(read[-1], sensed=depth)
    cost, allowed = [], []
    for i, j in ((0, 1), (1, 3), (5, 2)):
        points = pixels((96, 72), 2)
        exact = warp_of(shots[i], shots[j], shots[i].sensed, shots[j].sensed)
        files = warp_of(read[i], read[j], read[i].sensed, read[j].sensed)
        here, there = exact.to1(points), files.to1(points)
        assert torch.equal(here.valid, there.valid)
        bound = torch.zeros_like(here.points)
        for shift in (-0.000501, 0.000501):
            z = np.where(shots[i].sensed > 0, shots[i].sensed + shift, 0)
            moved = warp_of(shots[i], shots[j], z, z).to1(points).points
            bound = torch.maximum(bound, (moved - here.points).abs())
        good = here.valid
        cost.append((there.points - here.points).abs()[good])
        allowed.append(bound[good] + 1e-6)
    cost, allowed = torch.cat(cost), torch.cat(allowed)
    assert len(cost) > 500
    assert (cost <= allowed).all()
    # At this size (f = 83 px) half a millimetre is far under a hundredth of a pixel,
    # but for the few points that pass close by the other camera.
    assert cost.median() < 0.002
    assert cost.quantile(0.99) < 0.02


def plain(density: float = 50.0) -> tuple[Skin, ...]:
    return (Skin(0, density, np.zeros((FACES, 2))),)


def test_depth_and_occlusion_of_two_planes():
    """A small plane 2 m away hides a part of a wall 5 m away, to the pixel."""
    texture = np.full((16, 16, 3), 128, np.uint8)
    walls = Box(np.zeros(3), np.array([10.0, 5.0, 10.0]), 0.0, plain(), inside=True)
    panel = Box(np.array([0.0, 2.5, 0.0]), np.array([0.4, 0.5, 0.3]), 0.0, plain())
    K = np.array([[100.0, 0, 40], [0, 100, 30], [0, 0, 1]])
    pose = look_at(np.zeros(3), np.array([0.0, 1.0, 0.0]), roll=0.0)
    camera = Camera(K, pose, (81, 61))
    lights = Lights(np.ones(3), np.zeros((0, 3)), np.zeros((0, 3)))
    frame = render(Scene((walls, panel), Atlas([texture])), camera, lights)
    # The panel spans +-0.4 m x +-0.3 m at z = 2: +-20 px and +-15 px.
    y, x = np.mgrid[-30:31, -40:41]
    inside = (np.abs(x) < 20) & (np.abs(y) < 15)
    border = ((np.abs(x) == 20) & (np.abs(y) <= 15)) | (
        (np.abs(y) == 15) & (np.abs(x) <= 20)
    )
    np.testing.assert_allclose(frame.depth[inside], 2.0, atol=1e-12)
    np.testing.assert_allclose(frame.depth[~inside & ~border], 5.0, atol=1e-12)


@pytest.mark.parametrize(
    "shape",
    [
        Sphere(np.array([0.1, 3.0, 0.2]), 0.7, plain()),
        Cylinder(np.array([0.1, 3.0, -0.9]), 0.5, 0.6, plain()),
        Box(np.array([0.1, 3.0, 0.2]), np.array([0.6, 0.4, 0.5]), 0.7, plain()),
    ],
    ids=["sphere", "cylinder", "box"],
)
def test_hits_agree_with_marching_along_the_ray(shape):
    """The first hit is where a ray, followed in small steps, first is inside."""
    x, z = np.meshgrid(np.linspace(-0.35, 0.35, 15), np.linspace(-0.6, 0.35, 15))
    rays = np.stack([x.ravel(), np.ones(x.size), z.ravel()])
    t = np.arange(1.5, 4.5, 0.002)
    at = t[:, None, None] * rays - shape.center[:, None]
    if isinstance(shape, Sphere):
        inside = (at**2).sum(1) < shape.size**2
    elif isinstance(shape, Cylinder):
        inside = (at[:, 0] ** 2 + at[:, 1] ** 2 < shape.size**2) & (
            np.abs(at[:, 2]) < shape.half_height
        )
    else:
        local = np.einsum("ij,tjn->tin", shape.axes, at)
        inside = (np.abs(local) < shape.half[:, None]).all(1)
    expected = np.where(inside.any(0), t[inside.argmax(0)], np.inf)
    depth, face = shape.hit(np.zeros(3), rays)
    # A ray that only grazes may slip between two steps.
    sure = inside.sum(0) != 0
    assert sure.sum() > 20
    assert (~np.isfinite(depth)).sum() > 20
    np.testing.assert_allclose(depth[sure], expected[sure], atol=0.0021)
    points = depth[sure] * rays[:, sure]
    _, first, second, normal = shape.locate(points, face[sure])
    np.testing.assert_allclose((normal**2).sum(0), 1, atol=1e-9)
    for tangent in (first, second):
        np.testing.assert_allclose((normal * tangent).sum(0), 0, atol=1e-9)
    assert ((normal * rays[:, sure]).sum(0) < 0).all()


# --- colour -------------------------------------------------------------------


def test_lookup_is_bilinear_in_the_mirrored_texture():
    """Level 0 equals OpenCV's bilinear remap of a mirrored copy."""
    rng = np.random.default_rng(11)
    texture = rng.integers(0, 256, (16, 32, 3), dtype=np.uint8)
    u, v = rng.uniform(-30, 60, (2, 200))
    ours = Atlas([texture]).sample(np.zeros(200, int), u, v, np.zeros(200))
    padded = np.pad(texture, ((64, 64), (64, 64), (0, 0)), mode="symmetric")
    theirs = cv2.remap(
        padded.astype(np.float32),
        (u + 64).astype(np.float32)[None],
        (v + 64).astype(np.float32)[None],
        cv2.INTER_LINEAR,
    )
    # remap rounds positions to 1/32 px.
    np.testing.assert_allclose(ours, theirs[0] / 255, atol=0.05)
    assert np.abs(ours - theirs[0] / 255).mean() < 0.01


def test_last_mip_level_is_the_mean():
    rng = np.random.default_rng(11)
    texture = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    color = Atlas([texture]).sample(
        np.zeros(1, int), np.zeros(1), np.zeros(1), np.full(1, LEVELS - 1)
    )
    np.testing.assert_allclose(color[0] * 255, texture.mean((0, 1)), atol=2)


def test_colour_is_filtered_over_the_pixel(room):
    """A small picture looks like a large one averaged: no aliasing, little blur."""
    scene, cameras, _ = room
    lights = Lights(np.ones(3), np.zeros((0, 3)), np.zeros((0, 3)))
    ours, truth, point = [], [], []
    for camera in cameras[:2]:
        small = np.diag([0.5, 0.5, 1]) @ camera.K
        picture = render(scene, Camera(small, camera.pose, (48, 36)), lights)
        # Pixel x of the small picture covers x - 1/2 to x + 1/2: 12 rays of the
        # large one, whose pixel 0 then lies at -11/24.
        large = np.diag([12.0, 12.0, 1]) @ small
        large[:2, 2] += 5.5
        fine = render(scene, Camera(large, camera.pose, (576, 432)), lights).color
        ours.append(picture.color)
        truth.append(fine.reshape(36, 12, 48, 12, 3).mean((1, 3)))
        point.append(fine[6::12, 6::12])
    ours, truth, point = (np.stack(a) for a in (ours, truth, point))
    error, aliased = np.abs(ours - truth).mean(), np.abs(point - truth).mean()
    assert error < 0.7 * aliased
    # Contrast of fine detail is kept, not blurred away.
    detail = [np.diff(a, axis=2).std() for a in (ours, truth)]
    assert 0.75 < detail[0] / detail[1] < 1.15


# --- photographs --------------------------------------------------------------


def test_training_and_test_scenes_share_no_photograph(monkeypatch):
    """Watches which photographs are opened when scenes of a split are shot."""
    opened: dict[str, set[str]] = {"train": set(), "test": set()}
    names = set(textures.TRAIN_PHOTOS) | set(textures.TEST_PHOTOS)
    for split in opened:
        for name in names:
            load = getattr(skimage.data, name)

            def watched(name=name, load=load, split=split):
                opened[split].add(name)
                return load()

            monkeypatch.setattr(skimage.data, name, watched)
        textures.load_photos.cache_clear()
        small = replace(TINY, train_frames=2, test_frames=2)
        shoot(next(j for j in small.jobs(0) if j.split == split))
        monkeypatch.undo()
    assert opened["train"] == set(textures.TRAIN_PHOTOS)
    assert opened["test"] == set(textures.TEST_PHOTOS)
    assert not opened["train"] & opened["test"]


def test_photographs_differ_as_pictures():
    """No test photograph is a training one under another name."""
    small = {
        split: [
            cv2.resize(p, (32, 32), interpolation=cv2.INTER_AREA).astype(float)
            for p in textures.load_photos(split)
        ]
        for split in ("train", "test")
    }
    for a in small["train"]:
        for b in small["test"]:
            assert np.corrcoef(a.ravel(), b.ravel())[0, 1] < 0.9


# --- files --------------------------------------------------------------------


def test_written_scannet_reads_back(tiny):
    """The reader finds every pair; score, depth and motion are the renderer's."""
    shots = shoot(TINY.jobs(3)[0])
    frames, score = overlaps(shots)
    known = {(i * 10, j * 10): s for (i, j), s in zip(frames, score, strict=True)}
    data = open_dataset(tiny, "train", layout="scannet", size=(96, 72))
    manifest = read_manifest(tiny)
    assert len(data) == manifest["counts"]["scannet/train"]["pairs"] > 5
    assert list(data.scenes) == ["scene0000_00"]
    for i in range(4):
        pair = data[i]
        ids = [int(Path(view.name).stem) for view in (pair.view0, pair.view1)]
        shot0, shot1 = (shots[n // 10] for n in ids)
        assert pair.overlap == pytest.approx(known[tuple(ids)], abs=1e-6)
        assert pair.view0.image.shape == (1, 72, 96)
        np.testing.assert_allclose(pair.T_0to1, motion(shot0, shot1), atol=1e-6)
        np.testing.assert_allclose(pair.view0.K, shot0.camera.K, rtol=1e-6)
        depth0, depth1 = data.full_depth(i)
        np.testing.assert_allclose(depth0, shot0.sensed, atol=5.1e-4)
        np.testing.assert_allclose(depth1, shot1.sensed, atol=5.1e-4)


def test_written_megadepth_reads_back(tiny):
    """World-to-camera poses and h5 depth agree: points land on their own depth."""
    data = open_dataset(tiny, "train", layout="megadepth", size=96)
    assert len(data) == read_manifest(tiny)["counts"]["megadepth/train"]["pairs"] > 2
    shapes, agree = set(), []
    for i in range(len(data)):
        pair, (depth0, depth1) = data[i], data.full_depth(i)
        shapes |= {depth0.shape, depth1.shape}
        y, x = np.nonzero(depth0)
        rays = np.linalg.inv(pair.view0.K.numpy()) @ np.stack([x, y, np.ones_like(x)])
        T = pair.T_0to1.numpy()
        points = T[:3, :3] @ (rays * depth0[y, x]) + T[:3, 3:]
        u, v, w = pair.view1.K.numpy() @ points
        u, v = np.rint(u / w), np.rint(v / w)
        h, width = depth1.shape
        inside = (w > 0) & (u >= 0) & (u < width) & (v >= 0) & (v < h)
        seen = depth1[v[inside].astype(int), u[inside].astype(int)]
        agree.append((np.abs(seen - w[inside]) < 0.03 * w[inside]).mean())
    assert len({h > w for h, w in shapes}) == 2, "both orientations"
    assert np.mean(agree) > 0.4


def test_layouts_are_the_real_ones(tiny):
    """File types, names and keys as the released archives have them."""
    scene = tiny / "scannet" / "test" / "scene0700_00"
    depth = cv2.imread(str(scene / "depth" / "0.png"), cv2.IMREAD_UNCHANGED)
    assert depth.dtype == np.uint16
    assert 0.5 < (depth > 0).mean() < 1.0, "some places without depth"
    assert np.loadtxt(scene / "pose" / "10.txt").shape == (4, 4)
    index = np.load(tiny / "scannet" / "index" / "test" / "scene0700_00.npz")
    assert index["name"].dtype == np.uint16
    assert index["name"].shape == (len(index["score"]), 4)
    assert (index["name"][:, :2] == [700, 0]).all()
    assert ((index["score"] >= 0.2) & (index["score"] <= 0.8)).all()
    listed = (tiny / "scannet" / "index" / "test.txt").read_text().split()
    assert listed == ["scene0700_00.npz"]
    path = tiny / "megadepth" / "index" / "train" / "0000_0.1_0.7.npz"
    info = np.load(path, allow_pickle=True)
    assert set(info.files) == {
        "image_paths",
        "depth_paths",
        "intrinsics",
        "poses",
        "pair_infos",
    }
    assert any(pose is None for pose in info["poses"])
    (i, j), overlap, central = info["pair_infos"][0]
    assert 0.1 <= overlap <= 0.7
    assert central.shape == (4,)
    for slot in (i, j):
        assert (tiny / "megadepth" / "train" / info["image_paths"][slot]).is_file()
        assert (tiny / "megadepth" / "train" / info["depth_paths"][slot]).is_file()


def test_spread_is_even_where_there_is_enough():
    score = np.repeat([0.1, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.9], 50)
    keep = spread(score, 24, np.random.default_rng(0))
    values, counts = np.unique(score[keep], return_counts=True)
    assert values.tolist() == [0.25, 0.35, 0.45, 0.55, 0.65, 0.75]
    assert counts.tolist() == [4] * 6


# --- the whole set ------------------------------------------------------------


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(root)): p.read_bytes()
        for p in sorted(root.rglob("*"))
        if p.is_file()
    }


def test_bytes_depend_on_the_seed_alone(tmp_path):
    """Two processes write what one writes; another seed writes something else."""
    small = MiniOptions(1, 0, 2, 0, (48, 36), 1, 0, 3)
    one = make_mini(tmp_path / "one", seed=3, workers=1, options=small)
    two = make_mini(tmp_path / "two", seed=3, workers=2, options=small)
    assert contents(two) == contents(one)
    less = replace(small, megadepth_train=0)
    other = make_mini(tmp_path / "other", seed=4, workers=1, options=less)
    name = "scannet/train/scene0000_00/color/0.jpg"
    assert (other / name).read_bytes() != (one / name).read_bytes()


ONE = MiniOptions(1, 0, 2, 0, (48, 36), 0, 0, 0)


def test_complete_set_is_reused_and_damaged_one_is_not(tmp_path):
    out, calls = tmp_path / "mini", []
    for _ in range(2):
        make_mini(out, 0, lambda *a: calls.append(a), 1, ONE)
    assert [c[:2] for c in calls] == [(1, 1)]
    before = contents(out)
    (out / "scannet" / "train" / "scene0000_00" / "depth" / "10.png").unlink()
    make_mini(out, 0, workers=1, options=ONE)
    assert contents(out) == before
    manifest = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps(manifest | {"version": 0}))
    make_mini(out, 0, workers=1, options=ONE)
    assert contents(out) == before
    assert [p.name for p in tmp_path.iterdir()] == ["mini"]


def test_interrupted_run_leaves_nothing(tmp_path):
    def stop(done: int, total: int, text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_mini(tmp_path / "mini", 0, stop, 1, ONE)
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_a_killed_run_are_cleared(tmp_path):
    killed = tmp_path / ".mini.partial-999999999-abc"
    killed.mkdir()
    (killed / "part.jpg").write_bytes(b"x")
    make_mini(tmp_path / "mini", 0, workers=1, options=ONE)
    assert [p.name for p in tmp_path.iterdir()] == ["mini"]


def test_foreign_folder_is_refused(tmp_path):
    out = tmp_path / "mini"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match=r"mini exists .* another folder"):
        make_mini(out, workers=1, options=ONE)
    assert (out / "thesis.txt").read_text() == "years of work"
    shutil.rmtree(out)
    out.write_text("a file")
    with pytest.raises(DataError, match="mini exists"):
        make_mini(out, workers=1, options=ONE)


def test_full_disk_is_told_before_any_work(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=5_000_000)
    monkeypatch.setattr(mini.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DataError, match=r"has 5 MB free and .* needs \d+ MB"):
        make_mini(tmp_path / "mini", workers=1, options=ONE)
    assert list(tmp_path.iterdir()) == []
