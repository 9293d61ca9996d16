"""Latency: load, first run and steady state of every artifact, each in a fresh process, and what the numbers mean.

One artifact is measured at a time, so that they do not disturb each other. Times are of this machine and say
nothing about a phone: compare them with each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import identity, load
from benchmarks.parity.run import Request, kept_rows, select
from benchmarks.runtime import Runtime, load_runtime, resolve_runtimes
from hydramobile.artifact import Artifact, verify
from hydramobile.budget import load_budget
from hydramobile.errors import NothingJudged, StageError, UsageError
from hydramobile.files import canonical_json, dump_json, read_json, sha256_bytes, write_text
from hydramobile.goldens import load_goldens
from hydramobile.process import WorkerDied, events
from hydramobile.samples import load_samples
from hydramobile.spec import ModelSpec

HANG_LIMIT = 300.0
REFERENCE = "pytorch"
Row = dict[str, Any]
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Timing:
    """`seconds` of samples an entry; `threads` a runtime may use."""

    seconds: float = 1.5
    threads: int = 1

    def __post_init__(self) -> None:
        if not 0.05 <= self.seconds <= 600:
            raise UsageError(f"--seconds {self.seconds:g} is not within 0.05 to 600")
        if not 1 <= self.threads <= 256:
            raise UsageError(f"--threads {self.threads} is not within 1 to 256")


def run_latency(request: Request, timing: Timing, progress: Progress = lambda text: None) -> Row:
    """Measure, and write `build/<model>/latency.json`; returns its content.

    Without `request.only` the recipes that must ship are measured. Rows of an earlier run stay where they were not
    redone, their artifact still stands and the machine is the same. Raises NothingJudged when there is no artifact,
    StageError for missing or stale goldens.
    """
    names = resolve_runtimes(request.runtimes)
    every, broken = select(request)
    found = shippable(request, every)
    if not request.only:
        ship = load_budget(request.spec).ship
        broken = [row for row in broken if row["recipe"] in ship.get(row["target"], ())]
    # Fails early, and once, where the inputs are missing.
    load_goldens(request.spec, load_samples(request.spec, "judge")[:1], request.spec.size, request.out)
    rows = [blank(r["target"], r["recipe"], "", verdict="failed", stage=r["stage"], reason=r["reason"]) for r in broken]
    for name in names:
        rows += measure_runtime(request, timing, load_runtime(name), found, progress)
    return write_latency(request, rows)


def shippable(request: Request, found: Sequence[tuple[Path, Artifact]]) -> list[tuple[Path, Artifact]]:
    """The artifacts whose recipe must ship; all of them where the request names some."""
    ship = load_budget(request.spec).ship
    return [(folder, a) for folder, a in found if request.only or a.recipe in ship.get(a.target, ())]


def write_latency(request: Request, rows: Sequence[Row]) -> Row:
    """Write `build/<model>/latency.json` with `rows` and those of an earlier run that still stand; returns it."""
    kept, notes = earlier(request, rows)
    document = {
        "schema": 1,
        "model": request.spec.name,
        "spec_sha256": request.spec.sha256,
        "weights_sha256": request.spec.weights_sha256,
        "machine": identity(),
        "notes": notes,
        "results": sorted([*rows, *kept], key=lambda row: (row["target"], row["recipe"], row["runtime"])),
    }
    write_text(request.root / "latency.json", dump_json(document))
    return document


def blank(target: str, name: str, artifact: str, **fields: Any) -> Row:
    own: Row = {"target": target, "recipe": name, "artifact": artifact, "runtime": "", "evidence": ""}
    return {**own, "verdict": "measured", "stage": "", "reason": "", "entries": [], "ratios": [], **fields}


def reference_key(spec: ModelSpec) -> str:
    """What stands for the artifact's hash in rows of the reference itself."""
    return sha256_bytes(canonical_json(["reference", spec.sha256, spec.weights_sha256]).encode())


