"""What several tests share: the real data beside the project, and small pairs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from loftr_nb.synthetic import MiniOptions, make_mini

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real images with depth and pose; skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("real data (hololens, fountain, megadepth_pair) is not here")
    return SHARED


@pytest.fixture(scope="session")
def tiny_mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few rendered frames in both layouts, in a folder that a shell would split."""
    options = MiniOptions(
        train_scenes=2,
        test_scenes=1,
        train_frames=5,
        test_frames=8,
        size=(96, 72),
        megadepth_train=1,
        megadepth_test=1,
        megadepth_images=4,
    )
    out = tmp_path_factory.mktemp("d") / "my mini"
    return make_mini(out, seed=3, options=options, workers=1)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
    # A notebook's cells, which one test executes, may have switched gradients off.
    torch.set_grad_enabled(True)
