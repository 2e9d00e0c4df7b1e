"""Training on plain photos: homographies that are drawn, and that were measured."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch
from test_training import ONE, SMALL

from loftr_nb.cli.main import main
from loftr_nb.datasets import Augment, PhotoHomographies, collate, open_dataset
from loftr_nb.datasets.homographies import draw_poster, homography_overlap
from loftr_nb.errors import DataError
from loftr_nb.evaluation import Protocol, SiftMatcher, evaluate
from loftr_nb.progress import StatusLine
from loftr_nb.setup.importers import import_folder
from loftr_nb.supervision import supervise
from loftr_nb.training import Trainer, get_recipe, override
from loftr_nb.training.loaders import open_split


def photo(path, seed=0, size=(200, 150)):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).uniform(0, 255, size[::-1])
    smooth = cv2.normalize(
        cv2.GaussianBlur(noise, (0, 0), 4), None, 0, 255, cv2.NORM_MINMAX
    )
    pixels = cv2.cvtColor(smooth.astype(np.uint8), cv2.COLOR_GRAY2BGR)
    path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes())


@pytest.fixture
def album(tmp_path):
    for n in range(6):
        photo(tmp_path / f"photos/{n}.png", n, (200, 150) if n % 2 else (150, 200))
    import_folder(tmp_path / "photos", tmp_path / "list", pairs_per_photo=4)
    return tmp_path / "list"


# homographies


def test_overlap_is_what_counting_pixels_gives():
    for seed in range(20):
        size = (80, 60)
        H = draw_poster(np.random.default_rng(seed), size).H_0to1
        shares = []
        for matrix in (H, np.linalg.inv(H)):
            y, x = np.mgrid[-0.5 + 1 / 8 : 59.5 : 0.25, -0.5 + 1 / 8 : 79.5 : 0.25]
            u, v, w = matrix @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
            front = w > 0
            w = np.where(front, w, 1)
            u, v = u / w, v / w
            inside = front & (u > -0.5) & (u < 79.5) & (v > -0.5) & (v < 59.5)
            shares.append(inside.mean())
        exact = homography_overlap(H, size, size)
        assert exact == pytest.approx(np.mean(shares), abs=0.005)


def test_overlap_by_hand():
    shift = np.array([[1.0, 0, 20], [0, 1, 0], [0, 0, 1]])
    assert homography_overlap(np.eye(3), (80, 60), (80, 60)) == pytest.approx(1)
    assert homography_overlap(shift, (80, 60), (80, 60)) == pytest.approx(0.75)
    assert homography_overlap(-shift, (80, 60), (80, 60)) == pytest.approx(0.75)
    half = np.diag([0.5, 0.5, 1])  # all of image 0, a quarter of image 1 but a border
    assert homography_overlap(half, (80, 60), (80, 60)) == pytest.approx(0.62, abs=0.01)
    far = np.array([[1.0, 0, 500], [0, 1, 0], [0, 0, 1]])
    assert homography_overlap(far, (80, 60), (80, 60)) == 0


def test_a_drawn_homography_is_its_pose_and_plane():
    """Points on the wall, moved by T and projected, land where H says."""
    for seed in range(20):
        p = draw_poster(np.random.default_rng(seed), (160, 120))
        points = np.array([[0, 0, 1], [159, 0, 1], [80, 60, 1], [30, 100, 1.0]]).T
        X = np.linalg.inv(p.K) @ points  # depth 1
        there = p.K @ (p.T_0to1[:3, :3] @ X + p.T_0to1[:3, 3:])
        moved = p.H_0to1 @ points
        assert (there[2] > 0).all()
        assert np.allclose(there[:2] / there[2], moved[:2] / moved[2])
        assert p.overlap >= 0.1


# the dataset


def test_supervision_agrees_with_the_homography_by_hand(album):
    """Each match, computed on paper: round(H corner / 8), there and back."""
    pairs = PhotoHomographies(album, "train", size=128)
    for i in (0, 5, 9):
        pair = pairs[i]
        batch = collate([pair])
        found = supervise(batch)
        got = set(zip(found.i.tolist(), found.j.tolist(), strict=True))
        H = pair.H_0to1.double().numpy()
        s0, s1 = (v.scale.double().numpy() for v in (pair.view0, pair.view1))
        mask0, mask1 = pair.view0.mask.numpy(), pair.view1.mask.numpy()

        def land(matrix, cell, here, there, mask):
            u, v, w = matrix @ [8 * cell[0] * here[0], 8 * cell[1] * here[1], 1]
            if w <= 0:
                return None
            x, y = np.rint([u / w / 8 / there[0], v / w / 8 / there[1]]).astype(int)
            inside = 0 <= x < mask.shape[1] and 0 <= y < mask.shape[0]
            return (x, y) if inside and mask[y, x] else None

        wanted = set()
        for y, x in zip(*np.nonzero(mask0), strict=True):
            cell = land(H, (x, y), s0, s1, mask1)
            if cell and land(np.linalg.inv(H), cell, s1, s0, mask0) == (x, y):
                wanted.add((int(y) * 16 + int(x), int(cell[1]) * 16 + int(cell[0])))
        # float32 may round a corner that lies between two cells the other way.
        assert len(got ^ wanted) <= 2 and len(got & wanted) > 20
        assert not pair.view0.cell_depth.any()


def test_the_second_view_shows_what_the_homography_says(album):
    """Image 0 warped by the pair's own H is image 1."""
    pairs = PhotoHomographies(album, "train", size=96)
    for i in range(0, len(pairs), 3):
        pair = pairs[i]
        S = torch.diag(torch.cat([pair.view0.scale, torch.ones(1)])).double()
        H = (torch.linalg.inv(S) @ pair.H_0to1.double() @ S).numpy()
        image0, image1 = pair.view0.image[0].numpy(), pair.view1.image[0].numpy()
        warped = cv2.warpPerspective(image0, H, image1.shape[::-1])
        mask = np.kron(pair.view0.mask.numpy(), np.ones((8, 8)))
        seen = cv2.warpPerspective(mask, H, image1.shape[::-1]) > 0.999
        seen &= np.kron(pair.view1.mask.numpy(), np.ones((8, 8))) > 0
        inner = cv2.erode(seen.astype(np.uint8), np.ones((5, 5))) > 0
        assert np.abs(warped - image1)[inner].mean() < 0.02


