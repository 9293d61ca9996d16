"""Which artifacts the page may have: those whose hash stands in parity.json with a passing verdict, files verified.

`benchmarks` wrote the verdicts; the demo reads them from disk, as an app's release would.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hydramobile.artifact import Artifact, Entry, FileRecord, files_of, find_artifacts, read_artifact, verify
from hydramobile.errors import NothingJudged, StageError
from hydramobile.files import read_json
from hydramobile.spec import ModelSpec
from hydramobile.targets import TARGET_ROWS

# A target that a browser can run -> the engine of demo/engines that runs it.
ENGINES = {row.name: row.web_engine for row in TARGET_ROWS if row.web_engine}
# Smallest download first: what the page takes by default is the first of these that stands.
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
    """An artifact that passed. `proven_by` names the runtimes whose verdict was a pass."""

    folder: Path
    artifact: Artifact
    proven_by: tuple[str, ...]

    @property
    def id(self) -> str:
        return f"{self.artifact.target}/{self.artifact.recipe}"

    @property
    def files(self) -> list[FileRecord]:
        """What a browser downloads for the modules: not the goldens, nor the entries the demo does not call."""
        return [record for entry in self.modules for record in self.downloads(entry)]

    @property
    def modules(self) -> list[Entry]:
        return [entry for entry in self.artifact.entries if len(entry.modules) == 1 and not entry.variant]

    def downloads(self, entry: Entry) -> list[FileRecord]:
        """Return the files of one entry: a graph model's shards lie beside its model.json."""
        return list(files_of(self.artifact, entry))


@dataclass(frozen=True, slots=True)
class Withheld:
    """An artifact the page does not get, and why."""

    id: str
    reason: str


def sort(root: Path) -> tuple[list[Published], list[Withheld]]:
    """The web artifacts below `root` (build/<model>), sorted into those to hand out and those to hold back."""
    rows = verdicts(root / "parity.json")
    shown: list[Published] = []
    held: list[Withheld] = []
    for folder in find_artifacts(root):
        name = f"{folder.parent.name}/{folder.name}"
        if folder.parent.name not in ENGINES:
            continue
        try:
            artifact = read_artifact(folder)
            verify(folder, artifact)
        except StageError as error:
            held.append(Withheld(name, error.message))
            continue
        reason, proven_by = judged(artifact, rows)
        if reason:
            held.append(Withheld(name, reason))
        else:
            shown.append(Published(folder, artifact, proven_by))
    order = {name: index for index, name in enumerate(PREFERRED)}
    return sorted(shown, key=lambda each: (order.get(each.id, len(order)), each.id)), held


def verdicts(path: Path) -> Sequence[Mapping[str, Any]]:
    if not path.is_file():
        return ()
    rows: Sequence[Mapping[str, Any]] = read_json(path, "parity").get("results", [])
    return rows


def judged(artifact: Artifact, rows: Sequence[Mapping[str, Any]]) -> tuple[str, tuple[str, ...]]:
    """(why it may not be shown, or ""; the runtimes that passed it). A pass that compared nothing is none."""
    own = [row for row in rows if row["artifact"] == artifact.sha256]
    bad = next((row for row in own if row["verdict"] in ("mismatch", "failed")), None)
    if bad is not None:
        return f"{bad['verdict']} in {bad['runtime'] or bad['stage']}: {bad['reason']}", ()
    passed = sorted({str(row["runtime"]) for row in own if row["verdict"] == "pass" and row["measures"]})
    return ("", tuple(passed)) if passed else ("its hash has no verdict in parity.json", ())


def require(spec: ModelSpec, out: Path) -> tuple[list[Published], list[Withheld]]:
    """`sort`, or NothingJudged with the command to run where nothing may be shown."""
    shown, held = sort(out / spec.name)
    if not shown:
        found = "; ".join(f"{each.id}: {each.reason}" for each in held) or "no web artifact"
        raise NothingJudged(f"nothing to show in {out / spec.name} ({found}). Run: make export-web parity")
    return shown, held


def catalog(spec: ModelSpec, shown: Sequence[Published], held: Sequence[Withheld]) -> dict[str, Any]:
    """What the page is told of the artifacts: their modules, and each file with size and sha256."""
    return {
        "model": {"name": spec.name, "version": spec.version, "description": spec.description},
        "artifacts": [row(each) for each in shown],
        "withheld": [asdict(each) for each in held],
    }


def row(each: Published) -> dict[str, Any]:
    return {
        "id": each.id,
        "engine": ENGINES[each.artifact.target],
        "target": each.artifact.target,
        "recipe": each.artifact.recipe,
        "sha256": each.artifact.sha256,
        "size": each.artifact.size,
        "proven_by": each.proven_by,
        "base": f"/model/{each.id}/",
        "modules": {entry.name: module(each, entry) for entry in each.modules},
    }


def module(each: Published, entry: Entry) -> dict[str, Any]:
    return {
        "file": entry.file,
        "signature": entry.function or entry.name,
        "inputs": [asdict(port) for port in entry.inputs],
        "outputs": [asdict(port) for port in entry.outputs],
        "files": [
            {**asdict(record), "gzip": compressed(each.folder / record.path, record.sha256)}
            for record in each.downloads(entry)
        ],
    }


@cache
def compressed(path: Path, sha256: str) -> int:
    """Bytes as a web host sends the file (gzip, level 6). `sha256` makes a changed file another key."""
    return len(gzip.compress(path.read_bytes(), 6))
