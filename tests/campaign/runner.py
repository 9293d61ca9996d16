"""Give commands to the server and judge how they ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 120.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a command. `code` is None where it ran out of time; a negative code is a signal's number."""

    code: int | None
    out: str
    err: str
    seconds: float
    orphans: int

    def fault(self, allowed: Collection[int]) -> str:
        """Return what is wrong with the end, or "": a traceback, a hang, a wrong code, no verdict, left processes."""
        lines = (self.out + "\n" + self.err).strip().splitlines()
        verdicts = [line for line in lines if line.startswith("verdict: ")]
        if self.code is None:
            return "it did not end"
        if "Traceback (most recent call last)" in self.out + self.err:
            return f"a traceback: {lines[-1] if lines else ''}"
        if self.orphans:
            return f"{self.orphans} processes outlived it"
        if not verdicts:
            return f"exit code {self.code} without a verdict: {lines[-1] if lines else 'nothing was printed'}"
        if int(verdicts[-1].split()[1]) != self.code:
            return f"exit code {self.code} with {verdicts[-1]!r}"
        if self.code not in allowed:
            return f"exit code {self.code}, expected {sorted(allowed)}: {verdicts[-1]}"
        return ""


class Server:
    """The process that runs commands; use it as a context manager."""

    def __enter__(self) -> Server:
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "COLUMNS": "200"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "campaign.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=environment,
            text=True,
        )
        return self

    def __exit__(self, *error: object) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()

    def run(self, words: Sequence[object], folder: Path = ROOT, seconds: float = LIMIT) -> Outcome:
        """Run `python -m WORDS...` in `folder`."""
        assert self.process.stdin is not None and self.process.stdout is not None
        order = {"words": [str(word) for word in words], "folder": str(folder), "seconds": seconds}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return Outcome(**json.loads(self.process.stdout.readline()))
