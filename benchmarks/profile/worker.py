"""The process that profiles every entry of one artifact: a profiler's crash costs this row only."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Any

from benchmarks.latency.worker import values
from benchmarks.profile.run import entry_row
from benchmarks.runtime import load_runtime
from hydramobile.artifact import read_artifact, verify
from hydramobile.errors import HydraError, StageError
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
            runtime: Any = load_runtime(job["runtime"])
            artifact = read_artifact(folder)
            verify(folder, artifact)
            rows = []
            for entry in artifact.entries:
                if not entry.variant:
                    inputs = values(golden, [port.name for port in entry.inputs])
                    rows.append(entry_row(entry, runtime.profile(folder, entry, inputs, RUNS)))
            send(stream, event="result", entries=rows)
        except Exception as error:  # noqa: BLE001  an adapter's own bug is this artifact's failure, told with its name
            traceback.print_exc()
            stage = error.stage if isinstance(error, StageError) else "run"
            text = error.message if isinstance(error, StageError) else str(error)
            reason = text if isinstance(error, HydraError) else f"{type(error).__name__}: {text}"
            send(stream, event="failed", stage=stage, reason=reason)


if __name__ == "__main__":
    main()
