"""Parity: every artifact x entry x runtime against the reference's goldens, and what that means for shipping."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import identity
from benchmarks.parity import lean
from benchmarks.parity.bench import load_bench
from benchmarks.runtime import Runtime, forced, load_runtime, on_request, resolve_runtimes, runs
from hydramobile.artifact import Artifact, find_artifacts, read_artifact
from hydramobile.budget import Budget, load_budget
from hydramobile.errors import BudgetBroken, NothingJudged, StageError
from hydramobile.files import dump_json, read_json, write_text
from hydramobile.process import WorkerDied, events
from hydramobile.samples import load_samples, refuse_calibrated
from hydramobile.spec import ModelSpec
from hydramobile.targets import chosen

HANG_LIMIT = 600.0
WORKERS = 2
Row = dict[str, Any]
Progress = Callable[[str], None]
Job = tuple[Runtime, list[tuple[Path, Artifact]]]


@dataclass(frozen=True, slots=True)
class Request:
    """What to judge. `only` holds (target, recipe or ""); empty `only` or `runtimes` mean all, as does `most` = 0,
    the most samples to judge by. `lean`: what other rows show is left out (benchmarks/lean.py)."""

    spec: ModelSpec
    out: Path
    samples: Path | None = None
    only: tuple[tuple[str, str], ...] = ()
    runtimes: tuple[str, ...] = ()
    bisect: bool = False
    most: int = 0
    lean: bool = False

    @property
    def root(self) -> Path:
        return self.out / self.spec.name

    @property
    def partial(self) -> bool:
        return bool(self.only or self.runtimes)


def select(request: Request) -> tuple[list[tuple[Path, Artifact]], list[Row]]:
    """The readable artifacts to judge, and failed rows for the unreadable ones."""
    found: list[tuple[Path, Artifact]] = []
    broken: list[Row] = []
    for folder in find_artifacts(request.root):
        target, name = folder.parent.name, folder.name
        if not chosen(request.only, target, name):
            continue
        try:
            found.append((folder, read_artifact(folder)))
        except StageError as error:
            broken.append(row(target, name, "", "", verdict="failed", stage=error.stage, reason=error.message))
    if not found and not broken:
        asked = f" for {', '.join('/'.join(filter(None, pair)) for pair in request.only)}" if request.only else ""
        raise NothingJudged(f"no artifacts in {request.root}{asked}; make them with: make export")
    return found, broken


def row(target: str, name: str, artifact: str, runtime: str, **fields: Any) -> Row:
    blank: Row = {"entry": "", "mode": "", "stage": "", "reason": "", "samples": 0, "measures": [], "facts": {}}
    own = {"target": target, "recipe": name, "artifact": artifact, "runtime": runtime, "evidence": ""}
    return {**own, **blank, **fields}


def run_parity(request: Request, progress: Progress = lambda text: None) -> Row:
    """Judge, and write `build/<model>/parity.json`; returns its content.

    A partial request replaces its own rows and keeps the others (those of artifacts that still stand).
    Raises NothingJudged when there is no artifact, StageError for missing or stale goldens and for bad labels.
    """
    names = resolve_runtimes(request.runtimes)
    found, rows = select(request)
    samples = load_samples(request.spec, "judge", request.samples)
    bench = load_bench(request.spec, request.out, request.samples, 0, [(a.target, a.recipe) for _, a in found])
    labelled = [each.labelled for each in (bench, bench.against) if each and each.labelled]
    photos = [label.photo for each in labelled for label in each.labels.all]
    refuse_calibrated(request.root, [f"{a.target}/{a.recipe}" for _, a in found], [*samples, *photos])
    jobs: list[Job] = []
    left: list[Row] = []
    runtimes = [load_runtime(name) for name in names]
    for runtime in runtimes:
        mine = [(folder, a) for folder, a in found if runs(runtime, a.target, a.recipe)]
        missing = runtime.unavailable() if mine else None
        if missing:
            rows += [unavailable(runtime, artifact, missing) for _, artifact in mine]
            continue
        if request.lean:
            instead = {a.sha256: lean.shown_by(runtime, a, runtimes) for _, a in mine}
            left += [leave_out(runtime, a, instead[a.sha256]) for _, a in mine if instead[a.sha256]]
            mine = [(folder, a) for folder, a in mine if not instead[a.sha256]]
        if mine:
            jobs.append((runtime, mine))
    # The longest first, so that no worker is left with it at the end.
    jobs.sort(key=lambda job: -len(job[1]))
    with ThreadPoolExecutor(WORKERS) as pool:
        for judged in pool.map(lambda job: judge_runtime(request, job[0], job[1], progress), jobs):
            rows += judged
    kept = kept_rows(request, rows)
    known = {subject_of(own) for own in kept}
    rows += [own for own in left if subject_of(own) not in known]
    # What only runs on request would otherwise be lost with the next run of all others.
    rows += kept if request.partial else [row for row in kept if on_request(row["runtime"])]
    document = {
        "schema": 1,
        "model": request.spec.name,
        "spec_sha256": request.spec.sha256,
        "weights_sha256": request.spec.weights_sha256,
        "samples": [golden.sample for golden in bench.goldens],
        "samples_asked": len(samples),
        "machine": identity(),
        "results": sorted(rows, key=lambda r: (r["target"], r["recipe"], r["runtime"], r["entry"], r["mode"])),
    }
    write_text(request.root / "parity.json", dump_json(document))
    return document


def unavailable(runtime: Runtime, artifact: Artifact, reason: str) -> Row:
    fields = {"verdict": "unavailable", "reason": reason, "evidence": runtime.evidence}
    return row(artifact.target, artifact.recipe, artifact.sha256, runtime.name, **fields)


def leave_out(runtime: Runtime, artifact: Artifact, other: str | None) -> Row:
    reason = f"computes in float32, as in {other}, which judges it"
    return {**unavailable(runtime, artifact, reason), "stage": lean.STAGE}


def judge_runtime(
    request: Request, runtime: Runtime, artifacts: Sequence[tuple[Path, Artifact]], progress: Progress
) -> list[Row]:
    """All artifacts of one runtime, in a worker process; one that dies costs the artifact it was judging."""
    rows: list[Row] = []
    waiting = dict(artifacts)
    while waiting:
        job = {
            "model": str(request.spec.folder),
            "out": str(request.out),
            "samples": str(request.samples) if request.samples else None,
            "runtime": runtime.name,
            "bisect": request.bisect,
            "most": request.most,
            "lean": request.lean,
            "folders": [str(folder) for folder in waiting],
        }
        current = next(iter(waiting))
        try:
            for event in events("benchmarks.parity.worker", job, request.root / "parity.log", HANG_LIMIT):
                current = Path(event["folder"])
                if event["event"] == "start":
                    progress(f"{runtime.name}: {waiting[current].target} {waiting[current].recipe}")
                elif event["event"] == "result":
                    rows.append({**event["result"], "runtime_version": runtime.version()})
                else:
                    del waiting[current]
        except WorkerDied as error:
            artifact = waiting.pop(current)
            fields = {"verdict": "failed", "stage": "run", "reason": str(error), "evidence": runtime.evidence}
            rows.append(row(artifact.target, artifact.recipe, artifact.sha256, runtime.name, **fields))
    return rows


def kept_rows(
    request: Request, fresh: Sequence[Mapping[str, Any]], kind: str = "parity", also: frozenset[str] = frozenset()
) -> list[Row]:
    """Rows of an earlier run that this one did not redo and whose artifact still is the same.

    `kind` names the evidence file; `also` holds hashes that stand beside those of the artifacts on disk.
    """
    path = request.root / f"{kind}.json"
    if not path.is_file():
        return []
    redone = {subject_of(r) for r in fresh}
    standing = {a.sha256 for a in (readable(f) for f in find_artifacts(request.root)) if a} | also
    old: list[Row] = read_json(path, kind).get("results", [])
    return [r for r in old if subject_of(r) not in redone and r["artifact"] in standing]


def subject_of(row: Mapping[str, Any]) -> tuple[str, str, str | None, str]:
    """What a row is about: an artifact in a runtime, on this computer or on the device that it names."""
    return row["target"], row["recipe"], row.get("runtime"), row.get("device", {}).get("id", "")


def readable(folder: Path) -> Artifact | None:
    try:
        return read_artifact(folder)
    except StageError:
        return None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one artifact stands after all its results. `state`: ships, refused, broken, failed, unjudged."""

    target: str
    recipe: str
    ship: bool
    state: str
    reason: str


