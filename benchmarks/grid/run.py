"""The whole grid in interleaved rounds: in every round each artifact is timed in a fresh process of its own.

One process is one sample: what it inherits (memory layout, core, clock) stays the same for as long as it lives, so
only several processes show how far a median moves by itself. Rounds take turns, so that a machine that gets busier
for a while slows every artifact, and a ratio is taken within a round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.latency.run import HANG_LIMIT, REFERENCE, reference_key
from benchmarks.machine import identity, load
from benchmarks.parity.run import Request, select
from benchmarks.runtime import Runtime, load_runtime, resolve_runtimes
from hydramobile.artifact import Artifact, verify
from hydramobile.errors import NothingJudged, StageError, UsageError
from hydramobile.files import dump_json, write_text
from hydramobile.goldens import load_goldens
from hydramobile.process import WorkerDied, events
from hydramobile.samples import load_samples

FILE = "grid.json"
Row = dict[str, Any]
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Rounds:
    """`count` processes an artifact; `seconds` of steady state an entry in each; `threads` a runtime may use."""

    count: int = 5
    seconds: float = 0.5
    threads: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.count <= 1000:
            raise UsageError(f"--rounds {self.count} is not within 1 to 1000")
        if not 0.05 <= self.seconds <= 600:
            raise UsageError(f"--seconds {self.seconds:g} is not within 0.05 to 600")
        if not 1 <= self.threads <= 256:
            raise UsageError(f"--threads {self.threads} is not within 1 to 256")


@dataclass(slots=True)
class Contender:
    """An artifact in a runtime; the reference itself where `folder` is None. `row` collects its samples."""

    request: Request
    runtime: Runtime
    folder: Path | None
    row: Row


def run_grid(request: Request, rounds: Rounds, progress: Progress = lambda text: None) -> Row:
    """Time every artifact in every runtime that can; writes `build/<model>/grid.json` and returns its content.

    Raises NothingJudged when there is no artifact, StageError for missing or stale goldens.
    """
    check_inputs(request)
    found, contenders = line_up(request)
    take_rounds(contenders, rounds, request, progress)
    document = document_of(request, rounds, [*found, *(contender.row for contender in contenders)])
    write_text(request.root / FILE, dump_json(document))
    return document


def check_inputs(request: Request) -> None:
    """Fails early, and once, where the inputs are missing."""
    load_goldens(request.spec, load_samples(request.spec, "judge")[:1], request.spec.size, request.out)


def line_up(request: Request) -> tuple[list[Row], list[Contender]]:
    """(rows of what cannot be timed, with the reason; everything that can)."""
    names = resolve_runtimes(request.runtimes)
    artifacts, broken = select(request)
    rows = [blank(r["target"], r["recipe"], "", verdict="failed", reason=r["reason"]) for r in broken]
    contenders: list[Contender] = []
    for name in names:
        runtime = load_runtime(name)
        mine: list[tuple[Path | None, Artifact | None]] = [(f, a) for f, a in artifacts if a.target in runtime.targets]
        if runtime.name == REFERENCE:
            mine = [(None, None)]
        reason = runtime.unavailable() if runtime.timed else f"its time says nothing about an app ({runtime.about})"
        for folder, artifact in mine:
            if artifact:
                row = blank(artifact.target, artifact.recipe, artifact.sha256)
            else:
                row = blank("", "float32", reference_key(request.spec))
            row |= {"runtime": runtime.name, "evidence": runtime.evidence}
            if reason:
                rows.append({**row, "verdict": "unavailable" if runtime.timed else "untimed", "reason": reason})
                continue
            contenders.append(Contender(request, runtime, folder, {**row, "runtime_version": runtime.version()}))
    return rows, contenders


def blank(target: str, recipe: str, artifact: str, **fields: Any) -> Row:
    own = {"target": target, "recipe": recipe, "artifact": artifact, "runtime": "", "evidence": ""}
    return {**own, "verdict": "measured", "reason": "", "processes": [], **fields}


def take_rounds(contenders: Sequence[Contender], rounds: Rounds, goldens: Request, progress: Progress) -> None:
    """Fill the contenders' rows: a process each a round, in an order that turns. `goldens` has the inputs."""
    for index in range(rounds.count):
        first = index % max(len(contenders), 1)
        for contender in (*contenders[first:], *contenders[:first]):
            row = contender.row
            if row["verdict"] != "measured":
                continue
            what = f"{row['target'] or 'the reference'} {row['recipe']}"
            progress(f"round {index + 1} of {rounds.count}: {contender.runtime.name} {what}")
            row |= sample(contender, rounds, goldens, index)


