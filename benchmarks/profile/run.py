"""Where the time goes: milliseconds by operator, from the runtime's own profiler, in a process of its own.

A profiled run is slower than a plain one and its outputs are thrown away: shares are what to read. Latency comes
from `latency` and `grid`, which never profile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from benchmarks.machine import identity, load
from benchmarks.parity.run import Request, select
from benchmarks.runtime import Runtime, Tensors, load_runtime, resolve_runtimes
from hydramobile.artifact import Artifact, Entry
from hydramobile.budget import load_budget
from hydramobile.errors import NothingJudged, StageError
from hydramobile.files import dump_json, write_text
from hydramobile.goldens import load_goldens
from hydramobile.process import WorkerDied, events
from hydramobile.samples import load_samples

FILE = "profile.json"
HANG_LIMIT = 300.0
Row = dict[str, Any]
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class OpTime:
    """One operator of the graph, or several that the profiler does not tell apart. `ms` is the time of all of them in
    one inference, `calls` how often they ran in it; `kind` names the kernel, `name` the operator."""

    kind: str
    name: str
    ms: float
    calls: float


@runtime_checkable
class Profiler(Protocol):
    """A runtime with a profiler of its own."""

    def no_profile(self) -> str | None:
        """Why it cannot profile here, or None."""
        ...

    def profile(self, folder: Path, entry: Entry, inputs: Tensors, runs: int) -> list[OpTime]:
        """The mean of `runs` runs after a warm-up, in execution order; one thread."""
        ...


def run_profile(request: Request, progress: Progress = lambda text: None) -> Row:
    """Profile the recipes that must ship (or those of `request.only`); writes `build/<model>/profile.json`.

    Raises NothingJudged when there is no artifact, StageError for missing or stale goldens.
    """
    names = resolve_runtimes(request.runtimes)
    found, broken = select(request)
    load_goldens(request.spec, load_samples(request.spec, "judge")[:1], request.spec.size, request.out)
    ship = load_budget(request.spec).ship
    rows = [blank(r["target"], r["recipe"], "", verdict="failed", reason=r["reason"]) for r in broken]
    for name in names:
        runtime = load_runtime(name)
        for folder, artifact in found:
            chosen = request.only or artifact.recipe in ship.get(artifact.target, ())
            if artifact.target in runtime.targets and chosen:
                rows.append(profile_artifact(request, runtime, folder, artifact, progress))
    document = {
        "schema": 1,
        "model": request.spec.name,
        "spec_sha256": request.spec.sha256,
        "weights_sha256": request.spec.weights_sha256,
        "machine": identity(),
        "results": sorted(rows, key=lambda row: (row["target"], row["recipe"], row["runtime"])),
    }
    write_text(request.root / FILE, dump_json(document))
    return document


def blank(target: str, recipe: str, artifact: str, **fields: Any) -> Row:
    own = {"target": target, "recipe": recipe, "artifact": artifact, "runtime": "", "evidence": ""}
    return {**own, "verdict": "measured", "reason": "", "entries": [], **fields}


def profile_artifact(request: Request, runtime: Runtime, folder: Path, artifact: Artifact, progress: Progress) -> Row:
    row = blank(artifact.target, artifact.recipe, artifact.sha256, runtime=runtime.name, evidence=runtime.evidence)
    if not isinstance(runtime, Profiler):
        return {**row, "verdict": "unavailable", "reason": f"{runtime.name} offers no profile by operator"}
    missing = runtime.unavailable() or runtime.no_profile()
    if missing:
        return {**row, "verdict": "unavailable", "reason": missing}
    progress(f"{runtime.name}: {artifact.target} {artifact.recipe}")
    job = {"model": str(request.spec.folder), "out": str(request.out), "runtime": runtime.name, "folder": str(folder)}
    about = {"runtime_version": runtime.version(), "load": load()}
    try:
        for event in events("benchmarks.profile.worker", job, request.root / "profile.log", HANG_LIMIT):
            if event["event"] == "failed":
                return {**row, **about, "verdict": "failed", "reason": f"{event['stage']}: {event['reason']}"}
            return {**row, **about, "entries": event["entries"]}
    except WorkerDied as error:
        return {**row, **about, "verdict": "failed", "reason": str(error)}
    return {**row, **about, "verdict": "failed", "reason": "the worker ended without a result"}


def by_kind(ops: Sequence[OpTime]) -> list[Row]:
    """The operators by kernel, the most expensive first: {"kind", "ms", "share", "calls", "slowest"}."""
    total = sum(op.ms for op in ops) or 1.0
    kinds: dict[str, list[OpTime]] = {}
    for op in ops:
        kinds.setdefault(op.kind, []).append(op)
    rows = [
        {
            "kind": kind,
            "ms": round(sum(op.ms for op in own), 4),
            "share": round(sum(op.ms for op in own) / total, 4),
            "calls": round(sum(op.calls for op in own)),
            "slowest": max(own, key=lambda op: op.ms).name,
        }
        for kind, own in kinds.items()
    ]
    return sorted(rows, key=lambda row: -float(row["ms"]))


def entry_row(entry: Entry, ops: Sequence[OpTime]) -> Row:
    shown = [{**asdict(op), "ms": round(op.ms, 5)} for op in ops]
    own = {"entry": entry.id, "modules": list(entry.modules), "ms": round(sum(op.ms for op in ops), 4)}
    return {**own, "kinds": by_kind(ops), "ops": shown}


def conclude_profile(document: Mapping[str, Any]) -> str:
    results = document["results"]
    bad = [row for row in results if row["verdict"] == "failed"]
    made = [row for row in results if row["verdict"] == "measured"]
    if bad:
        name = f"{bad[0]['target']} {bad[0]['recipe']} in {bad[0]['runtime'] or 'no runtime'}"
        raise StageError("profile", f"{name}: {bad[0]['reason']} ({len(bad)} of {len(results)} failed)")
    if not made:
        reasons = "; ".join(sorted({row["reason"] for row in results}))
        raise NothingJudged(f"nothing was profiled: {reasons or 'none of the chosen runtimes runs these artifacts'}")
    return f"{len(made)} artifacts profiled by operator"
