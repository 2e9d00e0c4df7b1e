"""Sequences of the TUM RGB-D benchmark.

``rgb/TIME.png``, ``depth/TIME.png`` (uint16, 5000 to the metre, registered to
colour by the sensor) and ``groundtruth.txt`` with lines of ``time tx ty tz qx qy
qz qw``, camera to world (inverted here). The three run on clocks of their own: a
colour frame takes the depth map nearest in time, and its pose is interpolated
between the two measured around it.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..files import read_depth_png, read_intrinsics_txt, require_file
from ..geometry import check_pose
from .scene import Recording, Scene

UNITS_PER_METRE = 5000
WITHIN = 0.02  # seconds that a depth map or a pose may lie from its colour frame

# fx, fy, cx, cy of the three cameras, from the benchmark's page on file formats.
INTRINSICS = {
    1: (517.3, 516.5, 318.6, 255.3),
    2: (520.9, 521.0, 325.1, 249.7),
    3: (535.4, 539.2, 320.1, 247.6),
}
_CAMERA = re.compile(r"(?:freiburg|fr)([123])(?!\d)")


class TumSequence(Scene):
    """One sequence. Frames are the colour images that have a depth map and a pose
    within 0.02 s, by time; colour images without are counted in ``without``.

    K is the camera's that the folder's name or the first lines of
    ``groundtruth.txt`` speak of (freiburg1, 2 or 3); a file ``intrinsics.txt`` of
    9 numbers in the folder comes before both, for sequences of other cameras.
    """

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            DataError: ``groundtruth.txt`` is damaged, or no frame has all three.
        """
        self.folder = folder
        self.name = folder.resolve().name
        images, depths = _by_time(folder / "rgb"), _by_time(folder / "depth")
        times, poses = read_trajectory(folder / "groundtruth.txt")
        nearest = _nearest(np.array([*depths], float), np.array([*images], float))
        chosen = []
        for stamp, k in zip(images, nearest, strict=True):
            pose = interpolate_pose(times, poses, stamp)
            if k >= 0 and pose is not None:
                chosen.append((images[stamp], list(depths.values())[k], pose))
        if not chosen:
            raise DataError(
                f"{folder}: none of {len(images)} images in rgb/ has one of "
                f"{len(depths)} depth maps and a pose of groundtruth.txt within "
                f"{WITHIN} s. File names are times in seconds; take all three from "
                "one sequence"
            )
        self.without = len(images) - len(chosen)
        self._images, self._depths, self._poses = zip(*chosen, strict=True)
        self.frames = [path.stem for path in self._images]

    def image_path(self, k: int) -> Path:
        """``rgb/TIME.png``."""
        return self._images[k]

    def depth_path(self, k: int) -> Path:
        """``depth/TIME.png``, nearest in time."""
        return self._depths[k]

    def pose_path(self, k: int) -> Path:
        """``groundtruth.txt``."""
        return self.folder / "groundtruth.txt"

    def depth(self, k: int) -> np.ndarray:
        """(H, W) float32 metres, 0 = unknown."""
        return read_depth_png(self.depth_path(k)) * np.float32(1000 / UNITS_PER_METRE)

    def world_to_camera(self, k: int) -> np.ndarray:
        """(4, 4) float64 at the time of the colour frame."""
        return np.linalg.inv(self._poses[k])

    def K(self, k: int) -> np.ndarray:
        """(3, 3) float64 of the colour camera, which depth is registered to."""
        return self._K

    @cached_property
    def _K(self) -> np.ndarray:
        own = self.folder / "intrinsics.txt"
        if own.is_file():
            return read_intrinsics_txt(own)
        with self.pose_path(0).open(errors="replace") as file:
            opening = file.read(500)
        found = _CAMERA.search(self.folder.resolve().name) or _CAMERA.search(opening)
        if found is None:
            raise DataError(
                f"{self.folder}: neither its name nor groundtruth.txt says which "
                "camera it is (freiburg1, freiburg2, freiburg3). Rename the folder, or "
                "write the nine numbers of K into intrinsics.txt there"
            )
        fx, fy, cx, cy = INTRINSICS[int(found[1])]
        return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])


