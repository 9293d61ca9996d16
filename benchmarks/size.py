"""Size: what an artifact weighs by file, module and storage type, and how much of it an app ships.

Read from the files, nothing is run. The golden, USAGE.md and artifact.json are not model bytes.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.parity.artifact import GZIP_LEVEL
from benchmarks.parity.run import Request, kept_rows, select
from benchmarks.runtime import REGISTRY, Runtime, load_runtime
from hydramobile.artifact import Artifact, Entry, FileRecord, files_of, primary, ships, verify
from hydramobile.errors import HydraError, NothingJudged, StageError
from hydramobile.files import dump_json, write_text
from hydramobile.targets import target_info

Row = dict[str, Any]
Progress = Callable[[str], None]

EVIDENCE = "static"
DOCUMENTS = ("USAGE.md",)


def run_size(request: Request, progress: Progress = lambda text: None) -> Row:
    """Measure, and write `build/<model>/size.json`; returns its content. `request.runtimes` is not used.

    Raises NothingJudged when there is no artifact. An artifact that cannot be read is a row with its stage.
    """
    found, broken = select(request)
    rows = [failed(item["target"], item["recipe"], "", item["stage"], item["reason"]) for item in broken]
    for folder, artifact in found:
        progress(f"size: {artifact.target} {artifact.recipe}")
        try:
            rows.append(measure(folder, artifact))
        except HydraError as error:
            stage = error.stage if isinstance(error, StageError) else "size"
            text = error.message if isinstance(error, StageError) else str(error)
            rows.append(failed(artifact.target, artifact.recipe, artifact.sha256, stage, text))
    if request.partial:
        rows += kept_rows(request, rows, "size")
    document = {
        "schema": 1,
        "model": request.spec.name,
        "spec_sha256": request.spec.sha256,
        "weights_sha256": request.spec.weights_sha256,
        "results": sorted(rows, key=lambda row: (row["target"], row["recipe"])),
    }
    write_text(request.root / "size.json", dump_json(document))
    return document


def failed(target: str, name: str, artifact: str, stage: str, reason: str) -> Row:
    own = {"target": target, "recipe": name, "artifact": artifact, "evidence": EVIDENCE}
    return {**own, "verdict": "failed", "stage": stage, "reason": reason}


def measure(folder: Path, artifact: Artifact) -> Row:
    """The size row of one sealed artifact. Raises StageError("seal") when its bytes are not the sealed ones."""
    verify(folder, artifact)
    reader, missing = weights_reader(artifact.target)
    weights = {e.id: dict(reader.read_dtypes(folder, e)) for e in artifact.entries} if reader else {}
    zipped = gzip_sizes(folder, artifact) if target_info(artifact.target).web_engine else {}
    shipped = ships(artifact)
    return {
        "target": artifact.target,
        "recipe": artifact.recipe,
        "artifact": artifact.sha256,
        "evidence": EVIDENCE,
        "verdict": "measured",
        "stage": "",
        "reason": "" if reader else f"storage types were not read: {missing}",
        "read_by": {reader.name: reader.version()} if reader else {},
        "bytes": {role: total(record for record in artifact.files if role_of(record) == role) for role in ROLES},
        "files": [file_row(record, zipped) for record in artifact.files],
        "ships": {
            "bytes": total(shipped),
            "files": [record.path for record in shipped],
            "gzip": sum(zipped[record.path] for record in shipped) if zipped else None,
        },
        "entries": [entry_row(artifact, entry, weights) for entry in artifact.entries],
        "modules": module_rows(artifact, weights),
        "shared": shared(artifact, weights, total(shipped)),
        "delegation": delegation(folder, artifact, reader),
    }


ROLES = ("model", "golden", "document")


def role_of(record: FileRecord) -> str:
    """ "golden" and "document" travel beside the model; an app has no need to ship them."""
    if record.path.startswith("golden/"):
        return "golden"
    return "document" if record.path in DOCUMENTS else "model"


def total(records: Any) -> int:
    return sum(record.bytes for record in records)


def file_row(record: FileRecord, zipped: Mapping[str, int]) -> Row:
    row: Row = {"path": record.path, "bytes": record.bytes, "role": role_of(record)}
    return {**row, "gzip": zipped[record.path]} if record.path in zipped else row


def entry_row(artifact: Artifact, entry: Entry, weights: Mapping[str, Mapping[str, int]]) -> Row:
    own = files_of(artifact, entry)
    others = [other.id for other in artifact.entries if other.id != entry.id and other.file == entry.file]
    return {
        "entry": entry.id,
        "modules": list(entry.modules),
        "variant": entry.variant,
        "file": entry.file,
        "file_bytes": total(own),
        "file_shared_with": others,
        "weights": dict(weights.get(entry.id, {})),
        "weight_bytes": sum(weights.get(entry.id, {}).values()),
    }


def module_rows(artifact: Artifact, weights: Mapping[str, Mapping[str, int]]) -> list[Row]:
    """One row a module: its weights, and its file's bytes where it has a file to itself."""
    rows = []
    for entry in primary(artifact):
        if len(entry.modules) == 1:
            row = entry_row(artifact, entry, weights)
            alone = None if row["file_shared_with"] else row["file_bytes"]
            rows.append({"module": entry.modules[0], "weight_bytes": row["weight_bytes"], "file_bytes": alone})
    return rows


