"""The flat index: what goes in comes out, row by row, from any process, or an error."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from reader_files import scene_arrays, write_scannet_frame
from torch.utils.data import DataLoader

from loftr_nb.cli.main import main
from loftr_nb.datasets import (
    FlatTable,
    MegaDepth,
    ScanNet,
    SceneBalancedSampler,
    SceneGroups,
    convert_index,
    export_index,
    load_megadepth_scenes,
    load_scannet_pairs,
    open_dataset,
    open_flat,
)
from loftr_nb.datasets.flat_writer import FlatWriter
from loftr_nb.datasets.index import load_scannet_file
from loftr_nb.datasets.spans import SpanColumn, SpanNumbers
from loftr_nb.errors import ConfigError, DataError
from loftr_nb.training.distributed import Process
from loftr_nb.training.loaders import TrainingPairs
from loftr_nb.training.overrides import override
from loftr_nb.training.recipes import get_recipe

SCENES = 7


def write_scannet(folder: Path, seed: int = 0, steps: int | None = 20) -> Path:
    """Seven scenes of 1 to 400 pairs; scores on a grid of ``steps``, so with ties."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    for scene, count in enumerate((400, 1, 37, 250, 3, 90, 12)):
        score = rng.random(count)
        if steps:
            score = np.round(score * steps) / steps
        np.savez(
            folder / f"scene{scene:04d}_00.npz",
            name=np.column_stack(
                [
                    np.full(count, scene),
                    np.zeros(count, int),
                    *rng.integers(0, 900, (2, count)),
                ]
            ),
            score=score.astype(np.float32),
        )
    return folder


@pytest.fixture
def pairs(tmp_path: Path) -> tuple[Path, Path]:
    """Seven npz files and the same in one flat file."""
    folder = write_scannet(tmp_path / "npz")
    convert_index(folder, tmp_path / "train.h5")
    return folder, tmp_path / "train.h5"


def rows_of(table) -> list[tuple]:
    """What is said of each pair, sorted by where it came from."""
    scenes = [table.scenes[s] for s in np.asarray(table.scene)]
    files = [Path(table.files[f]).name for f in np.asarray(table.file)]
    columns = [
        np.asarray(getattr(table, n)).tolist() for n in ("row", "frame0", "frame1")
    ]
    overlap = np.nan_to_num(np.asarray(table.overlap), nan=-1).tolist()
    return sorted(zip(files, *columns, scenes, overlap, strict=True))


def frames_of(table) -> list[tuple]:
    """Paths, K and pose of both images of each pair, sorted by where it came from."""
    said, frames = [], table.frames
    for i in range(len(table)):
        file = Path(table.files[table.file[i]]).name
        both = []
        for k in (int(table.frame0[i]), int(table.frame1[i])):
            both += [frames.image[k], frames.depth[k], int(frames.slot[k])]
            both += [frames.K[k].tobytes(), frames.pose[k].tobytes()]
        overlap = float(np.nan_to_num(table.overlap[i], nan=-1))
        said.append((file, int(table.row[i]), overlap, *both))
    return sorted(said)


# --- the real indices, there and back ----------------------------------------


def test_the_released_scannet_index_there_and_back(shared_data, tmp_path) -> None:
    source = shared_data / "indices" / "scannet"
    done = convert_index(
        source / "scannet_test.txt",
        tmp_path / "test.h5",
        intrinsics=source / "intrinsics.npz",
    )
    assert (done.pairs, done.scenes, done.intrinsics) == (1500, 100, 100)
    flat = load_scannet_pairs(tmp_path / "test.h5")
    plain = np.load(source / "test.npz")
    # No scores: the order is the released one.
    assert np.array_equal(flat.frame0, plain["name"][:, 2])
    assert np.array_equal(flat.rel_pose, plain["rel_pose"])
    assert np.isnan(flat.overlap).all() and np.isnan(flat.overlap[7])
    assert flat.where(1499).endswith("test.npz, row 1499")
    export_index(tmp_path / "test.h5", tmp_path / "back", intrinsics=tmp_path / "K.npz")
    back = np.load(tmp_path / "back" / "test.npz")
    assert sorted(back) == sorted(plain)
    for key in plain:
        assert back[key].dtype == plain[key].dtype
        assert np.array_equal(back[key], plain[key])
    K, released = np.load(tmp_path / "K.npz"), np.load(source / "intrinsics.npz")
    assert sorted(K) == sorted(released)
    assert all(np.array_equal(K[s], released[s].reshape(9)) for s in released)


