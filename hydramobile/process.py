"""Run work in child processes, so that a vendor's crash, hang or leak costs one stage and never the command.

A worker is `python -m <module> <fd>`. It reads one JSON job from stdin and writes JSON lines to the pipe `fd`. Its
stdout and stderr go to a log file.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from hydramobile import interrupts
from hydramobile.errors import HydraError, StageError

ROOT = Path(__file__).resolve().parent.parent
# How often a silent worker is checked within its limit.
LOOKS = 20
# The first part of the names of workers' temporary folders; the number of the process follows.
SCRATCH = "hydra-worker-"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class WorkerDied(HydraError):
    """The worker ended without finishing its job. The message says how: exit code, signal or hang."""


def environment() -> dict[str, str]:
    """Return the environment of a worker.

    It has one thread, because the order of a sum must not depend on the machine, and a fixed hash seed, because the
    order of a set must not change the bytes. TensorFlow's log is off, and the repository can be imported from any
    folder.
    """
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        **dict.fromkeys(THREADS, "1"),
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": os.pathsep.join(paths),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def events(module: str, job: Mapping[str, Any], log: Path, limit: float) -> Iterator[dict[str, Any]]:
    """Run a worker and yield the events that it sends. Its output is appended to `log`.

    Raises WorkerDied when it exits with a code other than 0, is killed by a signal, or sends nothing for `limit`
    seconds (see `Patience`); then it and its children are killed. They are also killed when the caller stops
    iterating. Temporary files of the worker lie in a folder that is removed after it, because converters leave packages
    behind, and killed ones leave everything.
    """
    reader, writer = os.pipe()
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(os.fdopen(reader, "rb", buffering=0))
        try:
            scratch = stack.enter_context(scratch_folder())
            process = start(module, writer, log, scratch)
        except OSError as error:
            raise StageError("start", f"the worker {module} could not start: {error}") from error
        finally:
            os.close(writer)
        stack.callback(kill, process)
        stack.enter_context(guarded(process))
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(job).encode())
            process.stdin.close()
        yield from lines(stream.fileno(), Patience(process.pid, limit))
        code = process.wait()
        interrupts.check()
        if code != 0:
            raise WorkerDied(f"the worker {describe_exit(code)}; its log: {log}")


def start(module: str, writer: int, log: Path, scratch: str) -> subprocess.Popen[bytes]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as noise, interrupts.STATE.lock:
        interrupts.check()
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, str(writer)],
            stdin=subprocess.PIPE,
            stdout=noise,
            stderr=subprocess.STDOUT,
            pass_fds=(writer,),
            env={**environment(), "TMPDIR": scratch},
            process_group=0,
        )
        interrupts.STATE.groups.add(process.pid)
        return process


@contextlib.contextmanager
def guarded(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Kill the worker's process group when this process dies, however it dies.

    A shell in the group waits for a line on a pipe. The kernel closes the pipe with this process; a parent-death signal
    would end the worker alone, not its children.
    """
    reader, writer = os.pipe()
    try:
        guard = subprocess.Popen(
            ["/bin/sh", "-c", "read line; kill -9 0"], stdin=reader, process_group=process.pid, close_fds=True
        )
    except OSError:  # the worker has ended already
        guard = None
    finally:
        os.close(reader)
    try:
        yield
    finally:
        interrupts.kill_group(process.pid)
        os.close(writer)
        if guard:
            guard.wait()


@contextlib.contextmanager
def scratch_folder() -> Iterator[str]:
    """Provide a folder for a worker's temporary files, and remove the folders that killed commands have left."""
    for path in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*-*"):
        owner = path.name.removeprefix(SCRATCH).partition("-")[0]
        if owner.isdigit() and not alive(int(owner)):
            shutil.rmtree(path, ignore_errors=True)
    prefix = f"{SCRATCH}{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as folder:
        yield folder


def alive(pid: int) -> bool:
    """Return whether a process of this number runs, of whichever user."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def lines(stream: int, patience: Patience) -> Iterator[dict[str, Any]]:
    """Yield the JSON lines of a pipe until it is closed. Raises WorkerDied when `patience` is over."""
    pending = b""
    while True:
        ready, _, _ = select.select([stream], [], [], patience.limit / LOOKS)
        if not ready:
            if patience.over():
                raise WorkerDied(f"the worker showed no progress for {patience.limit:.0f} s and was killed")
            continue
        patience.renew()
        block = os.read(stream, 65536)
        if not block:
            return
        *whole, pending = (pending + block).split(b"\n")
        yield from map(parsed, whole)


class Event(dict[str, Any]):
    """One event of a worker. A key that it lacks is the worker's fault: it raises WorkerDied."""

    def __missing__(self, key: str) -> Any:
        raise WorkerDied(f"the worker sent an event without {key!r}: {dict(self)}")


def parsed(line: bytes) -> Event:
    """Parse one line of a worker. Raises WorkerDied for a line that is no event: foreign code may write to the pipe."""
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or not isinstance(content.get("event"), str):
        raise WorkerDied(f"the worker sent a line that is no event: {line[:80]!r}")
    return Event(content)


class Patience:
    """Distinguish a worker that hangs from a worker that waits for a busy machine.

    Patience is over when the worker has sent nothing and used no processor time for `limit` seconds, when it has used
    `limit` seconds of processor time without sending anything, or when it has sent nothing for ten times `limit`
    seconds.
    """

    def __init__(self, pid: int, limit: float) -> None:
        self.pid, self.limit = pid, limit
        self.renew()

    def renew(self) -> None:
        """Start again, because the worker has sent something."""
        self.heard = self.stirred = time.monotonic()
        self.before = self.seen = self.computed()

    def over(self) -> bool:
        now, spent = time.monotonic(), self.computed()
        if spent > self.seen:
            self.seen, self.stirred = spent, now
        silent = now - self.heard
        return now - self.stirred >= self.limit or spent - self.before >= self.limit or silent >= 10 * self.limit

    def computed(self) -> float:
        """Return the processor seconds of the worker and its children."""
        import psutil

        try:
            worker = psutil.Process(self.pid)
            return sum(sum(each.cpu_times()[:2]) for each in (worker, *worker.children(recursive=True)))
        except psutil.Error:
            return 0.0


def describe_exit(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def kill(process: subprocess.Popen[bytes]) -> None:
    """End the worker's process group: the worker and its children."""
    interrupts.kill_group(process.pid)
    process.wait()
    interrupts.STATE.groups.discard(process.pid)


def receive(arguments: list[str]) -> tuple[dict[str, Any], TextIO]:
    """Return the job of this worker, and the stream for `send`. Called in the worker."""
    if len(arguments) != 1 or not arguments[0].isdigit():
        raise SystemExit("a worker is started by its command, not by hand")
    return json.load(sys.stdin), os.fdopen(int(arguments[0]), "w")


def send(stream: TextIO, **content: Any) -> None:
    """Send an event to the process that started this worker."""
    print(json.dumps(content), file=stream, flush=True)
