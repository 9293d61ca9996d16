"""The convolutions of a module: their nodes in the exported graph, their parameters, and their tensors' moments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from export.passes.aten import schema_name
from export.program import Program
from hydramobile.spec import EntrySpec

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram
    from torch.fx import Node

Array = NDArray[Any]
CONVOLUTIONS = frozenset({"aten::conv1d", "aten::conv2d"})
RELUS = frozenset({"aten::relu", "aten::relu_"})
CLIPPED = frozenset({"aten::relu6", "aten::relu6_", "aten::hardtanh", "aten::hardtanh_", "aten::clamp", "aten::clamp_"})


@dataclass(slots=True)
class Moments:
    """The largest element and the mean of each channel of a tensor, over samples and positions."""

    peak: Array = field(default_factory=lambda: np.zeros(0))
    total: Array = field(default_factory=lambda: np.zeros(0))
    count: int = 0

    def add(self, value: torch.Tensor) -> None:
        """Add one sample: [N, C, ...]."""
        by_channel = value.detach().transpose(0, 1).flatten(1).double()
        peak, total = by_channel.amax(1).numpy(), by_channel.sum(1).numpy()
        first = not self.count
        self.peak = peak if first else np.maximum(self.peak, peak)
        self.total = total if first else self.total + total
        self.count += by_channel.shape[1]

    @property
    def mean(self) -> Array:
        return self.total / max(self.count, 1)


@dataclass(frozen=True, slots=True)
class ModuleGraph:
    """The exported graph of the module `name`, and the module whose parameters the graph reads."""

    exported: ExportedProgram
    name: str
    module: torch.nn.Module

    def convolutions(self) -> Iterator[Node]:
        """Yield the convolutions whose weight is a parameter that no other node reads, in the order of the graph."""
        for node in self.exported.graph.nodes:
            if schema_name(node) in CONVOLUTIONS and self.parameter(node, 1) is not None:
                yield node

    def parameter(self, node: Node, index: int) -> torch.nn.Parameter | None:
        """Return the parameter at the argument `index` of `node`; None for other values and for shared parameters."""
        from torch.fx import Node as FxNode

        source = node.args[index] if len(node.args) > index else None
        if not isinstance(source, FxNode):
            return None
        path = self.exported.graph_signature.inputs_to_parameters.get(source.name, "")
        if len(source.users) != 1 or not path.startswith(f"{self.name}."):
            return None
        return self.module.get_parameter(path.removeprefix(f"{self.name}."))

    def owns(self, node: Node) -> bool:
        """Return whether the weight, and the bias where there is one, are parameters that no other node reads."""
        biased = len(node.args) > 2 and node.args[2] is not None
        return self.parameter(node, 1) is not None and (not biased or self.parameter(node, 2) is not None)


def export_module(program: Program, entry: EntrySpec, name: str) -> ModuleGraph | None:
    """Return the graph of the module `name`, whose entry is `entry`; None where torch.export refuses the module."""
    try:
        return ModuleGraph(program.exported(entry).program, name, program.modules[name])
    except Exception:  # noqa: BLE001 - torch.export raises many types; targets report them where they need the graph
        return None


def groups_of(node: Node) -> int:
    """Return the groups of a convolution."""
    arguments: Any = node.args
    return int(arguments[6]) if len(arguments) > 6 else 1


def clip_limit(node: Node) -> float | None:
    """Return the value at which a rectifier clips: infinity for a ReLU, None for nodes that are no rectifier."""
    name = schema_name(node)
    if name in RELUS:
        return float("inf")
    if name in ("aten::relu6", "aten::relu6_"):
        return 6.0
    if name in CLIPPED:
        low, high = (node.args[index] if len(node.args) > index else None for index in (1, 2))
        if low == 0 and isinstance(high, int | float) and high > 0:
            return float(high)
    return None


def observe_moments(program: Program, entry: EntrySpec, graph: ModuleGraph) -> Mapping[str, Moments]:
    """Return the moments of every convolution's input and of every rectifier's output, by node name."""
    import torch
    from torch.fx import Interpreter

    wanted: set[str] = set()
    for node in graph.exported.graph.nodes:
        if schema_name(node) in CONVOLUTIONS:
            wanted.add(node.args[0].name)
        if clip_limit(node) is not None:
            wanted.add(node.name)
    moments: dict[str, Moments] = {}

    class Observer(Interpreter):
        def run_node(self, n: Node) -> Any:
            value = super().run_node(n)
            if n.name in wanted and isinstance(value, torch.Tensor) and value.ndim >= 3:
                moments.setdefault(n.name, Moments()).add(value)
            return value

    module: Any = graph.exported.module(check_guards=False)
    with torch.no_grad():
        for feed in program.feeds(entry):
            Observer(module).run(*(torch.from_numpy(feed[name]) for name in entry.inputs))
    return moments
