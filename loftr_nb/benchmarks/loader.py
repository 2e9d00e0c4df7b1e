"""Training pairs a second: plain files, a pack of them, and a compressed pack.

The plain reader, opening the files as they lie on disk, is the peer. First every
sample is compared bit by bit; then the same pairs in the same order go through a
``DataLoader``, in turns, and ratios are taken within each round.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader

from ..datasets import PosedPairs, ScanNet, collate, open_dataset, pack_dataset
from ..errors import ConfigError, DataError

KINDS = ("files", "pack", "pack --compress")
COMPARED = 100  # pairs whose samples are compared to the bit


@dataclass(frozen=True)
class Rates:
    """Pairs a second with so many loader processes, in the order of ``KINDS``.

    workers: 0 means that the process itself reads. pairs_s: medians of the
    rounds. ratios: medians, to the files of the same round.
    """

    workers: int
    pairs_s: list[float]
    ratios: list[float]


@dataclass(frozen=True)
class LoaderReport:
    """What was read, how large it is on disk, and how fast it came.

    files_bytes: of the files that the pairs need. pack_bytes, pack_seconds: of both
    packs. compared: pairs whose every tensor is the same from either pack.
    """

    data: str
    frames: int
    pairs: int
    files_bytes: int
    pack_bytes: list[int]
    pack_seconds: list[float]
    compared: int
    rates: list[Rates]
    cores: int
    load: float

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return dataclasses.asdict(self) | {"kinds": list(KINDS)}

    def text(self) -> str:
        """As lines for a person."""
        sizes = [self.files_bytes, *self.pack_bytes]
        shown = " / ".join(f"{size / 1e6:,.1f}" for size in sizes)
        made = " and ".join(f"{s:.1f}" for s in self.pack_seconds)
        rows = [
            f"{self.data}: {self.frames:,} frames, {self.pairs:,} pairs; "
            f"{self.cores} cores, load average {self.load:.1f}",
            f"{' / '.join(KINDS)}: {shown} MB, packs made in {made} s",
            f"{self.compared} pairs compared: the same to the bit from either pack",
            f"{'pairs/s':<10}" + "".join(f"{kind:>18}" for kind in KINDS),
        ]
        for r in self.rates:
            cells = (
                f"{rate:,.0f} ({ratio:.2f}x)"
                for rate, ratio in zip(r.pairs_s, r.ratios, strict=True)
            )
            name = f"{r.workers} worker" + "s" * (r.workers != 1)
            rows.append(f"{name:<10}" + "".join(f"{cell:>18}" for cell in cells))
        return "\n".join(rows)


def compare_loaders(
    data: Path,
    work: Path,
    workers: Sequence[int] = (0, 1, 2),
    pairs: int = 300,
    rounds: int = 5,
    say: Callable[[str], None] = lambda text: None,
) -> LoaderReport:
    """Pack ``data`` twice into ``work``, compare the samples, and time all three.

    Args:
        data: a folder of training pairs in any layout that has depth; read at the
            size of ScanNet's depth maps, or with MegaDepth's longer side at 640.
        work: a folder for both packs; it needs a few times the size of the data.
        workers: loader processes of each measurement.
        pairs: read in one measurement, start of the processes left out.

    Raises:
        ConfigError: a count below 1, or data that is a pack already.
        DataError: no data, or a sample differs, naming the pair.
    """
    if min(pairs, rounds) < 1 or min(workers, default=0) < 0:
        raise ConfigError("--pairs and --rounds need at least 1, --workers 0 or more")
    _one_thread(0)
    plain = open_dataset(data, "train", cache=work / "cache")
    if not isinstance(plain, PosedPairs):
        raise ConfigError(f"{data} holds no files with depth and pose to pack")
    # ScanNet's frames at the size of their depth maps, 640x480 in the released ones.
    size = None if isinstance(plain, ScanNet) else plain.size
    plain = open_dataset(data, "train", cache=work / "cache", size=size)
    sets, made = [plain], []
    for name, compress in (("pack", False), ("png", True)):
        say(f"packing {data} ({name})")
        report = pack_dataset(
            data, work / name, size=size, split="train", compress=compress
        )
        made.append(report)
        sets.append(open_dataset(work / name, "train", size=size))
    order = torch.randperm(
        len(plain), generator=torch.Generator().manual_seed(0)
    ).tolist()
    rows = (order * (pairs // len(order) + 1))[:pairs]
    compared = order[:COMPARED]
    for packed in sets[1:]:
        _require_same(plain, packed, compared)
    rates = []
    for count in workers:
        say(f"{pairs} pairs by {count} workers, {rounds} rounds of {len(KINDS)}")
        measured = [[_rate(d, rows, count) for d in sets] for _ in range(rounds)]
        rates.append(_rates(count, measured))
    bytes_, frames = _size_of(plain)
    return LoaderReport(
        str(data),
        frames,
        len(plain),
        bytes_,
        [m.bytes for m in made],
        [m.seconds for m in made],
        len(compared),
        rates,
        os.cpu_count() or 1,
        os.getloadavg()[0],
    )


def _rates(workers: int, rounds: list[list[float]]) -> Rates:
    kinds = range(len(KINDS))
    return Rates(
        workers,
        [statistics.median(r[k] for r in rounds) for k in kinds],
        [statistics.median(r[k] / r[0] for r in rounds) for k in kinds],
    )


def _one_thread(worker: int) -> None:
    # As the trainer's loader processes: one core each.
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


def _rate(dataset: PosedPairs, rows: list[int], workers: int) -> float:
    warm_up = max(workers, 1) * 4
    loader = DataLoader(
        dataset,
        batch_size=1,
        sampler=[rows[0]] * warm_up + rows,
        num_workers=workers,
        collate_fn=collate,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_one_thread,
    )
    batches = iter(loader)
    for _ in range(warm_up):
        next(batches)
    began = time.perf_counter()
    count = sum(1 for _ in batches)
    return count / (time.perf_counter() - began)


def _require_same(one: PosedPairs, other: PosedPairs, rows: list[int]) -> None:
    for i in rows:
        a, b = collate([one[i]]), collate([other[i]])
        for name, value in vars(a).items():
            if not isinstance(value, torch.Tensor):
                continue
            if not torch.equal(value, getattr(b, name)):
                raise DataError(
                    f"{name} of pair {i} is another in the pack than in the files: "
                    "the files have changed since, or this is a bug worth reporting"
                )


def _size_of(dataset: PosedPairs) -> tuple[int, int]:
    """Bytes of the files that the pairs need, and how many frames."""
    files = {}
    for i in range(len(dataset)):
        for side in (0, 1):
            found = [p for p in dataset.files(i, side) if p is not None]
            files[found[0]] = sum(p.stat().st_size for p in found)
    return sum(files.values()), len(files)
