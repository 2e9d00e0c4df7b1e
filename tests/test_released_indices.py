"""The released 1,500-pair indices, read as they are, tried end to end.

Their images cannot be shipped. A textured room is rendered in their place, from
the very cameras and poses of a few rows, and put under the names of those rows:
only a reader that takes K, poses and names as the index means them scores well.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from torch.utils.data import Subset

from loftr_nb.datasets.layout import open_dataset
from loftr_nb.evaluation import Protocol, Scores, SiftMatcher, evaluate, score_table

# Rows of small turns: a rendered room then shows the same walls in both images.
SCANNET_ROWS = (0, 11, 18)
MEGADEPTH_ROWS = (766, 1452)  # one of each scene, the second with an upright photo


def room(
    size: tuple[int, int], K: np.ndarray, T: np.ndarray, unit: float
) -> np.ndarray:
    """A (w, h) picture of a textured room from a camera inside it.

    T: (4, 4) room to camera. unit: the room is 4 wide, 3 high and 6 to the front
    in this unit, narrow enough to see several walls: one alone would leave the
    pose open. The nearest wall along a ray hides the others.
    """
    w, h = size
    y, x = np.mgrid[0:h, 0:w]
    to_room = T[:3, :3].T @ np.linalg.inv(K)
    rays = np.stack([x, y, np.ones_like(x)], -1).astype(float) @ to_room.T
    eye = -T[:3, :3].T @ T[:3, 3]
    walls = [(2, 6.0), (0, -2.0), (0, 2.0), (1, -1.5), (1, 1.5), (2, -6.0)]
    nearest = np.full((h, w), np.inf)
    picture = np.zeros((h, w), np.uint8)
    for photo, (axis, at) in zip(photos(), walls, strict=True):
        with np.errstate(divide="ignore"):
            along = (at * unit - eye[axis]) / rays[..., axis]
        hit = (along > 0) & (along < nearest)
        nearest[hit] = along[hit]
        points = (eye + along[hit, None] * rays[hit]) / unit
        # 100 pixels of a photo to the unit, the photo repeated.
        v_u = 100 * np.delete(points, axis, 1).T[::-1]
        picture[hit] = map_coordinates(photo, v_u, order=1, mode="grid-wrap")
    return picture


def photos() -> list[np.ndarray]:
    from skimage import data

    several = (data.brick(), data.gravel(), data.grass(), data.camera())
    rough = [cv2.resize(photo, (600, 500)) for photo in several]
    return [*rough, rough[0][::-1], rough[1][::-1]]


def save(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    written = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
    path.write_bytes(written.tobytes())


@pytest.fixture
def scannet(shared_data: Path, tmp_path: Path) -> Path:
    """``scannet/{test,index}`` as the training guide links it."""
    released = shared_data / "indices" / "scannet"
    (tmp_path / "scannet").mkdir()
    (tmp_path / "scannet" / "index").symlink_to(released.resolve())
    rows, cameras = np.load(released / "test.npz"), np.load(released / "intrinsics.npz")
    for row in SCANNET_ROWS:
        scene, sub, *frames = rows["name"][row]
        folder = tmp_path / "scannet" / "test" / f"scene{scene:04d}_{sub:02d}"
        K = cameras[folder.name].reshape(3, 3)
        # The same numbers stand in SuperGlue's list of these pairs, as T_0to1.
        T_0to1 = np.vstack([rows["rel_pose"][row].reshape(3, 4), [0, 0, 0, 1]])
        for frame, T in zip(frames, (np.eye(4), T_0to1), strict=True):
            picture = room((640, 480), K, T, unit=0.6)
            # As exported: colour is 1296x968, K is that of the 640x480 depth.
            large = cv2.resize(picture, (1296, 968), interpolation=cv2.INTER_CUBIC)
            save(folder / "color" / f"{frame}.jpg", large)
    return tmp_path


def judge(data: Path, rows: tuple[int, ...], **options) -> Scores:
    dataset = open_dataset(data, "test", depth="optional", **options)
    assert len(dataset) == 1500
    scores = evaluate(SiftMatcher(), Subset(dataset, rows), Protocol("lo-ransac"))
    print(score_table({"SIFT": scores}), scores.card(), scores.errors, sep="\n")
    return scores


def test_scannet_1500(scannet: Path) -> None:
    scores = judge(scannet, SCANNET_ROWS)
    assert max(scores.errors) < 0.5
    assert scores.auc5 > 90
    assert scores.precision > 80


def test_scannet_1500_from_pose_files(scannet: Path, shared_data: Path) -> None:
    # Camera to world, in a world of its own; the index's rel_pose is then unused.
    world = np.eye(4)
    world[:3, :3] = cv2.Rodrigues(np.array([0.4, 1.0, -0.3]))[0]
    world[:3, 3] = 3, -2, 1
    rows = np.load(shared_data / "indices" / "scannet" / "test.npz")
    for row in SCANNET_ROWS:
        scene, sub, *frames = rows["name"][row]
        T_0to1 = np.vstack([rows["rel_pose"][row].reshape(3, 4), [0, 0, 0, 1]])
        folder = scannet / "scannet" / "test" / f"scene{scene:04d}_{sub:02d}" / "pose"
        folder.mkdir(exist_ok=True)
        np.savetxt(folder / f"{frames[0]}.txt", world)
        np.savetxt(folder / f"{frames[1]}.txt", world @ np.linalg.inv(T_0to1))
    assert max(judge(scannet, SCANNET_ROWS).errors) < 0.5


@pytest.fixture
def megadepth(shared_data: Path, tmp_path: Path) -> Path:
    """``megadepth/{test,index}``; depth maps are absent, as in the download."""
    released = shared_data / "indices" / "megadepth"
    (tmp_path / "megadepth" / "test").mkdir(parents=True)
    (tmp_path / "megadepth" / "index").symlink_to(released.resolve())
    done = 0
    for name in (released / "megadepth_test_1500.txt").read_text().split():
        # Raw pickles of a dict, for all their name; these files are our own.
        scene = np.load(released / f"{name}.npz", allow_pickle=True)
        for row in MEGADEPTH_ROWS:
            if 0 <= row - done < len(scene["pair_infos"]):
                draw_pair(tmp_path / "megadepth" / "test", scene, row - done)
        done += len(scene["pair_infos"])
    assert done == 1500
    return tmp_path


def draw_pair(root: Path, scene: dict, row: int) -> None:
    first, second = scene["pair_infos"][row][0]
    poses = [np.asarray(scene["poses"][k], np.float64) for k in (first, second)]
    T_0to1 = poses[1] @ np.linalg.inv(poses[0])
    unit = np.linalg.norm(T_0to1[:3, 3])  # reconstructions have a scale of their own
    for k, T in ((first, np.eye(4)), (second, T_0to1)):
        K = np.asarray(scene["intrinsics"][k], np.float64)
        size = round(2 * K[0, 2]), round(2 * K[1, 2])
        save(root / scene["image_paths"][k], room(size, K, T, unit))


def test_megadepth_1500(megadepth: Path) -> None:
    scores = judge(megadepth, MEGADEPTH_ROWS, size=640)
    assert [r.scene[:4] for r in scores.records] == ["0015", "0022"]
    assert max(scores.errors) < 0.5
    assert scores.precision > 60
