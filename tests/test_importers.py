"""Imports of 7-Scenes, TUM and COLMAP, against geometry that is known."""

from __future__ import annotations

import json

import cv2
import h5py
import numpy as np
import pytest
from colmap_model import write_cameras, write_depth_map, write_images
from scipy.spatial.transform import Rotation
from test_recordings_raw import save_png, seven_scenes, some_pose, trajectory, tum

from loftr_nb.cli.main import main
from loftr_nb.datasets import MegaDepth, collate
from loftr_nb.errors import ConfigError, DataError
from loftr_nb.files import safe_load
from loftr_nb.recordings import find_recording
from loftr_nb.setup.importers import (
    Rig,
    documented_rig,
    import_colmap,
    import_sevenscenes,
    import_tum,
    register_depth,
)
from loftr_nb.setup.importers import calibrate as calibrate_function
from loftr_nb.supervision import supervise

SIZE = (160, 120)


def camera(focal: float) -> np.ndarray:
    return np.array([[focal, 0, 80.0], [0, focal, 60.0], [0, 0, 1]])


def small_rig(offset=-0.025) -> Rig:
    T = np.eye(4)
    T[:3, :3] = Rotation.from_rotvec([0.01, -0.02, 0.005]).as_matrix()
    T[:3, 3] = offset, 0.001, 0.002
    return Rig(camera(146.0), camera(131.0), T, SIZE)


def plane_depth(K: np.ndarray, normal: np.ndarray, distance: float) -> np.ndarray:
    """Depth of the plane normal . X = distance, seen by a camera, in float64."""
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    rays = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(K).T
    return distance / (rays @ normal)


# registration


def test_a_slanted_plane_is_registered_to_where_it_is():
    rig = small_rig()
    normal = np.array([0.3, -0.2, 1.0])
    registered = register_depth(plane_depth(rig.K_depth, normal, 2.0), rig)
    # The same plane in the colour camera's frame: X_d = R^T (X_c - t).
    R, t = rig.T_depth_to_colour[:3, :3], rig.T_depth_to_colour[:3, 3]
    turned = R @ normal
    expected = plane_depth(rig.K_colour, turned, 2.0 + turned @ t)
    known = registered > 0
    assert known[8:-8, 8:-16].mean() > 0.99
    # A point falls up to half a pixel from the pixel's centre; the slope does the rest.
    slope = np.abs(np.gradient(expected)).sum(0)
    assert (np.abs(registered - expected) <= 0.6 * slope + 1e-4)[known].all()


def test_the_nearer_surface_hides_the_other():
    rig = small_rig(offset=-0.3)
    depth = np.full(SIZE[::-1], 3.0, np.float32)
    depth[40:80, 60:100] = 1.0  # a box in front of a wall
    registered = register_depth(depth, rig)
    assert set(np.unique(np.round(registered, 0))) <= {0, 1, 3}
    # The box moves by 131 * 0.3 pixels, the wall by a third of that.
    y, x = np.nonzero(np.abs(registered - 1) < 0.1)
    box = (rig.K_colour @ (rig.T_depth_to_colour[:3, :3] @ [0, 0, 1.0] + [-0.3, 0, 0]))[
        :2
    ]
    assert abs(np.median(x) - box[0]) < 2 and abs(np.median(y) - box[1]) < 2
    # Behind the box is a strip that the depth camera never saw: unknown, not wall.
    right = registered[60, x.max() + 3 : x.max() + 12]
    assert (right == 0).mean() > 0.8


def test_cracks_are_closed_and_holes_are_not():
    rig = Rig(camera(100.0), camera(140.0), np.eye(4), SIZE)  # 1.4 pixels apart
    depth = np.full(SIZE[::-1], 2.0, np.float32)
    depth[50:60, 70:80] = 0
    registered = register_depth(depth, rig)
    assert (registered[5:30, 5:-5] > 0).all()
    assert (registered[50:58, 70:78] == 0).all()


def test_depth_of_nothing_and_behind():
    rig = small_rig()
    assert not register_depth(np.zeros(SIZE[::-1], np.float32), rig).any()
    T = np.diag([1.0, -1, -1, 1])  # the colour camera looks the other way
    away = Rig(rig.K_depth, rig.K_colour, T, SIZE)
    assert not register_depth(np.full(SIZE[::-1], 2.0, np.float32), away).any()


# 7-Scenes


