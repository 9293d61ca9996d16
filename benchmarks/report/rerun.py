"""Run entries of artifacts on chosen inputs in worker processes, for the report's pictures and experiments."""

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
    """Runs of `entry` of the artifact in `folder`, one per item of `inputs`: key -> tensors by reference name."""

    folder: Path
    entry: str
    inputs: Mapping[str, Mapping[str, Array]]


def run_again(runtime: str, runs: Sequence[Run], log: Path) -> list[dict[str, dict[str, Array]] | str]:
    """Run all of `runs` in one worker process.

    Returns one item per run: its outputs (key -> tensors by reference name), or a string with the reason of a failure.
    """
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        for index, run in enumerate(runs):
            pack(scratch / f"{index}.in.npz", run.inputs)
        job = {
            "runtime": runtime,
            "scratch": name,
            "runs": [{"folder": str(run.folder), "entry": run.entry} for run in runs],
        }
        results: list[dict[str, dict[str, Array]] | str] = ["the worker did not get this far"] * len(runs)
        try:
            for event in events("benchmarks.report.rerun_worker", job, log, LIMIT):
                index = event["index"]
                results[index] = event["error"] if event["error"] else unpack(scratch / f"{index}.out.npz")
        except (WorkerDied, StageError) as error:
            return [str(error) if isinstance(result, str) else result for result in results]
        return results


def pack(path: Path, tensors: Mapping[str, Mapping[str, Array]]) -> None:
    flat = {f"{key}/{name}": value for key, group in tensors.items() for name, value in group.items()}
    np.savez(path, **flat)  # type: ignore[arg-type]  # the stub takes the keys for its own flags


def unpack(path: Path) -> dict[str, dict[str, Array]]:
    tensors: dict[str, dict[str, Array]] = {}
    with np.load(path, allow_pickle=False) as archive:
        for flat in archive.files:
            key, _, name = flat.rpartition("/")
            tensors.setdefault(key, {})[name] = archive[flat]
    return tensors
