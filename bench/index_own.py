"""Index one's own frames: how right the overlaps are, and what 3,000 frames cost.

    python bench/index_own.py --work DIR

Needs the real data beside the project (``--data``). It compares

- overlap on grids with overlap of every pixel in float64, on all 7,140 pairs of
  ``hololens`` and all 55 of ``fountain``, and with fountain's own index;
- the candidates with all pairs that overlap;
- ``build_index`` on 3,000 frames with scoring all pairs one by one.

The 3,000 frames are hololens' walk with 24 views between every two of its frames:
real depth, moved to where the camera was in between, as 640x480 PNG files. They
are written once into ``--work`` (about 700 MB).
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from loftr_nb.datasets.scene_info import load_megadepth_scene
from loftr_nb.files import read_depth_h5
from loftr_nb.files.memory import peak_resident_mb
from loftr_nb.indexing import IndexReport, build_index, pair_overlap
from loftr_nb.indexing.candidates import find_candidates
from loftr_nb.indexing.grids import read_grids
from loftr_nb.indexing.score import score_pairs
from loftr_nb.recordings import Scene, find_recording
from loftr_nb.recordings.megadepth_paths import MegaDepthPaths

ROOT = Path(__file__).resolve().parent.parent
AGREE = 0.15


def main() -> None:
    """Run the three comparisons."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for 3,000 frames"
    )
    parser.add_argument(
        "--between", type=int, default=25, help="frames for each of 120"
    )
    parser.add_argument("--processes", type=int, default=2)
    steps = ("hololens", "fountain", "walk")
    parser.add_argument("--steps", nargs="+", choices=steps, default=steps)
    args = parser.parse_args()
    scene = find_recording(args.data / "hololens").scenes[0]
    if "hololens" in args.steps:
        compare_hololens(scene, args.processes)
    if "fountain" in args.steps:
        compare_fountain(args.data / "fountain")
    if "walk" not in args.steps:
        return
    folder = args.work / f"walk{args.between}"
    if not (folder / "scene9001_00" / "done").exists():
        write_walk(scene, folder / "scene9001_00", args.between, args.processes)
    time_index(folder, args.work / "index")


def say(text: str) -> None:
    """Print at once: a step takes minutes."""
    print(text, flush=True)


def brute_force(
    depth0: np.ndarray,
    depth1: np.ndarray,
    K0: np.ndarray,
    K1: np.ndarray,
    T: np.ndarray,
) -> float:
    """Share of the known pixels of image 0 that image 1 shows: every pixel, float64."""
    y, x = np.nonzero(depth0 > 0)
    z = depth0[y, x].astype(np.float64)
    points = np.stack(
        [(x - K0[0, 2]) / K0[0, 0] * z, (y - K0[1, 2]) / K0[1, 1] * z, z], axis=1
    )
    points = points @ T[:3, :3].T + T[:3, 3]
    points = points[points[:, 2] > 0]
    u = np.floor(K1[0, 0] * points[:, 0] / points[:, 2] + K1[0, 2] + 0.5)
    v = np.floor(K1[1, 1] * points[:, 1] / points[:, 2] + K1[1, 2] + 0.5)
    h, w = depth1.shape
    inside = (u >= 0) & (u < w) & (v >= 0) & (v < h)
    seen = depth1[v[inside].astype(int), u[inside].astype(int)]
    near = np.abs(points[inside, 2] - seen) < AGREE * seen
    return float((near & (seen > 0)).sum() / len(z))


_FRAMES: list = []  # of a worker: sent once, not with each task


def _row(i: int) -> list[tuple[int, int, float]]:
    frames, answers = _FRAMES, []
    for j in range(i + 1, len(frames)):
        (d0, K0, P0), (d1, K1, P1) = frames[i], frames[j]
        T = P1 @ np.linalg.inv(P0)
        both = (
            brute_force(d0, d1, K0, K1, T),
            brute_force(d1, d0, K1, K0, np.linalg.inv(T)),
        )
        answers.append((i, j, sum(both) / 2))
    return answers


