"""A pack under way: scenes planned, index copied, files written one by one."""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import ConfigError, DataError
from ..files import write_whole
from .layout import Found, find_layout, open_dataset
from .pack_folder import (
    HEAD,
    IndexCopy,
    PackedSplit,
    PackHead,
    PackOptions,
    file_digest,
    is_pack,
    read_pack,
)
from .pack_plan import FaultyScene, SceneJob, bytes_per_frame, plan_scenes
from .pack_report import Pace, PackReport, Progress

SPLITS = ("train", "test")
BUILT = "index/built"  # the index of bare ScanNet scenes, below the pack


@dataclass
class Work:
    """A pack under way."""

    out: Path
    head: PackHead
    found: dict[str, Found]
    jobs: dict[str, list[SceneJob]]
    pairs: dict[str, int]
    notes: list[str]

    @classmethod
    def open(cls, data, out, size, layout, split, min_overlap, compress, cache) -> Work:
        first = find_layout(data, "test" if split == "test" else "train", layout, cache)
        if size == "default":
            size = (640, 480) if first.layout == "scannet" else 640
        fits = (
            isinstance(size, tuple)
            if first.layout == "scannet"
            else not (isinstance(size, tuple))
        )
        if size is not None and not fits:
            raise ConfigError(
                f"size {size} does not suit {first.layout}: ScanNet's is WxH, such as "
                "640x480, MegaDepth's a longer side, such as 640"
            )
        options = PackOptions(
            str(data.resolve()), first.layout, size, compress=compress
        )
        earlier = _earlier(out, options)
        wanted = [s for s in SPLITS if split in ("both", s) or s in earlier]
        work = cls(out, PackHead(options), {}, {}, {}, [])
        for name in wanted:
            try:
                work._add(data, name, cache, min_overlap)
            except DataError as error:
                if name == "train" or split == "test":
                    raise
                work.notes.append(f"no test pairs are packed: {error}")
        return work

    def _add(self, data: Path, split: str, cache: Path, min_overlap: float) -> None:
        options = self.head.options
        found = find_layout(data, split, options.layout, cache)
        least = min_overlap if split == "train" else 0.0
        depth = "required" if split == "train" else "optional"
        dataset = open_dataset(
            data, split, options.layout, cache, size=options.size, depth=depth,
            min_overlap=least,
        )  # fmt: skip
        self.found[split], self.pairs[split] = found, len(dataset)
        self.jobs[split] = plan_scenes(dataset, self.out / split, options)
        built = None
        if found.index[0].is_relative_to(cache):
            built = f"{BUILT}/{found.index[0].relative_to(cache).parts[0]}"
        root = str(found.root.resolve())
        if found.root.is_absolute():  # as the reader names its images
            root = str(found.root)
        self.head.splits[split] = PackedSplit(root, found.held_out, least, depth, built)

    def plan(self, dry_run: bool) -> PackReport:
        """Sizes, before anything is written."""
        jobs = [job for some in self.jobs.values() for job in some]
        todo = [job for job in jobs if job.stored() is None]
        need = sum(map(len, todo)) * bytes_per_frame(todo)
        copied = {p for s, f in self.found.items() for p in f.index
                  if self.head.splits[s].built is None}  # fmt: skip
        need += sum(p.stat().st_size for p in copied) if todo else 0
        splits = {
            name: {
                "scenes": len(some),
                "frames": sum(map(len, some)),
                "pairs": self.pairs[name],
            }
            for name, some in self.jobs.items()
        }
        there = next(p for p in (self.out.absolute(), *self.out.absolute().parents)
                     if p.exists())  # fmt: skip
        return PackReport(
            self.out, self.head.options, splits, int(1.01 * need),
            shutil.disk_usage(there).free, dry_run, len(jobs) - len(todo),
            notes=list(self.notes),
        )  # fmt: skip

    def write(
        self, report: PackReport, workers: int, progress: Progress | None
    ) -> None:
        """Index, scenes, and last the word that it is complete."""
        report.kept = 0
        try:
            for split in self.jobs:
                (self.out / split).mkdir(parents=True, exist_ok=True)
                _remove_leftovers(self.out / split)
        except OSError as error:
            raise DataError(f"{self.out} cannot be written to ({error})") from None
        self.head.write(self.out)
        for split, found in self.found.items():
            self._copy_index(split, found)
        pace = Pace(sum(s["frames"] for s in report.splits.values()), progress)
        for split, jobs in self.jobs.items():
            for job in jobs:
                self._scene(split, job, workers, pace, report)
        self.head.complete = not report.faults
        self.head.write(self.out)
        report.bytes = sum(p.stat().st_size for p in self.out.rglob("*") if p.is_file())

    def _scene(
        self, split: str, job: SceneJob, workers: int, pace: Pace, report: PackReport
    ) -> None:
        sources, stored = job.sources(workers), job.stored()
        name = job.path.stem
        if stored is not None and stored.sources == sources:
            report.kept += 1
            self.head.splits[split].scenes[name] = stored.file.size
            pace.skip(len(job))
            return
        try:
            size = job.write(sources, workers, lambda: pace.step(f"{split} {name}"))
        except FaultyScene as error:
            report.faults[f"{split}/{name}"] = error.faults
            return
        report.written += 1
        self.head.splits[split].scenes[name] = size

    def _copy_index(self, split: str, found: Found) -> None:
        packed = self.head.splits[split]
        for n, path in enumerate(found.index):
            if packed.built is None:
                place = f"index/{split}/{path.name}"
                if any(one.file == place for one in packed.index):
                    place = f"index/{split}/{n}/{path.name}"
                _copy(path, self.out / place)
            else:
                place = path.relative_to(self.out).as_posix()
            packed.index.append(_watched(path, place))
        if found.intrinsics is not None:
            packed.intrinsics = _watched(found.intrinsics, "")


def _earlier(out: Path, options: PackOptions) -> dict[str, PackedSplit]:
    """Splits of the pack that is there already.

    Raises:
        ConfigError: it has other options. DataError: ``out`` is something else.
    """
    if not is_pack(out):
        held = (
            [p.name for p in out.iterdir() if p.name != "index"] if out.is_dir() else []
        )
        if held or out.is_file():
            raise DataError(
                f"{out} exists and is no pack (it has no {HEAD}); nothing in it is "
                "touched. Name another --out"
            )
        return {}
    head = read_pack(out)
    old, new = asdict(head.options), asdict(options)
    differ = [f"{k} {old[k]}, not {new[k]}" for k in old if old[k] != new[k]]
    if differ:
        raise ConfigError(
            f"{out} is a pack with {'; '.join(differ)}. It was made by "
            f"`{head.options.command(out)}`. Name another --out, or delete it"
        )
    return head.splits


def _watched(path: Path, place: str) -> IndexCopy:
    stat, path = path.stat(), path.resolve()
    return IndexCopy(
        str(path), place, stat.st_size, stat.st_mtime_ns, file_digest(path)
    )


def _copy(source: Path, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    same = out.is_file() and out.stat().st_size == source.stat().st_size
    if same and file_digest(out) == file_digest(source):
        return
    with source.open("rb") as file:
        write_whole(out, lambda copy: shutil.copyfileobj(file, copy, 1 << 20))


def _remove_leftovers(folder: Path) -> None:
    """Half files of runs that were killed, not of runs under way."""
    for part in folder.glob(".*.part-*"):
        pid = part.name.rpartition("-")[2]
        try:
            os.kill(int(pid), 0)
        except (ProcessLookupError, ValueError):
            part.unlink(missing_ok=True)
        except OSError:
            continue
