"""The page of a data report: whole, self-contained, careful with other files."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from test_geometry_check import K, shoot

from loftr_nb.cli.main import main
from loftr_nb.errors import DataError
from loftr_nb.setup.report import build_report, refuse_foreign
from loftr_nb.setup.report_page import MARK


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> Path:
    """A rendered room as a ScanNet scene, in a folder with a name that needs care."""
    root = tmp_path_factory.mktemp("data") / "scans & <b>more</b>"
    scene = root / "scene0000_00"
    for name in ("color", "depth", "pose", "intrinsic"):
        (scene / name).mkdir(parents=True)
    np.savetxt(scene / "intrinsic" / "intrinsic_depth.txt", K)
    for k, (image, depth, W) in enumerate(shoot(K, np.zeros(3))):
        cv2.imwrite(str(scene / "color" / f"{k}.jpg"), image)
        millimetres = np.rint(depth * 1000).astype(np.uint16)
        cv2.imwrite(str(scene / "depth" / f"{k}.png"), millimetres)
        np.savetxt(scene / "pose" / f"{k}.txt", np.linalg.inv(W))
    return root


class Page(HTMLParser):
    """Collects tags; complains about one that is closed in the wrong order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[dict] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.links += [v for k, v in attrs.items() if k in ("src", "href")]
        if tag == "img":
            self.images.append(attrs)
        elif tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def written(scans, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "report.html"
    return build_report(scans, out, pairs=4, samples=2)


def test_the_page_stands_alone(written):
    text = written.path.read_text()
    page = Page(text)
    assert not page.open and "<script" not in text
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert "http" not in re.sub(r'src="[^"]*"', "", text)
    assert "width=device-width" in text
    assert len(page.images) == written.pictures >= 3
    for image in page.images:
        assert len(image["alt"]) > 20
        content = base64.b64decode(image["src"].split(",")[1])
        assert min(Image.open(io.BytesIO(content)).size) > 100
    assert written.bytes == written.path.stat().st_size < 3e6


def test_the_page_says_what_was_found(written, scans):
    words = " ".join(Page(written.path.read_text()).words)
    assert written.ok and "Ready" in words
    assert "depth, pose, K and images fit" in words
    assert "<b>more</b>" in words  # the folder's name, not a tag
    assert f"loftr-nb data index '{scans}'" in words
    assert written.to_dict()["check"]["geometry"]


def test_faults_are_on_the_page(scans, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(scans, copy)
    for pose in (copy / "scene0000_00" / "pose").iterdir():
        np.savetxt(pose, np.linalg.inv(np.loadtxt(pose)))
    (copy / "scene0000_00" / "depth" / "7.png").unlink()
    report = build_report(copy, tmp_path / "r.html", pairs=4, samples=1)
    words = " ".join(Page(report.path.read_text()).words)
    assert not report.ok and "Not ready" in words
    assert "pose inverted" in words and "invert each pose file" in words
    assert "7.png" in words
    assert "fits: pose" not in words  # a picture's title is in its alt text only


def test_other_files_are_not_overwritten(scans, tmp_path, written):
    mine = tmp_path / "thesis.html"
    mine.write_text("<html>years of work</html>")
    with pytest.raises(DataError, match="no report of this kind.*--force"):
        build_report(scans, mine)
    assert "years" in mine.read_text()
    refuse_foreign(mine, force=True)
    own = tmp_path / "own.html"
    shutil.copy(written.path, own)
    refuse_foreign(own, force=False)
    with pytest.raises(DataError, match="is a folder"):
        refuse_foreign(tmp_path, force=False)
    with pytest.raises(DataError, match="make the folder first"):
        refuse_foreign(tmp_path / "no" / "r.html", force=True)


def test_a_page_that_cannot_be_finished_leaves_the_old_one(
    scans, tmp_path, monkeypatch
):
    out = tmp_path / "r.html"
    out.write_text(f"<!DOCTYPE html>\n{MARK} old")

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("loftr_nb.setup.report.show_conventions", stop)
    with pytest.raises(KeyboardInterrupt):
        build_report(scans, out, pairs=1, samples=1, quick=True)
    assert out.read_text().endswith("old")
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]


def test_photos_without_depth_have_a_page_too(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(0)
    for k in range(3):
        image = rng.integers(0, 255, (64, 80), np.uint8)
        cv2.imwrite(str(photos / f"{k}.png"), image)
    report = build_report(photos, tmp_path / "r.html")
    words = " ".join(Page(report.path.read_text()).words)
    assert "neither depth nor pose" in words
    assert "loftr-nb data import folder" in words


def test_the_command_line(scans, tmp_path, capsys, monkeypatch):
    out = tmp_path / "r.html"
    arguments = ["data", "report", str(scans), "--out", str(out)]
    options = ["--pairs", "2", "--samples", "1", "--quick", "--json"]
    assert main([*arguments, *options]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["report"] == str(out) and told["ok"]
    out.write_text("mine")
    assert main([*arguments, *options]) == 2
    assert "--force" in capsys.readouterr().err
    assert main(["data", "report", str(tmp_path / "none")]) == 2
    assert "does not exist" in capsys.readouterr().err
