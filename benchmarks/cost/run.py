"""Static cost: MACs and parameters of each module, and the activation memory of each artifact's graph.

Nothing is timed. These figures are properties of the net and its files, and the same on every machine.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from benchmarks.evidence.cost import CostEvidence, CostRow, EntryCost, KindCost, ModuleCost, OpCost
from benchmarks.evidence.envelope import identity_of, read_earlier, updating, write
from benchmarks.graph import Graph, Step, peak_activations
from benchmarks.kept import KeptRows, since
from benchmarks.optional import GraphReader, Reference
from benchmarks.request import (
    Progress,
    Request,
    by_subject,
    reason_of,
    sealed_hashes,
    select,
    silent,
    stage_of,
    still_standing,
)
from benchmarks.runtime import REGISTRY, Runtime, load_runtime
from hydramobile.artifact import Artifact, Entry, primary, verify
from hydramobile.errors import HydraError, NothingJudged, StageError


def run_cost(request: Request, progress: Progress = silent) -> CostEvidence:
    """Count, write `build/<model>/cost.json` and return its content. `request.runtimes` is not used.

    Raises NothingJudged when there is no artifact. An unreadable artifact is a failed row with its stage.
    """
    artifacts, broken = select(request)
    rows = [replace(blank(u.target, u.recipe), verdict="failed", stage=u.stage, reason=u.reason) for u in broken]
    modules, missing = reference_costs(request)
    kept = KeptRows(request, "cost", CostRow)
    for built in artifacts:
        name, found = f"cost: {built.artifact.target} {built.artifact.recipe}", kept.find(built)
        progress(f"{name}: {since(found)}" if found else name)
        rows += found or [artifact_cost(built.folder, built.artifact)]
        kept.store(rows[-1:], built)
    with updating(CostEvidence, request.root):
        earlier = read_earlier(CostEvidence, request.root) if request.partial else None
        if earlier:
            rows += still_standing(earlier.results, rows, sealed_hashes(request.root), lambda row: row.pair)
        evidence = CostEvidence(
            **identity_of(request.spec),
            size=request.spec.size,
            modules=tuple(modules),
            modules_missing=missing,
            results=by_subject(rows),
        )
        write(request.root, evidence)
    return evidence


def blank(target: str, recipe: str, artifact: str = "") -> CostRow:
    return CostRow(target=target, recipe=recipe, artifact=artifact, evidence="static")


def reference_costs(request: Request) -> tuple[list[ModuleCost], str]:
    """Return (one row per module of the reference, the reason if there are none)."""
    reference = load_runtime("pytorch")
    missing = reference.unavailable()
    if missing or not isinstance(reference, Reference):
        return [], missing or f"{reference.name} counts no modules"
    return reference.module_costs(request.spec), ""


def artifact_cost(folder: Path, artifact: Artifact) -> CostRow:
    row = blank(artifact.target, artifact.recipe, artifact.sha256)
    name, reason = graph_reader(artifact.target)
    if reason:
        return replace(row, verdict="unavailable", reason=reason)
    reader = load_runtime(name)
    try:
        verify(folder, artifact)
        entries = tuple(entry_cost(folder, entry, reader) for entry in primary(artifact))
    except HydraError as error:
        return replace(row, verdict="failed", stage=stage_of(error, "read"), reason=reason_of(error))
    return replace(row, read_by=reader.name, entries=entries)


def graph_reader(target: str) -> tuple[str, str]:
    """Return (the first available runtime that reads this target's graphs, the reason if there is none)."""
    reasons = []
    for name in REGISTRY:
        runtime = load_runtime(name)
        if target in runtime.targets and isinstance(runtime, GraphReader):
            missing = runtime.unavailable()
            if not missing:
                return name, ""
            reasons.append(missing)
    return "", "; ".join(reasons) or f"no runtime reads the graph of {target} files"


def entry_cost(folder: Path, entry: Entry, runtime: Runtime) -> EntryCost:
    if not isinstance(runtime, GraphReader):
        raise StageError("read", f"{runtime.name} reads no graphs")
    graph = runtime.graph(folder, entry)
    return EntryCost(
        entry=entry.id,
        modules=entry.modules,
        operators=len(graph.steps),
        macs=sum(step.macs for step in graph.steps),
        weights=runtime.read_dtypes(folder, entry),
        peak=peak_activations(graph),
        inputs=sum(graph.values[name].bytes for name in graph.inputs),
        outputs=sum(graph.values[name].bytes for name in graph.outputs if name in graph.values),
        kinds=by_kind(graph),
        ops=tuple(op_cost(graph, step) for step in graph.steps),
    )


def op_cost(graph: Graph, step: Step) -> OpCost:
    written = graph.written(step)
    shapes = tuple(value.shape for value in written)
    return OpCost(step.kind, step.name, step.macs, shapes, sum(value.bytes for value in written))


def by_kind(graph: Graph) -> tuple[KindCost, ...]:
    """Return the cost by kind of operator, sorted by descending MACs, then by descending output bytes."""
    kinds: dict[str, list[OpCost]] = {}
    for step in graph.steps:
        kinds.setdefault(step.kind, []).append(op_cost(graph, step))
    rows = [
        KindCost(kind, len(ops), sum(op.macs for op in ops), sum(op.bytes for op in ops)) for kind, ops in kinds.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.macs, -row.bytes, row.kind)))


def conclude_cost(evidence: CostEvidence) -> str:
    """Return the reason line of a pass; raise StageError for an artifact that could not be read."""
    rows = evidence.results
    bad = [row for row in rows if row.verdict == "failed"]
    counted = [row for row in rows if row.verdict == "measured"]
    if bad:
        text = f"{bad[0].target} {bad[0].recipe}: {bad[0].reason} ({len(bad)} of {len(rows)} not read)"
        raise StageError(bad[0].stage or "cost", text)
    if not counted:
        raise NothingJudged("; ".join(sorted({row.reason for row in rows})) or "no artifacts: make export")
    return f"{len(counted)} artifacts counted"
