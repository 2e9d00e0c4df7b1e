"""7-Scenes into the layout of ScanNet's Python exporter, depth registered to colour.

Published depth belongs to the depth camera (f = 585), colour to another (f = 525)
2.5 cm beside it: taken as one camera, correspondences are off by 5 to 20 pixels. No
calibration is published with the data. What people use is another Kinect's: the
LIRIS laboratory's, measured with a chequerboard
(projet.liris.cnrs.fr/voir/activities-dataset/kinect-calibration.html). On 24 frames
of red kitchen it takes the error from 5.3 to 2.0 px between frames 10 apart, from
9.3 to 3.3 px at 20 and from 21 to 5.3 px at 40. Fitting the rotation to these frames
gave 2.3, 3.4 and 5.6 px: what is left is in the poses, so the fit is an option.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...recordings import Scene, find_recording
from ...recordings.sevenscenes import CENTRE, FOCAL
from .calibrate import calibrate
from .output import SceneFolder, as_jpeg, number_in
from .register import Rig, register_depth
from .report import ImportReport, Progress
from .rgbd import RgbdSource, write_scenes

COLOUR_FOCAL = 525.0  # nominal, of the Kinect's colour camera at 640x480
_SIZE = (640, 480)
# Depth camera to colour camera, metres: LIRIS, see above.
_TURN = [
    [0.99996518012567637, 0.0026765126468950343, -0.0079041012313000904],
    [-0.0027409311281316700, 0.99996302803027592, -0.0081504520778013286],
    [0.0078819942130445332, 0.0081718328771890631, 0.99993554558014031],
]
_OFFSET = [-0.025558943178152542, 0.00010109636268061706, 0.0020318321729487039]


def documented_rig(focal: float = COLOUR_FOCAL) -> Rig:
    """The two cameras of 7-Scenes as the literature has them.

    focal: of the colour camera, pixels.
    """
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = _TURN, _OFFSET
    return Rig(_K(FOCAL), _K(focal), T, _SIZE)


class _SevenScenes(RgbdSource):
    kind = "sevenscenes"

    def __init__(self, scenes: Sequence[Scene], every: int, rig: Rig, fit: bool):
        super().__init__(scenes, every)
        self.start, self.fit = rig, fit
        self.options |= {"fit": fit, "rig": _numbers(rig)}
        self.rigs: dict[str, Rig] = {}
        self._fitted: Rig | None = None

    def place(self, scene: Scene) -> Path:
        return scene.folder.resolve().parent  # the room

    def number(self, scene: Scene, k: int) -> int:
        return number_in(scene.frames[k])

    def prepare(self, scene: Scene, folder: SceneFolder) -> None:
        """Choose the rig; a later run goes on with the very one of the first."""
        if "T_depth_to_colour" not in folder.record:
            if self._fitted is None:
                self._fitted = self._choose()
            T = self._fitted.T_depth_to_colour
            folder.record["T_depth_to_colour"] = T.tolist()
        T = np.array(folder.record["T_depth_to_colour"])
        self.rigs[scene.name] = replace(self.start, T_depth_to_colour=T)

    def _choose(self) -> Rig:
        if not self.fit:
            return self.start
        # One device recorded all sequences: three of them say enough.
        count = len(self.scenes)
        some = np.linspace(0, count - 1, min(3, count)).round().astype(int)
        result = calibrate([self.scenes[k] for k in some], self.start)
        self.notes.append(str(result))
        return result.rig

    def K(self, scene: Scene) -> np.ndarray:
        return self.start.K_colour

    def frame(self, scene: Scene, k: int) -> tuple[bytes, np.ndarray, np.ndarray]:
        rig = self.rigs.get(scene.name, self.start)
        pose = np.linalg.inv(scene.world_to_camera(k))
        return (
            as_jpeg(scene.image_path(k)),
            register_depth(scene.depth(k), rig),
            pose @ np.linalg.inv(rig.T_depth_to_colour),
        )


def import_sevenscenes(
    root: Path,
    out: Path,
    every: int = 1,
    scene: str | None = None,
    rig: Rig | None = None,
    fit: bool = False,
    progress: Progress | None = None,
    dry_run: bool = False,
) -> ImportReport:
    """Write sequences with depth on the colour image's pixels.

    The pose written is the colour camera's, ``T_world_depth @ T_colour_to_depth``,
    and both intrinsics are the colour camera's. Sequences of one room share their
    scene number, so that a split keeps them together.

    Args:
        root: a sequence, a scene of sequences, or a folder of scenes.
        every: take each so manieth frame; numbers stay those of the recording.
        scene: ``sceneXXXX_YY`` for a single sequence.
        rig: the two cameras; None takes :func:`documented_rig`.
        fit: fit the rotation between the two cameras to the recording first
            (:func:`calibrate`); it is taken only where it is better on pairs held
            out of the fit. For recordings of another device than 7-Scenes' own.

    Raises:
        DataError: no such recording, no usable frame, ``out`` holds something else,
            or the disk is too small.
        ConfigError: ``every`` or ``scene`` cannot be.
    """
    scenes = find_recording(root, "sevenscenes").scenes
    source = _SevenScenes(scenes, every, rig or documented_rig(), fit)
    return write_scenes(source, out, scene, progress, dry_run)


def _K(focal: float) -> np.ndarray:
    return np.array([[focal, 0, CENTRE[0]], [0, focal, CENTRE[1]], [0, 0, 1.0]])


def _numbers(rig: Rig) -> list[float]:
    matrices = rig.K_depth, rig.K_colour, rig.T_depth_to_colour
    return [float(n) for matrix in matrices for n in matrix.ravel()]
