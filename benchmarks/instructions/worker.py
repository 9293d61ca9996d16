"""Worker process: count the instructions of artifacts in one runtime, in sequence."""

from __future__ import annotations

import sys
import traceback
from dataclasses import replace
from pathlib import Path

from benchmarks.evidence.envelope import plain
from benchmarks.evidence.instructions import EntryCounts
from benchmarks.latency.subject import values
from benchmarks.optional import Counting, CountingRuntime
from benchmarks.runtime import load_runtime
from hydramobile.artifact import primary, read_artifact, verify
from hydramobile.errors import StageError, describe
from hydramobile.goldens import Golden, load_goldens
from hydramobile.process import receive, send
from hydramobile.samples import load_samples
from hydramobile.spec import load_spec

# The first run of a session packs weights and allocates buffers; all later runs take the same instructions.
WARM, RUNS = 1, 1


def main() -> None:
    job, stream = receive(sys.argv[1:])
    spec = load_spec(Path(job["model"]))
    golden = load_goldens(spec, load_samples(spec, "judge")[:1], spec.size, Path(job["out"]))[0]
    runtime = load_runtime(job["runtime"])
    if not isinstance(runtime, Counting):
        raise StageError("count", f"{runtime.name} counts no instructions")
    counter = runtime.counter()
    with stream:
        for name in job["folders"]:
            send(stream, event="start", folder=name)
            entries: list[EntryCounts] = []
            reason = ""
            try:
                entries = count(counter, Path(name), golden)
            except Exception as error:  # noqa: BLE001  an adapter's own bug is this artifact's failure, with its name
                traceback.print_exc()
                reason = describe(error)
            send(stream, event="result", folder=name, entries=plain(entries), reason=reason)


def count(runtime: CountingRuntime, folder: Path, golden: Golden) -> list[EntryCounts]:
    """Count one inference of each primary entry."""
    artifact = read_artifact(folder)
    verify(folder, artifact)
    rows: list[EntryCounts] = []
    for entry in primary(artifact):
        session = runtime.open(folder, entry)
        session.bind(values(golden, [port.name for port in entry.inputs]))
        for _ in range(WARM):
            session.invoke()
        counts = {name: round(total / RUNS) for name, total in session.count(RUNS).items()}
        session.close()
        rows.append(EntryCounts(entry.id, entry.modules, counts, 0.0))
    whole = max(rows, key=lambda row: len(row.modules)).counts["total"]
    return [replace(row, share=round(row.counts["total"] / whole, 4)) for row in rows]


if __name__ == "__main__":
    main()
