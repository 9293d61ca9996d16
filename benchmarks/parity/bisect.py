"""Find the first tensor and the first module boundary at which a file diverges from its reference.

Layer: the file and the float32 file of the same target run on the same inputs. Tensors that both files have are
compared by name, in execution order. Module: the exported modules are chained, and the tensors at each module boundary
are compared with the golden.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.evidence.device import TensorError
from benchmarks.evidence.parity import Divergence
from benchmarks.optional import Tracer
from benchmarks.parity.outputs import as_float
from benchmarks.runtime import Array, Runtime, run
from hydramobile.artifact import Artifact, primary
from hydramobile.errors import HydraError
from hydramobile.goldens import Golden
from hydramobile.recipes import recipe

# Largest error, as a share of the reference tensor's range, that does not count as a divergence. float16 rounds: .07
# of the range is usual at single pixels of early features. Integer weights move every tensor, so that only a jump to
# another result is a divergence.
FLOAT32, FLOAT16, INTEGER = 1e-3, 0.15, 0.5
# Suffixes that a converter's float16 pass appends to the name of the float32 tensor.
SUFFIXES = ("_cast_fp16", "_to_fp16", "_to_fp32")


@dataclass(frozen=True, slots=True)
class Sealed:
    """An artifact folder and the content of its artifact.json."""

    folder: Path
    artifact: Artifact


def limit_of(recipe_name: str) -> float:
    chosen = recipe(recipe_name)
    if chosen.scheme != "float":
        return INTEGER
    return FLOAT32 if chosen.weight_bits == 32 else FLOAT16


def relative_error(candidate: Array, truth: Array) -> float:
    """Return max |candidate - truth| over the range of `truth`; infinite if the candidate has NaN or infinity."""
    a, b = candidate.astype(np.float64), truth.astype(np.float64)
    if not np.isfinite(a).all():
        return float("inf")
    spread = float(b.max() - b.min())
    return float(np.abs(a - b).max()) / (spread or 1.0)


def shared_errors(candidate: Mapping[str, Array], truth: Mapping[str, Array]) -> Iterator[tuple[str, float]]:
    """Yield (name, error) of each float tensor that both sides have in the same shape, in the candidate's order."""
    known = {plain_name(name): value for name, value in truth.items()}
    for name, value in candidate.items():
        other = known.get(plain_name(name))
        if other is not None and other.shape == value.shape and value.dtype.kind == "f" and value.size:
            yield name, relative_error(value, other)


def first_divergence(
    candidate: Mapping[str, Array], truth: Mapping[str, Array], limit: float, against: str, kernels: str = ""
) -> Divergence:
    """Walk the candidate's tensors in order and return the first whose error is over the limit."""
    before, compared = 0.0, 0
    for name, error in shared_errors(candidate, truth):
        compared += 1
        if error > limit:
            return Divergence(against, name, error, before, limit, compared, kernels)
        before = max(before, error)
    return Divergence(against, None, before, before, limit, compared, kernels)


def largest_errors(
    candidate: Mapping[str, Array], truth: Mapping[str, Array], most: int = 10
) -> tuple[int, float | None, tuple[TensorError, ...]]:
    """Return (number of tensors compared, their median error, the `most` largest errors).

    Without a common tensor the result is (0, None, ()): a comparison of nothing is not a match.
    """
    errors = dict(shared_errors(candidate, truth))
    if not errors:
        return 0, None, ()
    ranked = sorted(errors.items(), key=lambda item: -item[1])[:most]
    worst = tuple(TensorError(name, float(error)) for name, error in ranked)
    return len(errors), float(np.median(list(errors.values()))), worst


def plain_name(name: str) -> str:
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def bisect_entry(runtime: Runtime, ident: str, candidate: Sealed, truth: Sealed, golden: Golden) -> Divergence:
    """Find the first layer of one entry that diverges from the float32 file, on one sample.

    Raises HydraError when a file cannot be run.
    """
    against = f"float32 file, entry {ident}"
    if not isinstance(runtime, Tracer):
        return Divergence(against, reason=f"{runtime.name} shows no intermediate tensors")
    entry = candidate.artifact.entry(ident)
    inputs = {port.name: as_float(golden.value(port.name)) for port in entry.inputs}
    tensors = runtime.trace(candidate.folder, entry, inputs)
    exact = runtime.trace(truth.folder, truth.artifact.entry(ident), inputs)
    return first_divergence(tensors, exact, limit_of(candidate.artifact.recipe), against, runtime.trace_kernels)


def bisect_boundaries(runtime: Runtime, candidate: Sealed, golden: Golden) -> Divergence:
    """Chain the exported modules from the photo and find the first boundary tensor that diverges from the golden."""
    known: dict[str, Array] = {name: as_float(value) for name, value in golden.inputs.items()}
    chained: dict[str, Array] = {}
    truth: dict[str, Array] = {}
    for entry in primary(candidate.artifact):
        if len(entry.modules) > 1:
            continue
        session = runtime.open(candidate.folder, entry)
        try:
            outputs = run(session, {port.name: known[port.name] for port in entry.inputs})
        finally:
            session.close()
        known |= outputs
        chained |= {f"{entry.name}.{name}": value for name, value in outputs.items()}
        truth |= {f"{entry.name}.{name}": as_float(golden.tensors[name]) for name in outputs}
    return first_divergence(chained, truth, limit_of(candidate.artifact.recipe), "torch modules, chained")


def bisect_artifact(
    runtime: Runtime, candidate: Sealed, truth: Sealed | None, golden: Golden
) -> tuple[Divergence, ...]:
    """Bisect by module, then by layer of every primary entry.

    `truth` is the float32 artifact of the same target, None if `candidate` is that artifact.
    """
    rows: list[Divergence] = []
    try:
        rows.append(bisect_boundaries(runtime, candidate, golden))
        if truth:
            entries = primary(candidate.artifact)
            rows += [bisect_entry(runtime, entry.id, candidate, truth, golden) for entry in entries]
    except HydraError as error:
        rows.append(Divergence("", reason=str(error)))
    return tuple(rows)


def summary(rows: tuple[Divergence, ...]) -> str:
    """Describe in one sentence where a file diverges, and why tensors could not be compared."""
    left = [f"{row.tensor} ({row.against})" for row in rows if row.tensor]
    reasons = dict.fromkeys(row.reason for row in rows if row.reason)
    parts = [f"leaves at {'; '.join(left)}"] if left else []
    parts += ["leaves nowhere"] if not left and any(not row.reason for row in rows) else []
    parts += [f"not compared: {'; '.join(reasons)}"] if reasons else []
    return "; ".join(parts)