def shared(artifact: Artifact, weights: Mapping[str, Mapping[str, int]], shipped: int) -> Row:
    """What sharing weights between entries saves.

    `one_copy`: weights of all modules, each once. `separate`: weights if every entry, the fused one too, kept its
    own. `stored`: bytes of all files of these entries. `saved`: `separate` less `stored`, at least 0: what would be
    on disk twice. `over_one_copy`: what the shipped files weigh above one copy of the weights, as a share of it.
    """
    entries = primary(artifact)
    one_copy = sum(sum(weights.get(e.id, {}).values()) for e in entries if len(e.modules) == 1)
    separate = sum(sum(weights.get(e.id, {}).values()) for e in entries)
    stored = total({record for entry in entries for record in files_of(artifact, entry)})
    return {
        "one_copy": one_copy,
        "separate": separate,
        "stored": stored,
        "saved": max(0, separate - stored),
        "over_one_copy": round(shipped / one_copy - 1, 6) if one_copy else None,
    }


def weights_reader(target: str) -> tuple[Runtime | None, str]:
    """The first runtime here that reads this target's files, or why there is none."""
    reasons = []
    for name in REGISTRY:
        runtime = load_runtime(name)
        if target in runtime.targets:
            missing = runtime.unavailable()
            if not missing:
                return runtime, ""
            reasons.append(missing)
    return None, "; ".join(reasons) or f"no runtime reads {target}"


def delegation(folder: Path, artifact: Artifact, reader: Runtime | None) -> list[Row]:
    """Per entry {"ops": all operators, "delegated": those a delegate takes, "partitions": in how many pieces}, from a
    runtime that has delegates (an optional method `delegation(folder, entry)` of it)."""
    ask: Callable[[Path, Entry], Mapping[str, int]] | None = getattr(reader, "delegation", None)
    return [{"entry": entry.id, **ask(folder, entry)} for entry in primary(artifact)] if ask else []


def gzip_sizes(folder: Path, artifact: Artifact) -> dict[str, int]:
    """Bytes of each model file after gzip, as a web server would send it."""
    paths = [record.path for record in artifact.files if role_of(record) == "model"]
    # zlib works outside the interpreter's lock.
    with ThreadPoolExecutor(2) as pool:
        sizes = pool.map(lambda path: len(gzip.compress((folder / path).read_bytes(), GZIP_LEVEL, mtime=0)), paths)
        return dict(zip(paths, sizes, strict=True))


def conclude_size(document: Mapping[str, Any]) -> str:
    """The reason line of a pass; raises StageError for an artifact that could not be measured."""
    results: Sequence[Mapping[str, Any]] = document["results"]
    bad = [row for row in results if row["verdict"] == "failed"]
    if bad:
        first = bad[0]
        raise StageError(
            first["stage"] or "size",
            f"{first['target']} {first['recipe']}: {first['reason']} ({len(bad)} of {len(results)} not measured)",
        )
    if not results:
        raise NothingJudged("no artifacts to measure; make them with: make export")
    return f"{len(results)} artifacts measured"
