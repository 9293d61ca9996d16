"""Static cost: what each module multiplies and stores, and what each artifact's graph asks of memory.

Nothing is timed: these figures are properties of the net and of the files, the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.cost.graph import Graph, GraphReader, peak_activations
from benchmarks.parity.run import Request, kept_rows, select
from benchmarks.runtime import REGISTRY, Runtime, load_runtime
from hydramobile.artifact import Artifact, Entry, primary, verify
from hydramobile.errors import HydraError, NothingJudged, StageError
from hydramobile.files import dump_json, write_text

FILE = "cost.json"
EVIDENCE = "static"
Row = dict[str, Any]
Progress = Callable[[str], None]


def run_cost(request: Request, progress: Progress = lambda text: None) -> Row:
    """Count, and write `build/<model>/cost.json`; returns its content. `request.runtimes` is not used.

    Raises NothingJudged when there is no artifact. An artifact that cannot be read is a row with its stage.
    """
    found, broken = select(request)
    rows = [blank(r["target"], r["recipe"], "", verdict="failed", stage=r["stage"], reason=r["reason"]) for r in broken]
    modules, missing = reference_costs(request)
    for folder, artifact in found:
        progress(f"cost: {artifact.target} {artifact.recipe}")
        rows.append(artifact_cost(folder, artifact))
    if request.partial:
        rows += kept_rows(request, rows, "cost")
    document = {
        "schema": 1,
        "model": request.spec.name,
        "spec_sha256": request.spec.sha256,
        "weights_sha256": request.spec.weights_sha256,
        "size": list(request.spec.size),
        "evidence": EVIDENCE,
        "modules": modules,
        "modules_missing": missing,
        "results": sorted(rows, key=lambda row: (row["target"], row["recipe"])),
    }
    write_text(request.root / FILE, dump_json(document))
    return document


def blank(target: str, recipe: str, artifact: str, **fields: Any) -> Row:
    own: Row = {"target": target, "recipe": recipe, "artifact": artifact, "evidence": EVIDENCE}
    return {**own, "verdict": "measured", "stage": "", "reason": "", "read_by": "", "entries": [], **fields}


def reference_costs(request: Request) -> tuple[list[Row], str]:
    """(a row a module of the reference, why there is none)."""
    reference: Any = load_runtime("pytorch")
    missing = reference.unavailable()
    if missing:
        return [], str(missing)
    return [asdict(cost) for cost in reference.module_costs(request.spec)], ""


def artifact_cost(folder: Path, artifact: Artifact) -> Row:
    row = blank(artifact.target, artifact.recipe, artifact.sha256)
    reader, reason = graph_reader(artifact.target)
    if reader is None:
        return {**row, "verdict": "unavailable", "reason": reason}
    try:
        verify(folder, artifact)
        entries = [entry_row(folder, entry, reader) for entry in primary(artifact)]
    except HydraError as error:
        stage = error.stage if isinstance(error, StageError) else "read"
        text = error.message if isinstance(error, StageError) else str(error)
        return {**row, "verdict": "failed", "stage": stage, "reason": text}
    return {**row, "read_by": reader.name, "entries": entries}


def graph_reader(target: str) -> tuple[Any, str]:
    """The first runtime here that reads this target's graphs, or (None, why there is none)."""
    reasons = []
    for name in REGISTRY:
        runtime = load_runtime(name)
        if target in runtime.targets and isinstance(runtime, GraphReader):
            missing = runtime.unavailable()
            if not missing:
                return runtime, ""
            reasons.append(missing)
    return None, "; ".join(reasons) or f"no runtime reads the graph of {target} files"


def entry_row(folder: Path, entry: Entry, reader: Any) -> Row:
    runtime: Runtime = reader
    graph: Graph = reader.graph(folder, entry)
    peak = peak_activations(graph)
    return {
        "entry": entry.id,
        "modules": list(entry.modules),
        "operators": len(graph.steps),
        "macs": sum(step.macs for step in graph.steps),
        "weights": runtime.read_dtypes(folder, entry),
        "peak": asdict(peak),
        "inputs": sum(graph.values[name].bytes for name in graph.inputs),
        "outputs": sum(graph.values[name].bytes for name in graph.outputs if name in graph.values),
        "kinds": by_kind(graph),
        "ops": [op_row(graph, index) for index in range(len(graph.steps))],
    }


def op_row(graph: Graph, index: int) -> Row:
    step = graph.steps[index]
    made = [graph.values[name] for name in step.writes if name in graph.values]
    shapes = [list(value.shape) for value in made]
    return {"kind": step.kind, "name": step.name, "macs": step.macs, "shapes": shapes, "bytes": total_bytes(made)}


def total_bytes(values: Sequence[Any]) -> int:
    return sum(int(value.bytes) for value in values)


def by_kind(graph: Graph) -> list[Row]:
    """Operators by kind, those that multiply most first, then those that write most."""
    kinds: dict[str, Row] = {}
    for index in range(len(graph.steps)):
        own = op_row(graph, index)
        row = kinds.setdefault(own["kind"], {"kind": own["kind"], "operators": 0, "macs": 0, "bytes": 0})
        row["operators"] += 1
        row["macs"] += own["macs"]
        row["bytes"] += own["bytes"]
    return sorted(kinds.values(), key=lambda row: (-row["macs"], -row["bytes"], row["kind"]))


def conclude_cost(document: Mapping[str, Any]) -> str:
    """The reason line of a pass; raises StageError for an artifact that could not be read."""
    results: Sequence[Mapping[str, Any]] = document["results"]
    bad = [row for row in results if row["verdict"] == "failed"]
    counted = [row for row in results if row["verdict"] == "measured"]
    if bad:
        first = f"{bad[0]['target']} {bad[0]['recipe']}: {bad[0]['reason']}"
        raise StageError(bad[0]["stage"] or "cost", f"{first} ({len(bad)} of {len(results)} not read)")
    if not counted:
        raise NothingJudged("; ".join(sorted({row["reason"] for row in results})) or "no artifacts: make export")
    return f"{len(counted)} artifacts counted"
