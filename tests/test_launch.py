"""Trainings launched into processes of their own: real ones, alone and in pairs."""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from loftr_nb.errors import ConfigError, DataError, RunError
from loftr_nb.launch import Run, attach, launch, logs
from loftr_nb.launch import record as records
from loftr_nb.launch.command import make_order, shell_line
from loftr_nb.launch.panel import Panel
from loftr_nb.launch.snapshot import take
from loftr_nb.training import RunFolder, get_recipe, load_checkpoint, override
from loftr_nb.training.run import QUICK
from loftr_nb.viz import read_metrics

SMALL = [
    "data.width=64",
    "data.height=48",
    "data.workers=0",
    "data.pairs_per_scene=4",
    "data.holdout_scenes=0",
    "optim.batch=1",
    # Multiples of 16, as tests/test_training.py says.
    "model.initial_dim=16",
    "model.block_dims=16,16,16",
    "model.coarse_layers=1",
    "model.coarse_heads=2",
    "model.fine_heads=2",
    "log.metrics_every=1",
    "log.checkpoint_every=5",
    "log.validate_every=0",
    "evaluation.max_pairs=1",
]
ENDLESS = 100_000  # steps of a run that a test ends


@pytest.fixture(scope="module")
def data(tiny_mini: Path) -> Path:
    return tiny_mini


@pytest.fixture
def out(tmp_path: Path):
    """A run folder; whatever still trains there is ended."""
    folder = tmp_path / "runs" / "a run"
    yield folder
    if folder.exists() and (record := records.read(folder)) is not None:
        for process in records.members(record):
            process.kill()


def start(data: Path, out: Path, *changes: str, **options) -> Run:
    options = {"steps": ENDLESS, "data": data, "out": out} | options
    return launch("mini_ds", *SMALL, *changes, **options)


def reaches(run: Run, step: int) -> None:
    """Wait until the run has written a row of that step."""
    end = time.monotonic() + 120
    while (now := run.poll()).step < step:
        assert now.state in ("starting", "training"), run.tail(30)
        assert time.monotonic() < end, run.tail(30)
        time.sleep(0.05)


