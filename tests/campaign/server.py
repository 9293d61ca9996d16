"""Run commands in forks of one process that has imported everything: the real command lines without their start-up.

One JSON object per line comes in, {"words": ["export", "list", ...], "folder": ..., "seconds": ...}, and one goes out,
the fields of `runner.Outcome`. Each command runs in a session of its own.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import runpy
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NoReturn

PRELOAD = (
    "numpy",
    "PIL.Image",
    "torch",
    "typer",
    "rich.table",
    "jinja2",
    "msgspec",
    "onnx",
    "safetensors.torch",
    "cryptography.hazmat.primitives.asymmetric.ed25519",
    "hydramobile.loader",
    "hydramobile.goldens",
    "export.program",
    "export.inspect",
    "export.init.run",
    "benchmarks.report.write",
    "reference.infer",
)
# Seconds that children may outlive their command.
ORPHANS = 10.0


def main() -> None:
    for name in PRELOAD:
        importlib.import_module(name)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(run(json.loads(line))) + "\n")
        sys.stdout.flush()


def run(order: dict[str, Any]) -> dict[str, Any]:
    """Run one command to its end or its time limit; say how it ended and what it printed."""
    started = time.monotonic()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        child = os.fork()
        if child == 0:
            become(order, output.fileno(), errors.fileno())
        status = wait(child, float(order["seconds"]))
        seconds = time.monotonic() - started
        orphans = left_over(child)
        texts = []
        for stream in (output, errors):
            stream.seek(0)
            texts.append(stream.read().decode("utf-8", "replace"))
    code = None if status is None else os.waitstatus_to_exitcode(status)
    return {"code": code, "out": texts[0], "err": texts[1], "seconds": round(seconds, 2), "orphans": orphans}


def become(order: dict[str, Any], output: int, errors: int) -> NoReturn:
    """Turn this fork into the command."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (output, 1), (errors, 2)):
        os.dup2(source, target)
    os.chdir(order["folder"])
    package, *words = order["words"]
    sys.argv = [package, *words]
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - lives as long as the fork
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - lives as long as the fork
    code = 1
    try:
        runpy.run_module(package, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as stopped:
        code = stopped.code if isinstance(stopped.code, int) else 1
    except BaseException:  # noqa: BLE001 - what a command lets through is what the campaign looks for
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def wait(child: int, seconds: float) -> int | None:
    """Return the wait status of the child, or None where it was still running and was killed."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status
        time.sleep(0.005)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def left_over(session: int) -> int:
    """Return how many processes of the command's session are alive after ORPHANS seconds; they are killed."""
    end = time.monotonic() + ORPHANS
    while members := session_members(session):
        if time.monotonic() > end:
            for pid in members:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return len(members)
        time.sleep(0.05)
    return 0


def session_members(session: int) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            # pid (comm) state ppid pgrp session: comm may hold spaces and brackets.
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(folder.name))
    return found


if __name__ == "__main__":
    main()