def standings(budget: Budget, rows: Sequence[Mapping[str, Any]]) -> list[Standing]:
    """One Standing a target x recipe. A refused candidate is no failure; a broken ship recipe is.

    What a file does not keep where an app would have to ask for it (`forced`) is said, and moves nothing: it is not how
    the file ships."""
    grouped: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for item in rows:
        grouped.setdefault((item["target"], item["recipe"]), []).append(item)
    found = []
    for (target, name), own in sorted(grouped.items()):
        ship = name in budget.ship.get(target, ())
        state, reason = ("ships" if ship else "passes"), ""
        by_verdict = {kind: [r for r in own if r["verdict"] == kind] for kind in ("failed", "mismatch", "pass")}
        beside = [r for r in by_verdict["mismatch"] if forced(r["runtime"])]
        by_verdict["mismatch"] = [r for r in by_verdict["mismatch"] if not forced(r["runtime"])]
        if by_verdict["failed"]:
            state, reason = "failed", explain(by_verdict["failed"][0])
        elif by_verdict["mismatch"]:
            state, reason = ("broken" if ship else "refused"), explain(by_verdict["mismatch"][0])
        elif not any(r["measures"] for r in by_verdict["pass"]):
            state, reason = "unjudged", next((r["reason"] for r in own if r["reason"]), "no runtime judged it")
        elif beside:
            reason = f"but not where an app forces it: {explain(beside[0])}"
        found.append(Standing(target, name, ship, state, reason))
    return found


def explain(item: Mapping[str, Any]) -> str:
    where = " ".join(filter(None, (item["runtime"], item["entry"], item["mode"], item["stage"])))
    return f"{where}: {item['reason']}" if where else str(item["reason"])


def conclude(spec: ModelSpec, document: Mapping[str, Any], asked: Sequence[str] = ()) -> str:
    """The reason line of a pass; raises with the exit code of the worst standing. Runtimes that were `asked` for by
    name and are all unavailable judged nothing, whatever others found before."""
    own = [row for row in document["results"] if row["runtime"] in asked]
    if own and all(row["verdict"] == "unavailable" for row in own):
        raise NothingJudged(f"{own[0]['runtime']} is unavailable: {own[0]['reason']}")
    found = standings(load_budget(spec), document["results"])
    if not found:
        raise NothingJudged("none of the chosen runtimes runs any of these artifacts; a comparison of nothing fails")
    for state, kind in (("failed", None), ("broken", BudgetBroken), ("unjudged", NothingJudged)):
        bad = [standing for standing in found if standing.state == state]
        if bad:
            text = f"{bad[0].target} {bad[0].recipe}: {bad[0].reason} ({len(bad)} of {len(found)} artifacts {state})"
            raise kind(text) if kind else StageError("parity", text)
    refused = sum(standing.state == "refused" for standing in found)
    return f"{len(found) - refused} artifacts agree with the reference" + (f", {refused} refused" if refused else "")