def sample(contender: Contender, rounds: Rounds, goldens: Request, index: int) -> Row:
    """The changed fields of a contender's row after one more process."""
    job = {
        "model": str(goldens.spec.folder),
        "out": str(goldens.out),
        "runtime": contender.runtime.name,
        "folder": str(contender.folder) if contender.folder else None,
        "seconds": rounds.seconds,
        "threads": rounds.threads,
    }
    before = load()
    try:
        if contender.folder and not contender.row["processes"]:
            from hydramobile.artifact import read_artifact

            verify(contender.folder, read_artifact(contender.folder))
        for event in events("benchmarks.grid.worker", job, goldens.root / "grid.log", HANG_LIMIT):
            if event["event"] == "failed":
                return {"verdict": "failed", "reason": f"{event['stage']}: {event['reason']}"}
            process = {"round": index, "load": before, **event["result"]}
            return {"processes": [*contender.row["processes"], process]}
    except WorkerDied as error:
        return {"verdict": "failed", "reason": str(error)}
    except StageError as error:
        return {"verdict": "failed", "reason": f"{error.stage}: {error.message}"}
    return {"verdict": "failed", "reason": "the worker ended without a result"}


def document_of(request: Request, rounds: Rounds, rows: Sequence[Row]) -> Row:
    return {
        "schema": 1,
        "model": request.spec.name,
        "spec_sha256": request.spec.sha256,
        "weights_sha256": request.spec.weights_sha256,
        "machine": identity(),
        "rounds": rounds.count,
        "seconds": rounds.seconds,
        "threads": rounds.threads,
        "results": sorted(rows, key=lambda row: (row["target"], row["recipe"], row["runtime"])),
    }


def medians(row: Mapping[str, Any]) -> dict[str, dict[int, float]]:
    """entry -> {round: median milliseconds of that round's process}."""
    found: dict[str, dict[int, float]] = {}
    for process in row["processes"]:
        for entry in process["entries"]:
            found.setdefault(entry["entry"], {})[process["round"]] = entry["p50_ms"]
    return found


def summarize(document: Mapping[str, Any]) -> list[Row]:
    """One row an artifact, runtime and entry: the median of the processes with its quartiles, and the ratio to the
    float32 file of the same target in the same runtime, by rounds."""
    base = {(row["target"], row["runtime"]): medians(row) for row in document["results"] if row["recipe"] == "float32"}
    rows: list[Row] = []
    for row in document["results"]:
        for entry, found in medians(row).items():
            low, middle, high = np.quantile(list(found.values()), (0.25, 0.5, 0.75))
            own = {key: row[key] for key in ("target", "recipe", "runtime", "evidence")}
            other = base.get((row["target"], row["runtime"]), {}).get(entry, {})
            shares = [found[index] / other[index] for index in found if index in other]
            rows.append(
                {
                    **own,
                    "entry": entry,
                    "processes": len(found),
                    "p50_ms": round(float(middle), 4),
                    "low_ms": round(float(low), 4),
                    "high_ms": round(float(high), 4),
                    "to_float32": round(median(shares), 4) if shares and row["recipe"] != "float32" else None,
                }
            )
    return rows


def conclude_grid(document: Mapping[str, Any]) -> str:
    """The reason line of a pass; raises StageError for a failed row, NothingJudged when nothing was timed."""
    results = document["results"]
    bad = [row for row in results if row["verdict"] == "failed"]
    timed = [row for row in results if row["verdict"] == "measured" and row["target"]]
    if bad:
        name = f"{bad[0]['target']} {bad[0]['recipe']} in {bad[0]['runtime'] or 'no runtime'}"
        raise StageError("grid", f"{name}: {bad[0]['reason']} ({len(bad)} of {len(results)} failed)")
    if not timed:
        raise NothingJudged("no artifact was timed; `python -m benchmarks doctor` says which runtimes can run here")
    return f"{len(timed)} artifacts timed in {document['rounds']} interleaved rounds on this machine"
