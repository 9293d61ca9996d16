"""Size: bytes of an artifact by file, entry, module and storage dtype."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from benchmarks.evidence.envelope import Evidence
from benchmarks.evidence.row import Row

# golden and document files travel beside the model; an app does not ship them.
Role = Literal["model", "golden", "document"]


@dataclass(frozen=True, slots=True)
class FileSize:
    """`gzip` is the size as a web server sends it, None for a file that does not travel over HTTP."""

    path: str
    bytes: int
    role: Role
    gzip: int | None = None


@dataclass(frozen=True, slots=True)
class Ships:
    """What an app needs to call every module: bytes, files, and bytes after gzip where a browser runs the target."""

    bytes: int = 0
    files: tuple[str, ...] = ()
    gzip: int | None = None


@dataclass(frozen=True, slots=True)
class EntrySize:
    """`file_bytes` is the size of the files that loading the entry reads; `file_shared_with` are entries in the same.

    `weights` are bytes by storage dtype, empty where no runtime here reads them; `weight_bytes` is their sum.
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
    """`file_bytes` is None where the module shares its file with others."""

    module: str
    weight_bytes: int
    file_bytes: int | None


@dataclass(frozen=True, slots=True)
class SharedWeights:
    """What sharing weights between entries saves, in bytes.

    `one_copy`: weights of all modules, each once. `separate`: weights if every entry, the fused one too, kept its
    own. `stored`: all files of these entries. `saved`: `separate` less `stored`, at least 0. `over_one_copy`: what
    the shipped files weigh above one copy of the weights, as a share of it; None without weights.
    """

    one_copy: int = 0
    separate: int = 0
    stored: int = 0
    saved: int = 0
    over_one_copy: float | None = None


@dataclass(frozen=True, slots=True)
class Delegated:
    """How much of a graph a delegate takes: `delegated` of `ops` operators, in `partitions` pieces."""

    ops: int
    delegated: int
    partitions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryDelegation(Delegated):
    entry: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeRow(Row):
    """One artifact. `read_by` is the runtime that read the storage dtypes, with its versions.

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
        """Bytes of weights by storage dtype over the modules, each once."""
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
