"""Judge one artifact in one runtime: every entry, direct, at its module boundary, and chained."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.parity import lean
from benchmarks.parity.labels import Labelled, ask_artifact, loss_measures, opened, way
from benchmarks.parity.verdict import Result, judge
from benchmarks.runtime import Absent, Array, Runtime, Session, run
from hydramobile.artifact import Artifact, Entry, read_artifact, ships, verify
from hydramobile.budget import FALLBACK, LABEL_FALLBACK, Budget
from hydramobile.errors import HydraError, StageError
from hydramobile.goldens import Golden
from hydramobile.measures import JUDGES, MEAN, Measure, Numbers, collect, sensitivity, tensor_measures
from hydramobile.recipes import recipe
from hydramobile.spec import ModelSpec

# Share of weight elements that must be stored in the recipe's own type: biases and a layer kept in float for
# accuracy may differ, a file that is mostly something else is not what its name says.
STORED = 0.85
# Of a named recipe, share of the values that each type must hold of those that artifact.json says.
STORED_LAYERS = 0.99
# As servers compress: what a download weighs.
GZIP_LEVEL = 9
FLOATS = {32: ("float32",), 16: ("float16",)}
# Shapes, indices and masks, and the sums that integer kernels add biases to: no recipe stores a weight so.
NO_WEIGHTS = frozenset({"int32", "uint32", "int64", "uint64", "bool"})


@dataclass(frozen=True, slots=True)
class Bench:
    """What an artifact is judged by: the model's spec, budget and goldens, `most` of them where that is not 0, its
    labels where it has some, and the model that some artifacts stand in for. `lean`: modules that others feed are
    judged in the chain alone."""

    spec: ModelSpec
    budget: Budget
    goldens: Sequence[Golden]
    most: int = 0
    labelled: Labelled | None = None
    against: Bench | None = None
    lean: bool = False

    @property
    def judged(self) -> list[Golden]:
        """The goldens that are run: all, or `most` of them evenly spread. How far a tensor moves is told by all."""
        if not 0 < self.most < len(self.goldens):
            return list(self.goldens)
        return [self.goldens[index * len(self.goldens) // self.most] for index in range(self.most)]

    def person(self, golden: Golden) -> Array | None:
        """alpha > .9 in the reference where the model has a matte: depth is judged inside the person."""
        matte = next((tensor.name for tensor in self.spec.judged() if tensor.judge == "alpha-matte"), None)
        return golden.tensors[matte] > 0.9 if matte else None

    def limits(self, artifact: Artifact, output: str) -> dict[str, float]:
        """The limits of an output. Those of a mean are of the mean over all samples: with fewer they say nothing."""
        feature = output in self.spec.edges()
        found = self.budget.limits_for(artifact.target, artifact.recipe, output, feature)
        if len(self.judged) < len(self.goldens):
            found = {metric: limit for metric, limit in found.items() if not metric.startswith(MEAN)}
        return found or dict(FALLBACK)


def judge_artifact(bench: Bench, runtime: Runtime, folder: Path) -> Iterator[Result]:
    """All results of one artifact in one runtime. A failure ends in a Result with its stage, not in an exception."""
    artifact = read_artifact(folder)
    base = Blank(artifact, runtime)
    try:
        verify(folder, artifact)
        check_model(bench, artifact)
    except HydraError as error:
        yield base.failed(error)
        return
    yield from weighed(bench, base, folder)
    for variant in dict.fromkeys(entry.variant for entry in artifact.entries):
        entries = [entry for entry in artifact.entries if entry.variant == variant]
        yield from judge_variant(bench, runtime, folder, base, entries)
    if bench.labelled:
        yield from judge_labels(bench, bench.labelled, runtime, folder, base)
    if bench.against and bench.budget.stands_in(artifact.target, artifact.recipe):
        for result in judge_against(bench.against, runtime, folder, base):
            yield replace(result, mode="against", facts={**result.facts, "against": bench.budget.against})


def judge_against(other: Bench, runtime: Runtime, folder: Path, base: Blank) -> Iterator[Result]:
    """An artifact that stands in for another model's, by that model's sizes, outputs, labels and limits."""
    yield from weighed(other, base, folder)
    try:
        ways = [way(other.spec, base.artifact, tensor.name) for tensor in other.spec.judged()]
        for entries in {tuple(entry.id for entry in entries): entries for entries in ways}.values():
            with opened(runtime, folder, entries) as through:
                outputs = [through(golden.inputs) for golden in other.judged]
            yield compare(other, base, entries[-1], "against", outputs)
    except HydraError as error:
        yield base.failed(error)
    if other.labelled:
        yield from judge_labels(other, other.labelled, runtime, folder, base)


def weighed(bench: Bench, base: Blank, folder: Path) -> Iterator[Result]:
    """What an app ships against the budget's [[size]] rows, one result a row."""
    artifact = base.artifact
    for limit in bench.budget.sizes:
        if (limit.recipe, limit.target) == (artifact.recipe, artifact.target):
            records = ships(artifact)
            zipped = [
                len(gzip.compress((folder / record.path).read_bytes(), GZIP_LEVEL, mtime=0)) for record in records
            ]
            found = sum(zipped) if limit.gzip else sum(record.bytes for record in records)
            good = found <= limit.bytes
            kind = " after gzip" if limit.gzip else ""
            reason = (
                "" if good else f"an app ships {found / 1e6:.3f} MB{kind}, the budget says {limit.bytes / 1e6:g} MB"
            )
            facts = {"bytes": found, "limit": limit.bytes, "gzip": limit.gzip}
            yield base.result(mode="size", verdict="pass" if good else "mismatch", reason=reason, facts=facts)


