"""The process that counts the instructions of artifacts in one runtime, one after the other."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Any

from benchmarks.latency.worker import values
from benchmarks.runtime import load_runtime
from hydramobile.artifact import read_artifact, verify
from hydramobile.errors import HydraError
from hydramobile.goldens import Golden, load_goldens
from hydramobile.process import receive, send
from hydramobile.samples import load_samples
from hydramobile.spec import load_spec

# The first run of a session sets things up once (packed weights, buffers); the next ones are alike.
WARM, RUNS = 1, 1


def main() -> None:
    job, stream = receive(sys.argv[1:])
    spec = load_spec(Path(job["model"]))
    golden = load_goldens(spec, load_samples(spec, "judge")[:1], spec.size, Path(job["out"]))[0]
    loaded: Any = load_runtime(job["runtime"])
    runtime = loaded.counter()
    with stream:
        for name in job["folders"]:
            send(stream, event="start", folder=name)
            try:
                result: dict[str, Any] = {"entries": count(runtime, Path(name), golden)}
            except Exception as error:  # noqa: BLE001  an adapter's own bug is this artifact's failure, told with its name
                traceback.print_exc()
                text = str(error) if isinstance(error, HydraError) else f"{type(error).__name__}: {error}"
                result = {"verdict": "failed", "reason": text}
            send(stream, event="result", folder=name, result=result)


def count(runtime: Any, folder: Path, golden: Golden) -> list[dict[str, Any]]:
    """A row an entry: its modules, counts by class of one inference, and its share of the entry with most modules
    (for a head: what running it again on cached features costs of a whole run)."""
    artifact = read_artifact(folder)
    verify(folder, artifact)
    rows: list[dict[str, Any]] = []
    for entry in (entry for entry in artifact.entries if not entry.variant):
        session = runtime.open(folder, entry)
        session.bind(values(golden, [port.name for port in entry.inputs]))
        for _ in range(WARM):
            session.invoke()
        counts = {name: round(total / RUNS) for name, total in session.count(RUNS).items()}
        session.close()
        rows.append({"entry": entry.id, "modules": list(entry.modules), "counts": counts})
    whole = max(rows, key=lambda row: len(row["modules"]))
    for row in rows:
        row["share"] = round(row["counts"]["total"] / whole["counts"]["total"], 4)
    return rows


if __name__ == "__main__":
    main()
