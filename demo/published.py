"""The artifacts that the page gets: their files match the seal, and parity.json holds a pass for their hash.

`benchmarks` writes the verdicts. The demo reads them from disk, as an app's release would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hydramobile import signatures
from hydramobile.artifact import FILE, Artifact, Entry, FileRecord, files_of, find_artifacts, read_in_place, verify
from hydramobile.errors import NothingJudged, StageError
from hydramobile.spec import ModelSpec
from hydramobile.targets import TARGET_ROWS
from hydramobile.verdicts import passed_runtimes, read_verdicts, reason_unproven, rows_of

# Target -> the engine of export/bundle/web/sources/engines that runs its files in a browser.
ENGINES = {row.name: row.web_engine for row in TARGET_ROWS if row.web_engine}
# Smallest download first. The page loads the first published one.
PREFERRED = (
    "tfjs/balanced",
    "tfjs/w8",
    "tfjs/float16",
    "tfjs/float32",
    "litert/w8",
    "litert/float16",
    "onnx/w8",
    "onnx/float16",
)


@dataclass(frozen=True, slots=True)
class Published:
    """An artifact that passed parity in the runtimes of `proven_by`."""

    folder: Path
    artifact: Artifact
    proven_by: tuple[str, ...]

    @property
    def id(self) -> str:
        return f"{self.artifact.target}/{self.artifact.recipe}"

    @property
    def modules(self) -> list[Entry]:
        """Return the entries of single modules: the demo calls no fused entry and no variant."""
        return [entry for entry in self.artifact.entries if len(entry.modules) == 1 and not entry.variant]

    @property
    def files(self) -> list[FileRecord]:
        """Return the files that a browser downloads for the modules: without goldens and other entries."""
        return [record for entry in self.modules for record in self.downloads(entry)]

    def downloads(self, entry: Entry) -> list[FileRecord]:
        """Return the files of one entry: a graph model's shards lie beside its model.json."""
        return list(files_of(self.artifact, entry))


@dataclass(frozen=True, slots=True)
class Withheld:
    """An artifact that the page does not get, and the reason."""

    id: str
    reason: str


def sort_artifacts(root: Path) -> tuple[list[Published], list[Withheld]]:
    """Sort the web artifacts below `root` (build/<model>) into published and withheld ones."""
    rows = read_verdicts(root / "parity.json")
    published: list[Published] = []
    withheld: list[Withheld] = []
    for folder in find_artifacts(root):
        if folder.parent.name not in ENGINES:
            continue
        name = f"{folder.parent.name}/{folder.name}"
        try:
            artifact = read_in_place(folder)
            verify(folder, artifact)
            signatures.check(folder / FILE)
        except StageError as error:
            withheld.append(Withheld(name, error.message))
            continue
        own_rows = rows_of(rows, artifact.sha256)
        if reason := reason_unproven(own_rows):
            withheld.append(Withheld(name, reason))
        else:
            published.append(Published(folder, artifact, passed_runtimes(own_rows)))
    order = {name: index for index, name in enumerate(PREFERRED)}
    return sorted(published, key=lambda row: (order.get(row.id, len(order)), row.id)), withheld


def require_published(spec: ModelSpec, out: Path) -> tuple[list[Published], list[Withheld]]:
    """Sort the artifacts of `spec`. Raise NothingJudged, with the command to run, where none is published."""
    published, withheld = sort_artifacts(out / spec.name)
    if not published:
        reasons = "; ".join(f"{row.id}: {row.reason}" for row in withheld) or "no web artifact"
        raise NothingJudged(f"nothing to show in {out / spec.name} ({reasons}). Run: make export-web parity")
    return published, withheld


def catalog(
    spec: ModelSpec, published: Sequence[Published], withheld: Sequence[Withheld], packed: Mapping[str, Path]
) -> dict[str, Any]:
    """Return catalog.json but for its samples. `Catalog` in types.d.ts describes it for the page.

    `packed` is the compressed file per sha256 of a download.
    """
    return {
        "model": {"name": spec.name, "version": spec.version, "description": spec.description},
        "artifacts": [artifact_row(item, packed) for item in published],
        "withheld": [asdict(item) for item in withheld],
    }


def artifact_row(item: Published, packed: Mapping[str, Path]) -> dict[str, Any]:
    return {
        "id": item.id,
        "engine": ENGINES[item.artifact.target],
        "target": item.artifact.target,
        "recipe": item.artifact.recipe,
        "sha256": item.artifact.sha256,
        "size": item.artifact.size,
        "proven_by": item.proven_by,
        "base": f"/model/{item.id}/",
        "modules": {entry.name: module_row(item, entry, packed) for entry in item.modules},
    }


def module_row(item: Published, entry: Entry, packed: Mapping[str, Path]) -> dict[str, Any]:
    return {
        "file": entry.file,
        "signature": entry.function or entry.name,
        "inputs": [asdict(port) for port in entry.inputs],
        "outputs": [asdict(port) for port in entry.outputs],
        "files": [{**asdict(record), "gzip": packed[record.sha256].stat().st_size} for record in item.downloads(entry)],
    }
