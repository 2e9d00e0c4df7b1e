"""Dense COLMAP reconstructions into a tree like MegaDepth's.

``Undistorted_SfM/NAME/images``, ``phoenix/S6/zl548/MegaDepth_v1/NAME/dense0/depths``
(h5) and ``scene_info/NAME.npz`` with K and poses, which ``loftr-nb data index``
turns into pairs.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import h5py
import numpy as np

from ...errors import ConfigError, DataError
from ...files import read_depth_h5, read_image_grey, save_npz, write_whole
from ...recordings import find_recording
from ...recordings.colmap import ColmapModel
from .output import check_every, encode, read_record, require_space, to_jpeg
from .report import ImportReport, Progress

_NAME = re.compile(r"[\w.-]+", re.ASCII)
_RECORDS = "imports"  # folder of one json file for each scene


@dataclass(frozen=True)
class _Photo:
    """One image on its way: frame ``k`` of a model, and where its two files go."""

    model: ColmapModel
    k: int
    image: PurePosixPath
    depth: PurePosixPath


def import_colmap(
    root: Path,
    out: Path,
    every: int = 1,
    scene: str | None = None,
    progress: Progress | None = None,
    dry_run: bool = False,
) -> ImportReport:
    """Write models with dense depth as scenes of a MegaDepth tree.

    Images keep their bytes where their depth map has their size; where stereo ran on
    smaller images, they are resized to it and K goes with them. Images without a
    usable depth map are left out. Lengths stay in the model's unit.

    Args:
        root: a dense folder, or a folder of such.
        every: take each so manieth image, by name.
        scene: name of the scene (of a single model); None takes the folder's.

    Raises:
        DataError: no such model, a distorted camera, no image with depth, ``out``
            holds another scene of that name, or the disk is too small.
        ConfigError: ``every`` or ``scene`` cannot be.
    """
    check_every(every)
    models = find_recording(root, "colmap").scenes
    if scene is not None and len(models) > 1:
        raise ConfigError(f"{root} holds {len(models)} models, and --scene names one")
    names = [scene or re.sub(r"[^\w.-]+", "_", m.name, flags=re.ASCII) for m in models]
    for name, model in zip(names, models, strict=True):
        _claim(out, name, model, every)
    photos = {
        name: _photos(model, name, every)
        for name, model in zip(names, models, strict=True)
    }
    every_photo = [p for name in names for p in photos[name]]
    size = _estimate(every_photo)
    if dry_run:
        count = len(every_photo)
        return ImportReport("colmap", out, tuple(names), count, 0, 0, {}, size, True)
    missing = [p for p in every_photo if not _is_there(out, p)]
    require_space(out, round(size * len(missing) / len(every_photo)))
    for name, model in zip(names, models, strict=True):
        _record(out, name, model, every, finished=False)
    total = written = 0
    wrong: dict[int, DataError] = {}
    for done, photo in enumerate(missing, 1):
        try:
            total += _write_photo(out, photo)
            written += 1
        except DataError as error:
            wrong[id(photo)] = error
        if progress:
            count = len(every_photo)
            progress(count - len(missing) + done, count, photo.image.name)
    for name, model in zip(names, models, strict=True):
        _write_info(out, name, [p for p in photos[name] if id(p) not in wrong], wrong)
        _record(out, name, model, every, finished=True)
    first = next(iter(wrong.values()), None)
    return ImportReport(
        kind="colmap",
        out=out,
        scenes=tuple(names),
        frames=len(every_photo),
        written=written,
        kept=len(every_photo) - len(missing),
        without={"images without usable depth": len(wrong)} if wrong else {},
        size=total,
        notes=(f"the first image left out: {first}",) if first else (),
        next_step=f"loftr-nb data index {out}",
    )


def _photos(model: ColmapModel, name: str, every: int) -> list[_Photo]:
    images = PurePosixPath("Undistorted_SfM") / name / "images"
    depths = PurePosixPath("phoenix/S6/zl548/MegaDepth_v1") / name / "dense0/depths"
    photos, taken = [], set()
    for k in range(0, len(model), every):
        # Folders become part of the name; a.jpg and a.png must not share a depth map.
        flat = PurePosixPath(model.frames[k].replace("\\", "/").replace("/", "__"))
        stem = flat.stem
        while stem.lower() in taken:
            stem += "_"
        taken.add(stem.lower())
        file = images / f"{stem}{flat.suffix}"
        photos.append(_Photo(model, k, file, depths / f"{stem}.h5"))
    return photos


def _write_photo(out: Path, photo: _Photo) -> int:
    """Bytes written; the depth map comes last."""
    content, depth = _contents(photo)
    for part in (photo.image, photo.depth):
        (out / part).parent.mkdir(parents=True, exist_ok=True)
    write_whole(out / photo.image, lambda file: file.write(content))

    def write(file) -> None:
        with h5py.File(file, "w") as h5:
            h5.create_dataset("depth", data=depth, compression="gzip", shuffle=True)

    write_whole(out / photo.depth, write)
    return len(content) + (out / photo.depth).stat().st_size


def _contents(photo: _Photo) -> tuple[bytes, np.ndarray]:
    """The bytes of the image file, and depth of the image's size."""
    model, k = photo.model, photo.k
    depth, path = model.depth(k), model.image_path(k)
    grey = read_image_grey(path)
    size = model.camera(k).size
    if grey.shape[::-1] != size:
        raise DataError(
            f"{path} is {grey.shape[1]}x{grey.shape[0]}, the model says {size[0]}x"
            f"{size[1]}: take the images that `colmap image_undistorter` wrote"
        )
    content = path.read_bytes()
    if depth.shape != grey.shape:
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
        small = cv2.resize(image, depth.shape[::-1], interpolation=cv2.INTER_AREA)
        is_jpeg = photo.image.suffix.lower() in (".jpg", ".jpeg")
        content = to_jpeg(small) if is_jpeg else encode(photo.image.suffix, small, [])
    return content, depth


