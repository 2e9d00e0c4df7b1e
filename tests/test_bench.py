"""The comparison with kornia: both sides compute the same, and say what they took."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path

import cv2
import pytest

from loftr_nb.benchmarks import Comparison, Side, compare, growth_picture, loader
from loftr_nb.benchmarks.compare import shared
from loftr_nb.benchmarks.order import Order
from loftr_nb.benchmarks.sides import match_pair, train_step
from loftr_nb.cli.main import main
from loftr_nb.datasets import open_dataset
from loftr_nb.errors import ConfigError, DataError


def both(order: Order, other: str = "kornia") -> list[Order]:
    return [dataclasses.replace(order, side=s) for s in ("ours", other)]


def test_both_sides_take_the_same_steps() -> None:
    """Loss of the first step and, after an update each, of the second."""
    ours, theirs = (train_step(o) for o in both(Order("step", "ours", 160, 112)))
    first = ours(), theirs()
    assert first[0] == pytest.approx(first[1], abs=1e-4)
    second = ours(), theirs()
    # AdamW makes a whole step of any gradient, rounding's included.
    assert second[0] == pytest.approx(second[1], rel=1e-2)
    assert abs(second[0] - first[0]) > 10 * abs(second[0] - second[1])


def test_both_sides_find_the_same_matches() -> None:
    order = Order("match", "ours", 160, 112)
    ours, theirs = (match_pair(o)() for o in both(order))
    assert len(theirs[0]) > 20
    assert shared([*ours], [*theirs]) == 1.0
    moved = [ours[0], ours[1] + 0.5]
    assert shared(moved, [*theirs]) == 0.0


def test_the_command_reports_every_number(capsys) -> None:
    main(["bench", "step", "--size", "160x112", "--repeats", "1", "--rounds", "1",
          "--device", "cpu", "--json"])  # fmt: skip
    found = json.loads(capsys.readouterr().out)
    for side in ("ours", "kornia"):
        assert found[side]["seconds"] > 0
        # The rest of the process is not a step, but it is in the peak.
        assert found[side]["peak_mb"] > found[side]["base_mb"] > 50
    expected = found["kornia"]["seconds"] / found["ours"]["seconds"]
    assert found["speedup"] == pytest.approx(expected)
    expected = found["kornia"]["peak_mb"] / found["ours"]["peak_mb"]
    assert found["memory_ratio"] == pytest.approx(expected)
    assert found["loss_difference"] < 1e-4


def test_what_does_not_fit_is_said_and_not_killed() -> None:
    order = Order("step", "ours", 640, 480, memory_limit=300 * 2**20)
    found = compare(order, "plain", rounds=1)
    assert found.speedup is None
    assert "does not fit into" in found.text()
    assert found.to_dict()["ours"]["problem"].startswith("does not fit")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["step", "--size", "640"], "write WIDTHxHEIGHT"),
        (["step", "--size", "100x100"], "multiple of 8 .* such as 96"),
        (["step", "--match", "ot", "--against", "kornia"], "no optimal transport"),
        (["step", "--repeats", "-1"], "repeats is -1"),
        (["loader", "--data", "nowhere"], "nowhere does not exist"),
        (["loader", "--data", ".", "--workers", "-1"], "--workers 0 or more"),
        (["index", "--scenes", "0"], "0 scenes of 2,000,000 pairs"),
        (["index", "--batches", "9"], "at least 250 batches"),
        (["index", "--workers", "1", "2"], "is one number"),
    ],
)
def test_what_cannot_be_is_refused(words, message, capsys) -> None:
    assert main(["bench", *words]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_a_size_that_did_not_fit_is_a_cross() -> None:
    rows = [
        Comparison(Order("step", "ours", w, w), "kornia", Side(1, 900), other)
        for w, other in ((320, Side(2, 1800)), (640, Side(problem="does not fit")))
    ]
    picture = growth_picture(rows, "growth")
    memory = picture.axes[1]
    assert all("megapixels" in ax.get_xlabel() for ax in picture.axes)
    lines = [list(line.get_ydata()) for line in memory.lines]
    assert [900 / 1024, 900 / 1024] in lines and [1800 / 1024] in lines
    assert any(line.get_marker() == "x" for line in memory.lines)


def test_a_stored_comparison_is_drawn_again() -> None:
    other = Side(problem="does not fit into 21 GiB")
    row = Comparison(
        Order("step", "ours", 1216, 1216, recompute="all"),
        "kornia",
        Side(90.0, 9_000.0, 450.0, [90.0], 4.2),
        other,
        "cpu",
        2,
    )
    again = Comparison.from_dict(json.loads(json.dumps(row.to_dict())))
    assert again == row and again.text() == row.text()


def test_the_stored_growth_is_whole() -> None:
    file = Path(__file__).parents[1] / "bench/figures/step_growth.json"
    rows = [Comparison.from_dict(row) for row in json.loads(file.read_text())]
    sizes = [row.order.width * row.order.height for row in rows]
    assert sizes == sorted(sizes) and len(rows) >= 4
    assert all(row.ours.peak_mb for row in rows)  # ours fits everywhere
    assert rows[0].loss_difference < 1e-3


def test_the_loader_is_measured_beside_plain_files(tiny_mini, capsys) -> None:
    data = tiny_mini / "scannet"
    before = sorted(p for p in tiny_mini.rglob("*"))
    main(["bench", "loader", "--data", str(data), "--workers", "0", "--pairs", "8",
          "--rounds", "2", "--json"])  # fmt: skip
    found = json.loads(capsys.readouterr().out)
    plain = open_dataset(data, "train")
    assert found["pairs"] == found["compared"] == len(plain)
    rates = found["rates"][0]
    assert rates["ratios"][0] == 1.0 and min(rates["pairs_s"]) > 0
    assert found["files_bytes"] > 0 and min(found["pack_bytes"]) > 0
    assert sorted(p for p in tiny_mini.rglob("*")) == before  # nothing left in it


def test_a_sample_that_differs_is_named(tiny_mini, tmp_path, monkeypatch) -> None:
    """As where files change between packing and comparing."""
    real, data = loader.pack_dataset, tmp_path / "data"
    shutil.copytree(tiny_mini / "scannet", data)

    def pack(*args, **options):
        report = real(*args, **options)
        for file in data.rglob("*.jpg"):
            cv2.imwrite(str(file), 255 - cv2.imread(str(file)))
        return report

    monkeypatch.setattr(loader, "pack_dataset", pack)
    with pytest.raises(DataError, match=r"image0 of pair \d+ is another in the pack"):
        loader.compare_loaders(data, tmp_path, (0,), 4, 1)


def test_both_indices_choose_the_same_pairs(tmp_path, capsys) -> None:
    main(["bench", "index", "--scenes", "5", "--pairs", "4000", "--batches", "250",
          "--workers", "1", "--work", str(tmp_path), "--json"])  # fmt: skip
    found = json.loads(capsys.readouterr().out)
    kinds = {(s["kind"], s["workers"], s["cold"]): s for s in found["sides"]}
    assert {k[:2] for k in kinds} == {(n, w) for n in ("flat", "npz") for w in (0, 1)}
    assert len({s["pairs"] for s in found["sides"]}) == 1
    assert 0 < found["sides"][0]["pairs"] < 4000
    flat, npz = kinds["flat", 0, False], kinds["npz", 0, False]
    assert found["ratios"]["open"] == pytest.approx(npz["open_s"] / flat["open_s"])
    assert kinds["npz", 1, False]["worker_mb"]["rss"] > 10
    assert not list(tmp_path.iterdir())


def test_orders_travel_whole() -> None:
    order = Order("match", "plain", 64, 96, "ot", "bf16", 4, memory_limit=5)
    assert Order.from_json(order.to_json()) == order
    with pytest.raises(ConfigError):
        Order("step", "ours", 641, 480)
