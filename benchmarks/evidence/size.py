"""Size: bytes of an artifact by file, entry, module and storage dtype."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from benchmarks.evidence.envelope import Evidence
from benchmarks.evidence.row import Row

# Files of the roles golden and document are in the artifact folder, but an app does not ship them.
Role = Literal["model", "golden", "document"]


@dataclass(frozen=True, slots=True)
class FileSize:
    """Size of one file. `gzip` is its size as a web server sends it, None for a target that is not served over HTTP."""

    path: str
    bytes: int
    role: Role
    gzip: int | None = None


@dataclass(frozen=True, slots=True)
class Ships:
    """The files that an app needs to call every module: bytes, paths, and bytes after gzip for a web target."""

    bytes: int = 0
    files: tuple[str, ...] = ()
    gzip: int | None = None


@dataclass(frozen=True, slots=True)
class EntrySize:
    """Size of one entry.

    `file_bytes` is the size of the files that are read to load the entry, and `file_shared_with` names the other
    entries in the same file. `weights` are bytes by storage dtype, empty if no runtime here reads them;
    `weight_bytes` is their sum.
    """

    entry: str
    modules: tuple[str, ...]
    variant: str
    file: str
    file_bytes: int
    file_shared_with: tuple[str, ...]
    weights: Mapping[str, int]
    weight_bytes: int


@dataclass(frozen=True, slots=True)
class ModuleSize:
    """Size of one module. `file_bytes` is None if the module shares its file with other entries."""

    module: str
    weight_bytes: int
    file_bytes: int | None


@dataclass(frozen=True, slots=True)
class SharedWeights:
    """Bytes saved by sharing weights between entries.

    `one_copy`: weights of all modules, counted once. `separate`: weights if every entry, the fused one included, had
    its own copy. `stored`: all files of these entries. `saved`: `separate` less `stored`, at least 0.
    `over_one_copy`: excess of the shipped files over one copy of the weights, as a share of that copy; None without
    weights.
    """

    one_copy: int = 0
    separate: int = 0
    stored: int = 0
    saved: int = 0
    over_one_copy: float | None = None


@dataclass(frozen=True, slots=True)
class Delegated:
    """The part of a graph that a delegate takes: `delegated` of `ops` operators, in `partitions` subgraphs."""

    ops: int
    delegated: int
    partitions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryDelegation(Delegated):
    entry: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeRow(Row):
    """Size of one artifact. `read_by` is the runtime that read the storage dtypes, with its versions.

    `delegation_reason` says why `delegation` is empty.
    """

    verdict: Literal["measured", "failed"] = "measured"
    read_by: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    bytes: Mapping[Role, int] = field(default_factory=dict)
    files: tuple[FileSize, ...] = ()
    ships: Ships = Ships()
    entries: tuple[EntrySize, ...] = ()
    modules: tuple[ModuleSize, ...] = ()
    shared: SharedWeights = SharedWeights()
    delegation: tuple[EntryDelegation, ...] = ()
    delegation_reason: str = ""

    @property
    def weights(self) -> dict[str, int]:
        """Bytes of weights by storage dtype, over the single-module entries."""
        total: dict[str, int] = {}
        for entry in self.entries:
            if not entry.variant and len(entry.modules) == 1:
                for dtype, count in entry.weights.items():
                    total[dtype] = total.get(dtype, 0) + count
        return total


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeEvidence(Evidence[SizeRow]):
    FILE: ClassVar[str] = "size.json"
    COMMAND: ClassVar[str] = "make bench"
    kind: Literal["size"] = "size"
