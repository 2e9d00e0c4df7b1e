"""``.sens`` files of ScanNet into the layout of its Python exporter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ...errors import DataError
from ...recordings.scannet import SCENE_NAME
from .output import (
    SceneFolder,
    check_every,
    claim,
    encode,
    require_space,
    to_jpeg,
    to_millimetres,
)
from .report import ImportReport, Progress
from .sens import SensFile
from .sens_format import SensEntry, SensHeader

_POSE_BYTES = 300


def import_scannet_sens(
    file: Path,
    out: Path,
    every: int = 1,
    size: tuple[int, int] | None = None,
    scene: str | None = None,
    progress: Progress | None = None,
    dry_run: bool = False,
) -> ImportReport:
    """Write a scan as ``sceneXXXX_YY/{color,depth,pose,intrinsic}``.

    Colour is the JPEG of the file, byte for byte, unless ``size`` asks for another.
    Depth becomes a 16-bit PNG in millimetres. Poses are written as they are, -inf
    included: such frames are left out by whoever reads them. A stopped import goes
    on where it stopped; one frame is in memory at a time.

    Args:
        file: the ``.sens`` file. out: folder that holds the scenes.
        every: take each so manieth frame; numbers stay those of the scan.
        size: (w, h) of colour, for instance (640, 480), which is what training
            resizes it to and takes a third of the disk.
        scene: the name; None takes that of the file, ``scene0707_00.sens``, or
            the next free one.
        dry_run: say what would be written and how big it is.

    Raises:
        DataError: the file is truncated or damaged (frames before that are written
            and valid; the message names the frame and the byte), ``out`` holds
            something else, or the disk is too small.
        ConfigError: ``every`` or ``scene`` cannot be.
    """
    source = SensFile(file)
    entries = source.entries(check_every(every))
    if not entries:
        raise source.damage or DataError(f"{file} has no frames")
    options = {"every": every, "size": list(size) if size else None}
    if scene is None and SCENE_NAME.fullmatch(file.stem):
        scene = file.stem
    folder = claim(out, "scannet-sens", file, options, scene)
    needed = _estimate(source, entries, size)
    report = ImportReport(
        "scannet-sens", out, (folder.name,), len(entries), 0, 0, {}, needed, True
    )
    if dry_run:
        damage = () if source.damage is None else (str(source.damage),)
        return replace(report, notes=damage)
    missing = [e for e in entries if not folder.has(e.number, _stored(source, e, size))]
    require_space(out, round(needed * len(missing) / len(entries)))
    written, total = _write(source, folder, missing, len(entries), size, progress)
    if source.damage is not None:
        raise source.damage
    folder.finish(len(entries))
    return replace(
        report,
        planned=False,
        written=written,
        kept=len(entries) - written,
        size=total,
        next_step=f"loftr-nb data index {out}",
    )


def _write(
    source: SensFile,
    folder: SceneFolder,
    missing: list[SensEntry],
    count: int,
    size: tuple[int, int] | None,
    progress: Progress | None,
) -> tuple[int, int]:
    """Frames and bytes written."""
    folder.start()
    header, total = source.header, 0
    folder.write_intrinsics(
        _resized(header, size),
        header.K_depth,
        header.extrinsic_colour,
        header.extrinsic_depth,
    )
    for done, entry in enumerate(missing, 1):
        jpeg, depth, pose = _frame(source, entry, size)
        total += folder.write_frame(entry.number, jpeg, depth, pose)
        if progress:
            progress(count - len(missing) + done, count, folder.name)
    return len(missing), total


def _frame(
    source: SensFile, entry: SensEntry, size: tuple[int, int] | None
) -> tuple[bytes, np.ndarray, np.ndarray]:
    frame = source.read(entry)
    units = source.depth_units(entry, frame)
    shift = source.header.depth_shift
    depth = units if shift == 1000 else to_millimetres(units / np.float64(shift))
    if _keeps_bytes(source.header, size):
        source.check_jpeg(entry, frame)
        return frame.colour, depth, frame.pose
    return to_jpeg(source.colour_image(entry, frame), size), depth, frame.pose


def _keeps_bytes(header: SensHeader, size: tuple[int, int] | None) -> bool:
    return header.colour == "jpeg" and size in (None, header.colour_size)


def _stored(source: SensFile, entry: SensEntry, size) -> int | None:
    return entry.colour_bytes if _keeps_bytes(source.header, size) else None


def _estimate(source: SensFile, entries: list[SensEntry], size) -> int:
    """Bytes of all frames, from three of them and the sizes of the others."""
    some = [entries[k] for k in sorted({0, len(entries) // 2, len(entries) - 1})]
    stored = [sum(e.colour_bytes for e in es) for es in (some, entries)]
    depths = [sum(e.depth_bytes for e in es) for es in (some, entries)]
    colour_now = depth_now = 0
    for entry in some:
        try:
            jpeg, depth, _ = _frame(source, entry, size)
        except DataError:  # told when its turn comes
            return stored[1] + depths[1]
        colour_now += len(jpeg)
        depth_now += len(encode(".png", depth, []))
    colour = stored[1] * colour_now / max(stored[0], 1)
    depth = depths[1] * depth_now / max(depths[0], 1)
    return round(colour + depth) + _POSE_BYTES * len(entries)


def _resized(header: SensHeader, size: tuple[int, int] | None) -> np.ndarray:
    K = np.array(header.K_colour, np.float64)
    if size is not None:
        s = np.array(size) / header.colour_size
        K[:2, :3] *= s[:, None]
        K[:2, 2] += s / 2 - 0.5  # borders coincide, not centres of pixels
    return K.astype(np.float32)
