"""Start commands of the other packages as processes and read their JSON and their verdict."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydramobile import interrupts
from hydramobile.cli import PROGRAM
from hydramobile.errors import ExitCode
from hydramobile.process import describe_exit, environment


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that has ended: its exit code, the reason of its verdict, and the JSON that it printed (or None).

    `killed`: a signal ended it, which this process did not send.
    """

    code: int
    reason: str
    content: Any
    killed: bool = False

    @property
    def usage(self) -> bool:
        return self.code == ExitCode.USAGE


def command_line(package: str, words: Sequence[object]) -> list[str]:
    """Return the command. -P keeps the current folder, which is a user's project, out of the import path."""
    return [sys.executable, "-P", "-m", package, *map(str, words)]


def run_command(
    package: str, *words: object, cwd: Path | None = None, group: bool = False, as_json: bool = True
) -> Ended:
    """Run `python -m PACKAGE WORDS... --json` to its end; without --json for a command that lacks it.

    `group` gives it a process group of its own. The group is killed when the command ends, however it ends, and when
    this process is interrupted.
    """
    line = command_line(package, (*words, "--json") if as_json else words)
    with interrupts.STATE.lock:
        interrupts.check()
        process = subprocess.Popen(
            line,
            env=environment(),
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0 if group else None,
        )
        if group:
            interrupts.STATE.groups.add(process.pid)
    try:
        output, errors = process.communicate()
    finally:
        if group:
            interrupts.kill_group(process.pid)
            interrupts.STATE.groups.discard(process.pid)
    return ended(package, process.returncode, output, errors)


def ended(package: str, code: int, output: str, errors: str) -> Ended:
    """Read what a command has printed."""
    lines = [text for text in (errors + "\n" + output).splitlines() if text.strip()]
    verdicts = [text for text in lines if text.startswith("verdict: ")]
    try:
        content = json.loads(output)
    except ValueError:
        content = None
    if verdicts and code >= 0:
        return Ended(code, verdicts[-1].split(" ", 2)[2], content)
    if code < 0:
        return Ended(int(ExitCode.STAGE), f"{package} {describe_exit(code)}", None, killed=True)
    reason = lines[-1] if lines else "no output"
    return Ended(int(ExitCode.STAGE), f"{package} ended with exit code {code}: {reason}", content)


def replace_process(package: str, words: Sequence[str], program: str = "hydra-mobile") -> None:
    """Become `python -m PACKAGE WORDS...`, which calls itself `program` in its help."""
    line = command_line(package, words)
    os.execve(line[0], line, {**os.environ, "PYTHONPATH": environment()["PYTHONPATH"], PROGRAM: program})
