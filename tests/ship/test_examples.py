"""The commands of examples/README.md run as they stand there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BLOCK = re.compile(r"```sh\n# examples/(\w+)\n(.*?)```", re.DOTALL)
HOME = Path(__file__).resolve().parents[2]
BLOCKS = dict(BLOCK.findall((HOME / "examples/README.md").read_text(encoding="utf-8")))


def test_every_example_has_its_commands() -> None:
    assert set(BLOCKS) == {path.name for path in (HOME / "examples").iterdir() if path.is_dir()}


@pytest.mark.slow
@pytest.mark.parametrize("name", BLOCKS)
def test_an_example_ships(name: str, tmp_path: Path) -> None:
    shutil.copytree(HOME / "examples" / name, tmp_path / name)
    programs = tmp_path / "bin"
    programs.mkdir()
    for program, words in (("hydra-mobile", "-P -m ship.console"), ("python", "")):
        (programs / program).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n', encoding="utf-8")
        (programs / program).chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(HOME)}
    done = subprocess.run(
        ["bash", "-e"],
        input=BLOCKS[name],
        cwd=tmp_path / name,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=560,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "8 files may ship" in done.stdout