def test_pairs_depend_on_seed_epoch_and_row_alone(album):
    one, two = (PhotoHomographies(album, "train", size=96) for _ in range(2))
    assert torch.equal(one[3].H_0to1, two[3].H_0to1)
    assert torch.equal(one[3].view1.image, two[3].view1.image)
    first = one[3].H_0to1
    one.set_epoch(1)
    assert not torch.equal(one[3].H_0to1, first)
    assert not torch.equal(one[3].H_0to1, one[2].H_0to1)
    other = PhotoHomographies(album, "train", size=96, seed=1)
    assert not torch.equal(other[3].H_0to1, first)
    light = PhotoHomographies(album, "train", size=96, augment=Augment(seed=0))
    assert torch.equal(light[3].H_0to1, first)
    assert not torch.equal(light[3].view0.image, two[3].view0.image)
    assert not torch.equal(light[3].view1.image, two[3].view1.image)
    test = PhotoHomographies(album, "test", size=96)
    before = test[0].H_0to1
    test.set_epoch(5)
    assert torch.equal(test[0].H_0to1, before)  # a test is a test


def test_no_photo_is_in_both_splits(album):
    train, test = (open_dataset(album, split, size=96) for split in ("train", "test"))
    paths = [{d.image_paths(i)[0] for i in range(len(d))} for d in (train, test)]
    assert not paths[0] & paths[1] and len(paths[0]) == 5 and len(paths[1]) == 1
    assert len(train) == 20 and train.scene_of.tolist() == sorted([0, 1, 2, 3, 4] * 4)
    assert "photos.json" in train.describe(0)
    with pytest.raises(IndexError):
        train[20]


def test_photos_of_any_shape_stack(album):
    pairs = PhotoHomographies(album, "train", size=96)
    batch = collate([pairs[0], pairs[4]])  # portrait and landscape
    assert batch.image0.shape == (2, 1, 96, 96) and batch.H_0to1.shape == (2, 3, 3)


def test_a_photo_that_goes_missing_is_named(album, tmp_path):
    pairs = PhotoHomographies(album, "train", size=96)
    (tmp_path / "photos/0.png").unlink()
    with pytest.raises(DataError, match=r"0\.png"):
        pairs[0]


# importing