@pytest.mark.parametrize("form", ["npz", "pickle"])
def test_the_released_megadepth_indices_there_and_back(
    shared_data, tmp_path, form
) -> None:
    source = shared_data / "indices" / "megadepth"
    listed = source / "megadepth_test_1500.txt"
    convert_index(listed, tmp_path / "test.h5")
    flat, plain = (
        load_megadepth_scenes(tmp_path / "test.h5"),
        load_megadepth_scenes(listed),
    )
    assert flat.scenes == plain.scenes
    assert len(flat) == 1500 and rows_of(flat) == rows_of(plain)
    assert frames_of(flat) == frames_of(plain)
    export_index(tmp_path / "test.h5", tmp_path / "back", form)
    back = tmp_path / "back"
    assert (back / "list.txt").read_text().split() == listed.read_text().split()
    for path in source.glob("*.npz"):
        released = np.load(path, allow_pickle=True)
        # As the released code takes it: a dict that keys are deleted from.
        taken = np.load(back / path.name, allow_pickle=True)
        taken = taken if form == "pickle" else dict(taken)
        infos = taken["pair_infos"]
        del taken["pair_infos"]
        assert len(infos) == 300
        for mine, theirs in zip(infos, released["pair_infos"], strict=True):
            (i, j), overlap, _ = mine
            assert (i, j) == tuple(theirs[0])
            assert np.float32(overlap) == np.float32(theirs[1])
            for k in (i, j):
                assert taken["image_paths"][k] == released["image_paths"][k]
                assert taken["depth_paths"][k] == released["depth_paths"][k]
                assert np.array_equal(taken["poses"][k], released["poses"][k])
                assert np.array_equal(taken["intrinsics"][k], released["intrinsics"][k])


@pytest.mark.parametrize("name", ["megadepth_pair/sample.npz", "fountain/scene_info"])
def test_real_training_indices_of_megadepth(shared_data, tmp_path, name) -> None:
    plain = load_megadepth_scenes(shared_data / name)
    convert_index(shared_data / name, tmp_path / "train.h5")
    flat = open_flat(tmp_path / "train.h5")
    assert len(flat) in (601, 55)
    assert rows_of(flat) == rows_of(plain) and frames_of(flat) == frames_of(plain)
    assert (np.diff(flat.overlap) <= 0).all()  # the largest first
    export_index(tmp_path / "train.h5", tmp_path / "back")
    back = load_megadepth_scenes(tmp_path / "back")
    for column in ("frame0", "frame1", "row", "overlap"):
        assert np.array_equal(getattr(back, column), getattr(plain, column))
    assert frames_of(back) == frames_of(plain)


def test_other_forms_of_index_convert_too(tmp_path) -> None:
    """glue-factory's pairs and matrices, with an unused slot and no depth path."""
    scene = scene_arrays(count=4, unused=(2,))
    scene["depth_paths"][3] = None
    matrix = np.zeros((4, 4))
    matrix[0, 1] = matrix[1, 0] = 0.5
    matrix[1, 3] = matrix[3, 1] = 0.75
    np.savez(tmp_path / "a.npz", **scene, overlap_matrix=matrix)
    np.savez(tmp_path / "b.npz", **scene, pairs=np.array([[3, 0], [0, 1]]))
    convert_index([tmp_path / "a.npz", tmp_path / "b.npz"], tmp_path / "both.h5")
    plain = load_megadepth_scenes([tmp_path / "a.npz", tmp_path / "b.npz"])
    flat = load_megadepth_scenes(tmp_path / "both.h5")
    assert rows_of(flat) == rows_of(plain) and frames_of(flat) == frames_of(plain)
    assert flat.overlap[0] == 0.75 and np.isnan(flat.overlap[2])
    export_index(tmp_path / "both.h5", tmp_path / "back")
    back = load_megadepth_scenes(tmp_path / "back")
    assert frames_of(back.select(back.file == 0)) == frames_of(
        plain.select(plain.file == 0)
    )