def check_model(bench: Bench, artifact: Artifact) -> None:
    spec = bench.spec
    if (artifact.spec_sha256, artifact.weights_sha256) != (spec.sha256, spec.weights_sha256):
        raise StageError("golden", "the artifact was made from another spec or other weights; export it again")
    if not bench.goldens:
        raise StageError("golden", "no samples to judge by; a comparison of nothing is not a pass")


@dataclass(frozen=True, slots=True)
class Blank:
    """Builds Results of one artifact in one runtime."""

    artifact: Artifact
    runtime: Runtime

    def result(self, **fields: Any) -> Result:
        own: dict[str, Any] = {
            "target": self.artifact.target,
            "recipe": self.artifact.recipe,
            "artifact": self.artifact.sha256,
        }
        return Result(**own, runtime=self.runtime.name, evidence=self.runtime.evidence, **fields)

    def failed(self, error: HydraError, **fields: Any) -> Result:
        stage = error.stage if isinstance(error, StageError) else "run"
        reason = error.message if isinstance(error, StageError) else str(error)
        verdict = "unavailable" if isinstance(error, Absent) else "failed"
        return self.result(verdict=verdict, stage=stage, reason=reason, **fields)


def judge_variant(
    bench: Bench, runtime: Runtime, folder: Path, base: Blank, entries: Sequence[Entry]
) -> Iterator[Result]:
    """The entries of one variant: each by itself, then the modules chained on their own features."""
    yield stored_types(base, runtime, folder, entries)
    # What the exported modules made, per sample: the input of the chain.
    made: list[dict[str, Array]] = [dict(golden.inputs) for golden in bench.judged]
    for entry in entries:
        try:
            session = runtime.open(folder, entry)
        except HydraError as error:
            yield base.failed(error, entry=entry.id, mode="open")
            continue
        try:
            yield from judge_entry(bench, base, session, entry, made)
        except HydraError as error:
            yield base.failed(error, entry=entry.id, mode="run")
        finally:
            session.close()


def judge_entry(
    bench: Bench, base: Blank, session: Session, entry: Entry, made: list[dict[str, Array]]
) -> Iterator[Result]:
    features = set(bench.spec.edges()) & {port.name for port in entry.inputs}
    mode = "boundary" if features else "direct"
    fused = len(entry.modules) > 1
    chained = bool(features) and not fused and all(port.name in made[0] for port in entry.inputs)
    if chained and bench.lean:
        yield base.result(entry=entry.id, mode=mode, verdict="unavailable", stage=lean.STAGE, reason=lean.BOUNDARY)
    else:
        feeds = [{port.name: as_float(golden.value(port.name)) for port in entry.inputs} for golden in bench.judged]
        outputs = [run(session, feed) for feed in feeds]
        yield compare(bench, base, entry, mode, outputs)
    if not features and not fused:
        for known, output in zip(made, outputs, strict=True):
            known.update(output)
    if chained:
        linked = [run(session, {port.name: known[port.name] for port in entry.inputs}) for known in made]
        for known, output in zip(made, linked, strict=True):
            known.update(output)
        yield compare(bench, base, entry, "chain", linked)


def judge_labels(bench: Bench, labelled: Labelled, runtime: Runtime, folder: Path, base: Blank) -> Iterator[Result]:
    """What the artifact loses against labels, by the entries that make the labelled output."""
    artifact, tensor = base.artifact, labelled.labels.tensor
    own = bench.budget.label_limits(artifact.target, artifact.recipe, tensor)
    chosen, limits = labelled.chosen(runtime.name, bool(own)), own or dict(LABEL_FALLBACK)
    if not chosen:
        return
    try:
        entries = way(bench.spec, artifact, tensor)
        found = ask_artifact(labelled, chosen, runtime, folder, entries)
    except HydraError as error:
        yield base.failed(error, mode="labels")
        return
    every = len(labelled.labels.all)
    if len(chosen) < every:  # as in Bench.limits: some of them say nothing of the mean of all
        limits = {metric: limit for metric, limit in limits.items() if not metric.startswith(MEAN)}
    measures, facts = loss_measures(labelled, found, limits)
    partly = ("pass", f"{len(chosen)} of {every} labels: their mean is not judged")
    verdict, reason = judge(measures) if limits else partly
    fields = {"entry": entries[-1].id, "mode": "labels", "samples": len(found), "measures": tuple(measures)}
    yield base.result(**fields, verdict=verdict, reason=reason, facts=facts)