def all_by_brute_force(frames: list, processes: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, 2) all pairs and (N,) their overlap."""
    with ProcessPoolExecutor(processes, None, _FRAMES.extend, (frames,)) as pool:
        rows = [r for row in pool.map(_row, range(len(frames))) for r in row]
    rows = np.array(rows)
    return rows[:, :2].astype(int), rows[:, 2]


def compare_hololens(scene: Scene, processes: int) -> None:
    """All pairs of 120 frames, and how many of them the candidates find."""
    frames = [
        (scene.depth(k), scene.K(k), scene.world_to_camera(k))
        for k in range(len(scene))
    ]
    began = time.perf_counter()
    pairs, true = all_by_brute_force(frames, processes)
    slow = time.perf_counter() - began
    grids, _ = read_grids(scene)
    began = time.perf_counter()
    scored = score_pairs(grids, pairs).mean(1)
    fast = time.perf_counter() - began
    report("hololens", pairs, true, scored)
    say(f"  every pixel {slow:.1f} s on {processes} cores, grids {fast:.2f} s")
    for per_frame in (None, 40):
        found = find_candidates(grids, True, per_frame=per_frame, all_pairs=0)
        keys = set(map(tuple, found.pairs.tolist()))
        for least in (0.1, 0.3):
            over = [tuple(p) for p in pairs[true >= least].tolist()]
            hit = np.mean([p in keys for p in over])
            say(
                f"  candidates (per frame {per_frame}): {len(keys):,} of "
                f"{found.possible:,} pairs; {hit:.2%} of the {len(over):,} with "
                f"overlap >= {least}"
            )


def report(name: str, pairs: np.ndarray, true: np.ndarray, scored: np.ndarray) -> None:
    """Differences between two scores of the same pairs."""
    off = scored - true
    worst = np.abs(off).argmax()
    say(
        f"{name}: {len(pairs):,} pairs, grids against every pixel in float64: mean "
        f"{off.mean():+.4f}, rms {off.std():.4f}, largest {np.abs(off).max():.4f} "
        f"(frames {pairs[worst][0]} and {pairs[worst][1]}: {scored[worst]:.3f} for "
        f"{true[worst]:.3f}), correlation {np.corrcoef(scored, true)[0, 1]:.5f}"
    )


class Photos(Scene):
    """A scene from a MegaDepth index file."""

    is_video = False

    def __init__(self, root: Path, index: Path) -> None:
        self.table = load_megadepth_scene(index)
        self.paths = MegaDepthPaths(root)
        self.name = index.stem
        images = self.table.frames.image
        self.frames = [images[k] for k in range(len(images))]

    def image_path(self, k: int) -> Path:
        """Where the index says."""
        return self.paths.image(self.frames[k], self.table.frames.depth[k])

    def depth_path(self, k: int) -> Path:
        """Where the index says."""
        return self.paths.depth(self.table.frames.depth[k])

    def depth(self, k: int) -> np.ndarray:
        """(H, W) metres."""
        return read_depth_h5(self.depth_path(k))

    def world_to_camera(self, k: int) -> np.ndarray:
        """(4, 4), from the index."""
        return self.table.frames.pose[k]

    def K(self, k: int) -> np.ndarray:
        """(3, 3), from the index."""
        return self.table.frames.K[k]


def compare_fountain(root: Path) -> None:
    """All 55 pairs, and the scores of fountain's own index."""
    scene = Photos(root, root / "scene_info" / "fountain.npz")
    table = scene.table
    frames = [
        (scene.depth(k), scene.K(k), scene.world_to_camera(k))
        for k in range(len(scene))
    ]
    pairs, true = all_by_brute_force(frames, 2)
    scored = score_pairs(read_grids(scene)[0], pairs).mean(1)
    report("fountain", pairs, true, scored)
    own = {}
    for i, j, score in zip(table.frame0, table.frame1, table.overlap, strict=True):
        own[min(i, j), max(i, j)] = float(score)
    theirs = np.array([own[tuple(p)] for p in pairs.tolist()])
    ranks = [np.argsort(np.argsort(a)) for a in (scored, theirs)]
    say(
        f"  against its own index: correlation {np.corrcoef(scored, theirs)[0, 1]:.3f}"
        f", of ranks {np.corrcoef(*ranks)[0, 1]:.3f}; ours minus its own: mean "
        f"{(scored - theirs).mean():+.3f}"
    )
    forth = np.array([one_way(frames, i, j) for i, j in pairs])
    for name, values in (
        ("image 0 to 1 only", forth[:, 0]),
        ("image 1 to 0 only", forth[:, 1]),
        ("the smaller", forth.min(1)),
        ("the larger", forth.max(1)),
    ):
        r = np.corrcoef(values, theirs)[0, 1]
        say(f"  {name}: correlation {r:.3f}, mean {(values - theirs).mean():+.3f}")
    for n in np.abs(scored - theirs).argsort()[::-1][:3]:
        i, j = pairs[n]
        say(
            f"  {i:04d} and {j:04d}: ours {scored[n]:.3f} ({forth[n, 0]:.3f} forth, "
            f"{forth[n, 1]:.3f} back), its own {theirs[n]:.3f}"
        )


