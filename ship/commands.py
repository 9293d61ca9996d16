"""Start commands of the other packages as processes and read their JSON and their verdict."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydramobile.cli import PROGRAM
from hydramobile.errors import ExitCode
from hydramobile.process import environment


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that has ended: its exit code, the reason of its verdict, and the JSON that it printed (or None)."""

    code: int
    reason: str
    content: Any

    @property
    def usage(self) -> bool:
        return self.code == ExitCode.USAGE


def command_line(package: str, words: Sequence[object]) -> list[str]:
    """Return the command. -P keeps the current folder, which is a user's project, out of the import path."""
    return [sys.executable, "-P", "-m", package, *map(str, words)]


def run_command(package: str, *words: object) -> Ended:
    """Run `python -m PACKAGE WORDS... --json` to its end."""
    done = subprocess.run(
        command_line(package, (*words, "--json")), env=environment(), capture_output=True, text=True, check=False
    )
    lines = [line for line in (done.stderr + "\n" + done.stdout).splitlines() if line.strip()]
    verdicts = [line for line in lines if line.startswith("verdict: ")]
    try:
        content = json.loads(done.stdout)
    except ValueError:
        content = None
    if verdicts:
        return Ended(done.returncode, verdicts[-1].split(" ", 2)[2], content)
    reason = lines[-1] if lines else "no output"
    return Ended(int(ExitCode.STAGE), f"{package} ended with exit code {done.returncode}: {reason}", content)


def replace_process(package: str, words: Sequence[str], program: str = "hydra-mobile") -> None:
    """Become `python -m PACKAGE WORDS...`, which calls itself `program` in its help."""
    line = command_line(package, words)
    os.execve(line[0], line, {**os.environ, "PYTHONPATH": environment()["PYTHONPATH"], PROGRAM: program})