def test_flat_files_join_and_convert_again(pairs, tmp_path) -> None:
    folder, flat = pairs
    halves = [tmp_path / "a.h5", tmp_path / "b.h5"]
    files = sorted(folder.iterdir())
    convert_index(files[:3], halves[0])
    convert_index(files[3:], halves[1])
    convert_index(halves, tmp_path / "joined.h5")
    joined, whole = open_flat(tmp_path / "joined.h5"), open_flat(flat)
    assert joined.scenes == whole.scenes and len(joined.files) == SCENES
    assert np.array_equal(joined.frame0, whole.frame0)
    assert np.array_equal(joined.row, whole.row)
    # Several files at once, flat or not, are read into memory as ever.
    mixed = load_scannet_pairs([halves[0], *files[3:]])
    assert rows_of(mixed) == rows_of(whole)


def test_a_scene_that_two_files_tell_of_is_one(tmp_path) -> None:
    for n, frames in enumerate(([1, 2, 3], [4, 5])):
        name = [(5, 0, f, f + 1) for f in frames] + [(n, 0, 9, 9)]
        np.savez(tmp_path / f"{n}.npz", name=np.array(name), score=np.ones(len(name)))
    convert_index([tmp_path / "0.npz", tmp_path / "1.npz"], tmp_path / "x.h5")
    flat = load_scannet_pairs(tmp_path / "x.h5")
    assert flat.scenes == ("scene0005_00", "scene0000_00", "scene0001_00")
    assert np.asarray(flat.scene).tolist() == [0] * 5 + [1, 2]
    assert np.asarray(flat.frame0)[:5].tolist() == [1, 2, 3, 4, 5]
    assert flat.groups().counts.tolist() == [5, 1, 1]
    assert flat.where(3).endswith("1.npz, row 0")


# --- overlap, scenes and rows without reading all ----------------------------


@pytest.mark.parametrize("steps", [20, None])
@pytest.mark.parametrize(
    ("least", "most"),
    [
        (0, 1),
        (0.4, 1),
        (0.35, 1),
        (0.123, 0.777),
        (0, 0.5),
        (0.5, 0.5),
        (0.95, 1),
        (-1, 0.2),
    ],
)
def test_a_range_of_overlap_is_what_a_pass_over_all_scores_finds(
    tmp_path, steps, least, most
) -> None:
    folder = write_scannet(tmp_path / "npz", steps=steps)
    convert_index(folder, tmp_path / "train.h5")
    every = load_scannet_pairs(folder)
    scores = every.overlap
    wanted = every.select((scores >= np.float32(least)) & (scores <= np.float32(most)))
    found = open_flat(tmp_path / "train.h5").overlapping(least, most)
    assert isinstance(found, FlatTable)
    assert rows_of(found) == rows_of(wanted)
    counts = np.bincount(wanted.scene, minlength=SCENES)
    assert found.groups().counts.tolist() == counts[counts > 0].tolist()


def test_ranges_of_ranges_and_scenes_of_them(pairs) -> None:
    folder, flat = pairs
    twice = open_flat(flat).overlapping(0.2, 0.8).overlapping(0.3, 1).at_most(0.6)
    every = load_scannet_pairs(folder)
    assert rows_of(twice) == rows_of(every.overlapping(0.3, 0.8).at_most(0.6))
    some = twice.of_scenes([0, 3])
    assert rows_of(some) == rows_of(every.overlapping(0.3, 0.6).of_scenes([0, 3]))
    assert some.scenes == every.scenes  # numbers stay
    assert len(twice.of_scenes([])) == 0
    dropped = load_scannet_pairs(flat, min_overlap=0.99)
    assert set(dropped.scenes) < set(every.scenes)
    assert dropped.scenes == load_scannet_pairs(folder, 0.99).scenes


