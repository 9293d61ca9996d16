"""The program `hydra-mobile`: completion of every word, its name in help texts, and nothing heavy on its way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.light import VENDORS, imported_by

TYPO = f"""
schema = 1
name = "typo"
version = "1"
factory = "net:bild"
weights = {{ path = "w.safetensors", sha256 = "{"0" * 64}" }}
[tensors.x]
shape = [1]
[modules.net]
inputs = ["x"]
outputs = ["y"]
"""


def console(root: Path, *words: str, **environment: str) -> str:
    """Run the program by its own name, as an installed script has it."""
    code = "import sys; sys.argv[0] = 'hydra-mobile'; from ship.console import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=root,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def bash(root: Path, typed: str) -> list[str]:
    words = {"_HYDRA_MOBILE_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    return console(root, **words).split()


@pytest.mark.parametrize(
    ("typed", "completions"),
    [
        ("hydra-mobile sh", ["ship"]),
        ("hydra-mobile doc", ["doctor"]),
        ("hydra-mobile ship --rec", ["--recipe"]),
        ("hydra-mobile ship andr", ["android"]),
        ("hydra-mobile ship web --mod", ["--model"]),
        ("hydra-mobile parity --bis", ["--bisect"]),
        ("hydra-mobile export --overw", ["--overwrite"]),
        ("hydra-mobile export core", ["coreml", "coreai"]),
        ("hydra-mobile init my-net net.pt2 --me", ["--mean"]),
        ("hydra-mobile nothing --x", []),
    ],
)
def test_bash_completes(root: Path, typed: str, completions: list[str]) -> None:
    assert sorted(bash(root, typed)) == sorted(completions)


def test_zsh_and_fish_complete(root: Path) -> None:
    typed = {"_TYPER_COMPLETE_ARGS": "hydra-mobile parity --bis"}
    assert '"--bisect":"Also name' in console(root, _HYDRA_MOBILE_COMPLETE="complete_zsh", **typed)
    action = {"_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    assert console(root, _HYDRA_MOBILE_COMPLETE="complete_fish", **typed, **action).startswith("--bisect\t")


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_calls_the_program(root: Path, name: str) -> None:
    script = console(root, "--show-completion", name, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert f"_HYDRA_MOBILE_COMPLETE=complete_{name}" in script and "hydra-mobile" in script


def test_help_names_the_program_that_was_typed(root: Path) -> None:
    assert "Usage: hydra-mobile ship [OPTIONS]" in console(root, "ship", "--help")
    assert "Usage: hydra-mobile parity [OPTIONS]" in console(root, "parity", "--help")


@pytest.mark.parametrize(
    "words",
    [
        ("ship.console", "--help"),
        ("ship.console", "--version"),
        ("ship.console", "shpi"),
        ("ship", "andriod", "--model", "x"),
        ("ship", "web", "--model", "none"),
        ("export", "onnx", "--model", "none"),
        ("export", "onnx", "--model", "bad"),
        ("export", "onnx", "--model", "bad/model.toml"),
        ("export", "onnx", "--model", "typo"),
        ("ship", "onnx", "--model", "typo"),
        ("export", "init", "new", "net.pth"),
        ("ship.zoo", "none.toml"),
        ("benchmarks", "parity", "--model", "bad"),
        ("hydramobile", "goldens", "--model", "bad"),
        ("export", "doctor"),
        ("benchmarks", "doctor"),
    ],
    ids=" ".join,
)
def test_mistakes_and_doctors_import_no_vendor(root: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    """A wrong name, a wrong model.toml (exit code 2) and `doctor` are answered before torch is imported."""
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/model.toml").write_text(
        'schema = 1\nname = "bad"\n[tensors.x]\nshape = [1]\ndtype = "flaot32"\n[modules]\n'
    )
    (tmp_path / "typo").mkdir()
    (tmp_path / "typo/w.safetensors").touch()
    (tmp_path / "typo/net.py").write_text("def build():\n    pass\n")
    (tmp_path / "typo/model.toml").write_text(TYPO)
    done, modules = imported_by(root, tmp_path, words)
    assert not modules & VENDORS
    if words[0] == "ship.console" or words[-1] == "doctor":
        assert done.returncode == (2 if words[-1] == "shpi" else 0)
    else:
        assert done.returncode == 2, done.stdout
    if words[-1] == "typo":
        assert "no function or class in" in done.stdout and "did you mean 'build'?" in done.stdout
    if "bad" in words[-1]:
        assert "'dtype' is 'flaot32'; did you mean 'float32'?" in done.stdout
