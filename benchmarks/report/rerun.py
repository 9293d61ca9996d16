"""Run entries of artifacts again on chosen inputs, in worker processes, for pictures and side experiments."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.runtime import Array
from hydramobile.errors import StageError
from hydramobile.process import WorkerDied, events

LIMIT = 120.0


@dataclass(frozen=True, slots=True)
class Run:
    """`entry` of the artifact in `folder` on each of `inputs`: key -> tensors by reference name."""

    folder: Path
    entry: str
    inputs: Mapping[str, Mapping[str, Array]]


def run_again(runtime: str, runs: Sequence[Run], log: Path) -> list[dict[str, dict[str, Array]] | str]:
    """For each of `runs` its outputs, key -> tensors by reference name; or, as text, why there are none."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        for index, run in enumerate(runs):
            pack(scratch / f"{index}.in.npz", run.inputs)
        job = {
            "runtime": runtime,
            "scratch": name,
            "runs": [{"folder": str(run.folder), "entry": run.entry} for run in runs],
        }
        found: list[dict[str, dict[str, Array]] | str] = ["the worker did not get this far"] * len(runs)
        try:
            for event in events("benchmarks.report.rerun_worker", job, log, LIMIT):
                index = event["index"]
                found[index] = event["error"] if event["error"] else unpack(scratch / f"{index}.out.npz")
        except (WorkerDied, StageError) as error:
            return [str(error) if isinstance(result, str) else result for result in found]
        return found


def pack(path: Path, tensors: Mapping[str, Mapping[str, Array]]) -> None:
    flat = {f"{key}/{name}": value for key, own in tensors.items() for name, value in own.items()}
    np.savez(path, **flat)  # type: ignore[arg-type]  # the stub takes the keys for its own flags


def unpack(path: Path) -> dict[str, dict[str, Array]]:
    found: dict[str, dict[str, Array]] = {}
    with np.load(path, allow_pickle=False) as archive:
        for flat in archive.files:
            key, _, name = flat.rpartition("/")
            found.setdefault(key, {})[name] = archive[flat]
    return found