def measure_runtime(
    request: Request, timing: Timing, runtime: Runtime, found: Sequence[tuple[Path, Artifact]], progress: Progress
) -> list[Row]:
    mine = [(folder, artifact) for folder, artifact in found if artifact.target in runtime.targets]
    reference = runtime.name == REFERENCE
    subjects = [blank(a.target, a.recipe, a.sha256) for _, a in mine]
    if reference:
        subjects = [blank("", "float32", reference_key(request.spec))]
    about = {"runtime": runtime.name, "evidence": runtime.evidence, "threads": timing.threads}
    if not subjects:
        return []
    if not runtime.timed:
        reason = f"its time says nothing about an app ({runtime.about})"
        return [{**row, **about, "verdict": "untimed", "reason": reason} for row in subjects]
    missing = runtime.unavailable()
    if missing:
        return [{**row, **about, "verdict": "unavailable", "reason": missing} for row in subjects]
    folders: list[Path | None] = [None] if reference else [folder for folder, _ in mine]
    rows = []
    for row, folder in zip(subjects, folders, strict=True):
        title = f"{runtime.name}: {row['target'] or 'the reference'} {row['recipe']}"
        progress(title)
        version = {"runtime_version": runtime.version()}
        rows.append({**row, **about, **version, **measure(request, timing, runtime, folder, progress)})
    return rows


def measure(request: Request, timing: Timing, runtime: Runtime, folder: Path | None, progress: Progress) -> Row:
    """The measured fields of one artifact (of the reference where `folder` is None), from a fresh process."""
    from hydramobile.artifact import read_artifact

    job = {
        "model": str(request.spec.folder),
        "out": str(request.out),
        "runtime": runtime.name,
        "folder": str(folder) if folder else None,
        "seconds": timing.seconds,
        "threads": timing.threads,
    }
    before = load()
    try:
        if folder:
            verify(folder, read_artifact(folder))
        for event in events("benchmarks.latency.worker", job, request.root / "latency.log", HANG_LIMIT):
            if event["event"] == "stage":
                progress(f"  {event['text']}")
            elif event["event"] == "failed":
                return {"verdict": "failed", "stage": event["stage"], "reason": event["reason"]}
            else:
                return {**event["result"], "load": {"before": before, "after": load()}}
    except WorkerDied as error:
        return {"verdict": "failed", "stage": "run", "reason": str(error)}
    except StageError as error:
        return {"verdict": "failed", "stage": error.stage, "reason": error.message}
    return {"verdict": "failed", "stage": "run", "reason": "the worker ended without a result"}


def earlier(request: Request, fresh: Sequence[Mapping[str, Any]]) -> tuple[list[Row], list[str]]:
    """(rows of an earlier run that still stand, notes on those that were dropped)."""
    path = request.root / "latency.json"
    if not path.is_file():
        return [], []
    known = read_json(path, "latency")
    kept = kept_rows(request, fresh, "latency", frozenset({reference_key(request.spec)}))
    if known.get("machine") == identity():
        return kept, []
    # What a device of its own measured does not depend on the computer that asked it.
    own = [row for row in kept if row["evidence"] == "measured-on-device"]
    count, name = len(known.get("results", [])) - len(own), known.get("machine", {}).get("processor", "unknown")
    return own, [f"{count} results measured on another machine ({name}) were dropped: unlike machines do not mix"]


def conclude_latency(document: Mapping[str, Any]) -> str:
    """The reason line of a pass; raises StageError for a failed row, NothingJudged when nothing was timed."""
    results: Sequence[Mapping[str, Any]] = document["results"]
    bad = [row for row in results if row["verdict"] == "failed"]
    timed = [row for row in results if row["verdict"] == "measured" and row["target"]]
    if bad:
        first = bad[0]
        raise StageError(
            first["stage"] or "latency",
            f"{first['target']} {first['recipe']} in {first['runtime'] or 'no runtime'}: {first['reason']} "
            f"({len(bad)} of {len(results)} failed)",
        )
    if not timed:
        raise NothingJudged("no artifact was timed; `python -m benchmarks doctor` says which runtimes can run here")
    return f"{len(timed)} artifacts timed on this machine"
