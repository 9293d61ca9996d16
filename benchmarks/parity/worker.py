"""Worker process of one runtime: judge artifacts in sequence and send each row as soon as it is known."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from benchmarks.evidence.envelope import plain
from benchmarks.evidence.parity import Facts, ParityRow, Verdict
from benchmarks.optional import Tracer
from benchmarks.parity.artifact import judge_artifact
from benchmarks.parity.bench import Bench, load_bench
from benchmarks.parity.bisect import Sealed, bisect_artifact, summary
from benchmarks.parity.rows import blank, failed
from benchmarks.runtime import Runtime, load_runtime
from hydramobile.artifact import read_artifact
from hydramobile.errors import HydraError, StageError, describe
from hydramobile.process import receive, send
from hydramobile.spec import load_spec


def main() -> None:
    job, stream = receive(sys.argv[1:])
    spec = load_spec(Path(job["model"]))
    samples = Path(job["samples"]) if job["samples"] else None
    folders = [Path(name) for name in job["folders"]]
    artifacts = [(folder.parent.name, folder.name) for folder in folders]
    bench = replace(load_bench(spec, Path(job["out"]), samples, job["most"], artifacts), lean=job["lean"])
    runtime = load_runtime(job["runtime"])
    with stream:
        for folder in folders:
            send(stream, event="start", folder=str(folder))
            send_rows(stream, folder, judged(bench, runtime, folder))
            if row := environment_row(runtime, folder):
                send_rows(stream, folder, iter([row]))
            if job["bisect"]:
                send_rows(stream, folder, iter([bisection(bench, runtime, folder)]))
            send(stream, event="done", folder=str(folder))


def send_rows(stream: TextIO, folder: Path, rows: Iterator[ParityRow]) -> None:
    for row in rows:
        send(stream, event="result", folder=str(folder), result=plain(row))


def judged(bench: Bench, runtime: Runtime, folder: Path) -> Iterator[ParityRow]:
    """Judge an artifact; an adapter's bug fails this artifact, not the whole runtime."""
    try:
        yield from judge_artifact(bench, runtime, folder)
    except Exception as error:  # noqa: BLE001  an adapter's own bug is this artifact's failure, with its name
        traceback.print_exc()
        known = error if isinstance(error, HydraError) else StageError("run", describe(error))
        yield failed(blank(read_artifact(folder), runtime), known)


def environment_row(runtime: Runtime, folder: Path) -> ParityRow | None:
    """Return a row of mode "environment" that describes the runtime's environment; None if it reports none."""
    row = replace(blank(read_artifact(folder), runtime), mode="environment")
    try:
        environment = runtime.environment()
    except HydraError as error:
        return failed(row, error, mode="environment")
    return replace(row, facts=Facts(environment=environment)) if environment else None


def bisection(bench: Bench, runtime: Runtime, folder: Path) -> ParityRow:
    """Return a row of mode "bisect" with every divergence; it locates errors and does not judge them.

    The verdict is "unavailable" if the runtime shows no intermediate tensors, because then only module boundaries
    were compared.
    """
    candidate = Sealed(folder, read_artifact(folder))
    row, base = blank(candidate.artifact, runtime), folder.parent / "float32"
    try:
        truth = Sealed(base, read_artifact(base)) if folder.name != "float32" else None
        found = bisect_artifact(runtime, candidate, truth, bench.goldens[0])
    except HydraError as error:
        return failed(row, error, mode="bisect")
    missing = truth is not None and not isinstance(runtime, Tracer)
    verdict: Verdict = "unavailable" if missing else "pass"
    return replace(row, mode="bisect", verdict=verdict, reason=summary(found), samples=1, facts=Facts(bisect=found))


if __name__ == "__main__":
    main()
