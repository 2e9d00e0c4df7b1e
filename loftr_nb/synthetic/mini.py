"""``data/mini``: rendered rooms in both real layouts, from one call.

    loftr-nb data mini

The set appears whole or not at all: it is written beside its place and renamed
when complete. Files depend on the seed and on nothing else.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from .. import errors
from . import write_megadepth, write_scannet
from .rooms import Job

VERSION = 3  # raise it whenever the same seed gives other files
_FRAME_BYTES = 150_000  # jpg and depth of one 320x240 frame, rounded up

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class MiniOptions:
    """How much to render. The defaults are the set that recipes are tuned for."""

    train_scenes: int = 40
    test_scenes: int = 10
    train_frames: int = 16
    test_frames: int = 12
    size: tuple[int, int] = (320, 240)
    megadepth_train: int = 6
    megadepth_test: int = 2
    megadepth_images: int = 8

    def jobs(self, seed: int) -> list[Job]:
        """One job a scene, the largest first: no worker waits for the last."""
        jobs = [
            Job("scannet", split, n, seed, (self.size,) * frames, True)
            for split, scenes, frames in (
                ("train", self.train_scenes, self.train_frames),
                ("test", self.test_scenes, self.test_frames),
            )
            for n in range(scenes)
        ]
        w, h = self.size
        scaled = [
            (round(a * w / 320), round(b * h / 240)) for a, b in write_megadepth.SIZES
        ]
        sizes = tuple(scaled[n % len(scaled)] for n in range(self.megadepth_images))
        for split, scenes in (
            ("train", self.megadepth_train),
            ("test", self.megadepth_test),
        ):
            jobs += [
                Job("megadepth", split, n, seed, sizes, False) for n in range(scenes)
            ]
        return jobs


def make_mini(
    out: Path,
    seed: int = 0,
    progress: Progress | None = None,
    workers: int = 2,
    options: MiniOptions | None = None,
) -> Path:
    """Render the embedded data, or return at once when ``out`` holds it already.

    Args:
        out: folder to make. An empty folder or an older set of ours is replaced.
        seed: the same seed gives the same bytes, whatever ``workers`` is.
        progress: called with (scenes done, scenes in all, name of the last).
        workers: processes; 1 renders in this one.
        options: how much to render.

    Returns:
        ``out``.

    Raises:
        DataError: ``out`` holds something else, or the disk is too full.
    """
    out, options = Path(out).absolute(), options or MiniOptions()
    wanted = {
        "format": "loftr-nb mini",
        "version": VERSION,
        "seed": seed,
        "options": asdict(options),
    }
    wanted = json.loads(json.dumps(wanted))
    if _is_complete(out, wanted):
        return out
    _refuse_foreign(out)
    jobs = options.jobs(seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    _check_space(out, jobs)
    _remove_leftovers(out)
    prefix = f".{out.name}.partial-{os.getpid()}-"
    partial_out = Path(tempfile.mkdtemp(dir=out.parent, prefix=prefix))
    try:
        wanted["counts"] = _write(partial_out, jobs, progress, workers)
        wanted |= _fingerprint(partial_out)
        manifest = json.dumps(wanted, indent=1)
        (partial_out / "manifest.json").write_text(manifest + "\n")
        partial_out.chmod(0o755)
        _swap(partial_out, out, wanted)
    finally:
        shutil.rmtree(partial_out, ignore_errors=True)
    return out


def _write(
    root: Path, jobs: list[Job], progress: Progress | None, workers: int
) -> dict[str, dict[str, int]]:
    """Run all jobs, then write what spans scenes; returns counts by set."""
    results: dict[Job, tuple] = {}
    for job, result in _run(root, jobs, workers):
        results[job] = result
        if progress:
            text = f"{job.layout} {job.split} {result[0]}"
            progress(len(results), len(jobs), text)
    cameras = {
        results[job][0]: results[job][1].ravel()
        for job in jobs
        if job.layout == "scannet"
    }
    if cameras:
        np.savez(root / "scannet" / "index" / "intrinsics.npz", **cameras)
    counts: dict[str, dict[str, int]] = {}
    for job in jobs:
        count = counts.setdefault(
            f"{job.layout}/{job.split}", {"scenes": 0, "frames": 0, "pairs": 0}
        )
        count["scenes"] += 1
        count["frames"] += len(job.sizes)
        count["pairs"] += results[job][-1]
    for name in counts:
        layout, split = name.split("/")
        index = root / layout / "index" / split
        lines = [path.name for path in sorted(index.glob("*.npz"))]
        (index.parent / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return counts


def _run(root: Path, jobs: list[Job], workers: int) -> Iterator[tuple[Job, tuple]]:
    work = partial(_do, root=root)
    workers = min(workers, len(jobs))
    if workers <= 1:
        yield from map(work, jobs)
        return
    # Spawned, not forked: a caller may already run threads (torch, a notebook).
    with multiprocessing.get_context("spawn").Pool(workers, _single_thread) as pool:
        yield from pool.imap_unordered(work, jobs)


def _single_thread() -> None:
    cv2.setNumThreads(1)


def _do(job: Job, root: Path) -> tuple[Job, tuple]:
    writer = {"scannet": write_scannet, "megadepth": write_megadepth}[job.layout]
    return job, writer.write_scene(job, root / job.layout)


def _fingerprint(root: Path) -> dict[str, object]:
    """Number of files, bytes, and one hash over all names and contents."""
    digest, files, size = hashlib.sha256(), 0, 0
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        data = path.read_bytes()
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(data).digest())
        files, size = files + 1, size + len(data)
    return {"files": files, "bytes": size, "sha256": digest.hexdigest()}


def read_manifest(out: Path) -> dict | None:
    """The manifest of a set made here, or None where there is none."""
    try:
        manifest = json.loads((Path(out) / "manifest.json").read_text())
    except (OSError, ValueError):
        return None
    ours = isinstance(manifest, dict) and manifest.get("format") == "loftr-nb mini"
    return manifest if ours else None


def _is_complete(out: Path, wanted: dict) -> bool:
    manifest = read_manifest(out)
    if manifest is None or any(manifest.get(k) != v for k, v in wanted.items()):
        return False
    # Sizes, not hashes: reading 100 MB at every start would cost seconds.
    sizes = [
        p.stat().st_size
        for p in out.rglob("*")
        if p.is_file() and p.name != "manifest.json"
    ]
    return [len(sizes), sum(sizes)] == [manifest.get("files"), manifest.get("bytes")]


def _refuse_foreign(out: Path) -> None:
    if not out.exists() or read_manifest(out) is not None:
        return
    if not out.is_dir() or any(out.iterdir()):
        raise errors.DataError(
            f"{out} exists and holds no manifest.json of the embedded data, so it "
            "is not replaced. Move it away, or name another folder"
        )


def _check_space(out: Path, jobs: list[Job]) -> None:
    pixels = sum(w * h for job in jobs for w, h in job.sizes)
    need = 20_000_000 + _FRAME_BYTES * pixels // (320 * 240)
    free = shutil.disk_usage(out.parent).free
    if free < need:
        raise errors.DataError(
            f"{out.parent} has {free / 1e6:.0f} MB free and the embedded data needs "
            f"{need / 1e6:.0f} MB: free some space, or name a folder elsewhere"
        )


def _remove_leftovers(out: Path) -> None:
    """Delete partial folders of runs that were killed, not of runs under way."""
    for path in out.parent.glob(f".{out.name}.partial-*"):
        pid = path.name.removeprefix(f".{out.name}.partial-").split("-")[0]
        if pid.isdigit() and not _is_running(int(pid)):
            shutil.rmtree(path, ignore_errors=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _swap(made: Path, out: Path, wanted: dict) -> None:
    """Put ``made`` in the place of ``out``, unless a run beside us was first."""
    identity = {k: wanted[k] for k in ("format", "version", "seed", "options")}
    if _is_complete(out, identity):
        return
    old = made.with_name(made.name + "-old")
    if out.exists():
        _refuse_foreign(out)
        os.rename(out, old)
    os.rename(made, out)
    shutil.rmtree(old, ignore_errors=True)
