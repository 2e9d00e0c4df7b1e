"""Recipes, overrides and plans, against the published numbers."""

from __future__ import annotations

import dataclasses
import json

import pytest

from loftr_nb.errors import ConfigError
from loftr_nb.training import (
    RECIPES,
    Recipe,
    Schedule,
    differences,
    field_names,
    get_recipe,
    make_plan,
    override,
    recipe_to_dict,
)
from loftr_nb.training.overrides import from_dict

# Total batch -> (rate, warm-up steps), from the released scripts' scaling rule.
OUTDOOR = {
    1: (1.25e-4, 120_000),
    4: (5e-4, 30_000),
    8: (1e-3, 15_000),
    16: (2e-3, 7_500),
    64: (8e-3, 1_875),
}
INDOOR = {1: (9.375e-5, 307_200), 4: (3.75e-4, 76_800), 64: (6e-3, 4_800)}


@pytest.mark.parametrize("matcher", ["ds", "ot"])
@pytest.mark.parametrize(("kind", "table"), [("outdoor", OUTDOOR), ("indoor", INDOOR)])
def test_linear_scaling(kind: str, matcher: str, table: dict) -> None:
    recipe = get_recipe(f"{kind}_{matcher}")
    assert recipe.model.matcher == matcher
    for total, (rate, warmup) in table.items():
        plan = make_plan(recipe, processes=total, batch=1)
        assert plan.learning_rate == pytest.approx(rate, rel=1e-12)
        assert plan.warmup_steps == warmup
        # Two ways to the same global batch mean the same run.
        if total % 2 == 0:
            other = make_plan(recipe, processes=total // 2, batch=2)
            assert other.learning_rate == plan.learning_rate
            assert other.warmup_steps == plan.warmup_steps


def test_epochs_of_the_published_recipes() -> None:
    indoor, outdoor = (
        make_plan(get_recipe("indoor_ds")),
        make_plan(get_recipe("outdoor_ds")),
    )
    assert indoor.pairs_per_epoch == 302_600  # 1513 x 200
    assert outdoor.pairs_per_epoch == 36_800  # 368 x 100
    # Warm-up of any batch is the same number of epochs: 3.26 and 1.02.
    assert outdoor.warmup_epochs == pytest.approx(3.26, abs=0.005)
    assert indoor.warmup_epochs == pytest.approx(1.02, abs=0.005)
    assert indoor.milestone_epochs == (3, 6, 9, 12, 17, 20, 23, 26, 29)
    assert outdoor.milestone_epochs == (8, 12, 16, 20, 24)


def test_common_values_of_the_published_recipes() -> None:
    for name in ("indoor_ds", "indoor_ot", "outdoor_ds", "outdoor_ot"):
        recipe = get_recipe(name)
        assert (recipe.optim.weight_decay, recipe.optim.clip) == (0.1, 0.5)
        assert (recipe.optim.epochs, recipe.seed) == (30, 66)
        assert recipe.loss.supervision == "dense"
        assert recipe.model.position == "fixed"
    assert get_recipe("indoor_ds").loss.fine_share == 0.2
    assert get_recipe("outdoor_ds").loss.fine_share == 0.3
    assert get_recipe("indoor_ds").data.min_overlap == 0.4
    assert get_recipe("outdoor_ds").data.min_overlap == 0.0
    assert get_recipe("indoor_ds").evaluation.epipolar_threshold == 5e-4
    assert get_recipe("outdoor_ds").evaluation.epipolar_threshold == 1e-4


def test_schedule_by_hand() -> None:
    schedule = Schedule(1.0, 10, 0.1, (20, 30), 0.5)
    assert schedule.at(0) == pytest.approx(0.1)
    assert schedule.at(5) == pytest.approx(0.55)
    assert [schedule.at(s) for s in (10, 19, 20, 29, 30)] == [1, 1, 0.5, 0.5, 0.25]


def test_warmup_from_zero_takes_no_step_backwards() -> None:
    schedule = make_plan(get_recipe("indoor_ds"), 4, 1).schedule()
    rates = [schedule.at(s) for s in range(0, 76_800, 768)]
    assert rates[0] == 0.0
    assert rates == sorted(rates)


def test_override_by_type() -> None:
    recipe = override(
        get_recipe("mini_ds"),
        [
            "loss.supervision=sparse",
            "optim.batch=2",
            "optim.lr=1e-3",
            "optim.milestones=1,2",
            "data.augment=true",
        ],
    )
    assert recipe.loss.supervision == "sparse"
    assert recipe.optim.batch == 2 and recipe.optim.lr == 1e-3
    assert recipe.optim.milestones == (1, 2)
    assert recipe.data.augment is True
    assert get_recipe("mini_ds").loss.supervision == "dense", "the recipe is untouched"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("loss.supervison=sparse", "loss.supervision"),
        ("batch=2", "optim.batch"),
        ("loss.supervision=spars", "sparse"),
        ("optim.batch=two", "optim.batch=8"),
        ("optim=2", "no field 'optim'"),
        ("data.augment=maybe", "true or false"),
        ("seed", "field=value"),
    ],
)
def test_a_wrong_override_names_the_right_one(change: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words.replace("(", r"\(")):
        override(get_recipe("mini_ds"), [change])


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="mini_ds"):
        get_recipe("minids")


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_survives_json(name: str) -> None:
    recipe = get_recipe(name)
    again = from_dict(Recipe, json.loads(json.dumps(recipe_to_dict(recipe))))
    assert again == recipe
    assert differences(recipe, again) == []


def test_differences_name_the_field() -> None:
    old = get_recipe("mini_ds")
    new = dataclasses.replace(old, seed=7)
    assert differences(old, new) == ["seed: 66 -> 7"]
    assert "optim.lr" in field_names(old)


@pytest.mark.parametrize(("processes", "batch"), [(0, 1), (1, 0), (-2, 1)])
def test_a_plan_needs_positive_counts(processes: int, batch: int) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        make_plan(get_recipe("mini_ds"), processes, batch)


def test_fields_that_must_agree_change_together() -> None:
    sizes = ["model.initial_dim=8", "model.block_dims=8,8,16"]
    for order in (sizes, sizes[::-1]):
        recipe = override(get_recipe("mini_ds"), order)
        assert (recipe.model.initial_dim, recipe.model.block_dims) == (8, (8, 8, 16))
    with pytest.raises(ConfigError, match="must equal block_dims"):
        override(get_recipe("mini_ds"), sizes[:1])