def ends(processes: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(processes, timeout=30)[1]


# ---- a whole life ------------------------------------------------------------


def test_launch_stop_attach_finish(
    data: Path, out: Path, capsys: pytest.CaptureFixture, monkeypatch
) -> None:
    monkeypatch.chdir(out.parent.parent)
    run = start(data, Path("runs/a run"), nproc=2)
    assert run.state == "starting" and run.pid
    assert os.getpgid(run.pid) == run.pid != os.getpgid(0)
    line = capsys.readouterr().out
    words = shlex.split(line.replace("\\\n", " "))
    assert words[0] == f"OMP_NUM_THREADS={max(1, len(os.sched_getaffinity(0)) // 2)}"
    assert words[words.index("--data") + 1] == str(data), "a path with a space"
    assert words[words.index("--out") + 1] == "runs/a run"
    assert all(
        len(piece) < 100 for piece in line.split("\n") if "/my mini" not in piece
    )

    with pytest.raises(RunError, match=f"already runs in .*process {run.pid}"):
        start(data, out, nproc=2)
    reaches(run, 3)
    assert run.state == "training"
    assert run.poll().total == ENDLESS and run.poll().left_s > 0
    with pytest.raises(TimeoutError, match="training  step"):
        run.wait(timeout=0.1, progress=False)
    processes = records.members(run.record)
    assert len(processes) == 3, "torchrun and two that train"
    assert run.stop() == "stopped"
    assert ends(processes)
    assert re.search(r"stopped at step \d+/100,000", capsys.readouterr().out)
    assert run.summary() is None and run.wait(progress=False) is None

    # Stopped, then on to the end by another process than the one that launched.
    stopped_at = run.metrics()[-1]["step"]
    again = start(data, out, steps=stopped_at + 2, nproc=2)
    assert again.record.attempt == 1
    found = attach("runs/a run")
    assert found.pid == again.pid and found.state in ("starting", "training")
    summary = found.wait(progress=False)
    assert summary["steps"] == stopped_at + 2
    assert found.state == again.state == attach(out).state == "finished"
    steps = [row["step"] for row in read_metrics(out) if row["event"] == "train"]
    assert steps == list(range(1, stopped_at + 3)), "a step is missing or there twice"
    assert any("summary.json" in said for said in found.tail(5))
    capsys.readouterr()
    assert found.stop() == "finished"
    assert "had ended already" in capsys.readouterr().out

    # The cell is run again: nothing is trained a second time.
    done = start(data, out, steps=stopped_at + 2)
    assert "is complete: nothing was started" in capsys.readouterr().out
    assert done.wait(progress=False) == summary
    assert records.read(out).attempt == 1
    with pytest.raises(RunError, match="resume=True"):
        start(data, out, resume=False)
    with pytest.raises(RunError, match="optim.lr: 0.003 -> 0.001"):
        start(data, out, "optim.lr=0.001")


def test_a_run_outlives_the_kernel_that_started_it(data: Path, out: Path) -> None:
    """The launching process is killed with its whole group, as a kernel is."""
    code = (
        "import sys, time\n"
        "from loftr_nb.launch import launch\n"
        f"launch('mini_ds', *{SMALL!r}, data={str(data)!r}, out={str(out)!r},\n"
        f"       steps={ENDLESS})\n"
        "print('started', flush=True)\n"
        "time.sleep(600)\n"
    )
    kernel = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert any("started" in line for line in kernel.stdout)
    os.killpg(kernel.pid, signal.SIGINT)  # the kernel is interrupted,
    os.killpg(kernel.pid, signal.SIGKILL)  # and then killed
    kernel.wait()
    run = attach(out)
    reaches(run, 2)

    # Now torchrun itself dies. What it leaves behind is found and ended.
    assert len(records.members(run.record)) == 2
    os.kill(run.pid, signal.SIGKILL)
    assert ends([psutil.Process(run.pid)] if psutil.pid_exists(run.pid) else [])
    assert run.state == "failed"
    with pytest.raises(RunError, match="torchrun ended without a word"):
        run.wait(progress=False)
    left = records.members(run.record)
    if left:
        with pytest.raises(RunError, match="though their torchrun is gone"):
            start(data, out)
        run.stop()
    assert ends(left) and not records.members(run.record)


def test_the_failing_process_has_the_last_word(data: Path, out: Path) -> None:
    run = start(data, out, nproc=2)
    reaches(run, 2)
    ranks = [
        p
        for p in psutil.Process(run.pid).children()
        if p.environ().get("LOCAL_RANK") == "1"
    ]
    ranks[0].kill()
    with pytest.raises(RunError, match="process 1 of 2 was killed by SIGKILL") as error:
        run.wait(progress=False)
    assert "ran out of memory" in str(error.value)
    assert "gloo" not in str(error.value), "the others complain about the one that went"
    assert str(run.log) in str(error.value)
    assert run.state == attach(out).state == "failed"


def test_an_error_of_the_training_is_the_error_of_the_cell(
    tmp_path: Path, out: Path
) -> None:
    (tmp_path / "junk" / "holiday").mkdir(parents=True)
    run = start(tmp_path / "junk", out)
    with pytest.raises(RunError, match="process 0 of 1 ended with status 2") as error:
        run.wait(progress=False)
    assert "in no layout that is known here; it holds holiday" in str(error.value)
    assert "torch/distributed" not in str(error.value)
    assert "begins anew" in str(error.value)


def test_the_stop_button_of_a_panel(data: Path, out: Path) -> None:
    """Pressed, thought better of, pressed again; without a browser."""
    run = start(data, out)
    panel = Panel(run)
    reaches(run, 2)
    panel.stop.click()
    assert panel.sure.layout.display == "" and "saved first" in panel.words.value
    panel.keep.click()
    before = run.poll().step
    reaches(run, before + 1)  # it goes on
    processes = records.members(run.record)
    panel.stop.click()
    panel.sure.click()  # returns at once, a thread waits for the end
    assert panel.stop.layout.display == panel.sure.layout.display == "none"
    assert ends(processes)
    deadline = time.monotonic() + 30
    while "stopped at step" not in panel.words.value:
        assert time.monotonic() < deadline, panel.words.value
        time.sleep(0.05)
    assert run.wait(progress=False) is None and run.state == "stopped"
    panel.put(run, run.poll())
    assert panel.stop.disabled and "stopped" in panel.head.value
    saved = load_checkpoint(RunFolder(out).last)
    assert saved.step == run.metrics()[-1]["step"] > before, "the step was not saved"
    panel.close()


def test_ended_from_outside_is_stopped(data: Path, out: Path) -> None:
    run = start(data, out)
    reaches(run, 1)
    os.kill(run.pid, signal.SIGTERM)
    assert run.wait(progress=False) is None
    assert run.state == attach(out).state == "stopped"


def test_a_taste_has_a_folder_of_its_own(data: Path, out: Path, monkeypatch) -> None:
    monkeypatch.setenv(QUICK, "1")
    out.mkdir(parents=True)
    (out / "config.json").write_text("the real run")
    run = start(data, out, steps=3)
    assert run.dir == out.with_name("a run-quick")
    assert run.wait(progress=False)["steps"] == 3
    assert (out / "config.json").read_text() == "the real run"


# ---- typos, and folders ------------------------------------------------------


def test_two_launches_at_once_are_one(data: Path, out: Path) -> None:
    fcntl = pytest.importorskip("fcntl", reason="folders are locked on Unix only")
    out.mkdir(parents=True)
    place = os.open(out, os.O_RDONLY)
    fcntl.flock(place, fcntl.LOCK_EX)  # as a launch in another notebook holds it
    try:
        with pytest.raises(RunError, match="another launch into .* just starting"):
            start(data, out)
    finally:
        os.close(place)
    assert not list(out.iterdir())


@pytest.mark.parametrize(
    "error, words, recipe, changes, options",
    [
        (ConfigError, "did you mean 'mini_ds'", "mini_dz", [], {}),
        (ConfigError, "did you mean 'optim.lr'", "mini_ds", ["lr=1"], {}),
        (ConfigError, "true or false", "mini_ds", ["data.augment=si"], {}),
        (ConfigError, "nproc is 0", "mini_ds", [], {"nproc": 0}),
        (ConfigError, "nproc is '2'", "mini_ds", [], {"nproc": "2"}),
        (ConfigError, "steps is -1", "mini_ds", [], {"steps": -1}),
        (ConfigError, "'gpu': write cpu", "mini_ds", [], {"device": "gpu"}),
        (DataError, "loftr-nb data mini", "mini_ds", [], {"data": "nowhere"}),
        (DataError, "scannet data as data=", "indoor_ds", [], {"data": "nowhere"}),
    ],
)
def test_typos_raise_before_anything_starts(
    error, words, recipe, changes, options, data: Path, out: Path
) -> None:
    options = {"data": data, "out": out} | options
    with pytest.raises(error, match=re.escape(words)):
        launch(recipe, *changes, **options)
    assert not out.exists()


def test_a_folder_with_other_files_is_left_alone(data: Path, out: Path) -> None:
    out.mkdir(parents=True)
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match="not empty and holds no run"):
        start(data, out)
    assert [p.name for p in out.iterdir()] == ["thesis.tex"]


