"""Find the operators of an ATen graph that half precision cannot compute, and keep them float32 in the MIL program.

Symptom: values above 65,504 are infinite in a float16 package, and logarithms of small sums are -inf.
Cause: coremltools casts every operator to float16 but those with a constant above 65,504.
The rule is export/quantize/half_range.py; coremltools asks `selector` which operators to cast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from export.passes.aten import schema_name
from export.passes.dataflow import computed_from
from export.quantize.half_range import Extremes, Step, Wide, find_wide, user_lines, wide_notes
from export.quantize.probes import probe_tensors
from export.targets.coreml.names import file_name
from hydramobile.spec import EntrySpec

if TYPE_CHECKING:
    from torch import fx
    from torch.export import ExportedProgram

    from export.program import Program

# The arguments whose small elements count.
DIVISORS = {"div": 1, "log": 0, "log2": 0, "log10": 0, "rsqrt": 0, "reciprocal": 0}
SQUARES = frozenset(
    f"aten::{name}"
    for name in (
        *("layer_norm", "native_layer_norm", "group_norm", "native_group_norm", "instance_norm", "rms_norm"),
        *("linalg_vector_norm", "norm", "var", "std", "var_mean", "cosine_similarity", "_native_batch_norm_legit"),
    )
)
MOVES = frozenset(
    f"aten::{name}"
    for name in (
        *("add", "sub", "clamp", "clamp_min", "clamp_max", "maximum", "minimum", "sqrt", "abs", "where", "hardtanh"),
        *("view", "reshape", "expand", "permute", "transpose", "unsqueeze", "squeeze", "slice", "select", "cat"),
        *("clone", "alias", "_to_copy", "to", "flatten", "unflatten", "repeat", "full_like"),
    )
)


@dataclass(frozen=True, slots=True)
class HalfPlan:
    """How an entry is converted at float16.

    `nodes` are the names of all nodes of its graph, `outputs` names the node of each output. `weights` are the names of
    the constants that operators read which stay float32. `notes` say which operators they are.
    """

    wide: Wide = field(default_factory=Wide)
    nodes: frozenset[str] = frozenset()
    outputs: Mapping[str, str] = field(default_factory=dict)
    weights: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    def is_wide(self, name: str) -> bool:
        """Return whether the input or output `name` of the entry holds elements that half precision cannot."""
        return self.outputs.get(name, name) in self.wide.tensors

    def selector(self) -> Callable[[Any], bool]:
        """Return the function that says whether a MIL operator is cast to float16."""
        return lambda op: self.owner(op) not in self.wide.steps

    def owner(self, op: Any) -> str:
        """Return the node that a MIL operator belongs to: the next one downstream that has a node's name."""
        waiting, seen = [op], set[int]()
        while waiting:
            current = waiting.pop(0)
            if id(current) in seen:
                continue
            seen.add(id(current))
            for name in (current.name, *(variable.name for variable in current.outputs)):
                node = self.outputs.get(name, str(name))
                if node in self.nodes:
                    return node
            waiting += [child for variable in current.outputs for child in variable.child_ops]
        return ""


NO_PLAN = HalfPlan()


def half_plan(program: Program, entry: EntrySpec, exported: ExportedProgram) -> HalfPlan:
    """Run the graph of an entry on the probe inputs and return its plan; an empty one where half holds everything."""
    import torch
    from torch.fx import Interpreter

    module: Any = exported.module(check_guards=False)
    graph = torch.fx.GraphModule(module, module.graph)
    moving = computed_from((node for node in graph.graph.nodes if node.op == "placeholder"), graph.graph)
    extremes: dict[str, Extremes] = {}
    constants: dict[str, NDArray[Any]] = {}

    class Observer(Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            value = super().run_node(n)
            if isinstance(value, torch.Tensor) and value.dtype == torch.float32:
                if n in moving:
                    extremes.setdefault(n.name, Extremes()).add(value.detach().numpy())
                else:
                    constants.setdefault(n.name, value.detach().numpy())
            return value

    nodes = [node for node in graph.graph.nodes if node.op == "placeholder"]
    with torch.no_grad():
        for tensors in probe_tensors(program):
            # A scalar has an axis in the graph (passes/insert_scalar_axis.py).
            shapes = [
                node.meta["val"].shape if "val" in node.meta else tensors[name].shape
                for node, name in zip(nodes, entry.inputs, strict=True)
            ]
            Observer(graph).run(
                *(tensors[name].reshape(shape) for name, shape in zip(entry.inputs, shapes, strict=True))
            )
    placeholders = [node.name for node in nodes]
    returned = [node.name for node in graph.graph.output_node().all_input_nodes]
    steps = [step_of(node, extremes, constants) for node in graph.graph.nodes if node.op == "call_function"]
    wide = find_wide(steps, extremes)
    if not wide.steps and not wide.tensors:
        return NO_PLAN
    results: Any = graph.graph.output_node().args[0]
    names = dict(zip(entry.inputs, placeholders, strict=True))
    names |= {name: node.name for name, node in zip(entry.outputs, results, strict=True)}
    names |= {file_name(program, name): names[name] for name in (*entry.inputs, *entry.outputs)}
    weights = {
        source.name
        for node in exported.graph_module.graph.nodes
        if node.name in wide.steps
        for source in node.all_input_nodes
        if source.op == "placeholder"
    }
    known = frozenset({node.name for node in graph.graph.nodes if node.op == "call_function"} | set(returned))
    return HalfPlan(wide, known, names, frozenset(weights), wide_notes(wide, user_lines(exported)))


def step_of(node: fx.Node, extremes: Mapping[str, Extremes], constants: Mapping[str, NDArray[Any]]) -> Step:
    """Return an operator as the rule reads it. Numbers among its arguments are constants."""
    schema = schema_name(node)
    name = schema.removeprefix("aten::")
    sources = node.all_input_nodes
    numbers = [np.float32(value) for value in node.args if isinstance(value, float)]
    index = DIVISORS.get(name, 0 if is_root(node, name) else None)
    divisor: Any = node.args[index] if index is not None and index < len(node.args) else None
    return Step(
        node.name,
        tuple(source.name for source in sources if source.name in extremes),
        (node.name,) if node.name in extremes else (),
        (*(constants[source.name] for source in sources if source.name in constants), *map(np.asarray, numbers)),
        (divisor.name,) if divisor is not None and getattr(divisor, "name", "") in extremes else (),
        schema in SQUARES,
        schema in MOVES,
    )


def is_root(node: fx.Node, name: str) -> bool:
    """Return whether the node is a power with a negative exponent: 1 / x."""
    return name == "pow" and len(node.args) > 1 and isinstance(node.args[1], int | float) and node.args[1] < 0
