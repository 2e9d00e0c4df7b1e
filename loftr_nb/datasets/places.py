"""Where an index may lie below an index folder, by layout and split."""

from __future__ import annotations

# Where an index may lie below an index folder: (text list, folder of its npz
# files), or a folder or a file alone. The first that exists is taken: flat files,
# names of the released archives, then those of the embedded data.
PLACES: dict[tuple[str, str], tuple[tuple[str | None, str], ...]] = {
    ("scannet", "train"): (
        (None, "train.h5"),
        ("scene_data/train_list/scannet_all.txt", "scene_data/train"),
        (None, "scene_data/train"),
        ("train.txt", "train"),
        (None, "train"),
    ),
    ("scannet", "test"): (
        (None, "test.h5"),
        ("scannet_test.txt", "."),
        ("scannet_test_1500/scannet_test.txt", "scannet_test_1500"),
        (None, "scannet_test_1500/test.npz"),
        ("test.txt", "test"),
        (None, "test"),
        (None, "test.npz"),
    ),
    ("megadepth", "train"): (
        (None, "train.h5"),
        ("trainvaltest_list/train_list.txt", "scene_info_0.1_0.7"),
        (None, "scene_info_0.1_0.7"),
        ("train.txt", "train"),
        (None, "train"),
    ),
    ("megadepth", "test"): (
        (None, "test.h5"),
        ("megadepth_test_1500.txt", "."),
        (
            "megadepth_test_1500_scene_info/megadepth_test_1500.txt",
            "megadepth_test_1500_scene_info",
        ),
        ("trainvaltest_list/val_list.txt", "scene_info_val_1500"),
        (None, "scene_info_val_1500"),
        ("test.txt", "test"),
        (None, "test"),
    ),
}
