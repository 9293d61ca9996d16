"""Parity: the outputs of one entry of one artifact in one runtime, against the outputs of the reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from benchmarks.evidence.envelope import Evidence
from benchmarks.evidence.environment import Environment
from benchmarks.evidence.row import Row
from hydramobile.measures import Measure

Verdict = Literal["pass", "mismatch", "failed", "unavailable"]
# Inputs of a comparison. direct: the photo. boundary: the reference's features. chain: the features that the exported
# modules computed. labels: the photo, and the outputs are compared with labels. against: the photo, and the outputs
# are compared with the model that the artifact replaces. drawn: seeded inputs beyond the samples, where only float
# recipes have limits (hydramobile/drawn.py).
# Other rows. dtypes: storage dtypes read from the files. size: bytes that an app ships. environment: the runtime's
# environment. bisect: the first tensor that differs. open, run: the entry failed at this stage, before a comparison.
Mode = Literal[
    "",
    "direct",
    "boundary",
    "chain",
    "drawn",
    "labels",
    "against",
    "dtypes",
    "size",
    "environment",
    "bisect",
    "open",
    "run",
]


@dataclass(frozen=True, slots=True)
class Shipped:
    """Bytes that an app ships, and the budget's limit in bytes; `gzip` says whether both are after gzip."""

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
    """The first tensor of a file that diverges from its reference.

    `tensor` is the first one whose error is over `limit`, None if no tensor is. `error` is its error, and `before` the
    worst error of the tensors computed before it. Errors are max |a - b| as a share of the reference tensor's range.
    `compared` counts the tensors that both sides have, and `kernels` names the kernels that computed them. `reason`
    says why nothing was compared.
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
    """Data of a row beside its measures; each mode fills one field.

    `weight_bytes`: bytes of weights by storage dtype. `against`: the model that the artifact replaces.
    """

    weight_bytes: Mapping[str, int] = field(default_factory=dict)
    shipped: Shipped | None = None
    score: LabelScore | None = None
    against: str = ""
    environment: Environment | None = None
    bisect: tuple[Divergence, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityRow(Row):
    """One artifact x entry x mode x runtime. `samples` counts the inputs that were compared."""

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
    """Parity of artifacts.

    `samples` names the judging samples that were run. `samples_asked` counts all judging samples of the model and of
    --samples.
    """

    FILE: ClassVar[str] = "parity.json"
    COMMAND: ClassVar[str] = "make parity"
    kind: Literal["parity"] = "parity"
    samples: tuple[str, ...]
    samples_asked: int
