"""ARM instructions per inference, by class: a cost that does not jitter, and a gate on it.

They count work, not time: a core retires several instructions a cycle, and how many depends on which. What a count
is good for is the difference between two builds of the same net, which no noise hides; `--gate` fails on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from benchmarks.parity.run import WORKERS, Request, kept_rows, select
from benchmarks.runtime import Runtime, load_runtime, resolve_runtimes, runs
from hydramobile.artifact import Artifact
from hydramobile.budget import load_budget
from hydramobile.errors import BudgetBroken, NothingJudged, StageError
from hydramobile.files import dump_json, read_json, write_text
from hydramobile.goldens import load_goldens
from hydramobile.process import WorkerDied, events
from hydramobile.samples import load_samples
from hydramobile.spec import ModelSpec

FILE = "instructions.json"
EVIDENCE = "instruction-proxy"
HANG_LIMIT = 900.0
# More of the total than this is a regression, in percent.
GATE = 1.0
Row = dict[str, Any]
Progress = Callable[[str], None]


@runtime_checkable
class Counting(Protocol):
    """A runtime that can count the instructions of its sessions (`Session.count(runs)` of what `counter` opens)."""

    def counter(self) -> Runtime: ...


@dataclass(frozen=True, slots=True)
class Change:
    """One entry against the baseline. `change` is of the total, in percent; None where there is nothing to compare."""

    key: str
    entry: str
    total: int
    change: float | None
    reason: str = ""


def run_instructions(request: Request, progress: Progress = lambda text: None) -> Row:
    """Count the recipes that must ship (or those of `request.only`), and write `build/<model>/instructions.json`.

    Raises NothingJudged when there is no artifact, StageError for missing or stale goldens.
    """
    names = resolve_runtimes(request.runtimes or ("arm",))
    found, broken = select(request)
    load_goldens(request.spec, load_samples(request.spec, "judge")[:1], request.spec.size, request.out)
    ship = load_budget(request.spec).ship
    if not request.only:
        found = [(folder, a) for folder, a in found if a.recipe in ship.get(a.target, ())]
        broken = [row for row in broken if row["recipe"] in ship.get(row["target"], ())]
    rows = [blank(r["target"], r["recipe"], "", verdict="failed", reason=r["reason"]) for r in broken]
    jobs: list[tuple[Runtime, list[tuple[Path, Artifact]]]] = []
    for runtime in map(load_runtime, names):
        mine = [(folder, a) for folder, a in found if runs(runtime, a.target, a.recipe)]
        missing = runtime.unavailable() if isinstance(runtime, Counting) else f"{runtime.name} counts no instructions"
        if missing:
            rows += [
                blank(a.target, a.recipe, a.sha256, runtime.name, verdict="unavailable", reason=missing)
                for _, a in mine
            ]
        elif mine:
            jobs.append((runtime, mine))
    with ThreadPoolExecutor(WORKERS) as pool:
        for counted in pool.map(lambda job: count_runtime(request, job[0], job[1], progress), jobs):
            rows += counted
    rows += kept_rows(request, rows, "instructions")
    document = {
        "schema": 1,
        "model": request.spec.name,
        "spec_sha256": request.spec.sha256,
        "weights_sha256": request.spec.weights_sha256,
        "results": sorted(rows, key=lambda row: (row["target"], row["recipe"], row["runtime"])),
    }
    write_text(request.root / FILE, dump_json(document))
    return document


def blank(target: str, recipe: str, artifact: str, runtime: str = "", **fields: Any) -> Row:
    own = {"target": target, "recipe": recipe, "artifact": artifact, "runtime": runtime, "evidence": EVIDENCE}
    return {**own, "verdict": "counted", "reason": "", "runtime_version": {}, "entries": [], **fields}


def count_runtime(
    request: Request, runtime: Runtime, artifacts: Sequence[tuple[Path, Artifact]], progress: Progress
) -> list[Row]:
    """All artifacts of one runtime, in one worker process; one that dies costs the artifact it was counting."""
    rows: list[Row] = []
    waiting = dict(artifacts)
    while waiting:
        folders = [str(folder) for folder in waiting]
        job = {"model": str(request.spec.folder), "out": str(request.out), "runtime": runtime.name, "folders": folders}
        current = next(iter(waiting))
        row = blank("", "", "", runtime.name, runtime_version=runtime.version())
        try:
            for event in events("benchmarks.instructions.worker", job, request.root / "instructions.log", HANG_LIMIT):
                current = Path(event["folder"])
                if event["event"] == "start":
                    progress(f"{runtime.name}: {waiting[current].target} {waiting[current].recipe}")
                    continue
                artifact = waiting.pop(current)
                own = {"target": artifact.target, "recipe": artifact.recipe, "artifact": artifact.sha256}
                rows.append({**row, **own, **event["result"]})
        except WorkerDied as error:
            artifact = waiting.pop(current)
            own = {"target": artifact.target, "recipe": artifact.recipe, "artifact": artifact.sha256}
            rows.append({**row, **own, "verdict": "failed", "reason": str(error)})
    return rows


def key_of(row: Mapping[str, Any]) -> str:
    """What a baseline's numbers belong to: the file's recipe, the emulated processor, the library and its version."""
    version = " ".join(f"{name} {value}" for name, value in sorted(row["runtime_version"].items()))
    return f"{row['target']}/{row['recipe']} in {row['runtime']} ({version})"


def baseline_path(spec: ModelSpec) -> Path:
    """Reviewed data, beside the model's budget."""
    return spec.folder / FILE


