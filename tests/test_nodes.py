"""Several processes and machines: they train as one, and fail as one, in words."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import socket
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from starts import end_of, rank_of, start, training, wait_for_step, weights

from loftr_nb.errors import ConfigError, RunError
from loftr_nb.launch.run import Run
from loftr_nb.training import RunFolder
from loftr_nb.training.distributed import start as join
from loftr_nb.training.heartbeat import Heartbeat, failed
from loftr_nb.training.meeting import agree
from loftr_nb.training.peers import Peers

STEPS = 4


def command(data: Path, out: Path, *torchrun: str, steps: int = STEPS) -> list[str]:
    words = ["optim.batch=1", "log.metrics_every=1", "log.checkpoint_every=2"]
    return training(data, out, *words, steps=steps, torchrun=torchrun)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def nodes(data: list[Path], out: Path, each: int, **options) -> list[str]:
    """Two torchruns that meet on loopback, as on two machines; what they said."""
    words = ["--nnodes", "2", "--nproc-per-node", str(each), "--rdzv-backend", "c10d"]
    words += ["--rdzv-id", "test", "--rdzv-endpoint", f"127.0.0.1:{free_port()}"]
    runs = [start(command(d, out, *words, **options)) for d in data]
    texts = [end_of(run) for run in runs]
    return [f"status {r.returncode}\n{t}" for r, t in zip(runs, texts, strict=True)]


def test_two_nodes_train_what_one_node_with_as_many_processes_trains(
    tiny_mini: Path, tmp_path: Path
) -> None:
    """2 nodes of 2 processes each, and 4 processes of one node."""
    run = start(
        command(tiny_mini, tmp_path / "one", "--standalone", "--nproc-per-node", "4")
    )
    text = end_of(run)
    assert run.returncode == 0, text[-3000:]
    texts = nodes([tiny_mini, tiny_mini], tmp_path / "two", 2)
    assert all(t.startswith("status 0") for t in texts), texts
    assert torch.equal(weights(tmp_path / "one"), weights(tmp_path / "two"))
    summary = RunFolder(tmp_path / "two").read_summary()
    assert (summary["steps"], summary["pairs_seen"]) == (STEPS, 4 * STEPS)


def test_data_missing_on_one_node_ends_both_before_the_first_step(
    tiny_mini: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    texts = nodes([tiny_mini, tmp_path / "nowhere"], out, 1)
    both = "\n".join(texts)
    assert "status 0" not in both
    assert "rank" in both and "nowhere" in both
    for text in texts:  # the node whose data is there says why it ends, too
        assert "nowhere" in text, text
    if (out / "progress.json").exists():  # rank 0 is the one with the data
        said = json.loads((out / "progress.json").read_text())
        assert said["state"] == "failed" and "nowhere" in said["reason"]


def test_a_damaged_file_that_one_rank_reads_ends_all_in_words(
    tiny_mini: Path, tmp_path: Path
) -> None:
    """Every rank says which one failed at which file, also in progress.json."""
    data, out = tmp_path / "data", tmp_path / "run"
    shutil.copytree(tiny_mini, data)
    depths = sorted((data / "scannet" / "train").rglob("depth/*.png"))
    assert depths
    depths[0].write_bytes(depths[0].read_bytes()[:60])
    run = start(command(data, out, "--standalone", "--nproc-per-node", "2", steps=100))
    text = end_of(run)
    assert run.returncode == 1
    assert depths[0].name in text and "loftr_nb.training: rank" in text
    said = json.loads((out / "progress.json").read_text())
    assert said["state"] == "failed" and "rank" in said["reason"]
    assert depths[0].name in said["reason"]
    assert "Traceback" not in text.split("torch/distributed")[0]


def test_a_rank_that_is_killed_is_named_by_the_others(
    tiny_mini: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    run = start(
        command(tiny_mini, out, "--standalone", "--nproc-per-node", "2", steps=5000)
    )
    wait_for_step(run, out, 1)
    victim = rank_of(run, 1)
    victim.kill()
    text = end_of(run)
    assert f"process {victim.pid}) gave no sign of life" in text, text[-3000:]
    said = json.loads((out / "progress.json").read_text())
    assert said["state"] == "failed" and "rank 1" in said["reason"]


def _meet(port: int, rank: int, world: int, queue) -> None:
    store = dist.TCPStore("127.0.0.1", port, world, False)
    queue.put(agree(store, rank, world, 30))


def test_a_later_start_is_not_misled_by_what_an_earlier_one_left() -> None:
    """One store, three starts: always one name for all, and never an old one."""
    store = dist.TCPStore("127.0.0.1", 0, None, True, wait_for_workers=False)
    context = multiprocessing.get_context("fork")
    names = []
    for number in range(1, 4):
        queue = context.SimpleQueue()
        ranks = [
            context.Process(target=_meet, args=(store.port, rank, 3, queue))
            for rank in (2, 0, 1)
        ]
        for one in ranks:
            one.start()
        found = {queue.get() for _ in ranks}
        for one in ranks:
            one.join(10)
        assert len(found) == 1
        (name, starts) = found.pop()
        assert starts == number
        names.append(name)
    assert len(set(names)) == 3


def test_a_process_that_does_not_come_is_named() -> None:
    store = dist.TCPStore("127.0.0.1", 0, None, True, wait_for_workers=False)
    with pytest.raises(RunError, match="rank 1, 2 of 3 processes.*--patience"):
        agree(store, 0, 3, 0.1)
    with pytest.raises(RunError, match="rank 0 of 3 processes"):
        agree(store, 1, 3, 0.1)


def test_whose_fault_it_was() -> None:
    store = dist.TCPStore(
        "127.0.0.1", 0, None, True, timedelta(seconds=5), wait_for_workers=False
    )
    zero, one, two = (Peers(store, rank, 3, 60) for rank in range(3))
    assert zero.blame(2.5) is None  # all live
    two.close()
    assert "rank 2" in zero.blame(2.5) and "rank 1" not in zero.blame(2.5)
    one.announce("depth/3.png is truncated")
    assert "rank 1" in zero.blame() and "depth/3.png is truncated" in zero.blame()
    zero.close()
    one.close()


def test_patience_must_be_positive() -> None:
    with pytest.raises(ConfigError, match="patience is 0"):
        join("cpu", patience=0)


def test_attach_knows_why_a_run_failed(tmp_path: Path) -> None:
    """Of a run that was started in a terminal, and whose folder alone is left."""
    out = tmp_path / "run"
    out.mkdir()
    (out / "config.json").write_text("{}")
    Heartbeat(out / "progress.json").beat("training", step=3, total=9)
    failed(out / "progress.json", "rank 1: depth/3.png is truncated")
    run = Run(out)
    assert run.state == "failed" and run.poll().step == 3
    assert "depth/3.png is truncated" in run.failure()
