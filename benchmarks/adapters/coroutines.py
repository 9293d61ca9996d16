"""Vendors' coroutines, called from code that is none."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import cache
from threading import Thread
from typing import Any, TypeVar

from hydramobile.errors import StageError

Result = TypeVar("Result")


@cache
def loop() -> asyncio.AbstractEventLoop:
    """One for the life of the process: vendors keep connections to a device, or a loaded model, across calls.

    It has a thread of its own, since the caller's may be running a loop already (playwright leaves one behind).
    """
    made = asyncio.new_event_loop()
    Thread(target=made.run_forever, name="coroutines", daemon=True).start()
    return made


def wait(work: Coroutine[Any, Any, Result], stage: str, what: str) -> Result:
    """The result of a vendor's coroutine. Vendors raise errors of many types: each is a StageError of this stage."""
    try:
        return asyncio.run_coroutine_threadsafe(work, loop()).result()
    except Exception as error:  # a vendor's own types; all of them mean that this call failed
        raise StageError(stage, f"{what}: {type(error).__name__}: {error}") from error
