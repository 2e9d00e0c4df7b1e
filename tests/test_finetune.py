"""Fine-tuning: starting weights, frozen parts, the backbone's own rate."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from kornia.feature import LoFTR as KorniaLoFTR

from loftr_nb.errors import CheckpointError, ConfigError, LoftrNbError, RunError
from loftr_nb.losses import TrainingStep
from loftr_nb.model import LoFTR
from loftr_nb.training import Recipe, RunFolder, get_recipe, override, train
from loftr_nb.training.distributed import Process
from loftr_nb.training.parts import freeze, parameter_groups, part_names
from loftr_nb.training.stand_in import stand_in
from loftr_nb.training.start import new_model, pin_start
from loftr_nb.training.update import Update

ALONE = Process(0, 1, torch.device("cpu"))
SMALL = [
    "model.initial_dim=16",
    "model.block_dims=16,16,32",
    "model.coarse_layers=1",
    "data.width=96",
    "data.height=64",
    "data.workers=0",
    "data.holdout_scenes=0",
    "data.min_overlap=0",
    "optim.batch=1",
]


def small(*changes: str) -> Recipe:
    return override(get_recipe("mini_ds"), [*SMALL, *changes])


def kornia_file(recipe: Recipe, path: Path, prefix: str = "") -> KorniaLoFTR:
    """Weights as kornia (and, with a prefix, the original release) names them."""
    torch.manual_seed(5)
    theirs = KorniaLoFTR(pretrained=None, config=recipe.model.to_kornia())
    state = {prefix + k: v for k, v in theirs.state_dict().items()}
    torch.save({"state_dict": state}, path)
    return theirs


@pytest.mark.parametrize("prefix", ["", "matcher."])
def test_the_first_loss_is_that_of_the_loaded_model(tmp_path, prefix: str) -> None:
    path = tmp_path / "theirs.ckpt"
    recipe = small(f"start={path}", "start_position=fixed")
    theirs = kornia_file(recipe, path, prefix)
    batch = stand_in(recipe, 1)
    ours = LoFTR(recipe.model)
    ours.load_state_dict(theirs.state_dict())
    expected = TrainingStep(ours.train(), recipe.loss)(batch, [3]).loss.item()
    update = Update(new_model(recipe), recipe, ALONE, 1e-3)
    sums, _ = update([batch], [[3]], 1e-3)
    assert sums[1].item() == pytest.approx(expected, rel=1e-6)


def test_frozen_parts_do_not_move_and_the_others_do() -> None:
    recipe = small("optim.freeze=backbone,loftr_fine", "optim.weight_decay=0.5")
    model = new_model(recipe)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    update = Update(model, recipe, ALONE, 1e-2)
    batch = stand_in(recipe, 1)
    for k in range(3):
        update([batch], [[k]], 1e-2)
    after = model.state_dict()
    for name, value in before.items():
        frozen = name.startswith(("backbone.", "loftr_fine."))
        if frozen:  # averages of batch norm included
            assert torch.equal(after[name], value), name
    for part in ("loftr_coarse", "fine_preprocess"):
        assert any(
            not torch.equal(after[k], v)
            for k, v in before.items()
            if k.startswith(part)
        )


def test_the_backbones_rate_against_two_plain_optimisers() -> None:
    recipe = small("optim.backbone_rate=0.1", "optim.batch_norm=frozen")
    torch.manual_seed(1)
    model = new_model(recipe)
    torch.manual_seed(1)
    other = new_model(recipe)
    update = Update(model, recipe, ALONE, 1e-3)
    batch = stand_in(recipe, 1)
    slow = list(other.backbone.parameters())
    ids = {id(p) for p in slow}
    fast = [p for p in other.parameters() if id(p) not in ids]
    decay = recipe.optim.weight_decay
    by_hand = [
        torch.optim.AdamW(slow, lr=1e-4, weight_decay=decay),
        torch.optim.AdamW(fast, lr=1e-3, weight_decay=decay),
    ]
    step = TrainingStep(other, recipe.loss)
    for k in range(3):
        update([batch], [[k]], 1e-3)
        other.eval()  # every batch norm uses its averages, as "frozen" says
        for optimizer in by_hand:
            optimizer.zero_grad()
        step(batch, [k]).loss.backward()
        torch.nn.utils.clip_grad_norm_(other.parameters(), recipe.optim.clip)
        for optimizer in by_hand:
            optimizer.step()
    start = dict(new_model(recipe).named_parameters())
    for name, p in model.named_parameters():
        torch.testing.assert_close(p, dict(other.named_parameters())[name])
        assert p.shape == start[name].shape


def test_one_group_without_a_rate_of_its_own() -> None:
    model = LoFTR(small().model)
    (group,) = parameter_groups(model, small().optim)
    assert [id(p) for p in group["params"]] == [id(p) for p in model.parameters()]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["optim.freeze=bakbone"], "did you mean 'backbone'"),
        (["optim.freeze=coarse_matching"], "no weights"),
        (["optim.freeze=pos_encoding"], "no weights"),
        (["optim.backbone_rate=0"], "above 0"),
        (["optim.backbone_rate=0.1", "optim.freeze=backbone"], "leave one"),
        (
            ["optim.freeze=backbone,loftr_coarse,fine_preprocess,loftr_fine"],
            "every part",
        ),
        (["start_position=fixed"], "there is no start"),
        (["start=nowhere.pt"], "no such file"),
        (["start=outdoor"], "LoFTR.pretrained"),
    ],
)
def test_what_cannot_be_is_refused_before_a_folder_is_taken(
    tmp_path: Path, changes: list[str], words: str
) -> None:
    with pytest.raises(LoftrNbError, match=words):
        pin_start(small(*changes), RunFolder(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_the_dustbin_can_be_frozen_with_optimal_transport() -> None:
    model = LoFTR(dataclasses.replace(small().model, matcher="ot"))
    assert "coarse_matching" in part_names(model)
    freeze(model, ["coarse_matching"])
    assert not model.coarse_matching.bin_score.requires_grad


def test_the_position_encoding_must_be_the_recipes(tmp_path: Path) -> None:
    path = tmp_path / "released.pt"
    LoFTR(dataclasses.replace(small().model, position="released")).save(path)
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(CheckpointError, match="add model.position=released"):
        pin_start(small(f"start={path}"), folder)
    pin_start(small(f"start={path}", "model.position=released"), folder)
    with pytest.raises(ConfigError, match="leave it out"):
        pin_start(small(f"start={path}", "start_position=fixed"), folder)


def test_a_foreign_file_needs_its_position_said(tmp_path: Path) -> None:
    path = tmp_path / "theirs.ckpt"
    kornia_file(small(), path)
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(ConfigError, match="--start-position released"):
        pin_start(small(f"start={path}"), folder)
    with pytest.raises(CheckpointError, match="model.position=released"):
        pin_start(small(f"start={path}", "start_position=released"), folder)
    # A published name says it: outdoor_ds was trained with the released encoding.
    known = tmp_path / "outdoor_ds.ckpt"
    path.rename(known)
    with pytest.raises(CheckpointError, match="model.position=released"):
        pin_start(small(f"start={known}"), folder)


def test_other_sizes_and_parts_are_refused_with_the_changes_to_make(tmp_path) -> None:
    path, part = tmp_path / "theirs.ckpt", tmp_path / "part.ckpt"
    theirs = kornia_file(small(), path)
    folder = RunFolder(tmp_path / "run")
    wide = ["model.initial_dim=32", "model.block_dims=32,32,64"]
    with pytest.raises(CheckpointError, match="model.block_dims=16,16,32") as caught:
        pin_start(small(*wide, f"start={path}", "start_position=fixed"), folder)
    assert "model.initial_dim=16" in str(caught.value)
    state = theirs.state_dict()
    torch.save({k: v for k, v in state.items() if k.startswith("loftr_coarse")}, part)
    with pytest.raises(CheckpointError, match="whole network"):
        pin_start(small(f"start={part}", "start_position=fixed"), folder)


def test_a_run_needs_its_file_once(tiny_mini: Path, tmp_path: Path) -> None:
    path = tmp_path / "first.pt"
    torch.manual_seed(9)
    LoFTR(small().model).save(path)
    recipe = small(f"start={path}", "optim.freeze=backbone", "evaluation.max_pairs=1")
    out = tmp_path / "run"
    train(recipe, tiny_mini, out, 1)
    pinned = RunFolder(out).read_recipe()
    assert len(pinned.start_sha256) == 64
    backbone = LoFTR.load(out / "weights.pt").backbone.state_dict()
    for name, value in LoFTR.load(path).backbone.state_dict().items():
        assert torch.equal(backbone[name], value), name
    path.unlink()
    assert train(recipe, tiny_mini, out, 2, resume=True)["steps"] == 2
    # Without a checkpoint the file is needed, and it has to be the same.
    torch.save({}, path)
    with pytest.raises(RunError, match="no longer the file"):
        new_model(pinned)