def test_seven_scenes_pose_is_the_colour_camera(tmp_path):
    seven_scenes(tmp_path / "chess/seq-01", frames=2)
    seven_scenes(tmp_path / "chess/seq-02", frames=1)
    seven_scenes(tmp_path / "fire/seq-01", frames=1)
    rig = Rig(camera(40.0), camera(36.0), small_rig().T_depth_to_colour, (64, 48))
    out = tmp_path / "out"
    report = import_sevenscenes(tmp_path, out, rig=rig, fit=False)
    # Sequences of one room share their number.
    assert report.scenes == ("scene7000_00", "scene7000_01", "scene7001_00")
    scene = find_recording(out).scene("scene7000_00")
    expected = rig.T_depth_to_colour @ np.linalg.inv(some_pose(1))
    assert np.allclose(scene.world_to_camera(1), expected, atol=1e-6)
    assert np.allclose(scene.K(0), rig.K_colour)
    again = import_sevenscenes(tmp_path, out, rig=rig, fit=False)
    assert (again.written, again.kept) == (0, 4)


def test_seven_scenes_leaves_out_what_cannot_be_used(tmp_path):
    seven_scenes(tmp_path / "chess/seq-01", frames=3)
    (tmp_path / "chess/seq-01/frame-000001.depth.png").write_bytes(b"\x89PNG")
    report = import_sevenscenes(tmp_path / "chess", tmp_path / "out", fit=False)
    assert report.written == 2 and sum(report.without.values()) == 1
    assert "frame-000001.depth.png" in " ".join(report.notes)
    with pytest.raises(ConfigError, match="sceneXXXX|names are like"):
        import_sevenscenes(tmp_path / "chess", tmp_path / "o2", scene="x", fit=False)


def test_real_red_kitchen_is_registered(shared_data, tmp_path, monkeypatch):
    """Points land 3 px from where they are, 12 px as published.

    The correspondences come from the images alone. A fifth of the frames, no fit.
    """
    monkeypatch.setattr("os.fsync", lambda _: None)
    raw, out = shared_data / "redkitchen_raw", tmp_path / "out"
    import_sevenscenes(raw, out, every=2, fit=False)
    errors = []
    for recording in (find_recording(raw), find_recording(out)):
        (scene,) = recording.scenes
        step = 2 if recording.layout == "sevenscenes" else 1
        errors.append(
            [warp_error(scene, k * step, (k + 1) * step) for k in (0, 2, 8, 9)]
        )
    before, after = np.median(errors, axis=1)
    assert after < 3.5 and after < before / 2.5


def warp_error(scene, i: int, j: int) -> float:
    from loftr_nb.setup.geometry.correspond import correspond, detect

    p, q = correspond(detect(scene.image(i)), detect(scene.image(j)))
    x, y = np.rint(p).astype(int).T
    z = scene.depth(i)[y, x]
    p, q, z = p[z > 0], q[z > 0], z[z > 0]
    K = scene.K(i)
    T = scene.world_to_camera(j) @ np.linalg.inv(scene.world_to_camera(i))
    here = np.linalg.inv(K) @ np.hstack([p, np.ones((len(p), 1))]).T * z
    u, v, w = K @ (T[:3, :3] @ here + T[:3, 3:])
    return float(np.median(np.hypot(u / w - q[:, 0], v / w - q[:, 1])))


