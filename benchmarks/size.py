"""Size: bytes of an artifact by file, module and storage dtype, and the bytes that an app ships.

Sizes are read from the files; nothing is run. The golden and the documents (USAGE.md, sbom.json, provenance.json,
artifact.json) are not model bytes.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

from benchmarks.evidence.envelope import identity_of, read_earlier, updating, write
from benchmarks.evidence.size import (
    EntryDelegation,
    EntrySize,
    FileSize,
    ModuleSize,
    Role,
    SharedWeights,
    Ships,
    SizeEvidence,
    SizeRow,
)
from benchmarks.kept import KeptRows, since
from benchmarks.optional import Delegating
from benchmarks.request import (
    Progress,
    Request,
    by_subject,
    reason_of,
    sealed_hashes,
    select,
    silent,
    stage_of,
    still_standing,
)
from benchmarks.runtime import REGISTRY, Runtime, load_runtime
from hydramobile.artifact import Artifact, Entry, FileRecord, files_of, primary, ships, verify
from hydramobile.errors import HydraError, NothingJudged, StageError
from hydramobile.targets import target_info

# The compression level for the size of a download.
GZIP_LEVEL = 9
ROLES: tuple[Role, ...] = get_args(Role)
DOCUMENTS = ("USAGE.md", "sbom.json", "provenance.json")
# entry id -> bytes by storage dtype.
Weights = Mapping[str, Mapping[str, int]]


def run_size(request: Request, progress: Progress = silent) -> SizeEvidence:
    """Measure the artifacts, write `build/<model>/size.json` and return its content. `request.runtimes` is not used.

    Raises NothingJudged when there is no artifact. An unreadable artifact is a failed row with its stage.
    """
    artifacts, broken = select(request)
    rows = [
        SizeRow(
            target=u.target,
            recipe=u.recipe,
            artifact="",
            evidence="static",
            verdict="failed",
            stage=u.stage,
            reason=u.reason,
        )
        for u in broken
    ]
    kept = KeptRows(request, "size", SizeRow)
    for built in artifacts:
        name, found = f"size: {built.artifact.target} {built.artifact.recipe}", kept.find(built)
        progress(f"{name}: {since(found)}" if found else name)
        rows += found or [measured(built.folder, built.artifact)]
        kept.store(rows[-1:], built)
    with updating(SizeEvidence, request.root):
        earlier = read_earlier(SizeEvidence, request.root) if request.partial else None
        if earlier:
            rows += still_standing(earlier.results, rows, sealed_hashes(request.root), lambda row: row.pair)
        evidence = SizeEvidence(**identity_of(request.spec), results=by_subject(rows))
        write(request.root, evidence)
    return evidence


def measured(folder: Path, artifact: Artifact) -> SizeRow:
    """Return the size row of one artifact; a failed row if its files are unreadable or differ from the seal."""
    try:
        return measure(folder, artifact)
    except HydraError as error:
        return SizeRow(
            target=artifact.target,
            recipe=artifact.recipe,
            artifact=artifact.sha256,
            evidence="static",
            verdict="failed",
            stage=stage_of(error, "size"),
            reason=reason_of(error),
        )


def measure(folder: Path, artifact: Artifact) -> SizeRow:
    """Measure one sealed artifact. Raises StageError("seal") if its files differ from the seal."""
    verify(folder, artifact)
    reader, missing = weights_reader(artifact.target)
    weights: Weights = {e.id: dict(reader.read_dtypes(folder, e)) for e in artifact.entries} if reader else {}
    zipped = gzip_sizes(folder, artifact) if target_info(artifact.target).web_engine else {}
    shipped = ships(artifact)
    delegation, no_delegation = read_delegation(folder, artifact, reader)
    return SizeRow(
        target=artifact.target,
        recipe=artifact.recipe,
        artifact=artifact.sha256,
        evidence="static",
        reason="" if reader else f"storage types were not read: {missing}",
        read_by={reader.name: reader.version()} if reader else {},
        bytes={role: total(record for record in artifact.files if role_of(record) == role) for role in ROLES},
        files=tuple(FileSize(r.path, r.bytes, role_of(r), zipped.get(r.path)) for r in artifact.files),
        ships=Ships(
            bytes=total(shipped),
            files=tuple(record.path for record in shipped),
            gzip=sum(zipped[record.path] for record in shipped) if zipped else None,
        ),
        entries=tuple(entry_size(artifact, entry, weights) for entry in artifact.entries),
        modules=module_sizes(artifact, weights),
        shared=shared_weights(artifact, weights, total(shipped)),
        delegation=delegation,
        delegation_reason=no_delegation,
    )


def role_of(record: FileRecord) -> Role:
    if record.path.startswith("golden/"):
        return "golden"
    return "document" if record.path in DOCUMENTS else "model"


def total(records: Iterable[FileRecord]) -> int:
    return sum(record.bytes for record in records)


def entry_size(artifact: Artifact, entry: Entry, weights: Weights) -> EntrySize:
    own = weights.get(entry.id, {})
    return EntrySize(
        entry=entry.id,
        modules=entry.modules,
        variant=entry.variant,
        file=entry.file,
        file_bytes=total(files_of(artifact, entry)),
        file_shared_with=tuple(e.id for e in artifact.entries if e.id != entry.id and e.file == entry.file),
        weights=dict(own),
        weight_bytes=sum(own.values()),
    )


def module_sizes(artifact: Artifact, weights: Weights) -> tuple[ModuleSize, ...]:
    """Return one row per module: the bytes of its weights, and of its file if no other entry is in it."""
    rows = []
    for entry in primary(artifact):
        if len(entry.modules) == 1:
            size = entry_size(artifact, entry, weights)
            alone = None if size.file_shared_with else size.file_bytes
            rows.append(ModuleSize(entry.modules[0], size.weight_bytes, alone))
    return tuple(rows)


def shared_weights(artifact: Artifact, weights: Weights, shipped: int) -> SharedWeights:
    """Return the bytes saved by sharing weights between entries; `shipped` are the bytes that an app ships."""
    entries = primary(artifact)
    one_copy = sum(sum(weights.get(e.id, {}).values()) for e in entries if len(e.modules) == 1)
    separate = sum(sum(weights.get(e.id, {}).values()) for e in entries)
    stored = total({record for entry in entries for record in files_of(artifact, entry)})
    return SharedWeights(
        one_copy=one_copy,
        separate=separate,
        stored=stored,
        saved=max(0, separate - stored),
        over_one_copy=round(shipped / one_copy - 1, 6) if one_copy else None,
    )


def weights_reader(target: str) -> tuple[Runtime | None, str]:
    """Return (the first available runtime that reads this target's files, ""), or (None, the reason)."""
    reasons = []
    for name in REGISTRY:
        runtime = load_runtime(name)
        if target in runtime.targets:
            missing = runtime.unavailable()
            if not missing:
                return runtime, ""
            reasons.append(missing)
    return None, "; ".join(reasons) or f"no runtime reads {target}"


def read_delegation(
    folder: Path, artifact: Artifact, reader: Runtime | None
) -> tuple[tuple[EntryDelegation, ...], str]:
    """Return (the part of each entry that a delegate takes, ""), or ((), the reason)."""
    if reader is None:
        return (), f"no runtime here reads {artifact.target}"
    if not isinstance(reader, Delegating):
        return (), f"{reader.name} has no delegates"
    rows = []
    for entry in primary(artifact):
        part = reader.delegation(folder, entry)
        rows.append(EntryDelegation(entry=entry.id, ops=part.ops, delegated=part.delegated, partitions=part.partitions))
    return tuple(rows), ""


def gzip_sizes(folder: Path, artifact: Artifact) -> dict[str, int]:
    """Return the bytes of each model file after gzip, as a web server would send it."""
    paths = [record.path for record in artifact.files if role_of(record) == "model"]
    # zlib releases the interpreter lock.
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(paths, pool.map(lambda path: download_bytes(folder / path), paths), strict=True))


def download_bytes(path: Path) -> int:
    """Return the size of a file after gzip."""
    return len(gzip.compress(path.read_bytes(), GZIP_LEVEL, mtime=0))


def conclude_size(evidence: SizeEvidence) -> str:
    """Return the reason line of a pass; raise StageError for an artifact that could not be measured."""
    rows = evidence.results
    bad = [row for row in rows if row.verdict == "failed"]
    if bad:
        first = bad[0]
        text = f"{first.target} {first.recipe}: {first.reason} ({len(bad)} of {len(rows)} not measured)"
        raise StageError(first.stage or "size", text)
    if not rows:
        raise NothingJudged("no artifacts to measure; make them with: make export")
    return f"{len(rows)} artifacts measured"
