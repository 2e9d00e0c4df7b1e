"""Bring other people's recordings and photos into a layout that is read here.

Videos with colour, depth and pose become ScanNet scenes, COLMAP models a MegaDepth
tree, plain photos a list of homography pairs:
  loftr-nb data import scannet-sens scene0707_00.sens --every 10 --out data/mine
  loftr-nb data import sevenscenes chess --out data/mine
  loftr-nb data import tum rgbd_dataset_freiburg1_desk --out data/mine
  loftr-nb data import colmap workspace/dense --out data/photos
  loftr-nb data import folder PHOTOS --out data/plain

--dry-run says what would be written and how big it is. A stopped import goes on at
the next run of the same command; what it did not write is never touched. Then:
  loftr-nb data check data/mine
  loftr-nb data index data/mine
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import time
from collections.abc import Callable
from pathlib import Path

from ...progress import StatusLine, duration

_SENS = """A scan of ScanNet, one .sens file, as its Python exporter writes it.

Colour keeps its JPEG bytes unless --color-size asks for another size: training
resizes 1296x968 to 640x480 anyway, and the smaller files save disk.
  loftr-nb data import scannet-sens scene0707_00.sens --every 10 --out data/mine
"""
_SEVEN = """7-Scenes, with depth registered to the colour camera.

ROOT is a sequence, a scene of sequences, or a folder of scenes. The rig is the
documented one; --fit turns it to fit the recording, where that is better on pairs
held out of the fit.
  loftr-nb data import sevenscenes 7scenes/chess --out data/mine
"""
_TUM = """Sequences of the TUM RGB-D benchmark.

Colour, depth and pose go together by time; poses are interpolated.
  loftr-nb data import tum rgbd_dataset_freiburg1_desk --out data/mine
"""
_COLMAP = """Dense COLMAP models: undistorted photos, depth maps, K and poses.

ROOT holds images, sparse and stereo, as `colmap image_undistorter` and `colmap
patch_match_stereo` write them (text or binary), or is a folder of such.
  loftr-nb data import colmap workspace/dense --scene castle --out data/photos
"""
_FOLDER = """Plain photos: pairs by homographies, no depth needed.

A photo and the same photo seen from elsewhere are a pair. Folders with H_1_2, H_1_3
... beside their photos (Oxford affine, HPatches) give real pairs.
  loftr-nb data import folder PHOTOS --out data/plain
  loftr-nb train mini_ds data.layout=photos --data data/plain
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``loftr-nb data import``: one sub-command for each kind."""
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    sens = _kind(kinds, "scannet-sens", _SENS, _import_sens, "FILE", "the .sens file")
    sens.add_argument("--scene", help="sceneXXXX_YY (default: the file's name)")
    sens.add_argument(
        "--color-size",
        "--size",
        dest="size",
        type=_size,
        metavar="WxH",
        help="resize colour, for instance 640x480 (default: keep the file's bytes)",
    )
    seven = _kind(kinds, "sevenscenes", _SEVEN, _import_sevenscenes)
    seven.add_argument("--scene", help="sceneXXXX_YY, for a single sequence")
    seven.add_argument("--fit", action="store_true", help="fit the rotation of the rig")
    seven.add_argument(
        "--color-focal", type=float, metavar="PX", help="of the colour camera (525)"
    )
    seven.add_argument(
        "--offset",
        type=float,
        nargs=3,
        metavar=("X", "Y", "Z"),
        help="of the depth camera seen from the colour camera, metres",
    )
    tum = _kind(kinds, "tum", _TUM, _import_tum)
    tum.add_argument("--scene", help="sceneXXXX_YY, for a single sequence")
    colmap = _kind(kinds, "colmap", _COLMAP, _import_colmap)
    colmap.add_argument("--scene", help="name of the scene, for a single model")
    folder = _kind(kinds, "folder", _FOLDER, _import_folder, "PHOTOS")
    folder.add_argument("--copy", action="store_true", help="copy the photos to DIR")
    folder.add_argument(
        "--pairs", type=int, default=100, help="an epoch has of a photo (default 100)"
    )


def run(args: argparse.Namespace) -> None:
    """Import, and say what was written."""
    status = StatusLine(every=5, on=not args.json)
    first: list[tuple[float, int]] = []

    def progress(done: int, total: int, what: str) -> None:
        # From the first frame on: what comes before it (frames that are there
        # already, a calibration) says nothing of the time that is left.
        if not first:
            first.append((time.monotonic(), done))
        began, start = first[0]

        def line() -> str:
            text = f"{done:,}/{total:,} {what}"
            if done == start:
                return text
            left = (time.monotonic() - began) / (done - start) * (total - done)
            return f"{text}, {duration(left)} left"

        status.show(line, force=done == total)

    report = args.start(args, progress)
    if args.json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        status.say(str(report))


def _kind(
    kinds,
    name: str,
    text: str,
    start: Callable,
    source: str = "ROOT",
    help: str = "the folder to import",
) -> argparse.ArgumentParser:
    parser = kinds.add_parser(
        name,
        help=text.splitlines()[0],
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar=source, type=Path, help=help)
    parser.add_argument("--out", metavar="DIR", type=Path, required=True)
    parser.add_argument(
        "--every", type=int, default=1, metavar="K", help="each K-th frame or photo"
    )
    parser.add_argument("--dry-run", action="store_true", help="write nothing")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(start=start)
    return parser


def _size(text: str) -> tuple[int, int]:
    w, _, h = text.lower().partition("x")
    if not (w.isdigit() and h.isdigit() and int(w) >= 8 and int(h) >= 8):
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 640x480")
    return int(w), int(h)


def _common(importer: Callable, args: argparse.Namespace, progress: Callable):
    return functools.partial(
        importer,
        args.source,
        args.out,
        every=args.every,
        progress=progress,
        dry_run=args.dry_run,
    )


# Importers are loaded when they run: `loftr-nb --help` has no use for SciPy.


def _import_sens(args: argparse.Namespace, progress: Callable):
    from ...setup.importers import import_scannet_sens as importer

    return _common(importer, args, progress)(size=args.size, scene=args.scene)


def _import_sevenscenes(args: argparse.Namespace, progress: Callable):
    from ...setup.importers import documented_rig
    from ...setup.importers import import_sevenscenes as importer

    rig = documented_rig(args.color_focal or 525.0)
    if args.offset is not None:
        T = rig.T_depth_to_colour.copy()
        T[:3, 3] = args.offset
        rig = dataclasses.replace(rig, T_depth_to_colour=T)
    with_rig = _common(importer, args, progress)
    return with_rig(scene=args.scene, rig=rig, fit=args.fit)


def _import_tum(args: argparse.Namespace, progress: Callable):
    from ...setup.importers import import_tum as importer

    return _common(importer, args, progress)(scene=args.scene)


def _import_colmap(args: argparse.Namespace, progress: Callable):
    from ...setup.importers import import_colmap as importer

    return _common(importer, args, progress)(scene=args.scene)


def _import_folder(args: argparse.Namespace, progress: Callable):
    from ...setup.importers import import_folder as importer

    with_photos = _common(importer, args, progress)
    return with_photos(copy=args.copy, pairs_per_photo=args.pairs)
