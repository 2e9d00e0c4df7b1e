"""Recipes: named functions that return the complete, frozen config of a run.

A recipe holds everything that decides a run's result; a run folder stores it as
``config.json``. Values of the four published recipes are those of the released
training scripts; the two mini recipes train a smaller LoFTR on the embedded data
in minutes on two CPU cores.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

from ..errors import ConfigError, nearest
from ..evaluation import Protocol
from ..losses import LossConfig
from ..model import LoFTRConfig
from .config import DataConfig, LogConfig, OptimConfig, Recipe


def _indoor(name: str, matcher: Literal["ds", "ot"]) -> Recipe:
    return Recipe(
        name=name,
        data=DataConfig(
            path="data",
            layout="scannet",
            scenes=1513,
            pairs_per_scene=200,
            min_overlap=0.4,
        ),
        optim=OptimConfig(
            lr=6e-3,
            warmup_steps=4800,
            milestones=(3, 6, 9, 12, 17, 20, 23, 26, 29),
        ),
        model=LoFTRConfig(matcher=matcher),
        loss=LossConfig(fine_share=0.2),
        evaluation=Protocol(epipolar_threshold=5e-4),
        log=LogConfig(metrics_every=50, checkpoint_every=2000, validate_every=20000),
    )


def _outdoor(name: str, matcher: Literal["ds", "ot"]) -> Recipe:
    return Recipe(
        name=name,
        data=DataConfig(
            path="data",
            layout="megadepth",
            # Index files: one for each scene and range of overlap, and each of
            # them counts as a scene of its own.
            scenes=368,
            pairs_per_scene=100,
            longer_side=640,
        ),
        optim=OptimConfig(
            lr=8e-3,
            warmup_steps=1875,
            warmup_start=0.1,
            milestones=(8, 12, 16, 20, 24),
        ),
        model=LoFTRConfig(matcher=matcher),
        loss=LossConfig(fine_share=0.3),
        evaluation=Protocol(epipolar_threshold=1e-4),
        log=LogConfig(metrics_every=50, checkpoint_every=2000, validate_every=9200),
    )


def indoor_ds() -> Recipe:
    """ScanNet, dual-softmax: 640x480, 1,513 scenes, 64 pairs a step at 6e-3."""
    return _indoor("indoor_ds", "ds")


def indoor_ot() -> Recipe:
    """ScanNet, optimal transport."""
    return _indoor("indoor_ot", "ot")


def outdoor_ds() -> Recipe:
    """MegaDepth, dual-softmax: longer side 640 as in the released script.

    The paper's results need ``data.longer_side=840``.
    """
    return _outdoor("outdoor_ds", "ds")


def outdoor_ot() -> Recipe:
    """MegaDepth, optimal transport."""
    return _outdoor("outdoor_ot", "ot")


def _mini(name: str, matcher: Literal["ds", "ot"]) -> Recipe:
    """Tuned for two CPU cores and ten minutes: small images, a narrow network."""
    return Recipe(
        name=name,
        data=DataConfig(
            path="data/mini",
            layout="scannet",
            scenes=38,
            pairs_per_scene=20,
            min_overlap=0.2,
            width=160,
            height=120,
            holdout_scenes=2,
            workers=1,
        ),
        optim=OptimConfig(
            lr=3e-3,
            warmup_steps=100,
            milestones=(4, 5, 6, 7),
            canonical_batch=4,
            batch=4,
            epochs=8,
        ),
        model=LoFTRConfig(
            initial_dim=32,
            block_dims=(32, 48, 64),
            coarse_layers=2,
            coarse_heads=4,
            fine_heads=4,
            matcher=matcher,
            border=1,
        ),
        # The fine stage learns slowest in so short a run. It gets twice the
        # weight, and no single sharp heat map may take the whole of it.
        loss=LossConfig(
            fine_share=0.4, fine_min_gt=32, fine_weight=2.0, fine_std_min=0.1
        ),
        log=LogConfig(metrics_every=10, checkpoint_every=190, validate_every=380),
    )


def mini_ds() -> Recipe:
    """The embedded data and a small LoFTR: minutes on two CPU cores."""
    return _mini("mini_ds", "ds")


def mini_ot() -> Recipe:
    """The embedded data and a small LoFTR with optimal transport."""
    return _mini("mini_ot", "ot")


RECIPES: dict[str, Callable[[], Recipe]] = {
    f.__name__: f
    for f in (indoor_ds, indoor_ot, outdoor_ds, outdoor_ot, mini_ds, mini_ot)
}


def get_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ConfigError: no such recipe; the message names the nearest ones.
    """
    if name not in RECIPES:
        raise ConfigError(f"there is no recipe {name!r}: {nearest(name, RECIPES)}")
    return RECIPES[name]()


def recipe_to_dict(recipe: Recipe) -> dict:
    """Plain dicts, lists and numbers, as ``config.json`` holds them."""
    return dataclasses.asdict(recipe)
