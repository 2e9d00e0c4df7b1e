"""What the ScanNet and the MegaDepth dataset have in common."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch.utils.data import Dataset

from ..errors import ConfigError
from ..files import require_folder
from ..geometry import COARSE_STRIDE
from .augment import Augment
from .images import InputFrame, as_float, view_of_cells
from .pair import Pair, View
from .table import PairTable

DepthUse = Literal["required", "optional"]


class PosedPairs(Dataset[Pair]):
    """Pairs of images with depth, intrinsics and relative pose, by an index.

    table: the index, one row per pair. root: the folder its paths start from.
    """

    def __init__(
        self, root: Path, table: PairTable, augment: Augment | None, depth: DepthUse
    ) -> None:
        if depth not in ("required", "optional"):
            raise ConfigError(f"depth is {depth!r}; it is 'required' or 'optional'")
        require_folder(Path(root), "the dataset's folder")
        self.root = Path(root)
        self.table = table
        self.augment = augment
        self.depth = depth
        # In shared memory: workers that outlive an epoch see it change.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self.table)

    def __iter__(self) -> Iterator[Pair]:
        return (self[i] for i in range(len(self)))

    @property
    def scene_of(self) -> np.ndarray:
        """(N,) int32, the number in ``scenes`` of each pair's scene.

        Of a flat index it is not in memory until it is asked for as a whole;
        ``table.groups()`` says which rows a scene has without that.
        """
        return self.table.scene

    @property
    def scenes(self) -> list[str]:
        """Names of the scenes, by number."""
        return list(self.table.scenes)

    def set_epoch(self, epoch: int) -> None:
        """Give augmentation another draw; without it, every epoch is the same."""
        self._epoch.fill_(epoch)

    def __getitem__(self, i: int) -> Pair:
        """Pair i. Raises DataError, naming the file, where a file is unusable."""
        i = self._row(i)
        rng = None
        if self.augment is not None:
            rng = self.augment.generator(int(self._epoch), i)
        T_0to1 = self.relative_pose(i)
        return Pair(
            view0=self._view(i, 0, rng),
            view1=self._view(i, 1, rng),
            T_0to1=torch.from_numpy(T_0to1.astype(np.float32)),
            scene=self.table.scenes[self.table.scene[i]],
            overlap=float(self.table.overlap[i]),
        )

    def relative_pose(self, i: int) -> np.ndarray:
        """(4, 4) float64 ``T_0to1`` of pair i, camera 0 to camera 1, metres."""
        raise NotImplementedError

    def full_depth(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Both depth maps of pair i, (H, W) float32 metres, 0 = unknown."""
        raise NotImplementedError

    def image_paths(self, i: int) -> tuple[Path, Path]:
        """Where the two images of pair i are, or should be."""
        raise NotImplementedError

    def describe(self, i: int) -> str:
        """One line about pair i: scene, images, overlap, index file and row."""
        i = self._row(i)
        first, second = (path.name for path in self.image_paths(i))
        overlap = self.table.overlap[i]
        score = "no overlap score" if np.isnan(overlap) else f"overlap {overlap:.2f}"
        scene = self.table.scenes[self.table.scene[i]]
        return f"{scene}: {first} and {second}, {score} ({self.table.where(i)})"

    def frame(self, i: int, side: int) -> InputFrame:
        """Image and depth of one side (0 or 1) of pair i, as training reads them."""
        raise NotImplementedError

    def frame_intrinsics(self, i: int, side: int) -> np.ndarray:
        """(3, 3) K of one side of pair i, original pixels."""
        raise NotImplementedError

    @property
    def pads(self) -> bool:
        """Whether images are padded to a square."""
        return False

    def _view(self, i: int, side: int, rng: np.random.Generator | None) -> View:
        frame = self.frame(i, side)
        image = as_float(frame.grey)
        if rng is not None:
            image = self.augment(image, rng)
        K = self.frame_intrinsics(i, side)
        return view_of_cells(
            image, frame.cell_depth, K, frame.original, self.pads, frame.name
        )

    def _row(self, i: int) -> int:
        if not -len(self) <= i < len(self):
            raise IndexError(f"pair {i} of {len(self)}")
        return int(i) % len(self)


def check_divisible(sides: tuple[int, ...], what: str) -> None:
    """Refuse sizes that coarse cells do not fill.

    Raises:
        ConfigError: naming the sizes and the nearest that work.
    """
    if any(s < COARSE_STRIDE or s % COARSE_STRIDE for s in sides):
        nearest = tuple(max(round(s / COARSE_STRIDE), 1) * COARSE_STRIDE for s in sides)
        raise ConfigError(
            f"{what} is {sides}; every number must be a multiple of {COARSE_STRIDE}, "
            f"for instance {nearest}"
        )