def test_calibration_finds_a_turn_that_it_was_not_told(tmp_path):
    """A textured, bumpy wall rendered for both cameras, the rig off by 1.5 degrees."""
    rig = small_rig()
    bumps = cv2.GaussianBlur(
        np.random.default_rng(0).normal(size=(400, 400)), (0, 0), 25
    )
    bumps = 0.2 * bumps / np.abs(bumps).max()
    texture = cv2.GaussianBlur(
        np.random.default_rng(1).uniform(0, 255, (400, 400)), (0, 0), 1.2
    )
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX)

    def render(K: np.ndarray, to_world: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Depth and grey of the wall z = 2 + bumps(x, y), 100 texels to the metre."""
        y, x = np.mgrid[: SIZE[1], : SIZE[0]]
        rays = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(K).T
        rays = rays @ to_world[:3, :3].T
        z = np.full(x.shape, 2.0)
        for _ in range(12):
            far = (z - to_world[2, 3]) / rays[..., 2]
            at = to_world[:3, 3] + rays * far[..., None]
            uv = (at[..., :2] * 100 + 200).astype(np.float32)
            z = 2 + cv2.remap(bumps, uv[..., 0], uv[..., 1], cv2.INTER_LINEAR)
        grey = cv2.remap(texture, uv[..., 0], uv[..., 1], cv2.INTER_LINEAR)
        return far, grey.clip(0, 255).astype(np.uint8)

    folder = tmp_path / "seq-01"
    rng = np.random.default_rng(2)
    for n in range(8):
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_rotvec(rng.normal(0, 0.08, 3)).as_matrix()
        pose[:3, 3] = rng.normal(0, 0.12, 3)
        colour = pose @ np.linalg.inv(rig.T_depth_to_colour)
        stem = folder / f"frame-{10 * n:06d}"
        depth, _ = render(rig.K_depth, pose)
        _, grey = render(rig.K_colour, colour)
        save_png(
            stem.with_suffix(".depth.png"), np.rint(1000 * depth).astype(np.uint16)
        )
        save_png(stem.with_suffix(".color.png"), grey)
        np.savetxt(stem.with_suffix(".pose.txt"), pose)
    wrong = rig.T_depth_to_colour.copy()
    wrong[:3, :3] = Rotation.from_rotvec([0.01, 0.025, 0]).as_matrix() @ wrong[:3, :3]
    start = Rig(rig.K_depth, rig.K_colour, wrong, SIZE)
    from loftr_nb.recordings import sevenscenes

    (scene,) = sevenscenes.find_sevenscenes(folder).scenes
    result = calibrate_function([scene], start)
    assert result.fitted and result.after < 0.5 * result.before
    left = result.rig.T_depth_to_colour[:3, :3] @ rig.T_depth_to_colour[:3, :3].T
    assert np.degrees(Rotation.from_matrix(left).magnitude()) < 0.25  # of 1.5


def test_documented_rig_is_a_rigid_motion():
    T = documented_rig().T_depth_to_colour
    assert np.allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-6)
    assert np.linalg.norm(T[:3, 3]) == pytest.approx(0.0256, abs=1e-4)


# TUM


def test_tum_becomes_a_scannet_scene(tmp_path):
    truth = trajectory((10.0, 0, 0), (10.01, 1, 10), (10.02, 2, 20))
    tum(tmp_path / "fr2", [10.0, 10.005, 10.02], [(10.0, 5000), (10.02, 7502)], truth)
    report = import_tum(tmp_path / "fr2", tmp_path / "out", scene="scene0042_00")
    assert report.written == 3
    (scene,) = find_recording(tmp_path / "out").scenes
    assert scene.name == "scene0042_00" and scene.frames == ["0", "1", "2"]
    assert scene.depth(0)[0, 0] == 1 and scene.depth(2)[0, 0] == np.float32(1.5)
    pose = np.linalg.inv(scene.world_to_camera(1))
    assert pose[0, 3] == pytest.approx(0.5, abs=1e-6)
    assert scene.K(0)[0, 0] == 520.9


def test_real_tum_from_the_shell(shared_data, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["data", "import", "tum", str(shared_data / "tum_fr1_desk")]
    assert main([*command, "--out", str(out), "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["planned"] and plan["frames"] == 9 and not out.exists()
    assert main([*command, "--out", str(out), "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done["written"] == 9 and done["size"] == pytest.approx(plan["size"], rel=0.1)
    (raw,) = find_recording(shared_data / "tum_fr1_desk").scenes
    (scene,) = find_recording(out).scenes
    for k in (0, 8):
        assert np.abs(scene.depth(k) - raw.depth(k)).max() <= 0.00051
        assert np.allclose(scene.world_to_camera(k), raw.world_to_camera(k), atol=1e-9)


# COLMAP


def fountain_as_colmap(shared, folder, binary: bool, frames: int = 4) -> dict:
    """The fountain's photos, poses and depth as COLMAP would have left them."""
    info = dict(np.load(shared / "fountain/scene_info/fountain.npz", allow_pickle=True))
    cameras, images = [], []
    for k in range(frames):
        path = shared / "fountain" / info["image_paths"][k]
        K, name = info["intrinsics"][k], path.name
        # COLMAP's first pixel has its centre at (0.5, 0.5).
        numbers = (K[0, 0], K[1, 1], K[0, 2] + 0.5, K[1, 2] + 0.5)
        cameras.append((k + 1, "PINHOLE", 768, 512, numbers))
        images.append((k + 1, info["poses"][k], k + 1, name))
        (folder / "images").mkdir(parents=True, exist_ok=True)
        (folder / "images" / name).write_bytes(path.read_bytes())
        with h5py.File(shared / "fountain" / info["depth_paths"][k]) as file:
            depth = file["depth"][()]
        write_depth_map(folder / f"stereo/depth_maps/{name}.geometric.bin", depth)
    write_cameras(folder / "sparse", cameras, binary)
    write_images(folder / "sparse", images, binary)
    return info


@pytest.mark.parametrize("binary", [True, False])
def test_the_fountain_through_colmap_gives_the_same_supervision(
    shared_data, tmp_path, binary
):
    info = fountain_as_colmap(shared_data, tmp_path / "dense", binary)
    out = tmp_path / "out"
    report = import_colmap(tmp_path / "dense", out, scene="castle")
    assert report.written == 4 and report.scenes == ("castle",)
    mine = dict(np.load(out / "scene_info/castle.npz", allow_pickle=True))
    for k in range(4):
        assert np.allclose(mine["poses"][k], info["poses"][k], atol=1e-6)
        assert np.allclose(mine["intrinsics"][k], info["intrinsics"][k], atol=1e-9)
        image = shared_data / "fountain" / info["image_paths"][k]
        assert (out / mine["image_paths"][k]).read_bytes() == image.read_bytes()
    # The same pairs in both trees, and the same matches.
    columns = {
        k: mine[k] for k in ("image_paths", "depth_paths", "intrinsics", "poses")
    }
    pairs = np.array([[0, 1], [0, 3]])
    np.savez(tmp_path / "mine.npz", **columns, pairs=pairs)
    theirs = {k: info[k] for k in columns}
    np.savez(tmp_path / "theirs.npz", **theirs, pairs=pairs)
    one = MegaDepth(out, tmp_path / "mine.npz", size=320)
    two = MegaDepth(shared_data / "fountain", tmp_path / "theirs.npz", size=320)
    for i in range(2):
        a, b = (supervise(collate([d[i]])) for d in (one, two))
        first = set(zip(a.i.tolist(), a.j.tolist(), strict=True))
        second = set(zip(b.i.tolist(), b.j.tolist(), strict=True))
        assert len(first) > 100 and first == second


def small_colmap(folder, size=(64, 48), depth_size=None, model="PINHOLE") -> None:
    numbers = (60.0, 61.0, 32.5, 24.5)
    write_cameras(folder / "sparse", [(1, model, *size, numbers)], binary=True)
    images = [
        (n, some_pose(n), 1, name) for n, name in enumerate(["a.png", "s/b.png"], 1)
    ]
    write_images(folder / "sparse", images, binary=True)
    for _, _, _, name in images:
        save_png(folder / "images" / name, np.zeros((*size[::-1], 3), np.uint8))
        w, h = depth_size or size
        depth = np.full((h, w), 2, np.float32)
        write_depth_map(folder / f"stereo/depth_maps/{name}.geometric.bin", depth)


def test_smaller_depth_maps_make_smaller_images(tmp_path):
    small_colmap(tmp_path / "dense", depth_size=(32, 24))
    import_colmap(tmp_path / "dense", tmp_path / "out")
    (scene,) = find_recording(tmp_path / "out").scenes
    assert scene.image(0).shape == scene.depth(0).shape == (24, 32)
    assert scene.K(0)[0].tolist() == [30, 0, 15.75]
    names = sorted(p.name for p in (tmp_path / "out").rglob("*.png"))
    assert names == ["a.png", "s__b.png"]


def test_an_image_without_depth_is_left_out(tmp_path):
    small_colmap(tmp_path / "dense")
    (tmp_path / "dense/stereo/depth_maps/a.png.geometric.bin").unlink()
    report = import_colmap(tmp_path / "dense", tmp_path / "out")
    assert report.written == 1 and "a.png.geometric.bin" in " ".join(report.notes)
    info = safe_load(tmp_path / "out/scene_info/dense.npz")
    assert len(info["poses"]) == 1
    assert np.allclose(info["poses"][0], some_pose(2))
    assert import_colmap(tmp_path / "dense", tmp_path / "out").kept == 1


def test_colmap_never_writes_into_another_scene(tmp_path):
    small_colmap(tmp_path / "dense")
    theirs = tmp_path / "out/Undistorted_SfM/dense"
    theirs.mkdir(parents=True)
    with pytest.raises(DataError, match="was not written by this command"):
        import_colmap(tmp_path / "dense", tmp_path / "out")
    small_colmap(tmp_path / "other")
    import_colmap(tmp_path / "other", tmp_path / "out", scene="mine")
    with pytest.raises(DataError, match="holds the scene 'mine'"):
        import_colmap(tmp_path / "dense", tmp_path / "out", scene="mine")
    with pytest.raises(ConfigError, match="letters"):
        import_colmap(tmp_path / "dense", tmp_path / "out", scene="../x")


def test_a_stopped_colmap_import_goes_on(tmp_path):
    small_colmap(tmp_path / "dense")

    def stop(done: int, total: int, what: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_colmap(tmp_path / "dense", tmp_path / "out", progress=stop)
    report = import_colmap(tmp_path / "dense", tmp_path / "out")
    assert (report.written, report.kept) == (1, 1)
    assert len(find_recording(tmp_path / "out").scenes[0]) == 2
