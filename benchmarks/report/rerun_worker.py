"""Worker process of benchmarks/report/rerun.py: run artifacts in one runtime, in sequence."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

from benchmarks.report.rerun import pack, unpack
from benchmarks.runtime import load_runtime, run
from hydramobile.artifact import read_artifact, verify
from hydramobile.errors import describe
from hydramobile.process import receive, send


def main() -> None:
    job, stream = receive(sys.argv[1:])
    runtime, scratch = load_runtime(job["runtime"]), Path(job["scratch"])
    with stream:
        for index, asked in enumerate(job["runs"]):
            folder, error = Path(asked["folder"]), ""
            try:
                artifact = read_artifact(folder)
                verify(folder, artifact)
                session = runtime.open(folder, artifact.entry(asked["entry"]))
                try:
                    inputs = unpack(scratch / f"{index}.in.npz")
                    pack(scratch / f"{index}.out.npz", {key: run(session, own) for key, own in inputs.items()})
                finally:
                    session.close()
            except Exception as failure:  # noqa: BLE001  one artifact's failure must not stop the others
                traceback.print_exc()
                error = describe(failure)
            send(stream, event="done", index=index, error=error)


if __name__ == "__main__":
    main()
