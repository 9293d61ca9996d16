"""From an entry's ONNX graph to its TF.js graph, op by op."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from export.passes.base import run_passes
from export.targets.tfjs.call import Call
from export.targets.tfjs.graph import (
    Array,
    Attrs,
    Fixed,
    Graph,
    Node,
    Ref,
    Unsupported,
    Value,
    a_type,
    live,
    safe_name,
)
from export.targets.tfjs.onnx_facts import Facts, read_facts
from export.targets.tfjs.ops import HANDLERS
from export.targets.tfjs.pipeline import ONNX_PASSES
from hydramobile.artifact import Port
from hydramobile.errors import StageError

if TYPE_CHECKING:
    import onnx

STAGE = "convert"
CHANNELS_LAST = (0, 2, 3, 1)
# Ops that produce fresh values at every run must never be folded into a constant.
RANDOM = frozenset({"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli"})


@dataclass(frozen=True, slots=True)
class Weight:
    """A constant of the graph in memory order. `kernel` says that recipes may compress it."""

    name: str
    value: Array
    kernel: bool


@dataclass(frozen=True, slots=True)
class Lowered:
    """A finished graph: GraphDef nodes as JSON, and the weights in the order of their nodes."""

    nodes: tuple[dict[str, Any], ...]
    weights: tuple[Weight, ...]


def lower(model: onnx.ModelProto, inputs: Sequence[Port], outputs: Sequence[Port], entry: str) -> Lowered:
    """The TF.js graph of `model`, whose inputs and outputs lie in memory as the ports say. `model` is used up.

    Raises StageError("convert") naming the entry, the op and what is supported.
    """
    from onnx import numpy_helper

    model = run_passes(model, ONNX_PASSES).program
    known = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    graph, facts = Graph(), read_facts(model)
    values: dict[str, Value] = {name: Fixed(value, safe_name(name)) for name, value in known.items()}
    for port in inputs:
        order = CHANNELS_LAST if port.layout == "NHWC" else tuple(range(len(port.shape)))
        values[port.name] = graph.placeholder(port.file_name, facts.shapes[port.name], port.dtype, order)
    for node in model.graph.node:
        made = translate(graph, node, values, facts, entry)
        values |= {name: value for name, value in zip(node.output, made, strict=False) if name}
        for name, value in zip(node.output, made, strict=False):
            # A value's own node carries its name, so that a layer can be found in the file.
            if isinstance(value, Ref) and value.wire[0].hint.startswith(f"{graph.scope}/"):
                value.wire[0].hint = safe_name(name)
    return finish(graph, [(port, values[port.name]) for port in outputs])


def translate(
    graph: Graph, node: onnx.NodeProto, values: dict[str, Value], facts: Facts, entry: str
) -> tuple[Value, ...]:
    """The values one ONNX node makes: computed now where all its inputs are known, else by its handler."""
    from onnx import helper

    inputs = tuple(values[name] if name else None for name in node.input)
    graph.scope = safe_name(node.output[0])
    where = f"entry {entry!r}: op {node.op_type!r} ({node.output[0]})"
    if all(value is None or isinstance(value, Fixed) for value in inputs) and node.op_type not in RANDOM:
        return folded(node, inputs, where)
    handler = HANDLERS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    if handler is None:
        raise StageError(STAGE, f"{where} is not supported (supported: {', '.join(sorted(HANDLERS))})")
    known = [name for name in node.output if name]
    unknown = [name for name in known if name not in facts.shapes]
    if unknown:
        raise StageError(STAGE, f"{where} has a result of unknown shape: {unknown[0]}")
    call = Call(
        graph,
        node.op_type,
        inputs,
        {item.name: helper.get_attribute_value(item) for item in node.attribute},
        tuple(facts.shapes[name] for name in known),
        tuple(stored(facts.dtypes[name]) for name in known),
        facts.uses[node.input[0]] == 1,
    )
    try:
        made = handler(call)
    except Unsupported as error:
        raise StageError(STAGE, f"{where} {error}") from error
    return made if isinstance(made, tuple) else (made,)


def stored(dtype: str) -> str:
    """TF.js's type for a NumPy type."""
    if dtype == "bool":
        return "bool"
    return "int32" if "int" in dtype else "float32"


def folded(node: onnx.NodeProto, inputs: Sequence[Value | None], where: str) -> tuple[Value, ...]:
    """The node's results as constants, by ONNX's own reference implementation."""
    from onnx.reference import ReferenceEvaluator

    feeds = {
        name: value.value for name, value in zip(node.input, inputs, strict=True) if name and isinstance(value, Fixed)
    }
    try:
        made = ReferenceEvaluator(node).run(None, feeds)
    except Exception as error:  # third-party kernels for any op there is
        raise StageError(STAGE, f"{where} on constants failed: {type(error).__name__}: {error}") from error
    return tuple(Fixed(np.asarray(value), safe_name(name)) for name, value in zip(node.output, made, strict=True))


def finish(graph: Graph, outputs: Sequence[tuple[Port, Value]]) -> Lowered:
    """Lay the outputs as the ports say, name everything, and drop what nothing reads."""
    ends: dict[int, str] = {}
    tips: list[Node] = []
    for port, value in outputs:
        graph.scope = port.file_name
        order = CHANNELS_LAST if port.layout == "NHWC" else tuple(range(len(port.shape)))
        node, index = graph.lay(value, order)
        if index or node.op in ("Placeholder", "Const") or id(node) in ends:
            # The name belongs to an input, a weight or another output already: an Identity carries this one.
            node, _ = graph.add("Identity", [(node, index)], T=a_type(port.dtype))
        ends[id(node)] = port.file_name
        tips.append(node)
    kept = live(graph.nodes, tips)
    names = name_nodes(kept, ends)
    nodes = tuple(as_json(node, names) for node in kept)
    weights = tuple(Weight(names[id(n)], n.value, n.kernel) for n in kept if n.value is not None)
    return Lowered(nodes, weights)


def name_nodes(nodes: Sequence[Node], ends: dict[int, str]) -> dict[int, str]:
    """Exact names for inputs and outputs; the others take their hint, numbered where it is taken."""
    names = dict(ends) | {id(node): node.hint for node in nodes if node.op == "Placeholder"}
    taken = set(names.values())
    counts: Counter[str] = Counter()
    for node in nodes:
        if id(node) in names:
            continue
        name = node.hint
        while name in taken:
            counts[node.hint] += 1
            name = f"{node.hint}_{counts[node.hint]}"
        taken.add(name)
        names[id(node)] = name
    return names


def as_json(node: Node, names: dict[int, str]) -> dict[str, Any]:
    made: dict[str, Any] = {"name": names[id(node)], "op": node.op}
    if node.inputs:
        made["input"] = [names[id(source)] + (f":{index}" if index else "") for source, index in node.inputs]
    attrs: dict[str, Attrs] = dict(node.attrs)
    if node.value is not None:
        shape = {"dim": [{"size": str(size)} for size in node.value.shape]}
        attrs["value"] = {"tensor": {"dtype": attrs["dtype"]["type"], "tensorShape": shape}}
    made["attr"] = attrs
    return made