def test_oxford_sets_are_recognised(shared_data, tmp_path):
    """graf and boat: real homographies, from any photo to any other."""
    import_folder(shared_data / "oxford_affine", tmp_path / "out")
    train = open_dataset(tmp_path / "out", "train", size=320)
    assert train.scenes == ["boat"] and len(train) == 15
    row = next(
        i
        for i in range(15)
        if [p.name for p in train.image_paths(i)] == ["2.png", "4.png"]
    )
    boat = shared_data / "oxford_affine/boat"
    H2, H4 = (np.loadtxt(boat / f"H_1_{k}") for k in (2, 4))
    expected = H4 @ np.linalg.inv(H2)
    pair = train[row]
    assert np.allclose(pair.H_0to1.numpy(), expected / expected[2, 2], rtol=1e-4)
    assert pair.T_0to1.isnan().all()
    # What the supervision says lies where the photos look alike.
    batch = collate([pair])
    found = supervise(batch)
    points = torch.stack([found.i % 40, found.i // 40], -1)[None] * 8 * pair.view0.scale
    moved = batch.warp().to1(points.float()).points[0].numpy()
    three = np.hstack([points[0].numpy(), np.ones((len(moved), 1))]) @ expected.T
    assert len(moved) > 100
    assert np.allclose(moved, three[:, :2] / three[:, 2:], atol=0.05)


def test_hpatches_names_and_nested_folders(tmp_path):
    for k in (1, 2, 3):
        photo(tmp_path / f"in/v_wall/{k}.ppm", k)
    for k in (2, 3):
        np.savetxt(tmp_path / f"in/v_wall/H_1_{k}", np.eye(3))
    photo(tmp_path / "in/deep/er/plain.JPG", 9)
    report = import_folder(tmp_path / "in", tmp_path / "out", copy=True)
    assert report.frames == 4 and report.scenes == ("v_wall",)
    listed = json.loads((tmp_path / "out/photos.json").read_text())
    assert listed["photos"] == ["deep/er/plain.JPG"] and listed["root"] == "images"
    (tmp_path / "out").rename(tmp_path / "moved")  # copies travel with the list
    assert open_dataset(tmp_path / "moved", "train", size=96)[0].scene == "v_wall"
    again = import_folder(tmp_path / "in", tmp_path / "moved", copy=True)
    assert (again.written, again.kept) == (0, 4)


def test_bad_photos_are_left_out_and_named(tmp_path):
    for n in range(3):
        photo(tmp_path / f"in/{n}.png", n)
    (tmp_path / "in/broken.jpg").write_bytes(b"\xff\xd8\xff no")
    photo(tmp_path / "in/tiny.png", 5, (20, 20))
    report = import_folder(tmp_path / "in", tmp_path / "out")
    assert sum(report.without.values()) == 2 and "broken.jpg" in " ".join(report.notes)
    listed = json.loads((tmp_path / "out/photos.json").read_text())
    assert listed["photos"] == ["0.png", "1.png", "2.png"]


@pytest.mark.parametrize("text", ["1 2 3", "a b c d e f g h i", "0 0 0 0 0 0 0 0 0"])
def test_a_damaged_homography_is_named(tmp_path, text):
    for k in (1, 2):
        photo(tmp_path / f"in/{k}.png", k)
    (tmp_path / "in/H_1_2").write_text(text)
    with pytest.raises(DataError, match="H_1_2"):
        import_folder(tmp_path / "in", tmp_path / "out")


def test_what_others_wrote_is_never_touched(tmp_path):
    photo(tmp_path / "in/1.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/notes.txt").write_text("mine")
    with pytest.raises(DataError, match="was not written by this command"):
        import_folder(tmp_path / "in", tmp_path / "out")
    with pytest.raises(DataError, match="holds no photos"):
        import_folder(tmp_path / "out", tmp_path / "new")


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 2}', '{"format": 1}'])
def test_a_damaged_list_is_named(tmp_path, text):
    (tmp_path / "photos.json").write_text(text)
    with pytest.raises(DataError, match=r"photos\.json"):
        open_dataset(tmp_path, "train", layout="photos")


def test_one_photo_is_too_few(tmp_path):
    photo(tmp_path / "in/1.png")
    import_folder(tmp_path / "in", tmp_path / "out")
    with pytest.raises(DataError, match="two photos"):
        open_dataset(tmp_path / "out", "train")


def test_from_the_shell_to_a_trained_step(tmp_path, capsys):
    for n in range(4):
        photo(tmp_path / f"in/{n}.png", n)
    out = tmp_path / "list"
    command = ["data", "import", "folder", str(tmp_path / "in"), "--out", str(out)]
    assert main(command) == 0
    assert "data.layout=photos" in capsys.readouterr().out
    changes = ["data.layout=photos", "data.longer_side=96", "data.holdout_scenes=1"]
    recipe = override(get_recipe("mini_ds"), [*SMALL, *changes])
    quiet = StatusLine(on=False)
    trainer = Trainer(recipe, out, tmp_path / "run", ONE, steps=2, status=quiet)
    assert len(trainer.pairs.trained) == 2  # of four: one for test, one held out
    trainer.run(None)
    assert trainer.step == 2
    test = open_split(recipe, out, "test")
    scores = evaluate(SiftMatcher(), test, Protocol(data="photos"))
    assert scores.pairs == 5 and scores.precision > 50  # K, pose and H agree