def test_attach_names_the_runs_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "indoor").mkdir()
    (tmp_path / "indoor" / "config.json").write_text("{}")
    with pytest.raises(RunError, match="is no folder: did you mean .*indoor'"):
        attach(tmp_path / "indor")
    with pytest.raises(RunError, match="holds no run"):
        attach(tmp_path)
    (tmp_path / "indoor" / "launch.json").write_text("{")
    with pytest.raises(RunError, match="damaged.*remove it"):
        attach(tmp_path / "indoor")


# ---- who is alive ------------------------------------------------------------


def a_record(**values) -> records.Record:
    me = psutil.Process()
    mine = {
        "command": ["python"],
        "pid": me.pid,
        "pgid": me.pid,
        "began": me.create_time(),
        "host": records.socket.gethostname(),
        "time": time.time(),
        "identifier": "one",
        "attempt": 0,
        "nproc": 1,
    }
    return records.Record(**mine | values)


def test_a_number_that_was_given_to_another_process_is_not_ours(monkeypatch) -> None:
    record = a_record()
    assert not records.is_alive(record), "this process was not launched"

    def denied(_self):
        raise psutil.AccessDenied()

    # Where the environment cannot be read, the time of the start decides.
    monkeypatch.setattr(psutil.Process, "environ", denied)
    assert records.is_alive(record)
    earlier = dataclasses.replace(record, began=record.began - 60)
    assert not records.is_alive(earlier)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no zombies")
def test_a_zombie_is_dead() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", ""], env=os.environ | {records.ID: "one"}
    )
    process = psutil.Process(child.pid)
    while process.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.02)
    assert not records.is_alive(a_record(pid=child.pid, began=process.create_time()))
    child.wait()


def test_a_run_on_another_machine(data: Path, out: Path, monkeypatch) -> None:
    out.mkdir(parents=True)
    records.write(out, a_record(host="node7", pid=1))
    run = attach(out)
    assert run.state == "starting", "its files are fresh"
    with pytest.raises(RunError, match=r"launched on node7 \(process 1\).*stopped"):
        run.stop()
    with pytest.raises(RunError, match="by a run on node7"):
        start(data, out)
    monkeypatch.setattr("loftr_nb.launch.state.FRESH_SECONDS", -1)
    assert run.state == "unknown"
    with pytest.raises(RunError, match="node7.*cannot be waited for"):
        run.wait(progress=False)


