"""Checkpoints: what goes in comes out, and what does not belong is named."""

from __future__ import annotations

import copy
import dataclasses
import os
import resource
from pathlib import Path
from urllib.error import URLError

import kornia
import pytest
import torch
from kornia.feature.loftr import loftr as kornia_loftr

from loftr_nb.errors import CheckpointError, ConfigError
from loftr_nb.files.checkpoints import atomic_save
from loftr_nb.model import LoFTR, LoFTRConfig

TINY = LoFTRConfig(
    initial_dim=8,
    block_dims=(8, 12, 16),
    coarse_layers=1,
    coarse_heads=2,
    fine_heads=2,
    position="released",
    matcher="ot",
    threshold=0.1,
)


def same_weights(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    theirs = b.state_dict()
    return all(torch.equal(v, theirs[k]) for k, v in a.state_dict().items())


@pytest.fixture(scope="module")
def paper_sized() -> dict[str, torch.Tensor]:
    """Weights of the paper's network under kornia's names."""
    torch.manual_seed(1)
    return kornia.feature.LoFTR(None).state_dict()


def test_save_and_load(tmp_path):
    model = LoFTR(TINY)
    path = tmp_path / "with space" / "best.pt"
    path.parent.mkdir()
    model.save(path)
    again = LoFTR.load(path)
    assert same_weights(model, again)
    assert again.config == TINY and not again.training
    assert LoFTR.load(str(path), position="released").config.position == "released"
    assert [p.name for p in path.parent.iterdir()] == ["best.pt"]


def test_a_training_checkpoint_holds_the_model_under_model(tmp_path):
    model = LoFTR(TINY)
    path = tmp_path / "last.pt"
    packed = {"config": TINY.to_dict(), "state_dict": model.state_dict()}
    torch.save({"step": 7, "optimizer": {"lr": 0.1}, "model": packed}, path)
    assert same_weights(model, LoFTR.load(path))


def test_the_releases_naming_needs_the_position(tmp_path, paper_sized):
    released = {"state_dict": {f"matcher.{k}": v for k, v in paper_sized.items()}}
    path = tmp_path / "mine.ckpt"
    torch.save(released, path)
    with pytest.raises(CheckpointError, match=r"mine.ckpt does not say which position"):
        LoFTR.load(path)
    model = LoFTR.load(path, position="released")
    assert model.config.position == "released"
    assert all(torch.equal(model.state_dict()[k], v) for k, v in paper_sized.items())
    # Under its published name the file's encoding is known, and a wrong one refused.
    named = path.rename(tmp_path / "outdoor_ds.ckpt")
    assert LoFTR.load(named).config.position == "released"
    with pytest.raises(CheckpointError, match=r"position='released', position='fixed'"):
        LoFTR.load(named, position="fixed")


def test_plain_weights_with_kornias_names(tmp_path, paper_sized):
    path = tmp_path / "plain.pt"
    torch.save(paper_sized, path)
    assert LoFTR.load(path, position="fixed").config == LoFTRConfig()


def test_the_wrong_position_is_an_error(tmp_path):
    LoFTR(TINY).save(tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"a.pt is of position='released'.*leave"):
        LoFTR.load(tmp_path / "a.pt", position="fixed")
    with pytest.raises(ConfigError, match="did you mean 'fixed'"):
        LoFTR.load(tmp_path / "a.pt", position="fixd")


def test_another_recipes_checkpoint_is_an_error(tmp_path, paper_sized):
    LoFTR(TINY).save(tmp_path / "a.pt")
    other = dataclasses.replace(TINY, matcher="ds")
    with pytest.raises(CheckpointError, match=r"a.pt is of matcher='ot', matcher='ds'"):
        LoFTR.load(tmp_path / "a.pt", config=other)
    wider = dataclasses.replace(TINY, block_dims=(8, 12, 20))
    with pytest.raises(CheckpointError, match=r"block_dims=\(8, 12, 16\)"):
        LoFTR.load(tmp_path / "a.pt", config=wider)
    reading = dataclasses.replace(TINY, threshold=0.5, border=0)
    assert LoFTR.load(tmp_path / "a.pt", config=reading).config == reading
    torch.save(paper_sized, tmp_path / "b.pt")
    with pytest.raises(CheckpointError, match=r"\(128, 1, 7, 7\) where \(8, 1, 7, 7\)"):
        LoFTR.load(tmp_path / "b.pt", config=TINY, position="released")


def test_keys_that_do_not_fit_are_named(tmp_path):
    packed = {"config": TINY.to_dict(), "state_dict": LoFTR(TINY).state_dict()}
    for change, message in (
        (lambda s: s.pop("backbone.conv1.weight"), "backbone.conv1.weight is missing"),
        (lambda s: s.update(extra=torch.zeros(1)), "extra is not part of it"),
        (
            lambda s: s["fine_preprocess.down_proj.bias"].fill_(torch.nan),
            "not finite: fine_preprocess.down_proj.bias",
        ),
    ):
        broken = copy.deepcopy(packed)
        change(broken["state_dict"])
        torch.save(broken, tmp_path / "broken.pt")
        with pytest.raises(CheckpointError, match=f"broken.pt.*{message}"):
            LoFTR.load(tmp_path / "broken.pt")


class _Runs:
    """Runs a command when it is unpickled by an unsafe reader."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def test_damaged_and_foreign_files_are_named(tmp_path):
    path, mark = tmp_path / "c.pt", tmp_path / "ran"
    with pytest.raises(CheckpointError, match=r"c.pt does not exist"):
        LoFTR.load(path)
    with pytest.raises(CheckpointError, match="is a folder"):
        LoFTR.load(tmp_path)
    LoFTR(TINY).save(path)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"not a checkpoint"):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"c.pt \(\d+ bytes\) is not a read"):
            LoFTR.load(path)
    torch.save({"state_dict": _Runs(mark)}, path)
    with pytest.raises(CheckpointError, match="c.pt"):
        LoFTR.load(path)
    assert not mark.exists()
    for payload, described in (
        (torch.zeros(3), "a Tensor"),
        ({"epoch": 3}, "a dict with 'epoch'"),
        ({"state_dict": {}}, "a dict with 'state_dict'"),
    ):
        torch.save(payload, path)
        with pytest.raises(CheckpointError, match=f"holds no weights.*{described}"):
            LoFTR.load(path, position="fixed")


def test_configs_and_versions_of_the_future_are_named(tmp_path):
    path = tmp_path / "d.pt"
    packed = {"config": TINY.to_dict(), "state_dict": LoFTR(TINY).state_dict()}
    torch.save(packed | {"version": 99}, path)
    with pytest.raises(CheckpointError, match="version 99.*update"):
        LoFTR.load(path)
    silent = {k: v for k, v in TINY.to_dict().items() if k != "position"}
    torch.save(packed | {"config": silent}, path)
    with pytest.raises(CheckpointError, match="which position encoding"):
        LoFTR.load(path)
    torch.save(packed | {"config": TINY.to_dict() | {"wndow": 5}}, path)
    with pytest.raises(CheckpointError, match=r"d.pt does not fit.*'window'"):
        LoFTR.load(path)


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path):
    path = tmp_path / "last.pt"
    first = LoFTR(TINY)
    first.save(path)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        with pytest.raises(CheckpointError, match="previous file is untouched"):
            LoFTR(TINY).save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]
    assert same_weights(first, LoFTR.load(path))


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="No such file or directory"):
        atomic_save({}, tmp_path / "nowhere" / "x.pt")


@pytest.mark.parametrize(
    ("name", "position"),
    [("outdoor", "released"), ("indoor", "released"), ("indoor_new", "fixed")],
)
def test_published_weights_come_with_their_position(
    name, position, tmp_path, paper_sized, monkeypatch
):
    path = tmp_path / "file.ckpt"
    named = {f"matcher.{k}": v for k, v in paper_sized.items()}
    torch.save({"state_dict": named}, path)

    def from_disk(url, map_location=None):
        assert url == kornia_loftr.urls[name]
        return torch.load(path, map_location=map_location)

    monkeypatch.setattr(kornia_loftr, "load_state_dict_from_url", from_disk)
    model = LoFTR.pretrained(name)
    assert model.config == LoFTRConfig(position=position)
    assert not model.training
    assert all(torch.equal(model.state_dict()[k], v) for k, v in paper_sized.items())
    # The encoding is the one that kornia itself uses for these weights.
    theirs = kornia.feature.LoFTR(name).pos_encoding.pe[0, :, :6, :7]
    torch.testing.assert_close(
        model.pos_encoding.encoding(6, 7), theirs, rtol=0, atol=1e-6
    )


def test_without_network_the_way_out_is_named(monkeypatch):
    def no_network(*args, **kwargs):
        raise URLError("Name or service not known")

    monkeypatch.setattr(kornia_loftr, "load_state_dict_from_url", no_network)
    message = r"loftr_outdoor.ckpt.*by hand.*LoFTR.load\(FILE, position='released'\)"
    with pytest.raises(CheckpointError, match=message):
        LoFTR.pretrained("outdoor")
    with pytest.raises(ConfigError, match="did you mean 'outdoor'"):
        LoFTR.pretrained("outdor")
