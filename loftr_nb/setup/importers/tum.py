"""TUM RGB-D into the layout of ScanNet's Python exporter."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...recordings import Scene, find_recording
from .output import as_jpeg
from .report import ImportReport, Progress
from .rgbd import RgbdSource, write_scenes


class _Tum(RgbdSource):
    kind = "tum"

    def K(self, scene: Scene) -> np.ndarray:
        return scene.K(0)

    def frame(self, scene: Scene, k: int) -> tuple[bytes, np.ndarray, np.ndarray]:
        pose = np.linalg.inv(scene.world_to_camera(k))
        return as_jpeg(scene.image_path(k)), scene.depth(k), pose


def import_tum(
    root: Path,
    out: Path,
    every: int = 1,
    scene: str | None = None,
    progress: Progress | None = None,
    dry_run: bool = False,
) -> ImportReport:
    """Write sequences of the TUM RGB-D benchmark; frames are numbered from 0.

    Colour goes with the depth map nearest in time and a pose interpolated to its
    time; colour frames without either within 0.02 s are left out. The lens's
    distortion is left as it is: depth is registered to the image as it is, too.

    Args:
        root: a sequence, or a folder of sequences.
        every: take each so manieth frame that has depth and pose.
        scene: ``sceneXXXX_YY`` for a single sequence; None takes the next free one.

    Raises:
        DataError: no such recording, no usable frame, an unknown camera, ``out``
            holds something else, or the disk is too small.
        ConfigError: ``every`` or ``scene`` cannot be.
    """
    scenes = find_recording(root, "tum").scenes
    source = _Tum(scenes, every)
    for one in scenes:
        source.K(one)  # an unknown camera is told before anything is written
        if one.without:
            source.notes.append(
                f"{one.name}: {one.without} of {one.without + len(one)} colour images "
                "have no depth map or no pose within 0.02 s"
            )
    return write_scenes(source, out, scene, progress, dry_run)
