"""Stop a command at once on Ctrl-C and SIGTERM: its workers are killed, and the exit code is 130 or 143.

Threads wait for workers, and converters run for minutes without a look at signals. The handler therefore ends the
workers itself; every thread then fails at its next read, and no new worker starts.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Seconds after which a command that has not ended is ended.
GRACE = 5.0


class Interrupted(KeyboardInterrupt):
    """The user or the system asked the command to stop. No handler of errors may take it for a failed stage."""


class State:
    """The process groups of running workers, and the signal that stops them; 0 before one came."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.groups: set[int] = set()
        self.number = 0


STATE = State()


def install() -> None:
    """Handle SIGINT and SIGTERM in this process. Must be called in the main thread."""
    for number in SIGNALS:
        signal.signal(number, stop)


def stop(number: int, frame: FrameType | None) -> None:
    """Kill all workers and raise Interrupted; a second signal, or GRACE seconds, end the process where it is."""
    if STATE.number:
        end()
    STATE.number = number
    for group in list(STATE.groups):
        kill_group(group)
    timer = threading.Timer(GRACE, end)
    timer.daemon = True
    timer.start()
    raise Interrupted


def end() -> None:
    """End this process without a look at its threads, with its verdict."""
    stream = sys.stderr if "--json" in sys.argv else sys.stdout
    with contextlib.suppress(Exception):
        stream.write(f"verdict: {exit_code()} interrupted\n")
        stream.flush()
    os._exit(exit_code())


def exit_code() -> int:
    """Return the exit code of an interrupted command, as shells have it: 128 and the number of the signal."""
    return 128 + (STATE.number or signal.SIGINT)


def check() -> None:
    """Raise Interrupted where the command was asked to stop. Called before each start of a worker, and at its end."""
    if STATE.number:
        raise Interrupted


def kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
