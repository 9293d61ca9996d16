"""Call coroutines of vendors from synchronous code."""

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
    """Return the event loop of this process, which runs in a separate thread.

    There is one loop for the lifetime of the process, because vendors keep connections to a device, or a loaded model,
    across calls. The caller's thread may already run a loop (playwright leaves one behind).
    """
    event_loop = asyncio.new_event_loop()
    Thread(target=event_loop.run_forever, name="coroutines", daemon=True).start()
    return event_loop


def wait(work: Coroutine[Any, Any, Result], stage: str, what: str) -> Result:
    """Run a vendor's coroutine and return its result. Every error of the vendor becomes a StageError of `stage`."""
    try:
        return asyncio.run_coroutine_threadsafe(work, loop()).result()
    except Exception as error:  # a vendor's own types; all of them mean that this call failed
        raise StageError(stage, f"{what}: {type(error).__name__}: {error}") from error
