"""Scene-balanced sampling: the same number of pairs from each scene, each epoch.

A long video has a thousand times the pairs of a short one. Drawing equally from
each scene keeps it from being the whole epoch. The released training deals
scenes to ranks, so its result depends on the number of GPUs; here the order of
an epoch is one sequence, and ranks take turns on it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from ..errors import ConfigError
from .groups import SceneGroups


class SceneBalancedSampler(Sampler[int]):
    """Draws ``per_scene`` pairs of each scene and shuffles them.

    The sequence of an epoch is a function of (seed, epoch) alone. Rank r of
    ``world`` takes items r, r + world, ...: a step over all ranks sees the same
    pairs as one process with a batch ``world`` times as large. All ranks get the
    same length; items at the end that do not fill all ranks are dropped (at
    most ``world`` - 1 an epoch, and none is seen twice).

    A scene with fewer than ``per_scene`` pairs gives all of them before it
    repeats one.
    """

    def __init__(
        self,
        scene_of: np.ndarray | SceneGroups,
        per_scene: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """
        Args:
            scene_of: (N,) int, scene of each row; rows of a scene may lie apart.
                Or ``table.groups()``, or some of its scenes: of a flat index these
                are two numbers a scene, where ``scene_of`` is one for each pair.
            per_scene: pairs of each scene an epoch.
            rank, world: this process and how many there are.

        Raises:
            ConfigError: no pairs, or numbers that cannot be.
        """
        if per_scene < 1:
            raise ConfigError(f"pairs per scene is {per_scene}, it must be 1 or more")
        if not 0 <= rank < world:
            raise ConfigError(f"rank is {rank}, it must be 0 to {world - 1} (world)")
        given = isinstance(scene_of, SceneGroups)
        groups = scene_of if given else SceneGroups.of(scene_of)
        if len(groups) == 0:
            raise ConfigError("there are no pairs to draw from")
        self.per_scene, self.seed = per_scene, seed
        self.rank, self.world = rank, world
        self.epoch = self.start = 0
        self._groups = groups
        items = len(groups) * per_scene
        if items < world:
            raise ConfigError(
                f"an epoch of {items} pairs cannot be dealt to {world} processes: use "
                "fewer, or more pairs per scene"
            )

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Choose the epoch, and how many of this rank's items to skip.

        ``start`` is where an interrupted epoch goes on: batches done x batch size.
        It holds until the next call.
        """
        self.epoch, self.start = epoch, start

    def sequence(self) -> np.ndarray:
        """All ranks' rows in this epoch, in order: (scenes x per_scene,) int64."""
        generator = np.random.default_rng((self.seed, self.epoch))
        groups = self._groups
        drawn = [
            offset + _draw(generator, count, self.per_scene)
            for offset, count in zip(groups.offsets[:-1], groups.counts, strict=True)
        ]
        rows = groups.at(np.concatenate(drawn))
        return generator.permutation(rows).astype(np.int64)

    def __iter__(self) -> Iterator[int]:
        whole = self.sequence()
        whole = whole[: len(whole) // self.world * self.world]
        yield from whole[self.rank :: self.world][self.start :].tolist()

    def __len__(self) -> int:
        """Items that are left to this rank in this epoch."""
        items = len(self._groups) * self.per_scene // self.world
        return max(items - self.start, 0)


def _draw(generator: np.random.Generator, count: int, wanted: int) -> np.ndarray:
    """``wanted`` places below ``count``: whole rounds first, then a part of one."""
    rounds, part = divmod(wanted, count)
    # Floyd's method inside `choice` needs memory for the part, not for count.
    last = generator.choice(count, part, replace=False, shuffle=False)
    return np.concatenate([np.tile(np.arange(count), rounds), last])
