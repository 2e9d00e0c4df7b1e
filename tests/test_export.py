"""Export: what other programs load is the same network, and what cannot be is named."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import kornia
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from loftr_nb.cli.main import main
from loftr_nb.datasets import collate, motorcycle
from loftr_nb.errors import CheckpointError, ConfigError, LoftrNbError
from loftr_nb.model import LoFTR, LoFTRConfig
from loftr_nb.model.export import FORMS, export, twin_config
from loftr_nb.model.shipped import shipped
from loftr_nb.model.source import find_weights
from loftr_nb.training import get_recipe, override
from loftr_nb.training.start import new_model

TINY = LoFTRConfig(
    initial_dim=8,
    block_dims=(8, 12, 16),
    coarse_layers=1,
    coarse_heads=2,
    fine_heads=2,
    threshold=0.01,
    border=1,
)


def name_of(form: str) -> str:
    return f"w.{'safetensors' if form == 'safetensors' else 'pt'}"


@pytest.fixture(scope="module")
def pair():
    return collate([motorcycle((160, 112))])


@pytest.fixture
def tiny() -> LoFTR:
    """Random weights with batch norm averages that are not the initial ones."""
    model = LoFTR(TINY).train()
    model.features(torch.rand(1, 1, 64, 64), torch.rand(1, 1, 64, 64))
    return model.eval()


def of_type(model: LoFTR, **changes) -> LoFTR:
    """The same weights under another configuration."""
    other = LoFTR(dataclasses.replace(model.config, **changes))
    other.load_state_dict(model.state_dict(), strict=False)
    return other.eval()


def same_weights(a: nn.Module, b: nn.Module) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return list(left) == list(right) and all(
        torch.equal(left[k], right[k]) and left[k].dtype == right[k].dtype for k in left
    )


def run(how: str) -> nn.Module:
    """The lines that the command prints, executed."""
    space: dict = {}
    exec(how, space)
    return space["matcher"]


@torch.no_grad()
def equal_matches(ours: LoFTR, theirs: nn.Module, pair, at_least: int) -> None:
    a = ours(pair.image0, pair.image1)
    b = theirs({"image0": pair.image0, "image1": pair.image1})
    assert len(a.confidence) >= at_least
    assert torch.equal(a.keypoints0, b["keypoints0"])
    torch.testing.assert_close(a.keypoints1, b["keypoints1"], rtol=0, atol=1e-3)
    torch.testing.assert_close(a.confidence, b["confidence"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("position", ["fixed", "released"])
def test_kornia_loads_the_file_by_the_printed_lines_and_matches_alike(
    tmp_path, pair, position
):
    """The shipped weights: mini_ds' sizes are within kornia's config."""
    model = of_type(LoFTR.load(shipped("mini_ds")), position=position)
    done = export(model, "kornia", tmp_path / "a b" / "mini.pt")
    theirs = run(done.how)
    assert type(theirs) is kornia.feature.LoFTR and not theirs.training
    assert theirs.pos_encoding.temp_bug_fix is (position == "fixed")
    assert same_weights(model, theirs)
    equal_matches(model, theirs, pair, 30)


def test_the_papers_network_goes_to_kornia(tmp_path, pair):
    model = LoFTR(LoFTRConfig(threshold=0.03, border=1)).eval()
    theirs = run(export(model, "kornia", tmp_path / "paper.pt").how)
    equal_matches(model, theirs, pair, 5)


def test_kornias_default_config_takes_the_weights_and_answers_otherwise(tmp_path, pair):
    """Why the config travels: sizes are equal, so a wrong encoding loads strictly."""
    model = LoFTR(LoFTRConfig(threshold=0.03, border=1)).eval()
    export(model, "kornia", tmp_path / "paper.pt")
    wrong = kornia.feature.LoFTR(pretrained=None)
    wrong.load_state_dict(torch.load(tmp_path / "paper.pt"), strict=True)
    assert wrong.pos_encoding.temp_bug_fix is False
    with torch.no_grad():
        ours = model.features(pair.image0, pair.image1).coarse0
        coarse = wrong.extract_features(torch.cat([pair.image0, pair.image1]))["coarse"]
        a, b = coarse.flatten(2).transpose(1, 2).split(1)
        theirs = wrong.loftr_coarse(a, b)[0]
    assert (ours - theirs).abs().max() > 0.1


@pytest.mark.parametrize("matcher", ["ds", "ot"])
def test_the_originals_layout(tmp_path, tiny, matcher, pair):
    model = of_type(tiny, matcher=matcher)
    done = export(model, "original", tmp_path / "w.ckpt")
    raw = torch.load(done.path, weights_only=True)
    assert list(raw) == ["state_dict"]
    assert all(k.startswith("matcher.") for k in raw["state_dict"])
    assert len(raw["state_dict"]) == len(model.state_dict())
    config = json.loads(done.beside.read_text())["config"]
    kind = {"ds": "dual_softmax", "ot": "sinkhorn"}[matcher]
    assert config["match_coarse"]["match_type"] == kind
    # Looked up at every call of the released sinkhorn branch, also in inference.
    assert config["match_coarse"]["sparse_spvs"] is False
    again = {k.removeprefix("matcher."): v for k, v in raw["state_dict"].items()}
    assert all(torch.equal(v, again[k]) for k, v in model.state_dict().items())
    if matcher == "ot":
        return  # kornia's sinkhorn branch cannot be built
    # kornia's module carries the released names and takes off the prefix.
    config["resolution"] = tuple(config["resolution"])
    theirs = kornia.feature.LoFTR(pretrained=None, config=config)
    theirs.load_state_dict(dict(raw["state_dict"]), strict=True)
    assert same_weights(model, theirs)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read_back_to_the_bit(tmp_path, tiny, form):
    model = of_type(tiny, position="released", temperature=0.2, threshold=0.3)
    done = export(model, form, tmp_path / name_of(form))
    again = LoFTR.load(done.path)
    assert same_weights(model, again) and again.config == model.config
    assert done.tensors == len(model.state_dict()) and done.position == "released"
    with pytest.raises(CheckpointError, match="position='released', position='fixed'"):
        LoFTR.load(done.path, position="fixed")
    if form in ("safetensors", "ours"):
        assert same_weights(model, run(done.how))


@pytest.mark.parametrize("form", ["safetensors", "original", "ours"])
def test_optimal_transport_goes_wherever_there_is_a_reader(tmp_path, tiny, form):
    model = of_type(tiny, matcher="ot", dustbin_init=2.0)
    with torch.no_grad():
        model.coarse_matching.bin_score.fill_(1.25)
    again = LoFTR.load(export(model, form, tmp_path / name_of(form)).path)
    assert again.config == model.config
    assert again.coarse_matching.bin_score.item() == 1.25


def test_optimal_transport_does_not_go_to_kornia(tmp_path, tiny):
    model = of_type(tiny, matcher="ot")
    with pytest.raises(ConfigError, match=r"matcher='ot' cannot.*--to original"):
        export(model, "kornia", tmp_path / "w.pt")
    assert not list(tmp_path.iterdir())


def test_kornia_has_a_word_for_every_other_setting():
    """A field added to the config has to be thought of here."""
    changed = {
        "initial_dim": 16, "block_dims": [16, 24, 32], "coarse_layers": 3,
        "coarse_heads": 4, "fine_layers": 2, "fine_heads": 4, "attention": "full",
        "window": 7, "position": "released", "temperature": 0.3,
        "sinkhorn_iterations": 5, "dustbin_init": 2.0, "threshold": 0.4, "border": 3,
    }  # fmt: skip
    fields = {f.name for f in dataclasses.fields(LoFTRConfig)}
    assert set(changed) | {"matcher", "recompute"} == fields
    for name, value in changed.items():
        both = {name: value}
        if name in ("initial_dim", "block_dims"):
            both = {k: changed[k] for k in ("initial_dim", "block_dims")}
        before, after = (
            twin_config(dataclasses.replace(TINY, **v), "kornia") for v in ({}, both)
        )
        assert before != after, name


def test_safetensors_says_by_itself_what_it_is(tmp_path):
    done = export("mini_ds", "safetensors", tmp_path / "mini.safetensors")
    with safe_open(done.path, framework="pt") as file:
        words = file.metadata()
    model = LoFTR.load(shipped("mini_ds"))
    assert LoFTRConfig.from_dict(json.loads(words["config"])) == model.config
    assert words["position"] == model.config.position == "fixed"
    origin = json.loads(words["provenance"])
    assert origin["recipe"] == "mini_ds" and origin["steps"] == 1520
    assert "CVPR 2021" in origin["cite"] and len(origin["sha256"]) == 64
    state = load_file(done.path)
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())


def test_equal_weights_are_equal_files(tmp_path):
    """The library alone writes its metadata in another order each time."""
    files = [export("mini_ds", "safetensors", tmp_path / f"{n}.safetensors").path
             for n in range(4)]  # fmt: skip
    assert len({path.read_bytes() for path in files}) == 1


def test_where_weights_come_from_is_kept_and_no_folder_is_told(tmp_path):
    first = export("mini_ds", "kornia", tmp_path / "first.pt")
    second = export(first.path, "safetensors", tmp_path / "second.safetensors")
    assert second.provenance["file"] == "first.pt"
    assert second.provenance["from"]["recipe"] == "mini_ds"
    words = first.beside.read_text() + second.path.read_bytes()[:4000].decode("latin-1")
    assert str(tmp_path) not in words and str(shipped("mini_ds").parent) not in words


def test_what_stands_beside_belongs_to_these_weights(tmp_path, tiny):
    done = export(tiny, "kornia", tmp_path / "w.pt")
    other = of_type(tiny)
    with torch.no_grad():
        other.backbone.conv1.weight.mul_(2)
    torch.save(other.state_dict(), done.path)
    with pytest.raises(CheckpointError, match=r"w.pt.json describes other weights"):
        LoFTR.load(done.path)
    done.beside.write_text("{ half")
    with pytest.raises(CheckpointError, match=r"w.pt.json .*cannot be read"):
        LoFTR.load(done.path)
    # A JSON of somebody else's is no business of ours.
    done.beside.write_text('{"epoch": 3}')
    with pytest.raises(CheckpointError, match="does not say which position"):
        LoFTR.load(done.path)
    assert same_weights(other, LoFTR.load(done.path, TINY, position="fixed"))


def test_safetensors_of_others_hold_weights_alone(tmp_path, tiny):
    path = tmp_path / "theirs.safetensors"
    state = {k: v.contiguous() for k, v in tiny.state_dict().items()}
    save_file({f"matcher.{k}": v for k, v in state.items()}, path)
    with pytest.raises(CheckpointError, match="does not say which position"):
        LoFTR.load(path)
    assert same_weights(tiny, LoFTR.load(path, TINY, position="fixed"))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"bytes\) is not a readable safetensors"):
        LoFTR.load(path)
    save_file(state, path, {"loftr_nb": "99", "config": "{}"})
    with pytest.raises(CheckpointError, match="version 99.*update"):
        LoFTR.load(path)
    save_file(state, path, {"loftr_nb": "1", "config": "{ half"})
    with pytest.raises(CheckpointError, match="metadata of .*export the weights again"):
        LoFTR.load(path)


@pytest.mark.parametrize("form", FORMS)
def test_training_starts_from_every_form(tmp_path, form):
    done = export("mini_ds", form, tmp_path / name_of(form))
    recipe = override(get_recipe("mini_ds"), [f"start={done.path}"])
    assert same_weights(LoFTR.load(shipped("mini_ds")), new_model(recipe))


def test_nothing_is_overwritten_without_being_told(tmp_path, tiny):
    done = export(tiny, "kornia", tmp_path / "w.pt")
    before = done.path.read_bytes(), done.beside.read_bytes()
    other = of_type(tiny, position="released")
    with pytest.raises(ConfigError, match=r"w.pt exists and is left.*--force"):
        export(other, "kornia", done.path)
    done.path.rename(tmp_path / "moved.pt")
    with pytest.raises(ConfigError, match=r"w.pt.json exists.*--force"):
        export(other, "kornia", done.path)
    assert not done.path.exists()
    (tmp_path / "moved.pt").rename(done.path)
    assert (done.path.read_bytes(), done.beside.read_bytes()) == before
    export(other, "kornia", done.path, force=True)
    assert LoFTR.load(done.path).config.position == "released"
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(ConfigError, match="folder.pt is a folder"):
        export(tiny, "ours", tmp_path / "folder.pt", force=True)


@pytest.mark.parametrize(
    ("to", "name", "words"),
    [
        ("korna", "w.pt", "did you mean 'kornia'"),
        ("kornia", "w.safetensors", "ends in .pt or .ckpt"),
        ("safetensors", "w.pt", "ends in .safetensors"),
        ("original", "outdoor_ds.ckpt", "position='released', and these"),
        ("kornia", "file/w.pt", "no folder"),
    ],
)
def test_what_would_mislead_is_refused(tmp_path, tiny, to, name, words):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(LoftrNbError, match=words):
        export(tiny, to, tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_weights_that_nobody_could_use_are_refused(tmp_path, tiny):
    with pytest.raises(ConfigError, match=r"torch.float64.*float\(\)"):
        export(of_type(tiny).double(), "ours", tmp_path / "w.pt")
    broken = of_type(tiny)
    with torch.no_grad():
        broken.fine_preprocess.down_proj.bias[0] = torch.nan
    with pytest.raises(ConfigError, match="down_proj.bias is not finite"):
        export(broken, "ours", tmp_path / "w.pt")
    assert not list(tmp_path.iterdir())


def test_a_source_is_a_run_a_file_or_a_name(tmp_path, tiny):
    run_folder = tmp_path / "run"
    (run_folder / "checkpoints").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="holds neither weights.pt nor"):
        find_weights(run_folder)
    tiny.save(run_folder / "checkpoints" / "last.pt")
    assert find_weights(run_folder).name == "last.pt"
    tiny.save(run_folder / "weights.pt")
    assert find_weights(run_folder) == run_folder / "weights.pt"
    assert find_weights("mini_ds") == shipped("mini_ds")
    with pytest.raises(CheckpointError, match="names mini_ds, outdoor, indoor"):
        find_weights(tmp_path / "none.pt")


def test_a_foreign_file_needs_its_position(tmp_path):
    torch.manual_seed(0)
    theirs = kornia.feature.LoFTR(pretrained=None)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pt")
    with pytest.raises(CheckpointError, match="does not say which position"):
        export(tmp_path / "theirs.pt", "ours", tmp_path / "ours.pt")
    done = export(tmp_path / "theirs.pt", "ours", tmp_path / "ours.pt", "released")
    assert LoFTR.load(done.path).config == LoFTRConfig(position="released")


def test_the_command_line(tmp_path, capsys):
    out = tmp_path / "w.pt"
    line = ["export", "mini_ds", "--to", "kornia", "--out", str(out)]
    assert main(line) == 0
    said = capsys.readouterr().out
    for words in ("556,512 parameters", "w.pt.json", "equal to the bit", "silently"):
        assert words in said
    code = said.split("Load it in Python:")[1]
    lines = [row.removeprefix("  ") for row in code.splitlines()]
    assert type(run("\n".join(lines))) is kornia.feature.LoFTR
    assert main(line) == 2
    assert "--force" in capsys.readouterr().err
    assert main([*line, "--force", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert Path(told["beside"]) == Path(f"{out}.json") and told["to"] == "kornia"
    assert main(["export", "nowhere", "--to", "ours", "--out", str(out)]) == 2
    assert "nowhere does not exist" in capsys.readouterr().err


def test_matching_reads_what_was_exported(tmp_path, capsys, pair):
    import cv2

    for n, image in enumerate((pair.image0, pair.image1)):
        pixels = (255 * image[0, 0]).round().byte().numpy()
        cv2.imwrite(str(tmp_path / f"{n}.png"), pixels)
    images = [str(tmp_path / f"{n}.png") for n in range(2)]
    told = []
    for form in FORMS:
        path = export("mini_ds", form, tmp_path / f"{form}{name_of(form)}").path
        assert main(["match", *images, "--weights", str(path), "--json"]) == 0
        told.append(json.loads(capsys.readouterr().out))
    assert len(told[0]["confidence"]) >= 30
    assert all(found == told[0] for found in told)
