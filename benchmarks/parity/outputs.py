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
from hydramobile.budget import DRAWN, EASED, MARGIN
from hydramobile.goldens import Golden
from hydramobile.measures import JUDGES, MEAN, Measure, Numbers, channel_snr, collect, tensor_measures

NO_LIMIT = "measured, not judged: recipes with integers have no limit on drawn inputs"


def as_float(value: Array) -> Array:
    """Convert a float16 tensor to float32; return any other unchanged."""
    return value.astype("float32") if value.dtype == "float16" else value


def compare(
    bench: Bench, base: ParityRow, entry: Entry, mode: Mode, outputs: Sequence[Mapping[str, Array]]
) -> ParityRow:
    """Compare the outputs of all samples (mode "drawn": of all drawn inputs) with the goldens; return one row.

    Of drawn inputs only final outputs are compared.
    """
    goldens = bench.drawn_judged if mode == "drawn" else bench.judged
    edges = bench.spec.edges() if mode == "drawn" else {}
    measures: list[Measure] = []
    for port in entry.outputs:
        if port.name in edges:
            continue
        numbers = {
            golden.sample: numbers_of(bench, (entry, mode, port.name), golden, output[port.name])
            for golden, output in zip(goldens, outputs, strict=True)
        }
        known = next(iter(numbers.values()), {})
        limits = {
            metric: limit
            for metric, limit in limits_of(bench, base, mode, port.name).items()
            if metric.removeprefix(MEAN) in known
        }
        eased = eased_limits(bench, port.name, goldens, limits) if base.recipe == "float16" else {}
        measures += collect(port.name, numbers, limits, eased)
    row = replace(base, entry=entry.id, mode=mode, samples=len(goldens), measures=tuple(measures))
    if mode == "drawn" and measures and not any(measure.limit is not None for measure in measures):
        return replace(row, reason=NO_LIMIT)
    verdict, reason = judge(measures)
    return replace(row, verdict=verdict, reason=reason)


def numbers_of(bench: Bench, output: tuple[Entry, Mode, str], golden: Golden, actual: Array) -> Numbers:
    """Measure one output on one sample. Of drawn inputs no task metric is measured: they show nothing."""
    entry, mode, name = output
    wanted = within_rounding(actual, expected(golden, entry, mode, name))
    alone = entry.modules[0] if mode == "boundary" and len(entry.modules) == 1 else ""
    numbers = tensor_measures(actual, wanted, bench.scale(name, alone), golden.sway.get(name))
    declared = bench.spec.tensors.get(name)
    if declared and declared.judge and mode != "drawn":
        numbers |= JUDGES[declared.judge](actual, wanted, bench.person(golden))
    return numbers


def limits_of(bench: Bench, base: ParityRow, mode: Mode, output: str) -> dict[str, float]:
    if mode == "drawn":
        return dict(DRAWN.get(base.recipe, {}))
    return bench.limits(base.target, base.recipe, output)


def eased_limits(
    bench: Bench, output: str, goldens: Sequence[Golden], limits: Mapping[str, float]
) -> dict[str, dict[str, float]]:
    """Return looser limits of snr_db, by sample, where the reference itself in float16 keeps no more.

    A net that sorts or thresholds nearly equal numbers gives another result in half precision, in any file.
    """
    eased: dict[str, dict[str, float]] = {}
    limit, scale = limits.get("snr_db"), bench.scale(output)
    for golden in goldens:
        if limit is None or output not in golden.half:
            continue
        reference = np.nan_to_num(golden.tensors[output].astype(np.float64), posinf=0.0, neginf=0.0)
        kept = channel_snr(reference, golden.half[output].astype(np.float64), scale) - MARGIN
        if kept < limit:
            eased[golden.sample] = {"snr_db": max(kept, EASED)}
    return eased


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
