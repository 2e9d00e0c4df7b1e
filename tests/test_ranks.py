"""Two ranks of a trainer, without torchrun: frozen parts, and folders that differ.

One start of two processes does everything; the tests read what they left.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from test_training import SMALL, trainer
from torch import multiprocessing as mp

from loftr_nb.errors import RunError
from loftr_nb.model import LoFTR
from loftr_nb.progress import StatusLine
from loftr_nb.training import RunFolder, Trainer, get_recipe, load_checkpoint, override
from loftr_nb.training.distributed import Process
from loftr_nb.training.start import new_model

STEPS = 3
# float64, and no averages that move: nothing but the order of sums differs.
EXACT = [*SMALL, "precision=fp64", "optim.batch_norm=frozen", "optim.warmup_steps=1"]
FROZEN = {
    "backbone": ["optim.freeze=backbone"],
    "all but the dustbin": [
        "optim.freeze=backbone,loftr_coarse,fine_preprocess,loftr_fine",
        "model.matcher=ot",
    ],
    "fine, and a slow backbone": [
        "optim.freeze=fine_preprocess,loftr_fine",
        "optim.backbone_rate=0.1",
    ],
}


def recipe_of(name: str, batch: int, times: int):
    sizes = [f"optim.batch={batch}", f"optim.accumulate={times}"]
    return override(get_recipe("mini_ds"), [*EXACT, *FROZEN[name], *sizes])


def one_rank(rank: int, work: str, data: str) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{work}/store", rank=rank, world_size=2
    )
    process = Process(rank, 2, torch.device("cpu"))
    quiet = StatusLine(on=False)
    for name in FROZEN:
        out = Path(work, name)
        run = Trainer(
            recipe_of(name, 1, 2), Path(data), out, process, STEPS, status=quiet
        )
        run.run()
        process.wait()
    # Rank 1 sees a folder of its own, as on a machine without the shared storage.
    recipe, own = recipe_of("backbone", 1, 2), Path(work, f"of rank {rank}")
    if rank == 0:
        shutil.copytree(Path(work, "backbone"), own)
    try:
        Trainer(recipe, Path(data), own, process, 9, resume=True, status=quiet)
    except RunError as error:
        Path(work, f"refused-{rank}").write_text(str(error))
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def work(tiny_mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    mp.spawn(one_rank, (str(folder), str(tiny_mini)), nprocs=2)
    return folder


def state(out: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(RunFolder(out).last).weights


@pytest.mark.parametrize("name", FROZEN)
def test_frozen_parts_under_two_processes(
    name: str, work: Path, tiny_mini: Path, tmp_path: Path
) -> None:
    """2 processes x 1 pair x 2 times are 1 process x 4 pairs; what is frozen stays."""
    recipe = recipe_of(name, 4, 1)
    trainer(tiny_mini, tmp_path / "run", recipe=recipe, steps=STEPS).run()
    one, two = state(tmp_path / "run"), state(work / name)
    torch.manual_seed(recipe.seed)
    before = new_model(recipe).double().state_dict()
    moved = set()
    for key, value in two.items():
        assert (value - one[key]).abs().max() < 1e-9, key
        if not torch.equal(value, before[key]):
            moved.add(key.split(".")[0])
    parts = {"backbone", "loftr_coarse", "fine_preprocess", "loftr_fine"}
    parts |= {"coarse_matching"} if recipe.model.matcher == "ot" else set()
    assert moved == parts - set(recipe.optim.freeze)


def test_ranks_that_would_go_on_from_other_steps_are_refused(work: Path) -> None:
    """Both end, with the same words, and nothing of the run is touched."""
    first, second = ((work / f"refused-{rank}").read_text() for rank in (0, 1))
    assert "rank 1 would go on from step 0 and rank 0 from step 3" in first
    assert "--out on storage that they share" in first
    assert first.split(": all")[0] == second.split(": all")[0]
    rows = (work / "of rank 0" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == [1, 2, 3]
    assert load_checkpoint(RunFolder(work / "of rank 0").last).step == STEPS
    assert isinstance(LoFTR.load(RunFolder(work / "of rank 0").last), LoFTR)
