"""Worker processes: a hang is distinguished from a busy machine."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from hydramobile.process import Patience


@contextmanager
def child(code: str) -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def seconds_until_over(patience: Patience, most: float) -> float:
    start = time.monotonic()
    while not patience.over() and time.monotonic() - start < most:
        time.sleep(0.05)
    return time.monotonic() - start


def test_a_sleeping_worker_is_given_up() -> None:
    with child("import time; time.sleep(600)") as pid:
        time.sleep(1.0)  # its start is work
        assert 0.9 < seconds_until_over(Patience(pid, 1.0), 20) < 5


def test_a_busy_worker_is_limited_by_processor_time() -> None:
    with child("while True: pass") as pid:
        patience = Patience(pid, 2.0)
        took = seconds_until_over(patience, 25)
        assert patience.seen - patience.before >= 2.0 or took >= 19, took


def test_a_slow_worker_that_makes_progress_is_waited_for() -> None:
    """A busy machine: short bursts with long pauses, which together exceed the limit."""
    code = "import time\nwhile True:\n    end = time.process_time() + 0.02\n"
    code += "    while time.process_time() < end: pass\n    time.sleep(0.3)"
    with child(code) as pid:
        assert seconds_until_over(Patience(pid, 2.0), 5) >= 5


def test_a_worker_that_ended_has_no_processor_time() -> None:
    with child("pass") as pid:
        time.sleep(1.5)
    assert Patience(pid, 1.0).computed() == 0.0