def test_a_run_from_a_terminal_is_watched_and_not_stopped(
    tmp_path: Path, monkeypatch
) -> None:
    folder = tmp_path / "runs" / "mini_ds"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    words = ["loftr_nb.training", "mini_ds", "--steps", "5"]
    training = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)", *words], cwd=tmp_path
    )
    try:
        run = attach(folder)
        assert run.pid == training.pid and run.state == "starting"
        (folder / "metrics.jsonl").write_text('{"event": "train", "step": 7}\n')
        assert run.poll().step == 7 and run.state == "training"
        with pytest.raises(RunError, match=f"Ctrl-C.*kill -TERM {training.pid}"):
            run.stop()
    finally:
        training.kill()
        training.wait()
    assert attach(folder).state == "stopped"
    (folder / "summary.json").write_text('{"steps": 7}')
    assert attach(folder).state == "finished"


# ---- commands and logs -------------------------------------------------------


def test_a_recipe_made_in_python_is_written_as_changes() -> None:
    recipe = override(
        get_recipe("mini_ds"),
        ["optim.lr=1e-05", "optim.milestones=2,3", "data.augment=true", "seed=1"],
    )
    order = make_order(
        recipe, ["optim.batch=2"], 1, Path(__file__).parent, None, None, None
    )
    assert override(get_recipe(order.words[0]), order.words[1:]) == order.recipe
    assert order.recipe == override(recipe, ["optim.batch=2"])
    renamed = dataclasses.replace(recipe, name="mine")
    with pytest.raises(ConfigError, match="no recipe 'mine'"):
        make_order(renamed, [], 1, None, None, None, None)


def test_the_shell_line_is_what_a_shell_reads_back() -> None:
    words = [
        sys.executable,
        "-m",
        "x",
        "--out",
        "a b/it's",
        "--data=q",
        "k=$v",
        "--resume",
    ]
    line = shell_line(words, {"A": "1 2"})
    done = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {line}"], capture_output=True, text=True
    )
    read = done.stdout.splitlines()
    assert read[0] == "A=1 2" and read[2:] == words[1:]
    assert Path(read[1]).name.startswith("python") or read[1] == sys.executable


def test_the_cause_is_found_in_torchruns_report(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "launch-0.log"
    log.parent.mkdir()
    log.write_text(
        "W1124 11:39 torch/distributed/run.py:851] Setting OMP_NUM_THREADS\n"
        "[default0]:step 2/9  loss 2\n"
        "[default1]:warnings.warn(x)\n"
        "[default1]:RuntimeError: the pair is empty\n"
        "E1124 api.py:9] failed (exitcode: 1) local_rank: 1 (pid: 8)\n"
        "Traceback (most recent call last):\n  File torch/distributed/run.py\n"
        "Root Cause (first observed failure):\n[0]:\n  time : x\n  host : y\n"
        "  rank      : 5 (local_rank: 1)\n  exitcode  : -7 (pid: 8)\n"
    )
    failure = logs.find_failure(log)
    assert (failure.rank, failure.local_rank, failure.status) == (5, 1, -7)
    assert "SIGBUS" in failure.words() and "/dev/shm" in failure.words()
    assert logs.last_words(tmp_path, 0, failure, 5) == [
        "RuntimeError: the pair is empty"
    ]
    assert logs.tail(log, 9) == [
        "[0] step 2/9  loss 2",
        "[1] RuntimeError: the pair is empty",
    ]
    assert logs.total_steps(log) == 9
    assert logs.ended_by_signal(log) is None
    assert logs.tail(tmp_path / "none.log", 3) == []


def test_a_snapshot_takes_the_newest_of_all_sources() -> None:
    rows = [
        {"event": "train", "step": 10, "loss": 3.0, "lr": 1e-3, "pairs_per_s": 8.0},
        {"event": "validation", "step": 20, "auc5": 1.0, "auc10": 2.0, "auc20": 4.0},
        {"event": "train", "step": 30, "loss": None, "peak_mb": 500.0},
    ]
    now = take("training", rows, {}, total=110, pairs_a_step=4)
    assert (now.step, now.loss, now.auc10, now.memory_mb) == (30, 3.0, 2.0, 500.0)
    assert now.left_s == 80 * 4 / 8.0
    said = {"step": 35, "total": 100, "loss": 2.5, "eta_s": 9.0, "state": "evaluating"}
    now = take("training", rows, said, total=110, pairs_a_step=4)
    assert (now.step, now.total, now.loss, now.left_s) == (35, 100, 2.5, 9.0)
    assert now.doing == "evaluating"
    assert take("starting", [], {"step": "x", "loss": float("nan")}).loss is None
