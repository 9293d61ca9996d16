"""The outputs of one entry against the reference's: tensor measures, judges, and the verdict by the budget."""

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
    """Return a float16 tensor as float32, any other unchanged."""
    return value.astype("float32") if value.dtype == "float16" else value


def compare(
    bench: Bench, base: ParityRow, entry: Entry, mode: Mode, outputs: Sequence[Mapping[str, Array]]
) -> ParityRow:
    """Fold the outputs of all samples into one row."""
    measures: list[Measure] = []
    for port in entry.outputs:
        spread = sensitivity([as_float(expected(golden, entry, mode, port.name)) for golden in bench.goldens])
        numbers: dict[str, Numbers] = {}
        for golden, output in zip(bench.judged, outputs, strict=True):
            found = output[port.name]
            wanted = within_rounding(found, expected(golden, entry, mode, port.name))
            numbers[golden.sample] = tensor_measures(found, wanted, spread)
            declared = bench.spec.tensors.get(port.name)
            if declared and declared.judge:
                numbers[golden.sample] |= JUDGES[declared.judge](found, wanted, bench.person(golden))
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


def within_rounding(found: Array, wanted: Array) -> Array:
    """Return the reference's value where it is stored in full, else the nearest to `found` that rounds to it.

    Committed goldens keep features in float16. What the golden itself lost is no error of the file.
    """
    if wanted.dtype != np.float16 or found.shape != wanted.shape:
        return wanted
    half = np.abs(np.spacing(wanted)).astype(np.float32) / 2
    exact = wanted.astype(np.float32)
    return np.clip(found, exact - half, exact + half)


def expected(golden: Golden, entry: Entry, mode: Mode, name: str) -> Array:
    """Return the reference's value: of the module on the stored features at a boundary, else of the whole model."""
    if mode == "boundary" and len(entry.modules) == 1:
        return golden.boundary[entry.modules[0]][name]
    return golden.tensors[name]