def as_float(value: Array) -> Array:
    return value.astype("float32") if value.dtype == "float16" else value


def compare(bench: Bench, base: Blank, entry: Entry, mode: str, outputs: Sequence[Mapping[str, Array]]) -> Result:
    """Fold the outputs of all samples into one Result."""
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
        limits = bench.limits(base.artifact, port.name)
        known = next(iter(numbers.values()))
        limits = {metric: value for metric, value in limits.items() if metric.removeprefix(MEAN) in known}
        measures += collect(port.name, numbers, limits)
    verdict, reason = judge(measures)
    return base.result(
        entry=entry.id, mode=mode, verdict=verdict, reason=reason, samples=len(bench.judged), measures=tuple(measures)
    )


def within_rounding(found: Array, wanted: Array) -> Array:
    """The reference's value where it is stored in full; else the nearest to `found` of those that round to it.

    Committed goldens keep features in float16. What the golden itself lost is no error of the file.
    """
    if wanted.dtype != np.float16 or found.shape != wanted.shape:
        return wanted
    half = np.abs(np.spacing(wanted)).astype(np.float32) / 2
    exact = wanted.astype(np.float32)
    return np.clip(found, exact - half, exact + half)


def expected(golden: Golden, entry: Entry, mode: str, name: str) -> Array:
    """The reference's value: of the module on the stored features at a boundary, of the whole model otherwise."""
    if mode == "boundary" and len(entry.modules) == 1:
        return golden.boundary[entry.modules[0]][name]
    return golden.tensors[name]


def stored_types(base: Blank, runtime: Runtime, folder: Path, entries: Sequence[Entry]) -> Result:
    """Whether the weights in the files of one variant really have the type that the recipe's name promises.

    Judged over all modules together: an integer recipe may keep a small module's weights in float.
    """
    variant = entries[0].variant
    try:
        found = count_types(runtime, folder, entries)
    except HydraError as error:
        return base.failed(error, entry=variant, mode="dtypes")
    elements = {name: count / width(name) for name, count in found.items() if name not in NO_WEIGHTS}
    total = sum(elements.values())
    facts = {"weight_bytes": found}
    if not total:
        return base.result(entry=variant, mode="dtypes", facts=facts, reason="no weights")
    if base.artifact.layers:
        reason = layers_lost(base.artifact, elements)
        verdict = "mismatch" if reason else "pass"
        return base.result(entry=variant, mode="dtypes", verdict=verdict, reason=reason, facts=facts)
    chosen = recipe(base.artifact.recipe)
    if chosen.sparsity:
        total -= elements.pop("uint1", 0.0)  # the masks that tell where the stored values lie
    wanted = wanted_types(chosen.scheme, chosen.weight_bits)
    share = sum(count for name, count in elements.items() if name in wanted) / total
    good = share >= STORED
    reason = "" if good else f"{share:.0%} of the weights are {' or '.join(wanted)}; found {found}"
    return base.result(entry=variant, mode="dtypes", verdict="pass" if good else "mismatch", reason=reason, facts=facts)


def layers_lost(artifact: Artifact, elements: Mapping[str, float]) -> str:
    """Why the file cannot hold its layers as artifact.json says: of some type, too few weights. "" where it can."""
    asked: dict[tuple[str, ...], int] = {}
    for row in artifact.layers.values():
        stored = recipe(row["recipe"])
        wanted = wanted_types(stored.scheme, stored.weight_bits)
        asked[wanted] = asked.get(wanted, 0) + row["values"]
    for wanted, values in asked.items():
        found = sum(count for name, count in elements.items() if name in wanted)
        if found < STORED_LAYERS * values:
            named = " or ".join(wanted)
            return f"layers of {values} weights are to be stored as {named}, the files hold {found:.0f} of them"
    return ""


def count_types(runtime: Runtime, folder: Path, entries: Sequence[Entry]) -> dict[str, int]:
    """Weight bytes by type over the single-module entries; a fused entry holds the same weights again."""
    total: dict[str, int] = {}
    for entry in [entry for entry in entries if len(entry.modules) == 1] or entries:
        for name, count in runtime.read_dtypes(folder, entry).items():
            total[name] = total.get(name, 0) + count
    return total


def width(name: str) -> float:
    """Bytes a value of a type by its name: .5 for "int4"; a truth value takes one."""
    bits = re.search(r"\d+$", name)
    return int(bits[0]) / 8 if bits else 1.0


def wanted_types(scheme: str, bits: int) -> tuple[str, ...]:
    if scheme in ("float", "sparse"):
        return FLOATS[bits]
    return ("int8", "uint8") if bits == 8 else ("int16", "uint16") if bits == 16 else (f"int{bits}", f"uint{bits}")
