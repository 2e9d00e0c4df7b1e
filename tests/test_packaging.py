"""One source of truth for packages, and the commands that the README shows."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent


def _declared() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project["dependencies"] + project["optional-dependencies"]["test"]


def _name(requirement: str) -> str:
    return re.split(r"[<>=!~ ]", requirement)[0].lower()


def test_environment_yml_is_the_same_set() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (pip,) = (d["pip"] for d in environment["dependencies"] if isinstance(d, dict))
    assert sorted(pip) == sorted(_declared())
    python = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "requires-python"
    ]
    assert f"python{python}" in environment["dependencies"]


def test_every_package_is_pinned_inside_its_range() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.lower().split("==") for line in lines if "==" in line)
    for requirement in _declared():
        name, low = requirement.split(">=")
        assert name.lower() in pins, f"{name} has no pin in constraints.txt"

        def numbers(version: str) -> list[int]:
            return [int(n) for n in re.findall(r"\d+", version)]

        assert numbers(pins[name.lower()]) >= numbers(low), requirement


def test_imports_run_one_way() -> None:
    order = "errors progress geometry files recordings indexing datasets".split()
    order += "synthetic supervision model losses viz evaluation setup".split()
    order += "check training launch doctor benchmarks cli".split()
    for path in sorted((ROOT / "loftr_nb").rglob("*.py")):
        parts = path.relative_to(ROOT / "loftr_nb").with_suffix("").parts
        if parts[0] not in order:
            continue
        dots = r"\." * len(parts)  # from .. out of a stage, from ... out of its folders
        for match in re.finditer(rf"^\s*from {dots}(\w+)", path.read_text(), re.M):
            assert match[1] in order, f"{path} imports {match[1]}, no stage"
            assert order.index(match[1]) <= order.index(parts[0]), (
                f"{'/'.join(parts)} imports {match[1]}, a later stage"
            )


def test_modules_stay_readable() -> None:
    long = {
        str(path.relative_to(ROOT)): n
        for path in (ROOT / "loftr_nb").rglob("*.py")
        if (n := len(path.read_text().splitlines())) > 300
    }
    assert not long


def _readme_commands() -> list[str]:
    pages = [ROOT / name for name in ("README.md", "loftr_nb/cli/README.md")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    blocks = re.findall(r"```(?:bash|sh)\n(.*?)```", text, re.S)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.split("#")[0].strip() for line in lines if "loftr-nb" in line]


@pytest.mark.parametrize("command", _readme_commands())
def test_readme_commands_are_understood(command: str) -> None:
    """Every loftr-nb line of both pages parses; the quick ones run."""
    words = command.split()
    words = words[words.index("loftr-nb") + 1 :]
    from loftr_nb.cli.main import parse

    args = parse(words)
    if args.command == "plan":
        words += ["--no-measure"]  # 20 steps at full size take a while
        done = subprocess.run(
            [sys.executable, "-m", "loftr_nb.cli.main", *words],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def test_make_targets_of_the_readme_exist() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M)
    named = re.findall(r"`?make ([a-z]+)", (ROOT / "README.md").read_text())
    assert named and set(named) <= set(targets)
