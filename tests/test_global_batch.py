"""One global batch, however it is dealt out: the same weights and the same rows.

In float64 and with batch norm frozen nothing but the order of sums differs.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from starts import SMALL, finish, here, training, weights

from loftr_nb.progress import StatusLine
from loftr_nb.training import get_recipe, override, train
from loftr_nb.viz import read_metrics

STEPS = 20
EXACT = [
    "precision=fp64",
    "optim.batch_norm=frozen",
    "optim.warmup_steps=5",
    "log.metrics_every=5",
    "data.pairs_per_scene=10",
    "evaluation.max_pairs=3",
]


def changes(batch: int, times: int) -> list[str]:
    return [*EXACT, f"optim.batch={batch}", f"optim.accumulate={times}"]


def alone(data: Path, out: Path, batch: int, times: int) -> Path:
    """In this process: it needs no start."""
    words = [*SMALL, *changes(batch, times)]
    recipe = override(get_recipe("mini_ds"), words)
    train(recipe, data, out, STEPS, status=StatusLine(on=False))
    return out


@pytest.fixture(scope="module")
def whole(tiny_mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process with the whole batch of 4 at once."""
    return alone(tiny_mini, tmp_path_factory.mktemp("whole") / "run", 4, 1)


@pytest.mark.parametrize(
    ("processes", "batch", "times"),
    [(1, 1, 4), (2, 1, 2), (4, 1, 1)],
    ids=["accumulated", "two accumulated", "four"],
)
def test_weights_and_rows_do_not_depend_on_who_computes_what(
    tiny_mini: Path,
    tmp_path: Path,
    whole: Path,
    processes: int,
    batch: int,
    times: int,
) -> None:
    out = tmp_path / "run"
    if processes == 1:
        alone(tiny_mini, out, batch, times)
    else:
        words, torchrun = changes(batch, times), here(processes)
        finish(training(tiny_mini, out, *words, steps=STEPS, torchrun=torchrun))
    reference, found = weights(whole), weights(out)
    assert (reference - found).abs().max() < 1e-9
    kept = ("step", "loss", "coarse_accuracy", "fine_error_px", "few_matches")
    # Several processes write one log: each row once.
    rows, others = (
        [[r[name] for name in kept] for r in read_metrics(p) if r["event"] == "train"]
        for p in (whole, out)
    )
    assert [row[0] for row in rows] == list(range(5, STEPS + 1, 5))
    for row, other in zip(rows, others, strict=True):
        assert row == pytest.approx(other, rel=1e-5)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["pairs_seen"] == 4 * STEPS
    assert summary["test_pairs"] == 3  # shared, and none scored twice


def test_the_weights_did_move(whole: Path) -> None:
    """Or else anything would have been equal."""
    rows = [r for r in read_metrics(whole) if r["event"] == "train"]
    assert rows[-1]["loss"] < 0.9 * rows[0]["loss"]
    assert weights(whole).isfinite().all()