def test_nothing_left_says_what_scores_there_are(pairs, tmp_path) -> None:
    np.savez(
        tmp_path / "i.npz", name=np.ones((2, 4), int), score=np.array([0.25, 0.125])
    )
    convert_index(tmp_path / "i.npz", tmp_path / "i.h5")
    with pytest.raises(
        DataError, match="i.h5: no pair .* 0.4 .* between 0.125 and 0.25"
    ):
        load_scannet_pairs(tmp_path / "i.h5", min_overlap=0.4)


def test_pairs_without_a_score_refuse_a_range_and_keep_their_order(tmp_path) -> None:
    score = np.array([0.3, np.nan, 0.6, np.nan], np.float32)
    name = np.array([(0, 0, f, f) for f in range(4)])
    np.savez(tmp_path / "i.npz", name=name, score=score)
    convert_index(tmp_path / "i.npz", tmp_path / "i.h5")
    flat = open_flat(tmp_path / "i.h5")
    assert np.asarray(flat.frame0).tolist() == [2, 0, 1, 3]
    with pytest.raises(DataError, match="row 3 has no overlap score"):
        flat.overlapping(0.1, 1)
    assert np.asarray(flat.at_most(0.5).frame0).tolist() == [0, 1, 3]


def test_rows_are_read_as_numpy_indexes_them(pairs) -> None:
    table = open_flat(pairs[1])
    rng = np.random.default_rng(0)
    for column in (table.frame0, table.overlap, table.scene, table.file, table.row):
        whole = np.asarray(column)
        picked = rng.integers(-len(whole), len(whole), 50)
        assert np.array_equal(column[picked], whole[picked])
        assert np.array_equal(column[5:700:7], whole[5:700:7])
        assert np.array_equal(column[whole > 1], whole[whole > 1])
        assert column[-1] == whole[-1] and column[np.int64(3)] == whole[3]
        assert len(column) == len(whole) and column[[]].shape == (0,)
        assert np.array_equal(column > 1, whole > 1) and (column == whole).all()
        assert (column.min(), column.max()) == (whole.min(), whole.max())
        assert column.tolist() == whole.tolist() == list(column)
        for beyond in (len(whole), -len(whole) - 1, [0, len(whole)]):
            with pytest.raises(IndexError):
                column[beyond]


def test_a_loaded_table_is_the_readers_own(pairs) -> None:
    folder, flat = pairs
    loaded, plain = open_flat(flat).load(), load_scannet_pairs(folder)
    assert not isinstance(loaded, FlatTable)
    order = np.lexsort((loaded.row, loaded.file))
    for name in ("scene", "frame0", "frame1", "overlap", "row", "file"):
        column = getattr(loaded, name)
        assert column.dtype == getattr(plain, name).dtype
        assert np.array_equal(column[order], getattr(plain, name))


# --- sampling ----------------------------------------------------------------


def test_sampling_a_flat_index_reads_no_row_and_equals_sampling_its_scenes(
    pairs,
) -> None:
    table = load_scannet_pairs(pairs[1], min_overlap=0.4)
    by_row = SceneBalancedSampler(np.asarray(table.scene), 8, seed=5).sequence()
    by_group = SceneBalancedSampler(table.groups(), 8, seed=5).sequence()
    assert by_row.tolist() == by_group.tolist()
    assert np.bincount(table.scene[by_group]).tolist() == [8] * len(table.scenes)


def test_scenes_are_held_out_by_groups_as_by_rows(pairs) -> None:
    table = open_flat(pairs[1])
    groups = table.groups()
    train, held = groups[:5], groups[5:]
    scene = np.asarray(table.scene)
    assert train.rows() == range(0, int((scene < 5).sum()))
    assert list(held.rows()) == np.flatnonzero(scene >= 5).tolist()
    drawn = SceneBalancedSampler(held, 6, seed=1).sequence()
    assert set(scene[drawn]) == {5, 6}
    # An index in memory whose scenes lie mixed gives the very same pairs.
    mixed = np.random.default_rng(0).permutation(len(scene))
    groups = SceneGroups.of(scene[mixed])
    assert np.sort(mixed[groups[5:].rows()]).tolist() == list(held.rows())
    with pytest.raises(ValueError, match="step"):
        groups[::2]


