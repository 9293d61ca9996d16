"""Run tasks on two threads in an order that gives the first verdict soonest."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WORKERS = 2


@dataclass(frozen=True, slots=True)
class Task:
    """`work` runs when the tasks named in `after` are done. Of tasks that share an `alone`, one runs at a time."""

    name: str
    work: Callable[[], None]
    after: tuple[str, ...] = ()
    alone: str = ""


def run_tasks(tasks: Sequence[Task]) -> None:
    """Run all tasks; of those that can start, the first in the sequence starts. Re-raises the first error at the end.

    After an error no further task starts.
    """
    waiting = list(tasks)
    finished: set[str] = set()
    busy: set[str] = set()
    errors: list[BaseException] = []
    changed = threading.Condition()

    def ready() -> Task | None:
        return next((t for t in waiting if set(t.after) <= finished and t.alone not in busy), None)

    def worker() -> None:
        while True:
            with changed:
                while waiting and not errors and ready() is None:
                    changed.wait()
                task = None if errors or not waiting else ready()
                if task is None:
                    changed.notify_all()
                    return
                waiting.remove(task)
                if task.alone:
                    busy.add(task.alone)
            try:
                task.work()
            except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
                errors.append(error)
            with changed:
                finished.add(task.name)
                busy.discard(task.alone)
                changed.notify_all()

    threads = [threading.Thread(target=worker) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
