"""The commands of README and docs parse, and README's two commands run and print what README shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from ship.show import STYLE
from support.shell_blocks import blocks, commands, fault, span_faults, spans

Shell = Callable[[list[str], str], str]
HEADING = "## Your net in two commands"
# README says "where the net runs": this is the code that stands there.
NET = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 32, 3, 4)
        self.last = nn.Linear(32, 1000)

    def forward(self, image):
        return self.last(torch.relu(self.first(image)).mean((2, 3)))


torch.manual_seed(0)
net = Net()
"""


def pages(root: Path) -> list[Path]:
    return [
        root / "README.md",
        root / "CONTRIBUTING.md",
        root / "examples/README.md",
        *sorted((root / "docs").rglob("*.md")),
    ]


def test_every_command_of_a_block_parses(root: Path) -> None:
    found = [
        (page, line)
        for page in pages(root)
        for block in blocks(page.read_text("utf-8"), "sh")
        for line in commands(block)
    ]
    assert len(found) > 10
    faults = [f"{page.name}: {line}: {why}" for page, line in found if (why := fault(line))]
    assert not faults, "\n".join(faults)


def test_every_option_of_a_command_in_backticks_exists(root: Path) -> None:
    found = [(page, line) for page in pages(root) for line in spans(page.read_text("utf-8"))]
    assert len(found) > 30
    faults = [f"{page.name}: {line}: {why}" for page, line in found for why in span_faults(line)]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("hydra-mobile ship web --modell my-net", "No such option: --modell"),
        ("hydra-mobile ship web", "Missing option '--model'"),
        ("hydra-mobile shpi web", "no command 'shpi'"),
        (".venv/bin/python -m benchmarks parity --only", "requires an argument"),
        ("python -m export layers --quick", "No such option"),
        ("python -m benchmarks parrity", "No such command"),
        ("make exprot", "no target 'exprot'"),
        ("make export MODELL=x", "no variable MODELL"),
        ("bash scripts/none.sh", "no script"),
        ("hydra_mobile ship", "no program"),
    ],
)
def test_a_wrong_command_is_caught(line: str, message: str) -> None:
    assert message in fault(line)


@pytest.mark.parametrize(
    "line", ["make exprot", "python -m export layers --nope [MODEL]", "hydra-mobile ship --recpie w8"]
)
def test_a_wrong_span_is_caught(line: str) -> None:
    assert list(span_faults(line))


def section(root: Path) -> str:
    text = (root / "README.md").read_text(encoding="utf-8")
    return text[text.index(HEADING) :].partition("\n## ")[0]


def masked(line: str) -> str:
    """Return a line without its numbers and with single blanks."""
    return " ".join(re.sub(r"\d[\d,.]*", "#", line).split())


def cells(line: str) -> list[str]:
    return re.split(r"\s{2,}", line.strip())


@pytest.fixture
def shell(root: Path, tmp_path: Path) -> Shell:
    """Run a script where `hydra-mobile` is this checkout's."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "hydra-mobile").write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m ship.console "$@"\n', "utf-8")
    (programs / "hydra-mobile").chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(root)}

    def run(words: list[str], script: str) -> str:
        done = subprocess.run(
            words, input=script, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=580
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    return run


def run_readme(root: Path, shell: Shell, change: Callable[[str], str]) -> None:
    """Run README's blocks and compare what is printed with the blocks beside them.

    `pip install .` alone is left out: tests/house/test_wheel.py installs the wheel.
    """
    text = section(root)
    install, two = blocks(text, "sh")
    assert list(commands(install)) == ["pip install ."]
    (save,) = blocks(text, "python")
    shell([sys.executable, "-"], NET + save)
    init, ship = commands(two)
    shown_init, shown_ship = blocks(text, "")

    printed = shell(["bash", "-e"], init).splitlines()
    assert [masked(line) for line in printed[:-1]] == [masked(line) for line in shown_init.splitlines()]

    printed = shell(["bash", "-e"], change(ship)).splitlines()
    head, *rows, dots, verdict = shown_ship.splitlines()
    assert dots == "..." and cells(head) == cells(printed[0])
    assert masked(verdict) == masked(printed[-1])
    files = int(printed[-1].split()[2])
    for line in (*rows, *printed[1 : 1 + files]):
        target, recipe, size, verdict, limit, following = cells(line)
        assert target.isalpha() and recipe.startswith("float") and verdict in STYLE
        assert re.fullmatch(r"\d+\.\d\d MB", size) and following.split()[0] == "bundle"
        assert re.fullmatch(r"(under )?\d+% of its limit: \w+ \w+ \S+ \(limit \S+\)", limit), limit


def test_readmes_commands_run(root: Path, shell: Shell) -> None:
    """One target and one recipe, for the time: the four targets are the slow test below."""
    run_readme(root, shell, lambda line: line.replace("ios android web", "onnx") + " --quick --recipe float32")


@pytest.mark.slow
def test_readmes_commands_run_as_they_stand(root: Path, shell: Shell) -> None:
    run_readme(root, shell, lambda line: line)


def steps(root: Path) -> list[dict[str, Any]]:
    """Return the steps of docs/ci.yml."""
    yaml = import_module("yaml")  # a dependency of torch's converters; it has no annotations
    return list(yaml.safe_load((root / "docs/ci.yml").read_text(encoding="utf-8"))["jobs"]["ship"]["steps"])


def test_the_action_is_valid_yaml_and_its_commands_parse(root: Path) -> None:
    scripts = [step["run"] for step in steps(root) if "run" in step]
    lines = [line for script in scripts for line in commands(script) if line.startswith(("hydra-mobile", "pip", "gh"))]
    assert [line.split()[:2] for line in lines] == [
        ["pip", "install"],
        ["hydra-mobile", "doctor"],
        ["hydra-mobile", "ship"],
        ["gh", "pr"],
    ]
    for line in lines[1:3]:
        assert not fault(line.partition(" > ")[0])
        assert fault(line.partition(" > ")[0] + " --modell x")
    for script in scripts:
        plain = re.sub(r"\$\{\{.*?\}\}", "7", script)
        assert subprocess.run(["bash", "-n"], input=plain, text=True, check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize("code", [0, 1])
def test_the_action_keeps_the_exit_code_and_the_table(root: Path, tmp_path: Path, code: int) -> None:
    """The step *Ship* runs with a program that stands for hydra-mobile."""
    (tmp_path / "hydra-mobile").write_text(f'#!/bin/sh\necho "target  recipe"\necho "$@"\nexit {code}\n', "utf-8")
    (tmp_path / "hydra-mobile").chmod(0o755)
    (script,) = [step["run"] for step in steps(root) if step.get("name") == "Ship"]
    environment = {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
    }
    environment |= {"MODEL": "my net", "PLATFORMS": "ios web"}
    done = subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, env=environment, check=False)
    assert done.returncode == code
    text = (tmp_path / "comment.md").read_text(encoding="utf-8")
    assert text == (tmp_path / "summary").read_text(encoding="utf-8")
    assert text.splitlines()[1:-1] == ["```", "target  recipe", "ship ios web --model my net --out build"]
