"""Parity: the outputs of one entry of one artifact in one runtime, against the reference's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from benchmarks.evidence.envelope import Evidence
from benchmarks.evidence.environment import Environment
from benchmarks.evidence.row import Row
from hydramobile.measures import Measure

Verdict = Literal["pass", "mismatch", "failed", "unavailable"]
# direct: the photo goes in. boundary: a module on the reference's features. chain: a module on the features that the
# exported modules before it computed. labels: the photo goes in, judged by truth. against: the photo goes in, held to
# the model that the artifact stands in for. dtypes: storage types read from the files. size: what an app ships.
# environment: what the runtime found around it. bisect: the first tensor that differs. open, run: an entry failed
# there, before anything was compared.
Mode = Literal[
    "", "direct", "boundary", "chain", "labels", "against", "dtypes", "size", "environment", "bisect", "open", "run"
]


@dataclass(frozen=True, slots=True)
class Shipped:
    """Bytes that an app ships, the budget's limit in bytes, and whether both are after gzip."""

    bytes: int
    limit: float
    gzip: bool


@dataclass(frozen=True, slots=True)
class LabelScore:
    """Mean WHDR of the file and of the reference on the same labels, and how many labels the model has."""

    whdr: float
    reference: float
    labels: int


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first tensor of a file that leaves its reference.

    `tensor` is the first one whose error is over `limit`, `error` that error and `before` the worst error among the
    tensors computed before it; errors are max |a - b| as a share of the reference tensor's range. `tensor` is None
    where nothing diverged. `compared` counts the tensors that both sides have, and `kernels` says what executed them.
    `reason` says why nothing was compared.
    """

    against: str
    tensor: str | None = None
    error: float = 0.0
    before: float = 0.0
    limit: float = 0.0
    compared: int = 0
    kernels: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a row holds beside measures; each mode fills the field of its own.

    `weight_bytes`: bytes of weights by storage dtype. `against`: the model that the artifact stands in for.
    """

    weight_bytes: Mapping[str, int] = field(default_factory=dict)
    shipped: Shipped | None = None
    score: LabelScore | None = None
    against: str = ""
    environment: Environment | None = None
    bisect: tuple[Divergence, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityRow(Row):
    """One artifact x entry x mode x runtime. `samples` counts the photos that were compared."""

    verdict: Verdict = "pass"
    entry: str = ""
    mode: Mode = ""
    samples: int = 0
    measures: tuple[Measure, ...] = ()
    facts: Facts = Facts()
    runtime_version: Mapping[str, str] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """Runtime, entry, mode and stage, as far as the row has them."""
        return " ".join(filter(None, (self.runtime, self.entry, self.mode, self.stage)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityEvidence(Evidence[ParityRow]):
    """`samples` names the judging samples; `samples_asked` counts those the model has, photos of --samples included."""

    FILE: ClassVar[str] = "parity.json"
    COMMAND: ClassVar[str] = "make parity"
    kind: Literal["parity"] = "parity"
    samples: tuple[str, ...]
    samples_asked: int
