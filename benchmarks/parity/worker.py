"""The worker process of one runtime: judges artifacts one after the other and sends each result as it comes."""

from __future__ import annotations

import sys
import traceback
from dataclasses import replace
from pathlib import Path

from benchmarks.parity.artifact import Bench, Blank, judge_artifact
from benchmarks.parity.bench import load_bench
from benchmarks.parity.bisect import bisect_artifact
from benchmarks.parity.verdict import Result
from benchmarks.runtime import Runtime, load_runtime
from hydramobile.artifact import read_artifact
from hydramobile.errors import HydraError, StageError
from hydramobile.process import receive, send
from hydramobile.spec import load_spec


def main() -> None:
    job, stream = receive(sys.argv[1:])
    spec = load_spec(Path(job["model"]))
    samples = Path(job["samples"]) if job["samples"] else None
    artifacts = [(Path(name).parent.name, Path(name).name) for name in job["folders"]]
    bench = load_bench(spec, Path(job["out"]), samples, job["most"], artifacts)
    bench = replace(bench, lean=job["lean"])
    runtime = load_runtime(job["runtime"])
    with stream:
        for name in job["folders"]:
            folder = Path(name)
            send(stream, event="start", folder=name)
            try:
                for result in judge_artifact(bench, runtime, folder):
                    send(stream, event="result", folder=name, result=result.as_json())
            except Exception as error:  # noqa: BLE001  an adapter's own bug is one artifact's failure, not the whole runtime's
                traceback.print_exc()
                wrapped = (
                    error if isinstance(error, HydraError) else StageError("run", f"{type(error).__name__}: {error}")
                )
                failed = Blank(read_artifact(folder), runtime).failed(wrapped)
                send(stream, event="result", folder=name, result=failed.as_json())
            if row := surroundings(runtime, folder):
                send(stream, event="result", folder=name, result=row.as_json())
            if job["bisect"]:
                row = bisection(bench, runtime, folder)
                send(stream, event="result", folder=name, result=row.as_json())
            send(stream, event="done", folder=name)


def surroundings(runtime: Runtime, folder: Path) -> Result | None:
    """A row of mode "environment" with what the runtime found around it (an optional method of it), such as a
    browser's threads and adapter, and the bytes it downloaded."""
    ask = getattr(runtime, "environment", None)
    if ask is None:
        return None
    blank = Blank(read_artifact(folder), runtime)
    try:
        return blank.result(mode="environment", facts=ask())
    except HydraError as error:
        return blank.failed(error, mode="environment")


def bisection(bench: Bench, runtime: Runtime, folder: Path) -> Result:
    """A row of mode "bisect" whose facts hold every Divergence; it names layers, the other rows judge."""
    blank = Blank(read_artifact(folder), runtime)
    base = folder.parent / "float32"
    try:
        truth = (base, read_artifact(base)) if folder.name != "float32" else None
        rows = bisect_artifact(runtime, (folder, blank.artifact), truth, bench.goldens[0])
    except HydraError as error:
        return blank.failed(error, mode="bisect")
    left = [f"{row['tensor']} ({row['against']})" for row in rows if row.get("tensor")]
    reason = f"leaves at {'; '.join(left)}" if left else "leaves nowhere"
    return blank.result(mode="bisect", reason=reason, samples=1, facts={"bisect": rows})


if __name__ == "__main__":
    main()