def read_trajectory(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Times (N,) seconds and poses (N, 7) ``tx ty tz qx qy qz qw``, by time.

    Raises:
        DataError: missing, a line that is not eight finite numbers, a quaternion
            that is none, or no lines.
    """
    require_file(path)
    rows = []
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            row = np.array([float(n) for n in line.replace(",", " ").split()])
        except ValueError:
            row = np.empty(0)
        if row.size != 8 or not np.isfinite(row).all():
            raise DataError(
                f"{path}, line {number}: {line[:60]!r} is not 'time tx ty tz qx qy qz "
                "qw'. It may be truncated: download it again"
            )
        if abs(np.linalg.norm(row[4:]) - 1) > 0.01:
            raise DataError(
                f"{path}, line {number}: the quaternion qx qy qz qw has length "
                f"{np.linalg.norm(row[4:]):.3g}, it should be 1"
            )
        rows.append(row)
    if not rows:
        raise DataError(f"{path} holds no poses")
    table = np.array(rows)
    table = table[np.unique(table[:, 0], return_index=True)[1]]
    return table[:, 0], table[:, 1:]


def interpolate_pose(
    times: np.ndarray, poses: np.ndarray, at: float
) -> np.ndarray | None:
    """The pose at a time, between the two measured around it.

    Position moves in a straight line, rotation along the shortest arc (slerp).

    Args:
        times: (N,) seconds, rising. poses: (N, 7), see :func:`read_trajectory`.

    Returns:
        (4, 4) float64; None where the nearest measured pose is further than 0.02 s
        away: tracking was lost there.
    """
    from scipy.spatial.transform import Rotation, Slerp  # slow to load

    after = int(np.clip(np.searchsorted(times, at), 1, max(len(times) - 1, 1)))
    around = np.arange(after - 1, min(after + 1, len(times)))
    if np.abs(times[around] - at).min() > WITHIN:
        return None
    inside = float(np.clip(at, times[around[0]], times[around[-1]]))
    pose = np.eye(4)
    rotations = Rotation.from_quat(poses[around, 3:])
    if len(around) == 1:
        pose[:3, :3], pose[:3, 3] = rotations[0].as_matrix(), poses[0, :3]
    else:
        pose[:3, :3] = Slerp(times[around], rotations)(inside).as_matrix()
        share = (inside - times[around[0]]) / (times[around[1]] - times[around[0]])
        pose[:3, 3] = (1 - share) * poses[around[0], :3] + share * poses[around[1], :3]
    return check_pose(pose, f"the pose at {at:.6f} s")


def find_tum(root: Path) -> Recording | None:
    """``root`` is a sequence, or holds sequences."""
    for folders in ([root], sorted(p for p in root.iterdir() if p.is_dir())):
        found = [p for p in folders if _is_sequence(p)]
        if found:
            return Recording("tum", root, tuple(map(TumSequence, found)))
    return None


def _is_sequence(folder: Path) -> bool:
    parts = folder / "rgb", folder / "depth"
    return all(p.is_dir() for p in parts) and (folder / "groundtruth.txt").is_file()


def _by_time(folder: Path) -> dict[float, Path]:
    """Images whose name is a time in seconds, in order of time."""
    found = {}
    for path in folder.iterdir():
        try:
            stamp = float(path.stem)
        except ValueError:
            continue
        if path.suffix.lower() in (".png", ".jpg", ".jpeg") and np.isfinite(stamp):
            found[stamp] = path
    return dict(sorted(found.items()))


def _nearest(times: np.ndarray, at: np.ndarray) -> np.ndarray:
    """For each of ``at`` the place of the nearest of ``times``, -1 if it is far."""
    if not len(times):
        return np.full(len(at), -1)
    after = np.searchsorted(times, at).clip(max=len(times) - 1)
    before = (after - 1).clip(min=0)
    closer = np.abs(times[before] - at) <= np.abs(times[after] - at)
    place = np.where(closer, before, after)
    return np.where(np.abs(times[place] - at) <= WITHIN, place, -1)
