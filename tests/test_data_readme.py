"""Every command of data/README.md, in the page's order, on small downloads.

The downloads are rendered rooms packed as the real ones are: a zip of tars, pickled
dicts named npz, MegaDepth_v1's own images, a .sens file. Nothing is mocked.
"""

from __future__ import annotations

import io
import json
import pickle
import re
import shlex
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from colmap_model import write_cameras, write_depth_map, write_images

import loftr_nb.cli.data
from loftr_nb.cli.main import main, parse
from loftr_nb.datasets import load_megadepth_scenes, open_dataset
from loftr_nb.files import safe_load
from loftr_nb.setup.importers.sens_format import SensFrame, SensHeader, write_sens
from loftr_nb.synthetic import make_mini
from loftr_nb.synthetic.mini import MiniOptions

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "data" / "README.md").read_text()
V1 = "phoenix/S6/zl548/MegaDepth_v1"
OPTIONS = MiniOptions(
    train_scenes=1,
    test_scenes=1,
    train_frames=10,
    test_frames=6,
    size=(240, 180),
    megadepth_train=1,
    megadepth_test=1,
    megadepth_images=8,
)


def commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", TEXT, re.S)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


COMMANDS = commands()


def tar_of(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in sorted(files.items()):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def tree(folder: Path, prefix: str) -> dict[str, bytes]:
    return {
        f"{prefix}/{p.relative_to(folder).as_posix()}": p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file()
    }


class Downloads:
    """``/path/to`` of the page, made from the embedded data."""

    def __init__(self, box: Path) -> None:
        self.to = box / "path" / "to"
        self.mini = make_mini(box / "mini", workers=1, options=OPTIONS)
        self.scannet, self.megadepth = self.mini / "scannet", self.mini / "megadepth"
        (self.to / "downloads").mkdir(parents=True)
        shutil.copytree(self.scannet / "train", self.to / "scannet_train")
        self.megadepth_v1()
        self.archive()
        self.assets()
        self.sens()
        self.sevenscenes()
        self.tum()
        self.colmap()
        self.photos()

    def megadepth_v1(self) -> None:
        """Images lie beside the depth maps, some with another extension."""
        for side in ("train", "test"):
            base = self.megadepth / side
            shutil.copytree(base / V1, self.to / "MegaDepth_v1", dirs_exist_ok=True)
            for image in (base / "Undistorted_SfM").glob("*/images/*.jpg"):
                scene = self.to / "MegaDepth_v1" / image.parent.parent.name
                imgs = scene / "dense0" / "imgs"
                imgs.mkdir(exist_ok=True)
                shutil.copy(image, imgs / f"{image.stem}.JPG")

    def archive(self) -> None:
        """The zip of tars; MegaDepth's index files are pickled dicts."""
        scannet, megadepth = self.scannet / "index", self.megadepth / "index"
        outdoor: dict[str, bytes] = {}
        for side, folder, listed in (
            ("train", "scene_info_0.1_0.7", "train"),
            ("test", "scene_info_val_1500", "val"),
        ):
            names = []
            for path in sorted((megadepth / side).glob("*.npz")):
                with np.load(path, allow_pickle=True) as scene:
                    released = {**scene, "pair_infos": list(scene["pair_infos"])}
                outdoor[f"megadepth_indices/{folder}/{path.name}"] = pickle.dumps(
                    released
                )
                names.append(path.stem)
            text = "\n".join(names).encode()
            outdoor[f"megadepth_indices/trainvaltest_list/{listed}_list.txt"] = text
        indoor = tree(scannet / "train", "scannet_indices/scene_data/train")
        listed = "\n".join(Path(n).name for n in sorted(indoor)).encode()
        indoor["scannet_indices/scene_data/train_list/scannet_all.txt"] = listed
        intrinsics = (scannet / "intrinsics.npz").read_bytes()
        indoor["scannet_indices/intrinsics.npz"] = intrinsics
        tars = {
            "train-data/megadepth_indices.tar": outdoor,
            "train-data/scannet_indices.tar": indoor,
            "testdata/scannet_test_1500.tar": tree(
                self.scannet / "test", "scannet_test_1500"
            ),
            "testdata/megadepth_test_1500.tar": tree(
                self.megadepth / "test" / "Undistorted_SfM",
                "megadepth_test_1500/Undistorted_SfM",
            ),
        }
        with zipfile.ZipFile(self.to / "downloads" / "indices.zip", "w") as archive:
            for name, files in tars.items():
                archive.writestr(name, tar_of(files))

    def assets(self) -> None:
        """The index of the test pairs, as LoFTR's code carries it."""
        assets = self.to / "LoFTR" / "assets" / "scannet_test_1500"
        assets.mkdir(parents=True)
        (path,) = (self.scannet / "index" / "test").glob("*.npz")
        with np.load(path) as rows:
            np.savez(assets / "test.npz", name=rows["name"])
        (assets / "scannet_test.txt").write_text("test.npz\n")
        shutil.copy(self.scannet / "index" / "intrinsics.npz", assets)

    def frames(self):
        """Colour, depth in millimetres, pose and K of one walk through a room."""
        scene = min((self.scannet / "train").iterdir())
        K = safe_load(self.scannet / "index" / "intrinsics.npz")[scene.name]
        for path in sorted((scene / "color").iterdir(), key=lambda p: int(p.stem)):
            depth = cv2.imread(str(scene / "depth" / f"{path.stem}.png"), -1)
            pose = np.loadtxt(scene / "pose" / f"{path.stem}.txt")
            yield path, depth, pose, K.reshape(3, 3)

    def sens(self) -> None:
        frames = list(self.frames())
        K = np.eye(4, dtype=np.float32)
        K[:3, :3] = frames[0][3]
        size = frames[0][1].shape[::-1]
        (self.to / "scans").mkdir()
        # Every frame twice: the page imports each second one.
        write_sens(
            self.to / "scans" / "scene0000_00.sens",
            SensHeader(K, K, size, size),
            (
                SensFrame(pose, path.read_bytes(), zlib.compress(depth.tobytes()))
                for path, depth, pose, _ in frames
                for _ in range(2)
            ),
        )

    def sevenscenes(self) -> None:
        folder = self.to / "7scenes" / "room" / "seq-01"
        folder.mkdir(parents=True)
        for n, (path, depth, pose, _) in enumerate(self.frames()):
            stem = str(folder / f"frame-{n:06}")
            large = cv2.resize(cv2.imread(str(path)), (640, 480))
            cv2.imwrite(f"{stem}.color.png", large)
            depth = cv2.resize(depth, (640, 480), interpolation=cv2.INTER_NEAREST)
            cv2.imwrite(f"{stem}.depth.png", np.where(depth == 0, 65535, depth))
            np.savetxt(f"{stem}.pose.txt", pose)

    def tum(self) -> None:
        from scipy.spatial.transform import Rotation

        folder = self.to / "rgbd_dataset_freiburg1_desk"
        for kind in ("rgb", "depth"):
            (folder / kind).mkdir(parents=True)
        lines = []
        for n, (path, depth, pose, K) in enumerate(self.frames()):
            time = f"{1000 + n / 10:.6f}"
            cv2.imwrite(str(folder / "rgb" / f"{time}.png"), cv2.imread(str(path)))
            cv2.imwrite(str(folder / "depth" / f"{time}.png"), depth * np.uint16(5))
            turn = Rotation.from_matrix(pose[:3, :3]).as_quat()
            lines.append(" ".join([time, *map(str, (*pose[:3, 3], *turn))]))
            np.savetxt(folder / "intrinsics.txt", K)
        (folder / "groundtruth.txt").write_text("\n".join(lines) + "\n")

    def colmap(self) -> None:
        folder = self.to / "dense"
        (folder / "images").mkdir(parents=True)
        images = []
        frames = list(self.frames())
        K = frames[0][3]
        for n, (path, depth, pose, _) in enumerate(frames, 1):
            shutil.copy(path, folder / "images" / path.name)
            images.append((n, np.linalg.inv(pose), 1, path.name))
            maps = folder / "stereo" / "depth_maps"
            write_depth_map(maps / f"{path.name}.geometric.bin", depth / 1000)
        h, w = depth.shape
        numbers = (K[0, 0], K[1, 1], K[0, 2] + 0.5, K[1, 2] + 0.5)
        write_cameras(folder / "sparse", [(1, "PINHOLE", w, h, numbers)], True)
        write_images(folder / "sparse", images, True)

    def photos(self) -> None:
        (self.to / "photos").mkdir()
        for path, *_ in self.frames():
            shutil.copy(path, self.to / "photos" / f"photo{path.name}")


class Page:
    """Runs the page's commands once each, in order, in a folder of its own."""

    def __init__(self, box: Path) -> None:
        self.box = box
        self.here = box / "project"
        self.here.mkdir()
        self.downloads = Downloads(box)
        self.done: dict[str, tuple[int, str]] = {}

    def run(self, command: str, monkeypatch, capsys) -> tuple[int, str]:
        """Exit status and what was printed, by this command."""
        monkeypatch.chdir(self.here)
        for one in COMMANDS[: COMMANDS.index(command) + 1]:
            if one not in self.done and not missing(one):
                words = shlex.split(one.replace("/path/to", str(self.downloads.to)))
                assert words[0] == "loftr-nb"
                capsys.readouterr()
                status = main(words[1:])
                told = capsys.readouterr()
                self.done[one] = status, told.out + told.err
        return self.done[command]


def exists(command: str) -> bool:
    """Whether this installation has the action at all."""
    words = command.split()
    if words[1] != "data":
        return True
    folder = Path(loftr_nb.cli.data.__file__).parent
    return any((folder / f"{words[2]}{end}.py").is_file() for end in ("", "_"))


def missing(command: str) -> str | None:
    """The action that is not there yet, of this command or of one it builds on."""
    words = command.split()
    for one in COMMANDS[: COMMANDS.index(command) + 1]:
        made = one.split("--out ")[-1].split()[0]
        if not exists(one) and (one == command or made in words):
            return " ".join(one.split()[:3])
    return None


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Page:
    return Page(tmp_path_factory.mktemp("page"))


def linked(here: Path, said: str) -> None:
    assert "images" in said and " 0 missing" in said and "1 missing" not in said


def extracted(here: Path, said: str) -> None:
    for name in ("scannet_indices", "megadepth_indices", "scannet_test_1500"):
        assert (here / "data" / name).is_dir(), name
    assert "loftr-nb data link megadepth" in said


def rewritten(here: Path, said: str) -> None:
    table = load_megadepth_scenes(here / "scene_info_v1")
    root = here / "data" / "megadepth" / "train"
    assert all((root / table.frames.image[k]).is_file() for k in range(4))


def flat(layout: str) -> Callable[[Path, str], None]:
    def check(here: Path, said: str) -> None:
        path = here / "data" / layout / "index" / "train.h5"
        assert h5py.is_hdf5(path)
        opened = open_dataset(here / "data", "train", layout)
        assert len(opened) > 5 and opened[0].view0.image.numel()

    return check


def holds_nothing(folder: Path) -> None:
    assert not folder.exists()


def packed(layout: str) -> Callable[[Path, str], None]:
    """Training's samples from the pack, as from the data."""

    def check(here: Path, said: str) -> None:
        least = 0.4 if layout == "scannet" else 0.0
        data = open_dataset(here / "data", "train", layout, min_overlap=least)
        pack = open_dataset(here / "packed" / layout, "train", min_overlap=least)
        assert len(pack) == len(data) > 0
        assert (pack[0].view1.image == data[0].view1.image).all()
        assert (pack[0].view0.cell_depth == data[0].view0.cell_depth).all()

    return check


def scenes(name: str) -> Callable[[Path, str], None]:
    def check(here: Path, said: str) -> None:
        (scene,) = (here / "own" / name).glob("scene*")
        counts = {len(list((scene / k).iterdir())) for k in ("color", "depth", "pose")}
        assert counts == {OPTIONS.train_frames}

    return check


def holds(*names: str) -> Callable[[Path, str], None]:
    def check(here: Path, said: str) -> None:
        for name in names:
            path = here / name
            assert path.stat().st_size > 0, name
            if path.suffix == ".html":
                assert "<html" in path.read_text().lower()

    return check


def holds_some(folder: Path) -> None:
    assert any(p.is_file() for p in folder.rglob("*"))


def colmap_tree(here: Path, said: str) -> None:
    """Depth as h5, one a photo, in a tree that the reader of MegaDepth knows."""
    depths = list((here / "own" / "colmap").rglob("*.h5"))
    assert len(depths) == OPTIONS.train_frames
    with h5py.File(depths[0]) as file:
        assert file["depth"][:].max() > 0


def own_index(here: Path, said: str) -> None:
    assert len(open_dataset(here / "own" / "index", "train")) > 0
    assert (here / "own" / "overlap.png").is_file()


# What the page promises of a command, by how the command begins.
PROMISES: dict[str, Callable[[Path, str], None]] = {
    "data extract /path/to/downloads/indices.zip --list": lambda here, said: None,
    "data extract": extracted,
    "data link megadepth --images /path/to/MegaDepth_v1 --index data/megadepth_indices"
    " --dry-run": lambda here, said: None,
    "data link": linked,
    "data convert data/scannet": flat("scannet"),
    "data convert data/megadepth": flat("megadepth"),
    "data pack data/scannet --out packed/scannet --min-overlap 0.4 --dry-run": (
        lambda here, said: holds_nothing(here / "packed")
    ),
    "data pack data/scannet": packed("scannet"),
    "data pack data/megadepth": packed("megadepth"),
    "data rewrite": rewritten,
    "data report data/scannet": holds("scannet.html"),
    "data report own/index": holds("own/report.html"),
    "data import scannet-sens": scenes("sens"),
    "data import sevenscenes": scenes("sevenscenes"),
    "data import tum": scenes("tum"),
    "data import colmap": colmap_tree,
    "data import folder": lambda here, said: holds_some(here / "own" / "photos"),
    "data index": own_index,
}


@pytest.mark.parametrize("command", COMMANDS)
def test_command(command: str, page: Page, monkeypatch, capsys) -> None:
    if (action := missing(command)) is not None:
        pytest.xfail(f"`{action}` is not there yet")
    status, said = page.run(command, monkeypatch, capsys)
    assert status == 0, said
    words = command.removeprefix("loftr-nb ")
    for start, promise in PROMISES.items():
        if words.startswith(start):
            promise(page.here, said)
            break


def test_listing_and_dry_run_come_first(page: Page, monkeypatch, capsys) -> None:
    status, said = page.run(COMMANDS[0], monkeypatch, capsys)
    assert status == 0
    assert "scannet_indices/scene_data/train" in said and " free" in said


def test_commands_in_the_text_are_understood() -> None:
    for command in re.findall(r"`(loftr-nb [a-z]+ [^`]*? --[^`]+)`", TEXT):
        parse(shlex.split(command)[1:])


def test_undo_after_the_page_leaves_no_link(page: Page, monkeypatch, capsys) -> None:
    """Last in this file: what the page linked is gone, what it wrote stays."""
    page.run(COMMANDS[-1], monkeypatch, capsys)
    for layout in ("scannet", "megadepth"):
        argv = ["data", "link", layout, "--undo", "--json"]
        assert main(argv) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["removed"] and told["kept"] == []
    assert not [p for p in (page.here / "data").rglob("*") if p.is_symlink()]
    assert (page.downloads.to / "MegaDepth_v1").is_dir()


def test_the_page_names_what_it_is_about() -> None:
    for word in ("MegaDepth_v1", "1.2 to 1.3 TB", "21 GB", "python export", "--undo"):
        assert word in TEXT
    links = re.findall(r"\]\((#[a-z-]+)\)", TEXT)
    titles = re.findall(r"^#+ (.*)$", TEXT, re.M)
    anchors = {
        "#" + re.sub(r"[^a-z -]", "", t.lower()).replace(" ", "-") for t in titles
    }
    assert links and set(links) <= anchors
