"""Pairs from plain photos: no depth, no poses, a homography between two images.

Two kinds, which ``loftr-nb data import folder`` lists in ``photos.json``:

- a photo and the same photo through a random homography (:func:`draw_poster`), new in
  every epoch;
- sets of photos with measured homographies ``H_1_k`` between them (Oxford affine,
  HPatches): real changes of light and view.

The trap: everything is flat. Such pairs teach appearance, not parallax or occlusion:
for scenes with depth, train on depth.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from ..errors import ConfigError, DataError
from ..files import read_image_grey
from .augment import Augment
from .base import check_divisible
from .homographies import draw_poster, homography_overlap
from .images import fit_longer_side, make_view, resize_grey
from .pair import Pair, View
from .photo_list import MANIFEST, PhotoRows, PhotoSet, read_photo_list
from .split import TEST_SHARE

_TEST_DRAWS = 5  # homographies of each test photo, the same in every run
_TRAIN, _TEST = 7, 11  # streams of random numbers, apart from the augmentation's


class PhotoHomographies(Dataset[Pair]):
    """Homography pairs of a folder that ``loftr-nb data import folder`` wrote.

    A photo is a scene of its own, a set of photos is one. A fifth of the scenes is
    for test; of a single set, its last photo. Test pairs are photos and a homography
    of them, which have a true pose; a training split also has the pairs of sets,
    which have none (NaN).

    Args:
        folder: holds ``photos.json``.
        split: "train" or "test".
        size: the longer side of the input (padded to a square), or (w, h).
        seed: of the homographies: pair i of an epoch depends on (seed, epoch, i).
        min_overlap: homographies that leave less are drawn again, and pairs of sets
            with less are left out.
        augment: photometric changes, of both views.
        depth: taken for the sake of the other datasets' signature; there is none.

    Raises:
        DataError: the list is missing or damaged, or has too few photos. Photos are
            read, and complained about, when a pair asks for them.
    """

    def __init__(
        self,
        folder: Path,
        split: str = "train",
        size: int | tuple[int, int] = 640,
        seed: int = 0,
        min_overlap: float = 0.0,
        augment: Augment | None = None,
        depth: str = "optional",
    ) -> None:
        if split not in ("train", "test"):
            raise ConfigError(f"split is {split!r}; it is 'train' or 'test'")
        check_divisible((size,) if isinstance(size, int) else tuple(size), "the size")
        self.list = read_photo_list(folder)
        self.root, self.split, self.size = self.list.root, split, size
        self.seed, self.min_overlap, self.augment = seed, min_overlap, augment
        self._where = Path(folder) / MANIFEST
        self._scenes: list[str] = []
        self._images: list[str] = []
        self._H: list[np.ndarray | None] = []  # of a set's photos
        self._rows = self._list_rows()
        # In shared memory: workers that outlive an epoch see it change.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Pair]:
        return (self[i] for i in range(len(self)))

    @property
    def table(self) -> PhotoRows:
        """The rows, as far as training asks for them."""
        return PhotoRows(self._rows[:, 0], tuple(self._scenes))

    @property
    def scene_of(self) -> np.ndarray:
        """(N,) int32, the number in ``scenes`` of each pair's scene."""
        return self._rows[:, 0]

    @property
    def scenes(self) -> list[str]:
        """Names of the scenes, by number."""
        return list(self._scenes)

    def set_epoch(self, epoch: int) -> None:
        """Draw other homographies and other light; the test split has one draw."""
        self._epoch.fill_(epoch)

    def image_paths(self, i: int) -> tuple[Path, Path]:
        """Where the photos of pair i are; one and the same for a drawn homography."""
        _, a, b = self._rows[self._row(i)]
        return self.root / self._images[a], self.root / self._images[b]

    def describe(self, i: int) -> str:
        """One line about pair i."""
        i = self._row(i)
        scene, a, b = self._rows[i]
        first, second = (path.name for path in self.image_paths(i))
        if a == b:
            return f"{first} and a homography of it ({self._where}, pair {i})"
        return (
            f"{self._scenes[scene]}: {first} and {second}, measured homography "
            f"({self._where}, pair {i})"
        )

    def __getitem__(self, i: int) -> Pair:
        """Pair i. Raises DataError, naming the file, where a photo is unusable."""
        i = self._row(i)
        epoch = 0 if self.split == "test" else int(self._epoch)
        rng = None if self.augment is None else self.augment.generator(epoch, i)
        scene, a, b = self._rows[i]
        if a != b:
            return self._measured(scene, a, b, rng)
        stream = _TEST if self.split == "test" else _TRAIN
        draw = np.random.default_rng([self.seed, epoch, i, stream])
        return self._drawn(scene, a, draw, rng)

    def _drawn(self, scene: int, a: int, draw: np.random.Generator, rng) -> Pair:
        """A photo, and its view from a second camera."""
        path = self.root / self._images[a]
        photo = read_image_grey(path)
        original = photo.shape[::-1]
        size = self._input_size(original, path)
        poster = draw_poster(draw, size, max(self.min_overlap, 0.1))
        image0, image1 = _two_views(photo, size, poster.H_0to1)
        S = np.diag([original[0] / size[0], original[1] / size[1], 1.0])
        H = S @ poster.H_0to1 @ np.linalg.inv(S)
        views = [
            self._view(image, S @ poster.K, original, size, path, rng)
            for image in (image0, image1)
        ]
        return _pair(views, poster.T_0to1, self._scenes[scene], poster.overlap, H)

    def _measured(self, scene: int, a: int, b: int, rng) -> Pair:
        """Two photos of a set."""
        views, sizes = [], []
        for k in (a, b):
            path = self.root / self._images[k]
            photo = read_image_grey(path)
            original = photo.shape[::-1]
            size = self._input_size(original, path)
            sizes.append(original)
            image = resize_grey(photo, size)
            # Of an unknown camera: only who compares poses asks, and there is none.
            K = np.diag([max(original), max(original), 1.0])
            views.append(self._view(image, K, original, size, path, rng))
        H = self._H[b] @ np.linalg.inv(self._H[a])
        overlap = homography_overlap(H, *sizes)
        T = np.full((4, 4), np.nan)
        return _pair(views, T, self._scenes[scene], overlap, H)

    def _view(self, image, K, original, size, path: Path, rng) -> View:
        if rng is not None:
            image = self.augment(image, rng)
        pad = isinstance(self.size, int)
        return make_view(image, None, K, original, size, pad, str(path))

    def _input_size(self, original: tuple[int, int], path: Path) -> tuple[int, int]:
        if isinstance(self.size, int):
            return fit_longer_side(original, self.size, 8, str(path))
        return tuple(self.size)

    def _list_rows(self) -> np.ndarray:
        """(N, 3) int32: scene, photo a, photo b; a = b where one is drawn of a."""
        # Sets come first: scenes that a recipe holds out for validation are the last
        # ones, and only photos have the pose that a score needs.
        groups = [(s.images, s) for s in self.list.sets]
        groups += [((p,), None) for p in self.list.photos]
        rows = [np.empty((0, 3), np.int32)]
        for number, (names, made) in enumerate(groups):
            chosen = self._chosen(number, len(groups), len(names))
            if chosen:
                rows.append(self._rows_of(list(names), made, chosen))
        if not any(len(r) for r in rows):
            raise DataError(
                f"{self._where} lists {len(self.list.photos)} photos and "
                f"{len(self.list.sets)} sets, too few for a {self.split} split: import "
                "a folder of two photos or more"
            )
        return np.concatenate(rows)

    def _chosen(self, number: int, groups: int, photos: int) -> range:
        """Which of the photos of scene ``number`` this split has."""
        is_test = self.split == "test"
        if groups == 1:  # its last photo is held out: nothing else is left
            return range(photos - 1, photos) if is_test else range(photos - 1)
        held = number % TEST_SHARE == TEST_SHARE - 1
        held |= groups < TEST_SHARE and number == groups - 1
        return range(photos) if held == is_test else range(0)

    def _rows_of(self, names: list[str], made: PhotoSet | None, chosen) -> np.ndarray:
        scene, start = len(self._scenes), len(self._images)
        self._scenes.append(names[0] if made is None else made.name)
        self._images += names
        self._H += [None] * len(names) if made is None else list(made.H)
        if self.split == "train" and made is not None:
            pairs = [
                (a, b)
                for a in chosen
                for b in chosen
                if a < b and self._overlaps(made, a, b)
            ]
        else:
            count = self.list.pairs_per_photo
            draws = count if self.split == "train" else _TEST_DRAWS
            pairs = [(a, a) for a in chosen for _ in range(draws)]
        rows = np.array(pairs, np.int32).reshape(-1, 2) + start
        return np.insert(rows, 0, scene, axis=1).astype(np.int32)

    def _overlaps(self, made: PhotoSet, a: int, b: int) -> bool:
        if self.min_overlap <= 0:
            return True
        sizes = [
            read_image_grey(self.root / made.images[k]).shape[::-1] for k in (a, b)
        ]
        H = made.H[b] @ np.linalg.inv(made.H[a])
        return homography_overlap(H, *sizes) >= self.min_overlap

    def _row(self, i: int) -> int:
        if not -len(self) <= i < len(self):
            raise IndexError(f"pair {i} of {len(self)}")
        return int(i) % len(self)


