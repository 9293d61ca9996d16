"""Read the latencies of the chosen builds, which `python -m benchmarks latency` has measured on the same files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hydramobile.artifact import artifact_folder, read_artifact
from hydramobile.errors import StageError
from hydramobile.files import read_json
from hydramobile.spec import ModelSpec

# The evidence label of a measurement on this computer's processor, in the runtime itself. A phone differs.
EVIDENCE = "host"
Pair = tuple[str, str]


def ratios(spec: ModelSpec, out: Path, pairs: Iterable[Pair]) -> dict[Pair, float]:
    """Return the time of each (target, build) over the time of float32 of the same target in the same runtime.

    Times are of the entry with the most modules. The result holds only builds whose files on disk were measured, beside
    a float32 of the same weights.
    """
    path = out / spec.name / "latency.json"
    try:
        document = read_json(path, "search") if path.is_file() else {}
    except (StageError, ValueError):
        return {}
    if document.get("weights_sha256") != spec.weights_sha256:
        return {}
    rows = [row for row in document["results"] if (row["verdict"], row["evidence"]) == ("measured", EVIDENCE)]
    exact = {(row["target"], row["runtime"]): median(row) for row in rows if row["recipe"] == "float32"}
    result: dict[Pair, float] = {}
    for target, name in pairs:
        folder = artifact_folder(out, spec.name, target, name)
        digest = read_artifact(folder).sha256 if folder.is_dir() else None
        for row in rows:
            base = exact.get((target, row["runtime"]))
            if row["artifact"] == digest and row["target"] == target and base:
                result.setdefault((target, name), median(row) / base)
    return result


def median(row: Mapping[str, Any]) -> float:
    """Return the milliseconds of a run of the entry with the most modules."""
    return float(max(row["entries"], key=lambda entry: len(entry["modules"]))["p50_ms"])