def test_groups_from_counts_leave_empty_scenes_out() -> None:
    groups = SceneGroups.from_counts([3, 0, 2])
    assert groups.scene.tolist() == [0, 2] and groups.offsets.tolist() == [0, 3, 5]
    assert len(SceneGroups.from_counts([0])) == 0
    with pytest.raises(ConfigError, match="no pairs"):
        SceneBalancedSampler(SceneGroups.from_counts([]), 1, 0)


# --- processes ---------------------------------------------------------------


class Rows:
    """One pair's numbers by row, as a dataset asks for them."""

    def __init__(self, table) -> None:
        self.table = table

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, i: int) -> tuple[int, int, int]:
        t = self.table
        return int(t.scene[i]), int(t.frame0[i]), int(t.frame1[i])


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_workers_read_what_the_parent_reads(pairs, how) -> None:
    if how not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system cannot {how}")
    rows = Rows(load_scannet_pairs(pairs[1], min_overlap=0.2))
    expected = [rows[i] for i in range(len(rows))]  # the file is open before the fork
    loader = DataLoader(rows, 32, num_workers=2, multiprocessing_context=how)
    got = torch.cat([torch.stack(columns, 1) for columns in loader])
    assert got.tolist() == [list(row) for row in expected]


def test_what_travels_to_a_worker_is_small(tmp_path) -> None:
    """300,000 pairs in memory are 7.2 MB to copy; their flat table is 60 kB."""
    rng = np.random.default_rng(0)
    name = np.column_stack(
        [np.sort(rng.integers(0, 60, 300_000)), *np.zeros((3, 300_000), int)]
    )
    np.savez(tmp_path / "i.npz", name=name, score=rng.random(300_000))
    convert_index(tmp_path / "i.npz", tmp_path / "i.h5")
    table = load_scannet_pairs(tmp_path / "i.h5", min_overlap=0.3)
    _ = table.frame0[17]
    assert len(table) > 200_000 and len(pickle.dumps(table)) < 60_000
    assert table.bytes_per_row == 0
    again = pickle.loads(pickle.dumps(table))
    assert again.frame0[17] == table.frame0[17]


def test_a_file_that_is_replaced_or_cut_meanwhile_is_an_error(pairs) -> None:
    folder, flat = pairs
    table = open_flat(flat)
    travelled = pickle.dumps(table)
    _ = table.overlap[3]
    os.truncate(flat, 4000)
    with pytest.raises(DataError, match="train.h5 ends at"):
        table.overlap[3]
    convert_index(folder, flat, overwrite=True)
    with pytest.raises(DataError, match="written again"):
        pickle.loads(travelled).overlap[3]
    flat.unlink()
    with pytest.raises(DataError, match="cannot be read any more"):
        pickle.loads(travelled).overlap[3]


def test_read_only_storage_is_enough(pairs) -> None:
    flat = pairs[1]
    flat.chmod(0o444)
    flat.parent.chmod(0o555)
    try:
        before = flat.stat()
        assert len(np.asarray(open_flat(flat).frame0)) == len(open_flat(flat))
        assert flat.stat().st_mtime_ns == before.st_mtime_ns
    finally:
        flat.parent.chmod(0o755)


# --- datasets ----------------------------------------------------------------


def same_pair(a, b) -> bool:
    for side in ("view0", "view1"):
        for field in ("image", "cell_depth", "K", "scale", "mask"):
            if not torch.equal(
                getattr(getattr(a, side), field), getattr(getattr(b, side), field)
            ):
                return False
    return torch.equal(a.T_0to1, b.T_0to1) and a.scene == b.scene


def test_scannet_from_a_flat_index(shared_data, tmp_path) -> None:
    name = np.array([(9000, 0, 14, 15), (9000, 0, 15, 16), (9000, 0, 16, 18)])
    np.savez(tmp_path / "i.npz", name=name, score=np.array([0.5, 0.9, 0.7]))
    K = np.array([531.5, 0, 320, 0, 531.5, 240, 0, 0, 1])
    np.savez(tmp_path / "K.npz", scene9000_00=K)
    convert_index(tmp_path / "i.npz", tmp_path / "i.h5", intrinsics=tmp_path / "K.npz")
    root = shared_data / "hololens"
    flat = ScanNet(root, tmp_path / "i.h5", min_overlap=0.6)
    plain = ScanNet(root, tmp_path / "i.npz", tmp_path / "K.npz", min_overlap=0.6)
    assert np.array_equal(flat.intrinsics("scene9000_00"), K.reshape(3, 3))
    assert len(flat) == 2
    assert same_pair(flat[0], plain[0]) and same_pair(flat[1], plain[1])
    assert flat.describe(1) == plain.describe(1)