def one_way(frames: list, i: int, j: int) -> tuple[float, float]:
    """Both directions of one pair."""
    (d0, K0, P0), (d1, K1, P1) = frames[i], frames[j]
    T = P1 @ np.linalg.inv(P0)
    return brute_force(d0, d1, K0, K1, T), brute_force(d1, d0, K1, K0, np.linalg.inv(T))


def write_walk(scene: Scene, folder: Path, between: int, processes: int) -> None:
    """The walk of ``scene`` with ``between`` frames for each of its own."""
    shutil.rmtree(folder, ignore_errors=True)
    for kind in ("color", "depth", "pose", "intrinsic"):
        (folder / kind).mkdir(parents=True)
    np.savetxt(folder / "intrinsic" / "intrinsic_depth.txt", scene.K(0))
    began = time.perf_counter()
    with ProcessPoolExecutor(processes) as pool:
        list(pool.map(partial(_stretch, scene, folder, between), range(len(scene))))
    (folder / "done").touch()
    seconds = time.perf_counter() - began
    say(f"{folder}: {between * len(scene)} frames in {seconds:.0f} s")


def _stretch(scene: Scene, folder: Path, between: int, k: int) -> None:
    """The frames from frame k on, up to the next."""
    start = np.linalg.inv(scene.world_to_camera(k))
    after = min(k + 1, len(scene) - 1)
    motion = np.linalg.inv(start) @ np.linalg.inv(scene.world_to_camera(after))
    turn, _ = cv2.Rodrigues(motion[:3, :3])
    for n in range(between):
        step = np.eye(4)
        step[:3, :3] = cv2.Rodrigues(turn * n / between)[0]
        step[:3, 3] = motion[:3, 3] * n / between
        number, near = k * between + n, k if n * 2 < between else after
        pose = start @ step
        T = np.linalg.inv(pose) @ np.linalg.inv(scene.world_to_camera(near))
        depth = _moved(scene.depth(near), scene.K(near), T)
        np.savetxt(folder / "pose" / f"{number}.txt", pose)
        millimetres = np.round(depth * 1000).astype(np.uint16)
        cv2.imwrite(str(folder / "depth" / f"{number}.png"), millimetres)
        os.symlink(scene.image_path(near), folder / "color" / f"{number}.jpg")


def _moved(depth: np.ndarray, K: np.ndarray, T: np.ndarray) -> np.ndarray:
    """A depth map seen from a little aside: nearest surface, 2x2 pixels a point."""
    y, x = np.nonzero(depth > 0)
    rays = np.linalg.inv(K) @ np.stack([x, y, np.ones(len(x))])
    points = T[:3, :3] @ (rays * depth[y, x]) + T[:3, 3:]
    points = points[:, np.argsort(-points[2])]  # the nearest is written last
    u, v, w = K @ points
    out = np.zeros_like(depth)
    u, v = np.floor(u / w).astype(int), np.floor(v / w).astype(int)
    for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
        good = (u + dx >= 0) & (u + dx < depth.shape[1]) & (w > 0.1)
        good &= (v + dy >= 0) & (v + dy < depth.shape[0])
        out[v[good] + dy, u[good] + dx] = w[good]
    return out


def _index_alone(folder: Path, out: Path) -> tuple[IndexReport, float, float, float]:
    """The report, seconds, seconds of processor time, and GB at most."""
    began = time.perf_counter()
    made = build_index(folder, out)
    seconds = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = used.ru_utime + used.ru_stime
    return made, seconds, cpu, peak_resident_mb() * 2**20 / 1e9


def time_index(folder: Path, out: Path) -> None:
    """``build_index`` on 3,000 frames, and one pair after the other for comparison."""
    shutil.rmtree(out, ignore_errors=True)
    # In a process of its own: what was measured before has left its memory here.
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, fresh) as pool:
        made, seconds, cpu, most = pool.submit(_index_alone, folder, out).result()
    say(made.text())
    say(
        f"  {seconds:.1f} s, {cpu:.1f} s of processor time (imports included), at most "
        f"{most:.2f} GB"
    )
    scene = find_recording(folder).scenes[0]
    frames = [scene.depth(k)[4::8, 4::8] for k in (0, 40)]
    K = np.diag([1 / 8, 1 / 8, 1]) @ scene.K(0)
    T = scene.world_to_camera(40) @ np.linalg.inv(scene.world_to_camera(0))
    began = time.perf_counter()
    for _ in range(200):
        pair_overlap(*frames, K, K, T, step=1)
    each = (time.perf_counter() - began) / 200
    possible = made.scenes[0].possible
    say(
        f"  all {possible:,} pairs one by one, on the same grids: {each * 1e6:.0f} us "
        f"a pair, {each * possible:.0f} s without reading "
        f"({each * possible / seconds:.1f} times as long)"
    )


if __name__ == "__main__":
    main()