def _two_views(
    photo: np.ndarray, size: tuple[int, int], H: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The photo at ``size`` (w, h), and the same moved by H in pixels of that size.

    The second is warped from a picture of twice the size where the photo is that
    large: warping the small one would blur what comes nearer.
    """
    factor = (
        2
        if min(p / s for p, s in zip(photo.shape[::-1], size, strict=True)) >= 2
        else 1
    )
    large = (size[0] * factor, size[1] * factor)
    work = resize_grey(photo, large)
    # Pixel x of the input is the middle of the larger picture's pixels around it.
    up = np.array(
        [[factor, 0, (factor - 1) / 2], [0, factor, (factor - 1) / 2], [0, 0, 1]]
    )
    moved = cv2.warpPerspective(
        work, up @ H @ np.linalg.inv(up), large, flags=cv2.INTER_LINEAR
    )
    if factor == 1:
        return work, moved
    return tuple(
        cv2.resize(v, size, interpolation=cv2.INTER_AREA) for v in (work, moved)
    )


def _pair(views: list[View], T: np.ndarray, scene: str, overlap: float, H) -> Pair:
    return Pair(
        view0=views[0],
        view1=views[1],
        T_0to1=torch.from_numpy(T.astype(np.float32)),
        scene=scene,
        overlap=overlap,
        H_0to1=torch.from_numpy((H / H[2, 2]).astype(np.float32)),
    )
