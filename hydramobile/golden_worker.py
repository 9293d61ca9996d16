"""Worker process of `python -m hydramobile goldens`: run the reference, and send results or an error.

A model's code is foreign: a SystemExit, a segmentation fault or a hang in `forward` ends this process, never the
command without its verdict.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydramobile.budget import load_budget, neighbour
from hydramobile.errors import HydraError, StageError, describe
from hydramobile.goldens import build_folder, committed_folder, refresh
from hydramobile.labels import refresh_labels
from hydramobile.process import receive, send
from hydramobile.samples import drawn_samples, load_samples
from hydramobile.spec import load_spec


def main() -> None:
    job, stream = receive(sys.argv[1:])
    with stream:
        try:
            computed = refresh_all(job, lambda name: send(stream, event="start", sample=name))
        except HydraError as error:
            stage, message = (error.stage, error.message) if isinstance(error, StageError) else ("", str(error))
            send(stream, event="failed", code=int(error.exit_code), stage=stage, message=message)
        except Exception as error:  # noqa: BLE001  the outermost frame of a worker: the command says what happened
            traceback.print_exc()
            send(stream, event="failed", code=3, stage="golden", message=describe(error))
        else:
            send(stream, event="done", computed=computed)


def refresh_all(job: dict[str, Any], tell: Callable[[str], None]) -> int:
    """Compute the missing and stale goldens of the model, and of the model that it replaces; return how many."""
    spec, out = load_spec(Path(job["model"])), Path(job["out"])
    samples = Path(job["samples"]) if job["samples"] else None
    chosen = load_samples(spec, "judge", samples)
    computed = refresh(spec, (*chosen, *drawn_samples(spec)), spec.size, build_folder(out, spec), tell=tell)
    if job["commit"]:
        own = [sample for sample in chosen if not sample.private][: job["commit"]]
        computed += refresh(spec, own, spec.size, committed_folder(spec), half=True, tell=tell)
    tell("labels")
    roots = [build_folder(out, spec), *([committed_folder(spec)] if job["commit"] else [])]
    computed += refresh_labels(spec, roots)
    other = neighbour(spec, load_budget(spec).against)
    if other:
        root = build_folder(out, other)
        every = (*load_samples(other, "judge", samples), *drawn_samples(other))
        computed += refresh(other, every, other.size, root, tell=tell)
        computed += refresh_labels(other, [root])
    return computed


if __name__ == "__main__":
    main()
