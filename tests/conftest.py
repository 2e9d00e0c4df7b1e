"""What several tests share: the real data beside the project, and small pairs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real images with depth and pose; skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("real data (hololens, fountain, megadepth_pair) is not here")
    return SHARED


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
