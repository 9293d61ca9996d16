"""Vendors' coroutines: awaited beside a loop that runs already, on one loop, their errors told by stage."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.coroutines import wait
from models.errors import StageError


async def where(value: float) -> tuple[float, int]:
    await asyncio.sleep(0)
    return value, id(asyncio.get_running_loop())


def test_inside_a_running_loop_and_outside() -> None:
    async def caller() -> tuple[float, int]:
        return wait(where(2.0), "run", "a model")

    (first, inner), (second, outer) = asyncio.run(caller()), wait(where(3.0), "run", "a model")
    assert (first, second) == (2.0, 3.0)
    # What a vendor tied to the loop in one call is alive in the next.
    assert inner == outer


def test_an_error_is_told_by_its_stage() -> None:
    async def breaks() -> None:
        raise LookupError("no such tensor")

    with pytest.raises(StageError, match="run: depth: LookupError: no such tensor"):
        wait(breaks(), "run", "depth")