def test_megadepth_from_a_flat_index_with_and_without_a_split(
    shared_data, tmp_path
) -> None:
    fountain = shared_data / "fountain"
    for name in ("phoenix", "Undistorted_SfM"):
        (tmp_path / name).symlink_to(fountain / name)
    convert_index(fountain / "scene_info", tmp_path / "scene_info.h5")
    for split in ("train", "test"):
        flat = open_dataset(tmp_path, split, size=320, min_overlap=0.2)
        plain = open_dataset(fountain, split, size=320, min_overlap=0.2)
        assert isinstance(flat, MegaDepth) and len(flat) == len(plain) > 5
        rows = {int(r): i for i, r in enumerate(plain.table.row)}
        order = [rows[int(r)] for r in flat.table.row]
        assert same_pair(flat[2], plain[order[2]])


@pytest.mark.parametrize("layout", ["scannet", "megadepth"])
def test_training_finds_flat_files_in_the_index_folder(tmp_path, layout) -> None:
    for folder in ("train", "test", "index"):
        (tmp_path / folder).mkdir()
    index = tmp_path / "i.npz"
    if layout == "scannet":
        np.savez(index, name=np.array([(1, 0, 2, 3)]))
    else:
        np.savez(index, **scene_arrays(2), pairs=np.array([[0, 1]]))
    for split in ("train", "test"):
        convert_index(index, tmp_path / "index" / f"{split}.h5")
        found = open_dataset(tmp_path, split)
        assert isinstance(found, ScanNet if layout == "scannet" else MegaDepth)
        assert isinstance(found.table, FlatTable) and len(found) == 1
    other = MegaDepth if layout == "scannet" else ScanNet
    with pytest.raises(
        DataError, match=f"train.h5 is a flat index in {layout}'s layout"
    ):
        other(tmp_path / "train", tmp_path / "index" / "train.h5")


def test_training_from_a_flat_index_reads_no_whole_column(
    tmp_path, monkeypatch
) -> None:
    """Scenes are held out and batches drawn by the rows that they take."""
    rows = [(s, 0, a, a + 1) for s in (1, 2, 3) for a in (0, 1, 2)]
    score = np.tile([0.5, 0.9, 0.3], 3)
    K = {}
    for scene in (1, 2, 3):
        name = f"scene{scene:04d}_00"
        K[name] = np.array([577.0, 0, 319.5, 0, 577, 239.5, 0, 0, 1])
        for frame in range(4):
            write_scannet_frame(tmp_path / "train" / name, frame)
    (tmp_path / "index").mkdir()
    np.savez(tmp_path / "i.npz", name=np.array(rows), score=score)
    np.savez(tmp_path / "K.npz", **K)
    convert_index(
        tmp_path / "i.npz",
        tmp_path / "index" / "train.h5",
        intrinsics=tmp_path / "K.npz",
    )
    changes = ["data.holdout_scenes=1", "data.pairs_per_scene=2", "data.workers=0"]
    recipe = override(get_recipe("indoor_ds"), changes)

    def whole(*_, **__):
        raise AssertionError("a whole column is read")

    for column in (SpanColumn, SpanNumbers):
        monkeypatch.setattr(column, "__array__", whole)
    process = Process(0, 1, torch.device("cpu"))
    pairs = TrainingPairs.open(recipe, tmp_path, process, tmp_path)
    assert pairs.scenes == 2
    # Of three pairs a scene, two overlap by the recipe's 0.4.
    assert (pairs.rows, pairs.held_out) == (range(4), range(4, 6))
    batches = pairs.batches(0, 4)
    drawn = [batch for _ in range(4) for batch in next(batches)]
    assert sorted(b.scenes[0] for b in drawn) == 2 * ["scene0001_00"] + 2 * [
        "scene0002_00"
    ]
    assert sorted(b.overlap.item() for b in drawn) == pytest.approx(
        [0.5, 0.5, 0.9, 0.9]
    )


