"""Where a file leaves its reference: the first tensor that differs, and the first module boundary that does.

Two questions. (a) Against the float32 file of the same target: both run on the same inputs, every tensor that both
have is compared by name in execution order. (b) Against the torch modules: the exported modules are chained, each
boundary compared with the golden. The first answers "which layer", the second "which module".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from benchmarks.parity.artifact import as_float
from benchmarks.runtime import Array, Runtime, Tensors, run
from hydramobile.artifact import Artifact, Entry
from hydramobile.errors import HydraError
from hydramobile.goldens import Golden
from hydramobile.recipes import recipe

# Largest error, as a share of the reference tensor's own range, that a tensor may have before it has "left". Float
# formats round (.07 of the range, at single pixels of early features, is usual for float16); integer weights move
# every tensor, and only a jump to another result is a divergence.
FLOAT32, FLOAT16, INTEGER = 1e-3, 0.15, 0.5
# Names that a converter's float16 pass appends to the name of the float32 tensor.
SUFFIXES = ("_cast_fp16", "_to_fp16", "_to_fp32")


@runtime_checkable
class Tracer(Protocol):
    """A runtime that can show every tensor it computes."""

    def trace(self, folder: Path, entry: Entry, inputs: Tensors) -> dict[str, Array]:
        """File tensor name -> value, in execution order, for one run on `inputs` (reference names and layout)."""
        ...


@dataclass(frozen=True, slots=True)
class Divergence:
    """`tensor` is the first one over `limit`; `before` the worst error among the tensors computed before it.

    Errors are max |a - b| as a share of the reference tensor's range. `tensor` is None where nothing diverged.
    `compared` counts the tensors both sides have; `kernels` says what executed them.
    """

    against: str
    tensor: str | None
    error: float
    before: float
    limit: float
    compared: int
    kernels: str = ""


def limit_of(recipe_name: str) -> float:
    chosen = recipe(recipe_name)
    if chosen.scheme != "float":
        return INTEGER
    return FLOAT32 if chosen.weight_bits == 32 else FLOAT16


def relative_error(candidate: Array, truth: Array) -> float:
    """max |a - b| over the range of `truth`; infinite when the candidate is not finite."""
    a, b = candidate.astype(np.float64), truth.astype(np.float64)
    if not np.isfinite(a).all():
        return float("inf")
    spread = float(b.max() - b.min())
    return float(np.abs(a - b).max()) / (spread or 1.0)


def first_divergence(
    candidate: Mapping[str, Array], truth: Mapping[str, Array], limit: float, against: str, kernels: str = ""
) -> Divergence:
    """Walk the candidate's tensors in order; compare those that `truth` has under the same name and shape."""
    known = {plain_name(name): value for name, value in truth.items()}
    before, compared = 0.0, 0
    for name, value in candidate.items():
        other = known.get(plain_name(name))
        if other is None or other.shape != value.shape or value.dtype.kind != "f" or not value.size:
            continue
        compared += 1
        error = relative_error(value, other)
        if error > limit:
            return Divergence(against, name, error, before, limit, compared, kernels)
        before = max(before, error)
    return Divergence(against, None, before, before, limit, compared, kernels)


def compare_traces(ours: Mapping[str, Array], real: Mapping[str, Array], most: int = 10) -> dict[str, Any]:
    """Every tensor that both have, as a share of the real one's range: {"compared", "median", "worst": the `most`
    largest, with names}. Nothing in common is {"compared": 0}: a comparison of nothing is not a match."""
    known = {plain_name(name): value for name, value in real.items()}
    errors: dict[str, float] = {}
    for name, value in ours.items():
        other = known.get(plain_name(name))
        if other is not None and other.shape == value.shape and value.dtype.kind == "f" and value.size:
            errors[name] = relative_error(value, other)
    if not errors:
        return {"compared": 0, "median": None, "worst": []}
    ranked = sorted(errors.items(), key=lambda item: -item[1])[:most]
    worst = [{"tensor": name, "error": float(error)} for name, error in ranked]
    return {"compared": len(errors), "median": float(np.median(list(errors.values()))), "worst": worst}


def plain_name(name: str) -> str:
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def bisect_entry(
    runtime: Runtime, candidate: tuple[Path, Entry], truth: tuple[Path, Entry], golden: Golden, limit: float
) -> Divergence:
    """Question (a) for one entry, on one sample. Raises HydraError when a file cannot be run."""
    if not isinstance(runtime, Tracer):
        return Divergence(f"{runtime.name} shows no intermediate tensors", None, 0.0, 0.0, limit, 0)
    folder, entry = candidate
    inputs = {port.name: as_float(golden.value(port.name)) for port in entry.inputs}
    mine = runtime.trace(folder, entry, inputs)
    theirs = runtime.trace(truth[0], truth[1], inputs)
    kernels = str(getattr(runtime, "trace_kernels", ""))
    return first_divergence(mine, theirs, limit, f"float32 file, entry {entry.id}", kernels)


def bisect_boundaries(runtime: Runtime, folder: Path, artifact: Artifact, golden: Golden, limit: float) -> Divergence:
    """Question (b): chain the exported modules from the photo and name the first boundary tensor that left."""
    known: dict[str, Array] = {name: as_float(value) for name, value in golden.inputs.items()}
    made: dict[str, Array] = {}
    for entry in artifact.entries:
        if entry.variant or len(entry.modules) > 1:
            continue
        session = runtime.open(folder, entry)
        try:
            outputs = run(session, {port.name: known[port.name] for port in entry.inputs})
        finally:
            session.close()
        known |= outputs
        made |= {f"{entry.name}.{name}": value for name, value in outputs.items()}
    truth = {name: as_float(golden.tensors[name.partition(".")[2]]) for name in made}
    return first_divergence(made, truth, limit, "torch modules, chained")


def bisect_artifact(
    runtime: Runtime, candidate: tuple[Path, Artifact], truth: tuple[Path, Artifact] | None, golden: Golden
) -> list[dict[str, Any]]:
    """Both questions for every primary entry; `truth` is the target's float32 artifact, None for itself."""
    folder, artifact = candidate
    limit = limit_of(artifact.recipe)
    rows: list[dict[str, Any]] = []
    try:
        rows.append(asdict(bisect_boundaries(runtime, folder, artifact, golden, limit)))
        for entry in artifact.entries if truth else ():
            if truth and not entry.variant:
                other = (truth[0], truth[1].entry(entry.id))
                rows.append(asdict(bisect_entry(runtime, (folder, entry), other, golden, limit)))
    except HydraError as error:
        rows.append({"against": "", "tensor": None, "reason": str(error)})
    return rows
