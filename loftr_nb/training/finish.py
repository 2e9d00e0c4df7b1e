"""What comes after the last step: scores beside SIFT's, pictures, summary.json."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset, Subset

from ..datasets import collate
from ..evaluation import (
    LoFTRMatcher,
    Matcher,
    PairRecord,
    Protocol,
    Scores,
    SiftMatcher,
    epipolar_distance,
    evaluate,
    merge,
    score_table,
)
from ..model import LoFTR
from ..viz import curves, matches_picture, save
from .board import show_matches_of
from .config import Recipe
from .distributed import Process
from .loaders import open_split
from .run_folder import RunFolder
from .trainer import Trainer, Validate


def protocol_of(recipe: Recipe, data: str) -> Protocol:
    """The recipe's protocol with the input size and the data's name filled in."""
    config = recipe.data
    size = (
        (config.width, config.height)
        if config.layout == "scannet"
        else config.longer_side
    )
    return dataclasses.replace(recipe.evaluation, size=size, data=data)


def evaluate_shared(
    matcher: Matcher, dataset: Dataset, protocol: Protocol, process: Process, **options
) -> Scores:
    """Scores of all pairs, the work shared by all processes, no pair twice."""
    own = evaluate(
        matcher, dataset, protocol, rank=process.rank, world=process.world, **options
    )
    return merge(process.gather(own))


def validation(trainer: Trainer) -> Validate | None:
    """Scores on the way: held-out scenes, or the test pairs where none are held out."""
    recipe = trainer.recipe
    if not recipe.log.validate_every:
        return None
    if len(trainer.pairs.held_out):
        dataset = _plain(trainer, trainer.pairs.held_out)
        name = f"{recipe.data.holdout_scenes} held-out training scenes"
    else:
        dataset, name = _test_pairs(trainer)
    protocol = dataclasses.replace(
        protocol_of(recipe, name), max_pairs=recipe.log.validate_pairs
    )
    shown: list[int] = []  # the same pair each time, so that its pictures compare

    def validate(model: LoFTR, step: int) -> Scores:
        scores = evaluate_shared(
            LoFTRMatcher(model), dataset, protocol, trainer.process
        )
        if trainer.process.is_main:
            if not shown:
                shown.append(pick_pairs(scores.records)[0][1].index)
            title = f"step {step:,}, {name}"
            picture = draw_matches(model, dataset, shown[0], title)
            folder = trainer.folder.figures / "validation"
            folder.mkdir(parents=True, exist_ok=True)
            save(picture, folder / f"matches-step-{step:07d}.png")
            show_matches_of(trainer.board, model, dataset, scores, step, draw_matches)
        return scores

    return validate


def _plain(trainer: Trainer, rows: Sequence[int] | np.ndarray) -> Dataset:
    """Training pairs without augmentation: they give the same score at every step."""
    recipe = trainer.recipe
    recipe = dataclasses.replace(
        recipe, data=dataclasses.replace(recipe.data, augment=False)
    )
    return Subset(open_split(recipe, trainer.data, "train", trainer.folder.cache), rows)


def _test_pairs(trainer: Trainer) -> tuple[Dataset, str]:
    """What the run is tested on, and its name."""
    if trainer.recipe.data.overfit:
        name = f"the {trainer.recipe.data.overfit} pairs trained on"
        return _plain(trainer, trainer.pairs.rows), name
    dataset = open_split(trainer.recipe, trainer.data, "test", trainer.folder.cache)
    return dataset, f"test pairs of {trainer.data}"


def finish(trainer: Trainer, seconds: float) -> dict[str, Any] | None:
    """Evaluate the trained model, draw, and write ``summary.json``.

    Returns:
        The summary on the main process, None elsewhere.
    """
    recipe, folder = trainer.recipe, trainer.folder
    dataset, name = _test_pairs(trainer)
    protocol = protocol_of(recipe, name)
    scores = {
        "LoFTR": evaluate_shared(
            LoFTRMatcher(trainer.model), dataset, protocol, trainer.process
        ),
        "SIFT": evaluate_shared(SiftMatcher(), dataset, protocol, trainer.process),
    }
    if not trainer.process.is_main:
        return None
    trainer.model.save(folder.weights)
    ours, sift = scores["LoFTR"], scores["SIFT"]
    trainer.metrics.add("test", trainer.step, **ours.summary())
    pictures = draw(trainer.model, dataset, ours, folder)
    summary = {
        "recipe": recipe.name,
        "steps": trainer.step,
        "seconds": round(seconds, 1),
        "pairs_seen": trainer.step * trainer.plan.global_batch,
        "params": sum(p.numel() for p in trainer.model.parameters()),
        **ours.summary(),
        "sift": sift.summary(),
        "test_pairs": ours.pairs,
        "protocol": ours.protocol.as_dict(),
        "table": score_table(scores),
        "card": ours.card(),
        "pictures": [str(p.relative_to(folder.path)) for p in pictures],
    }
    trainer.board.close()
    part = folder.summary.with_name("summary.json.part")
    part.write_text(json.dumps(summary, indent=2) + "\n")
    part.replace(folder.summary)
    return summary


def draw(
    model: LoFTR, dataset: Dataset, scores: Scores, folder: RunFolder
) -> list[Path]:
    """Curves, and matches of an easy, a middling and a hard test pair."""
    pictures = [save(curves(folder.metrics, smooth=5), folder.figures / "curves.png")]
    for name, record in pick_pairs(scores.records):
        title = f"{name} test pair: pose off by {record.error:.1f} degrees"
        picture = draw_matches(model, dataset, record.index, title)
        pictures.append(save(picture, folder.figures / f"matches_{name}.png"))
    return pictures


def pick_pairs(records: Sequence[PairRecord]) -> list[tuple[str, PairRecord]]:
    """The pairs at 20, 50 and 80 % of the sorted pose errors, with a name each."""
    ordered = sorted(records, key=lambda r: r.error)
    shares = {"easy": 0.2, "middling": 0.5, "hard": 0.8}
    return [(name, ordered[int(s * len(ordered))]) for name, s in shares.items()]


def draw_matches(model: LoFTR, dataset: Dataset, index: int, title: str):
    """One pair's matches, coloured by their distance to the true epipolar line."""
    batch = collate([dataset[index]])
    (found,) = LoFTRMatcher(model)(batch)
    errors = epipolar_distance(
        found.keypoints0,
        found.keypoints1,
        batch.K0[0].numpy(),
        batch.K1[0].numpy(),
        batch.T_0to1[0].numpy(),
    )
    # From squared and normalised to pixels, through the mean focal length.
    focal = float(np.mean([batch.K0[0, 0, 0], batch.K1[0, 0, 0]]))
    return matches_picture(
        batch,
        found.keypoints0,
        found.keypoints1,
        errors=np.sqrt(errors) * focal,
        threshold=3.0,
        unit="px to the epipolar line",
        title=title,
    )


def print_summary(out: Path, summary: dict[str, Any]) -> None:
    """The short table and the paths that a run ends with."""
    print(
        f"\n{summary['recipe']}: {summary['steps']:,} steps, "
        f"{summary['pairs_seen']:,} pairs, {summary['seconds']:.0f} s of training, "
        f"{summary['params']:,} parameters\n"
    )
    print(summary["table"])
    print("\n" + summary["card"] + "\n")
    for picture in summary["pictures"]:
        print(f"picture   {out / picture}")
    print(f"weights   {out / 'weights.pt'}")
    print(f"summary   {out / 'summary.json'}")
