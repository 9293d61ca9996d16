"""Static cost: multiply-accumulates and memory of the reference's modules and of each artifact's graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from benchmarks.evidence.envelope import Evidence
from benchmarks.evidence.row import Label, Row


@dataclass(frozen=True, slots=True)
class ModuleCost:
    """Static cost of one module of the reference.

    `macs` are the multiply-accumulates of one run at the default size, by PyTorch's FLOP counter. It counts
    convolutions and matrix products, which are the only operators that multiply weights. `kinds` splits `macs` by
    operator. `parameters` and `buffers` (running means) are counted in elements.
    """

    module: str
    parameters: int
    buffers: int
    macs: int
    kinds: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Peak:
    """The greatest number of bytes of live activations, and the operator that runs at that point."""

    bytes: int
    step: str
    kind: str


@dataclass(frozen=True, slots=True)
class OpCost:
    """Static cost of one operator: multiply-accumulates, and the shapes and bytes of its outputs."""

    kind: str
    name: str
    macs: int
    shapes: tuple[tuple[int, ...], ...]
    bytes: int


@dataclass(frozen=True, slots=True)
class KindCost:
    """Static cost of all operators of one kind: their number, multiply-accumulates, and bytes of outputs."""

    kind: str
    operators: int
    macs: int
    bytes: int


@dataclass(frozen=True, slots=True)
class EntryCost:
    """Static cost of one entry. `weights` are bytes by storage dtype; `inputs` and `outputs` are bytes."""

    entry: str
    modules: tuple[str, ...]
    operators: int
    macs: int
    weights: Mapping[str, int]
    peak: Peak
    inputs: int
    outputs: int
    kinds: tuple[KindCost, ...]
    ops: tuple[OpCost, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRow(Row):
    """Static cost of one artifact. `read_by` is the runtime that read its graphs."""

    verdict: Literal["measured", "unavailable", "failed"] = "measured"
    read_by: str = ""
    entries: tuple[EntryCost, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CostEvidence(Evidence[CostRow]):
    """Static cost of a model.

    `size` is [height, width] of the model's input. `modules_missing` says why `modules` is empty.
    """

    FILE: ClassVar[str] = "cost.json"
    COMMAND: ClassVar[str] = "make bench"
    kind: Literal["cost"] = "cost"
    evidence: Label = "static"
    size: tuple[int, int]
    modules: tuple[ModuleCost, ...]
    modules_missing: str = ""
