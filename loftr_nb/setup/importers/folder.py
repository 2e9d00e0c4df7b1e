"""Folders of plain photos: homography pairs, no depth needed."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ...datasets.photo_list import (
    MANIFEST,
    PhotoList,
    PhotoSet,
    read_photo_list,
    write_photo_list,
)
from ...errors import ConfigError, DataError
from ...files import read_image_grey, require_folder, write_whole
from ...recordings.photos import photos_in
from .output import check_every, require_space
from .report import ImportReport, Progress

_MEASURED = re.compile(r"H_?1_?(?:to_?)?(\d+)(?:p|\.txt)?$")  # H_1_2, H1to2p
PAIRS_PER_PHOTO = 100


def import_folder(
    root: Path,
    out: Path,
    every: int = 1,
    copy: bool = False,
    pairs_per_photo: int = PAIRS_PER_PHOTO,
    progress: Progress | None = None,
    dry_run: bool = False,
) -> ImportReport:
    """List photos, and sets of photos with ``H_1_k`` files, for training.

    ``out`` gets ``photos.json``, which :class:`loftr_nb.datasets.PhotoHomographies`
    reads; with ``copy`` the photos too. Photos that cannot be read, or are smaller
    than 64 pixels, are left out.

    Args:
        root: photos, directly or in folders at any depth.
        every: take each so manieth photo of a folder, by name (not of sets).
        copy: copy the photos below ``out/images``, so that it can be moved alone.
        pairs_per_photo: pairs that an epoch can draw of one photo.

    Raises:
        DataError: no photos, a damaged homography, or ``out`` holds something else.
        ConfigError: a number that cannot be.
    """
    check_every(every)
    if pairs_per_photo < 1:
        raise ConfigError(f"pairs per photo is {pairs_per_photo}, it must be 1 or more")
    require_folder(root, "the folder of photos")
    root, target = root.resolve(), (out / "images" if copy else root.resolve())
    _refuse_foreign(out, target)
    photos, sets = _find(root, out.resolve(), every)
    names = photos + [name for s in sets for name in s.images]
    if not names:
        raise DataError(f"{root} holds no photos (jpg, png, ppm, tif, webp, bmp)")
    size = sum((root / name).stat().st_size for name in names) if copy else 0
    scenes = tuple(s.name for s in sets) or (root.name,)
    notes = [_counted(photos, sets)]
    if dry_run:
        return ImportReport(
            "folder", out, scenes, len(names), 0, 0, {}, size, True, tuple(notes)
        )
    require_space(out, size)
    out.mkdir(parents=True, exist_ok=True)
    place = Path("images") if copy else root
    if not (out / MANIFEST).exists():  # this folder is ours from here on
        write_photo_list(out, PhotoList(place, (), (), pairs_per_photo))
    wrong: dict[str, DataError] = {}
    written = 0
    for done, name in enumerate(names, 1):
        try:
            _check(root / name)
            written += copy and _copy(root / name, target / name)
        except DataError as error:
            wrong[name] = error
        if progress:
            progress(done, len(names), name)
    photos, sets = _without(photos, sets, wrong)
    if not photos and not sets:
        raise DataError(
            f"no photo could be used. The first: {next(iter(wrong.values()))}"
        )
    write_photo_list(out, PhotoList(place, tuple(photos), tuple(sets), pairs_per_photo))
    if wrong:
        notes.append(f"the first photo left out: {next(iter(wrong.values()))}")
    used = len(names) - len(wrong)
    return ImportReport(
        kind="folder",
        out=out,
        scenes=scenes,
        frames=len(names),
        written=written if copy else used,
        kept=used - written if copy else 0,
        without={"photos that cannot be used": len(wrong)} if wrong else {},
        size=size,
        notes=tuple(notes),
        next_step=f"loftr-nb train mini_ds data.layout=photos --data {out}",
    )


def _find(root: Path, out: Path, every: int) -> tuple[list[str], list[PhotoSet]]:
    folders = [root, *sorted(p for p in root.rglob("*") if p.is_dir())]
    photos: list[str] = []
    sets: list[PhotoSet] = []
    for folder in folders:
        if folder.is_relative_to(out) or folder.name.startswith("."):
            continue  # what an earlier run copied there is no new photo
        measured = _measured(folder)
        if measured:
            sets.append(_read_set(folder, measured, root))
        else:
            found = photos_in(folder)[::every]
            photos += [p.relative_to(root).as_posix() for p in found]
    return photos, sets


def _measured(folder: Path) -> dict[int, Path]:
    """Files of homographies from photo 1 to photo k, by k."""
    matches = {p: _MEASURED.fullmatch(p.name) for p in folder.iterdir() if p.is_file()}
    return {int(m[1]): p for p, m in sorted(matches.items()) if m}


def _read_set(folder: Path, measured: dict[int, Path], root: Path) -> PhotoSet:
    by_number = {}
    for path in photos_in(folder):
        digits = re.fullmatch(r"\D*(\d+)", path.stem)
        if digits:
            by_number[int(digits[1])] = path
    if 1 not in by_number:
        raise DataError(
            f"{folder} has homographies such as {measured[min(measured)].name} and no "
            "photo 1 (1.ppm, img1.png): they start from it"
        )
    images, H = [by_number[1]], [np.eye(3)]
    for k, path in sorted(measured.items()):
        if k in by_number and k != 1:
            images.append(by_number[k])
            H.append(_read_homography(path))
    if len(images) < 2:
        raise DataError(
            f"{folder} has homographies, and none of the photos they lead to"
        )
    name = folder.relative_to(root).as_posix() if folder != root else root.name
    names = tuple(p.relative_to(root).as_posix() for p in images)
    return PhotoSet(name, names, np.array(H))


def _read_homography(path: Path) -> np.ndarray:
    try:
        H = np.array(path.read_text().split(), np.float64).reshape(3, 3)
    except ValueError:
        raise DataError(
            f"{path} does not hold the nine numbers of a homography"
        ) from None
    if not np.isfinite(H).all() or abs(np.linalg.det(H)) < 1e-12 or H[2, 2] == 0:
        raise DataError(f"{path}: {H.ravel().tolist()} is no homography")
    return H / H[2, 2]


def _check(path: Path) -> None:
    h, w = read_image_grey(path).shape
    if min(h, w) < 64:
        raise DataError(f"{path} is {w}x{h} pixels; a photo needs 64 each way")


def _copy(path: Path, target: Path) -> bool:
    """Whether it was copied now; a whole copy of an earlier run stays."""
    content = path.read_bytes()
    if target.is_file() and target.read_bytes() == content:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, lambda file: file.write(content))
    return True


def _without(
    photos: list[str], sets: list[PhotoSet], wrong: dict[str, DataError]
) -> tuple[list[str], list[PhotoSet]]:
    """The photos that can be used. A set without its first photo has no H left."""
    kept = []
    for s in sets:
        use = [k for k, name in enumerate(s.images) if name not in wrong]
        if len(use) > 1 and use[0] == 0:
            kept.append(PhotoSet(s.name, tuple(s.images[k] for k in use), s.H[use]))
    return [name for name in photos if name not in wrong], kept


def _refuse_foreign(out: Path, target: Path) -> None:
    """``out`` is new, empty, or was written by this command for the same photos."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if (out / MANIFEST).is_file():
        before = read_photo_list(out).root.resolve()
        if before == target.resolve():
            return
        raise DataError(f"{out} lists the photos of {before}. Give another --out")
    raise DataError(
        f"{out} is there and was not written by this command: nothing in it is "
        "touched. Give another --out"
    )


def _counted(photos: list[str], sets: list[PhotoSet]) -> str:
    measured = sum(len(s.images) * (len(s.images) - 1) // 2 for s in sets)
    return (
        f"{len(photos)} plain photos; {len(sets)} sets with measured homographies, "
        f"{measured} pairs"
    )