def write_baseline(spec: ModelSpec, document: Mapping[str, Any]) -> Path:
    """Renew the model's baseline by what was counted; keys that were not counted now stay as they are."""
    path = baseline_path(spec)
    old = read_json(path, "baseline")["counts"] if path.is_file() else {}
    fresh = {
        key_of(row): {entry["entry"]: entry["counts"] for entry in row["entries"]}
        for row in document["results"]
        if row["verdict"] == "counted"
    }
    if not fresh:
        raise NothingJudged("nothing was counted, so the baseline stays as it is")
    counts = {**old, **fresh}
    content = {
        "about": "ARM instructions per inference, reviewed; `python -m benchmarks instructions --update` renews it",
        "weights_sha256": spec.weights_sha256,
        "counts": {key: counts[key] for key in sorted(counts)},
    }
    write_text(path, dump_json(content))
    return path


def compare(spec: ModelSpec, document: Mapping[str, Any]) -> list[Change]:
    """Every counted entry against the model's baseline.

    Counts hardly depend on the values of weights, so a baseline of other weights still binds.
    """
    path = baseline_path(spec)
    known = read_json(path, "baseline")["counts"] if path.is_file() else {}
    found = []
    for row in (row for row in document["results"] if row["verdict"] == "counted"):
        key = key_of(row)
        for entry in row["entries"]:
            total, old = entry["counts"]["total"], known.get(key, {}).get(entry["entry"])
            if old is None:
                reason = f"there is no baseline for {key}" if path.is_file() else f"there is no baseline {path}"
                found.append(Change(key, entry["entry"], total, None, reason))
                continue
            found.append(
                Change(key, entry["entry"], total, 100 * (total / old["total"] - 1), moved(old, entry["counts"]))
            )
    return found


def moved(old: Mapping[str, int], new: Mapping[str, int]) -> str:
    """The class that moved most, as a share of the old total: where to look."""
    changes = {name: (new.get(name, 0) - old.get(name, 0)) / old["total"] for name in new if name != "total"}
    name = max(changes, key=lambda each: abs(changes[each]))
    return f"most of it in {name} ({changes[name]:+.1%} of the total)" if abs(changes[name]) > 0.001 else ""


def conclude_instructions(spec: ModelSpec, document: Mapping[str, Any], gate: float = GATE) -> str:
    """The reason line of a pass; raises StageError for a failed row, BudgetBroken for a regression, NothingJudged
    when nothing was counted or nothing has a baseline."""
    results: Sequence[Mapping[str, Any]] = document["results"]
    bad = [row for row in results if row["verdict"] == "failed"]
    if bad:
        raise StageError("count", f"{bad[0]['target']} {bad[0]['recipe']} in {bad[0]['runtime']}: {bad[0]['reason']}")
    changes = compare(spec, document)
    if not changes:
        reason = next((row["reason"] for row in results if row["reason"]), "no emulated runtime runs these artifacts")
        raise NothingJudged(f"nothing was counted: {reason}")
    judged = [(change, change.change) for change in changes if change.change is not None]
    if not judged:
        raise NothingJudged(f"{changes[0].reason}; make it with: python -m benchmarks instructions --update")
    worst, most = max(judged, key=lambda pair: pair[1])
    if most > gate:
        where = f"{worst.key}, {worst.entry}"
        old = (
            ""
            if read_json(baseline_path(spec), "baseline")["weights_sha256"] == spec.weights_sha256
            else ("; the baseline is of other weights: if the net has changed, renew it with --update")
        )
        raise BudgetBroken(f"{where}: {most:+.2f} % instructions, over the gate of {gate:g} %; {worst.reason}{old}")
    new = f", {len(changes) - len(judged)} without a baseline" if len(judged) < len(changes) else ""
    return f"{len(judged)} entries within {gate:g} % of the baseline (worst {most:+.3f} %){new}"
