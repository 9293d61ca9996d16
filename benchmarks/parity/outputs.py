"""Compare the outputs of one entry with the reference: tensor measures, task metrics, and the budget's verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from benchmarks.evidence.parity import Mode, ParityRow
from benchmarks.parity.bench import Bench
from benchmarks.parity.verdict import judge
from benchmarks.runtime import Array
from hydramobile.artifact import Entry
from hydramobile.goldens import Golden
from hydramobile.measures import JUDGES, MEAN, Measure, Numbers, collect, sensitivity, tensor_measures


def as_float(value: Array) -> Array:
    """Convert a float16 tensor to float32; return any other unchanged."""
    return value.astype("float32") if value.dtype == "float16" else value


def compare(
    bench: Bench, base: ParityRow, entry: Entry, mode: Mode, outputs: Sequence[Mapping[str, Array]]
) -> ParityRow:
    """Compare the outputs of all samples with the goldens and return one row with the verdict."""
    measures: list[Measure] = []
    for port in entry.outputs:
        spread = sensitivity([as_float(expected(golden, entry, mode, port.name)) for golden in bench.goldens])
        numbers: dict[str, Numbers] = {}
        for golden, output in zip(bench.judged, outputs, strict=True):
            actual = output[port.name]
            wanted = within_rounding(actual, expected(golden, entry, mode, port.name))
            numbers[golden.sample] = tensor_measures(actual, wanted, spread)
            declared = bench.spec.tensors.get(port.name)
            if declared and declared.judge:
                numbers[golden.sample] |= JUDGES[declared.judge](actual, wanted, bench.person(golden))
        known = next(iter(numbers.values()))
        limits = {
            metric: limit
            for metric, limit in bench.limits(base.target, base.recipe, port.name).items()
            if metric.removeprefix(MEAN) in known
        }
        measures += collect(port.name, numbers, limits)
    verdict, reason = judge(measures)
    return replace(
        base,
        entry=entry.id,
        mode=mode,
        verdict=verdict,
        reason=reason,
        samples=len(bench.judged),
        measures=tuple(measures),
    )


def within_rounding(actual: Array, wanted: Array) -> Array:
    """Return `wanted`; if it is float16, return the values nearest to `actual` that round to it.

    Committed goldens store features in float16, and their rounding error is no error of the file. The result differs
    from a float16 `wanted` by at most half a unit in the last place.
    """
    if wanted.dtype != np.float16 or actual.shape != wanted.shape:
        return wanted
    half = np.abs(np.spacing(wanted)).astype(np.float32) / 2
    exact = wanted.astype(np.float32)
    return np.clip(actual, exact - half, exact + half)


def expected(golden: Golden, entry: Entry, mode: Mode, name: str) -> Array:
    """Return the reference's output `name`.

    At a boundary it is the output of the module alone, run on the stored features; otherwise of the whole model.
    """
    if mode == "boundary" and len(entry.modules) == 1:
        return golden.boundary[entry.modules[0]][name]
    return golden.tensors[name]