# --- damaged and foreign files -----------------------------------------------


def change(path: Path, name: str, value=None, attribute: bool = False) -> None:
    with h5py.File(path, "a") as file:
        if attribute:
            file.attrs[name] = value
            return
        del file[name]
        if value is not None:
            file[name] = value


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("pairs/frame1", None, "frame1"),
        ("pairs/frame1", np.zeros(5, np.uint16), r"frame1 has shape \(5,\)"),
        ("pairs/overlap", np.zeros((793, 2), np.float32), "overlap has shape"),
        ("spans/at_least", None, "at_least"),
        ("spans/first", np.full(7, 900), "beyond the pairs"),
        ("spans/count", np.ones(7, int), "spans hold 7 of 793"),
        ("spans/scene", np.full(7, 7), "names scene 7 of 7"),
        ("spans/scored", np.full(7, 999), "more scores than pairs"),
        ("scenes/name", None, "name"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(pairs, name, value, words) -> None:
    change(pairs[1], name, value)
    with pytest.raises(DataError, match=f"train.h5.*{words}.*loftr-nb data convert"):
        open_flat(pairs[1])


def test_later_versions_and_foreign_files_are_refused(pairs, tmp_path) -> None:
    change(pairs[1], "version", 2, attribute=True)
    with pytest.raises(DataError, match="version 2.*reads up to 1.*Update"):
        open_flat(pairs[1])
    with h5py.File(tmp_path / "depth.h5", "w") as file:
        file["depth"] = np.ones((4, 5))
    with pytest.raises(DataError, match="depth.h5 .*no flat index; it holds depth"):
        load_scannet_pairs(tmp_path / "depth.h5")
    with pytest.raises(DataError, match="does not exist"):
        open_flat(tmp_path / "nowhere.h5")
    (tmp_path / "text.h5").write_text("scene0000_00")
    with pytest.raises(DataError, match="text.h5"):
        open_flat(tmp_path / "text.h5")
    with pytest.raises(DataError, match="text.h5"):
        load_scannet_pairs(tmp_path / "text.h5")


def test_columns_in_pieces_are_refused(pairs) -> None:
    with h5py.File(pairs[1], "a") as file:
        rows = file["pairs/row"][()]
        del file["pairs/row"]
        file.create_dataset("pairs/row", data=rows, chunks=(64,))
    with pytest.raises(DataError, match="pairs/row is stored in pieces"):
        open_flat(pairs[1])


def test_truncated_files_are_refused_at_any_length(pairs, tmp_path) -> None:
    whole = pairs[1].read_bytes()
    for kept in np.linspace(0, len(whole) - 1, 60).astype(int):
        (tmp_path / "cut.h5").write_bytes(whole[:kept])
        with pytest.raises(DataError, match="cut.h5"):
            load_scannet_pairs(tmp_path / "cut.h5", min_overlap=0.4)


def test_random_damage_is_an_error_or_harmless(pairs, tmp_path) -> None:
    whole = pairs[1].read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        content = bytearray(whole)
        at = rng.integers(0, len(content) if rng.random() < 0.5 else 4000, 8)
        for place in at:
            content[place] = rng.integers(256)
        (tmp_path / "bad.h5").write_bytes(content)
        try:
            table = load_scannet_pairs(tmp_path / "bad.h5", min_overlap=0.4)
            for i in (0, len(table) - 1):
                _ = table.frame0[i], table.overlap[i], table.where(i)
        except DataError as error:
            assert "bad.h5" in str(error)
            refused += 1
    assert 30 < refused < 150


# --- writing: whole or not at all --------------------------------------------


def test_an_error_in_a_later_file_leaves_nothing(pairs, tmp_path) -> None:
    folder = pairs[0]
    (folder / "scene0003_00.npz").write_bytes(b"PK nothing")
    out = tmp_path / "out" / "train.h5"
    with pytest.raises(DataError, match="scene0003_00.npz"):
        convert_index(folder, out)
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize("convert", [convert_index, export_index])
def test_ctrl_c_leaves_nothing_and_what_was_there(pairs, tmp_path, convert) -> None:
    folder, flat = pairs
    kept = flat.read_bytes()

    def stop(done: int, total: int, text: str) -> None:
        assert total == SCENES
        if done == 4:
            raise KeyboardInterrupt

    before = sorted(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        if convert is convert_index:
            convert_index(folder, flat, progress=stop, overwrite=True)
        else:
            export_index(flat, tmp_path / "back", progress=stop)
    assert sorted(tmp_path.iterdir()) == before
    assert flat.read_bytes() == kept


def test_nothing_is_replaced_without_being_told(pairs, tmp_path) -> None:
    folder, flat = pairs
    kept = flat.read_bytes()
    with pytest.raises(DataError, match="train.h5 exists.*--overwrite"):
        convert_index(folder, flat)
    with pytest.raises(DataError, match="npz exists"):
        export_index(flat, folder)
    assert flat.read_bytes() == kept
    assert convert_index(folder, flat, overwrite=True).pairs == 793


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a full disk")
@pytest.mark.parametrize("buffering", [0, 1 << 20])
def test_a_full_disk_is_an_error_with_a_way_out(
    pairs, tmp_path, monkeypatch, buffering
) -> None:
    """Noticed while columns gather, or when what is buffered is written at the end."""

    def full(self: FlatWriter, name: str):
        if name not in self._open:
            self._open[name] = open("/dev/full", "r+b", buffering)
        return self._open[name]

    monkeypatch.setattr(FlatWriter, "_file_of", full)
    with pytest.raises(DataError, match="new.h5 could not be written.*No space.*Free"):
        convert_index(pairs[0], tmp_path / "new.h5")
    assert not list(tmp_path.glob("*new.h5*"))


def test_bad_requests_are_errors(pairs, tmp_path, shared_data) -> None:
    folder, flat = pairs
    with pytest.raises(ConfigError, match="unknown layout 'scanet'; did you mean"):
        convert_index(folder, tmp_path / "x.h5", layout="scanet")
    with pytest.raises(ConfigError, match="ScanNet's files are npz"):
        export_index(flat, tmp_path / "x", "pickle")
    with pytest.raises(DataError, match="no intrinsics to write"):
        export_index(flat, tmp_path / "x", intrinsics=tmp_path / "K.npz")
    index = shared_data / "indices"
    with pytest.raises(ConfigError, match="leave out the intrinsics"):
        convert_index(index / "megadepth", tmp_path / "x.h5", intrinsics=index)
    both = [index / "scannet" / "test.npz", folder / "scene0000_00.npz"]
    with pytest.raises(DataError, match="scene0000_00.npz has no rel_pose"):
        convert_index(both, tmp_path / "x.h5")
    assert not (tmp_path / "x.h5").exists()
    wide = load_scannet_file(folder / "scene0000_00.npz")
    with FlatWriter(tmp_path / "x.h5", "scannet") as writer:
        writer.add(wide.select(wide.frame0 >= 0))
    assert len(open_flat(tmp_path / "x.h5")) == len(wide)


# --- the command line --------------------------------------------------------


def command(capsys, *words: object) -> tuple[int, str, str]:
    status = main(["data", "convert", *map(str, words)])
    return status, *capsys.readouterr()


def test_the_command_line_converts_and_says_so(pairs, tmp_path, capsys) -> None:
    folder, flat = pairs
    status, told, _ = command(capsys, folder, "--out", tmp_path / "new.h5", "--json")
    told = json.loads(told)
    assert status == 0
    assert (told["pairs"], told["scenes"], told["layout"]) == (793, SCENES, "scannet")
    assert told["bytes"] == (tmp_path / "new.h5").stat().st_size
    status, told, _ = command(capsys, flat, "--to", "npz", "--out", tmp_path / "back")
    assert status == 0 and "793 pairs of 7 scenes" in told
    assert rows_of(load_scannet_pairs(tmp_path / "back")) == rows_of(open_flat(flat))
    status, _, error = command(capsys, folder, "--out", flat)
    assert status == 2 and "exists" in error
