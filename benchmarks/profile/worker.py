"""Worker process: profile every entry of one artifact, so that a crash of the profiler fails only this row."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

from benchmarks.evidence.envelope import plain
from benchmarks.latency.subject import values
from benchmarks.optional import Profiler
from benchmarks.profile.run import entry_profile
from benchmarks.request import reason_of, stage_of
from benchmarks.runtime import load_runtime
from hydramobile.artifact import primary, read_artifact, verify
from hydramobile.errors import StageError
from hydramobile.goldens import load_goldens
from hydramobile.process import receive, send
from hydramobile.samples import load_samples
from hydramobile.spec import load_spec

RUNS = 20


def main() -> None:
    job, stream = receive(sys.argv[1:])
    with stream:
        try:
            spec, folder = load_spec(Path(job["model"])), Path(job["folder"])
            golden = load_goldens(spec, load_samples(spec, "judge")[:1], spec.size, Path(job["out"]))[0]
            runtime = load_runtime(job["runtime"])
            if not isinstance(runtime, Profiler):
                raise StageError("profile", f"{runtime.name} offers no profile by operator")
            artifact = read_artifact(folder)
            verify(folder, artifact)
            rows = []
            for entry in primary(artifact):
                inputs = values(golden, [port.name for port in entry.inputs])
                rows.append(plain(entry_profile(entry, runtime.profile(folder, entry, inputs, RUNS))))
            send(stream, event="result", entries=rows)
        except Exception as error:  # noqa: BLE001  an adapter's own bug is this artifact's failure, with its name
            traceback.print_exc()
            send(stream, event="failed", stage=stage_of(error, "run"), reason=reason_of(error))


if __name__ == "__main__":
    main()
