"""The batch file for Slurm: parsed by bash, and run with a srun that only runs."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from loftr_nb.cli import slurm
from loftr_nb.cli.main import Parser
from loftr_nb.errors import ConfigError, LoftrNbError

# What Slurm provides, as small as it can be: srun passes its signals on to what it
# runs (here it becomes it), scontrol names the nodes and takes a job back.
SRUN = '#!/bin/bash\necho "$@" > "$NOTES/srun"\nshift\nexec "$@"\n'
SCONTROL = """\
#!/bin/bash
if [ "$1" = show ]; then echo node7; echo node8; else echo "$@" > "$NOTES/requeue"; fi
exit "${SCONTROL_STATUS:-0}"
"""
# In the place of python: trains until it is told to stop, or ends as $END says.
TRAINING = """\
#!/bin/bash
printf '%s\\n' "$@" > "$NOTES/words"
stop() { [ "$END" = unsaved ] || { mkdir -p "$RUN/checkpoints"
    touch "$RUN/checkpoints/last.pt"; }; sleep 0.3; touch "$NOTES/saved"; exit 1; }
trap stop USR1
case "$END" in
    complete) touch "$RUN/summary.json"; exit 0;;
    fail) exit 7;;
    late) trap 'touch "$RUN/summary.json"; exit 0' USR1;;
esac
touch "$NOTES/started"
for _ in $(seq 400); do sleep 0.05; done
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a fake Slurm on PATH, to run batch files in."""
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL), ("train", TRAINING)):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    (tmp_path / "notes").mkdir()
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    monkeypatch.setenv("RUN", str(tmp_path / "run"))
    monkeypatch.setenv("SLURM_JOB_ID", "41")
    monkeypatch.setenv("SLURM_JOB_NODELIST", "node[7-8]")
    return tmp_path


def write(*words: str) -> None:
    parser = Parser()
    slurm.add_arguments(parser)
    slurm.run(parser.parse_intermixed_args(["mini_ds", "--out", "run", *words]))


def batch(place: Path, end: str, send: int | None = None, **env: str) -> int:
    """Run the batch file, send it a signal once training has begun; its status."""
    write("--python", str(place / "bin" / "train"), "--force")
    environment = {**os.environ, "END": end, **env}
    job = subprocess.Popen(["bash", "run.sbatch"], cwd=place, env=environment)
    try:
        if send is not None:
            until = time.monotonic() + 20
            while not (place / "notes" / "started").exists():
                assert time.monotonic() < until and job.poll() is None
                time.sleep(0.02)
            job.send_signal(send)  # to the batch file alone, as B: says
        return job.wait(timeout=30)
    finally:
        job.kill()


def requeued(place: Path) -> bool:
    return (place / "notes" / "requeue").exists()


def test_bash_and_sbatch_can_read_it(place: Path) -> None:
    hard = ["loss.fine_share=0.3", "--data", "my data/it's", "--nodes", "2"]
    write(*hard, "--gpus", "4", "--account", "vision", "--sbatch=--qos=long")
    text = (place / "run.sbatch").read_text()
    subprocess.run(["bash", "-n", "run.sbatch"], check=True)
    lines = text.splitlines()
    assert lines[0] == "#!/bin/bash"
    # sbatch stops reading options at the first line that is none.
    options = [line.removeprefix("#SBATCH ") for line in lines if "#SBATCH" in line]
    assert lines[1 : len(options) + 1] == [f"#SBATCH {o}" for o in options]
    assert {"--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=4"} <= set(options)
    assert {"--signal=B:USR1@120", "--requeue", "--open-mode=append"} <= set(options)
    assert {"--account=vision", "--qos=long", "--cpus-per-task=8"} <= set(options)


def test_a_complete_run_is_not_requeued(place: Path) -> None:
    hard = "my data/it's"
    write("--data", hard, "--nodes", "2", "--python", str(place / "bin" / "train"))
    environment = {**os.environ, "END": "complete", "SLURM_RESTART_COUNT": "3"}
    subprocess.run(["bash", "run.sbatch"], check=True, env=environment, timeout=30)
    assert not requeued(place)
    words = (place / "notes" / "words").read_text().splitlines()
    assert words[words.index("--rdzv-endpoint") + 1] == "node7:29400"
    assert words[words.index("--rdzv-id") + 1] == "41-3"
    assert words[words.index("--nnodes") + 1] == "2"
    assert words[words.index("--data") + 1] == str(place / hard)
    assert words[words.index("--out") + 1] == str(place / "run")
    assert words[-1] == "--resume"
    assert "SIGUSR1" in words[words.index("--signals-to-handle") + 1]


def test_the_time_limit_saves_first_and_requeues_then(place: Path) -> None:
    assert batch(place, "train", signal.SIGUSR1) == 0
    assert (place / "notes" / "saved").exists(), "requeued before training had left"
    assert (place / "notes" / "requeue").read_text() == "requeue 41\n"


def test_a_run_that_finishes_after_the_notice_stays_away(place: Path) -> None:
    assert batch(place, "late", signal.SIGUSR1) == 0
    assert not requeued(place)


def test_a_cancelled_job_saves_and_stays_away(place: Path) -> None:
    assert batch(place, "train", signal.SIGTERM) == 1
    assert (place / "notes" / "saved").exists()
    assert not requeued(place)


def test_a_failure_is_the_status_of_the_job(place: Path) -> None:
    assert batch(place, "fail") == 7
    assert not requeued(place)


def test_a_job_that_saves_nothing_does_not_come_back_for_ever(
    place: Path, capfd
) -> None:
    assert batch(place, "unsaved", signal.SIGUSR1) == 1
    assert not requeued(place)
    assert "nothing was saved" in capfd.readouterr().err


def test_a_requeue_that_is_refused_is_said(place: Path, capfd) -> None:
    assert batch(place, "train", signal.SIGUSR1, SCONTROL_STATUS="1") == 1
    assert "sbatch this file again" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--nodes", "0"], "nodes is 0"),
        (["--time", "a day"], "'a day'.*12:00:00"),
        (["--notice", "5"], "notice is 5 s"),
        (["--port", "80"], "port is 80"),
        (["--out", "my run"], "my run.*--out"),
        (["--sbatch", "qos=long"], "--sbatch=--qos=long"),
        (["--account", "a\n#SBATCH --b"], "more than one line"),
        (["optim.bach=2"], "optim.batch"),
    ],
)
def test_what_cannot_be_is_named(place: Path, words: list[str], expected: str) -> None:
    with pytest.raises(LoftrNbError, match=expected):
        write(*words)
    assert not list(place.glob("*.sbatch"))


def test_another_batch_file_is_not_overwritten(place: Path) -> None:
    (place / "run.sbatch").write_text("mine")
    with pytest.raises(ConfigError, match="run.sbatch exists.*--force"):
        write()
    assert (place / "run.sbatch").read_text() == "mine"
    write("--force")
    write()  # the same again is no harm
