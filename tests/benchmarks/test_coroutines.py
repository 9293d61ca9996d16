"""Vendors' coroutines: awaited beside a loop that runs already, on one loop, their errors told by stage."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.adapters.coroutines import wait
from hydramobile.errors import StageError


async def where(value: float) -> tuple[float, int]:
    await asyncio.sleep(0)
    return value, id(asyncio.get_running_loop())


def test_inside_a_running_loop_and_outside() -> None:
    async def caller() -> tuple[float, int]:
        return wait(where(2.0), "run", "a model")

    # In a thread of its own: a loop may be running in this one already, that of playwright.
    with ThreadPoolExecutor(1) as pool:
        first, inner = pool.submit(lambda: asyncio.run(caller())).result()
    second, outer = wait(where(3.0), "run", "a model")
    assert (first, second) == (2.0, 3.0)
    # What a vendor tied to the loop in one call is alive in the next.
    assert inner == outer


def test_an_error_is_told_by_its_stage() -> None:
    async def breaks() -> None:
        raise LookupError("no such tensor")

    with pytest.raises(StageError, match="run: depth: LookupError: no such tensor"):
        wait(breaks(), "run", "depth")