def _is_there(out: Path, photo: _Photo) -> bool:
    """Whether both files are there and readable, of one size."""
    if not ((out / photo.image).is_file() and (out / photo.depth).is_file()):
        return False
    try:
        depth, image = (
            read_depth_h5(out / photo.depth),
            read_image_grey(out / photo.image),
        )
    except DataError:
        return False
    return depth.shape == image.shape


def _write_info(out: Path, name: str, photos: list[_Photo], wrong: dict) -> None:
    if not photos:
        first = next(iter(wrong.values()), "there are none")
        raise DataError(f"{name}: no image could be used. The first: {first}")
    columns = {
        key: np.full(len(photos), None, object)
        for key in ("image_paths", "depth_paths", "intrinsics", "poses")
    }
    for n, photo in enumerate(photos):
        columns["image_paths"][n] = str(photo.image)
        columns["depth_paths"][n] = str(photo.depth)
        columns["intrinsics"][n] = photo.model.K(photo.k)
        columns["poses"][n] = photo.model.world_to_camera(photo.k)
    (out / "scene_info").mkdir(parents=True, exist_ok=True)
    save_npz(out / "scene_info" / f"{name}.npz", **columns)


def _claim(out: Path, name: str, model: ColmapModel, every: int) -> None:
    """Take a scene's name in ``out``, or find it taken by this very import."""
    if not _NAME.fullmatch(name):
        raise ConfigError(f"the scene is {name!r}; use letters, digits, '_', '-', '.'")
    record = read_record(out / _RECORDS, f"{name}.json")
    places = [out / "Undistorted_SfM" / name, out / "scene_info" / f"{name}.npz"]
    places.append(out / "phoenix/S6/zl548/MegaDepth_v1" / name)
    held = next((p for p in places if p.exists()), None)
    wanted = _facts(model, every)
    if record is None and held is not None:
        raise DataError(
            f"{held} is there and was not written by this command: nothing in it is "
            "touched. Give another --scene, or another --out"
        )
    if record is not None and any(record[key] != wanted[key] for key in wanted):
        raise DataError(
            f"{out} holds the scene {name!r} of {record['source']} with "
            f"{record['options']}. Give another --scene, or another --out"
        )


def _facts(model: ColmapModel, every: int) -> dict:
    source = str(model.folder.resolve())
    return {"kind": "colmap", "source": source, "options": {"every": every}}


def _record(
    out: Path, name: str, model: ColmapModel, every: int, finished: bool
) -> None:
    facts = _facts(model, every) | {"place": name, "finished": finished}
    (out / _RECORDS).mkdir(parents=True, exist_ok=True)
    text = json.dumps(facts, indent=1).encode()
    write_whole(out / _RECORDS / f"{name}.json", lambda file: file.write(text))


def _estimate(photos: list[_Photo]) -> int:
    """Bytes of all files, from three images; an h5 is about 0.6 of its numbers."""
    sizes = []
    for n in sorted({0, len(photos) // 2, len(photos) - 1}):
        try:
            content, depth = _contents(photos[n])
        except DataError:
            continue
        sizes.append(len(content) + 0.6 * depth.nbytes)
    return round(float(np.mean(sizes)) * len(photos)) if sizes else 0
