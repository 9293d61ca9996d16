"""Lower the ONNX graph of an entry to a TF.js graph, op by op."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from export.passes.base import run_passes
from export.targets.tfjs.graph import (
    NHWC,
    Array,
    Attrs,
    Constant,
    Graph,
    Layout,
    Node,
    Tensor,
    UnsupportedOp,
    Value,
    dtype_attr,
    live_nodes,
    row_major,
    safe_name,
)
from export.targets.tfjs.onnx_facts import OnnxFacts, read_facts
from export.targets.tfjs.onnx_node import OnnxNode
from export.targets.tfjs.ops import LOWERINGS
from export.targets.tfjs.pipeline import ONNX_PASSES
from hydramobile.artifact import Port
from hydramobile.errors import StageError

if TYPE_CHECKING:
    import onnx

STAGE = "convert"
# Ops that compute new values in every run, so they must not be folded.
RANDOM = frozenset({"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli"})


@dataclass(frozen=True, slots=True)
class Weight:
    """A Const of the graph, as it lies in memory. `kernel` says that recipes may compress it."""

    name: str
    value: Array
    kernel: bool


@dataclass(frozen=True, slots=True)
class Lowered:
    """A finished TF.js graph: GraphDef nodes as JSON, and the weights in the order of their nodes."""

    nodes: tuple[dict[str, Any], ...]
    weights: tuple[Weight, ...]


def lower(model: onnx.ModelProto, inputs: Sequence[Port], outputs: Sequence[Port], entry: str) -> Lowered:
    """Return the TF.js graph of `model`. Ports give the memory layout of its inputs and outputs. `model` is modified.

    Raises StageError("convert") that names the entry, the op and the supported ops or attributes.
    """
    from onnx import numpy_helper

    model = run_passes(model, ONNX_PASSES).program
    graph, facts = Graph(), read_facts(model)
    values: dict[str, Value] = {
        item.name: Constant(numpy_helper.to_array(item), safe_name(item.name)) for item in model.graph.initializer
    }
    for port in inputs:
        shape = facts.shapes[port.name]
        values[port.name] = graph.placeholder(port.file_name, shape, port.dtype, port_layout(port))
    for node in model.graph.node:
        results = lower_node(graph, node, values, facts, entry)
        for name, value in zip(node.output, results, strict=False):
            if name:
                values[name] = value
            # The node that computes an ONNX tensor takes its name, so that a layer can be found in the file.
            if isinstance(value, Tensor) and value.source[0].name_hint.startswith(f"{graph.scope}/"):
                value.source[0].name_hint = safe_name(name)
    return finish(graph, [(port, values[port.name]) for port in outputs])


def port_layout(port: Port) -> Layout:
    return NHWC if port.layout == "NHWC" else row_major(len(port.shape))


def lower_node(
    graph: Graph, node: onnx.NodeProto, values: dict[str, Value], facts: OnnxFacts, entry: str
) -> tuple[Value, ...]:
    """Return the outputs of one ONNX node: folded where all operands are constants, else lowered.

    Raises StageError("convert") for an op without a lowering and for an output of unknown shape.
    """
    from onnx import helper

    operands = tuple(values[name] if name else None for name in node.input)
    graph.scope = safe_name(node.output[0])
    where = f"entry {entry!r}: op {node.op_type!r} ({node.output[0]})"
    if all(value is None or isinstance(value, Constant) for value in operands) and node.op_type not in RANDOM:
        return fold_constants(node, operands, where)
    lowering = LOWERINGS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    if lowering is None:
        raise StageError(STAGE, f"{where} is not supported (supported: {', '.join(sorted(LOWERINGS))})")
    outputs = [name for name in node.output if name]
    unknown = [name for name in outputs if name not in facts.shapes]
    if unknown:
        raise StageError(STAGE, f"{where} has a result of unknown shape: {unknown[0]}")
    onnx_node = OnnxNode(
        graph=graph,
        op_type=node.op_type,
        operands=operands,
        attrs={item.name: helper.get_attribute_value(item) for item in node.attribute},
        output_shapes=tuple(facts.shapes[name] for name in outputs),
        output_dtypes=tuple(tfjs_dtype_name(facts.dtypes[name]) for name in outputs),
        sole_user=facts.use_counts[node.input[0]] == 1,
    )
    try:
        result = lowering(onnx_node)
    except UnsupportedOp as error:
        raise StageError(STAGE, f"{where} {error}") from error
    return result if isinstance(result, tuple) else (result,)


def tfjs_dtype_name(dtype: str) -> str:
    """Return the TF.js dtype for the name of a NumPy dtype."""
    if dtype == "bool":
        return "bool"
    return "int32" if "int" in dtype else "float32"


def fold_constants(node: onnx.NodeProto, operands: Sequence[Value | None], where: str) -> tuple[Value, ...]:
    """Compute the outputs of a node on constants with ONNX's reference implementation."""
    from onnx.reference import ReferenceEvaluator

    feeds = {
        name: value.value
        for name, value in zip(node.input, operands, strict=True)
        if name and isinstance(value, Constant)
    }
    results: Sequence[Any]
    try:
        if node.op_type == "GatherElements":
            axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
            results = [gather_elements(feeds[node.input[0]], feeds[node.input[1]], axis)]
        else:
            results = list(ReferenceEvaluator(node).run(None, feeds))
    except Exception as error:  # third-party kernels for any op there is
        raise StageError(STAGE, f"{where} on constants failed: {type(error).__name__}: {error}") from error
    return tuple(Constant(np.asarray(value), safe_name(name)) for name, value in zip(node.output, results, strict=True))


def gather_elements(data: NDArray[Any], indices: NDArray[Any], axis: int) -> NDArray[Any]:
    """Return `data[..., indices, ...]` along `axis`. On the other axes `indices` may be shorter than `data`.

    The reference implementation of onnx 1.23 fails where data and indices differ in size along `axis` and have a
    single row.
    """
    axis %= data.ndim
    kept = tuple(slice(None) if index == axis else slice(size) for index, size in enumerate(indices.shape))
    return np.take_along_axis(data[kept], indices, axis)


def finish(graph: Graph, outputs: Sequence[tuple[Port, Value]]) -> Lowered:
    """Bring the outputs into the layouts of their ports, name all nodes, and drop dead ones."""
    output_names: dict[int, str] = {}
    output_nodes: list[Node] = []
    for port, value in outputs:
        graph.scope = port.file_name
        node, index = graph.to_layout(value, port_layout(port))
        if index or node.op in ("Placeholder", "Const") or id(node) in output_names:
            # The node is named after an input, a weight or another output: an Identity takes the name of this output.
            node, _ = graph.add("Identity", [(node, index)], T=dtype_attr(port.dtype))
        output_names[id(node)] = port.file_name
        output_nodes.append(node)
    live = live_nodes(graph.nodes, output_nodes)
    names = name_nodes(live, output_names)
    nodes = tuple(as_json(node, names) for node in live)
    weights = tuple(Weight(names[id(n)], n.value, n.kernel) for n in live if n.value is not None)
    return Lowered(nodes, weights)


def name_nodes(nodes: Sequence[Node], output_names: dict[int, str]) -> dict[int, str]:
    """Return the name of each node by `id`. Inputs and outputs get exact names; taken name hints are numbered."""
    names = dict(output_names) | {id(node): node.name_hint for node in nodes if node.op == "Placeholder"}
    taken = set(names.values())
    counts: Counter[str] = Counter()
    for node in nodes:
        if id(node) in names:
            continue
        name = node.name_hint
        while name in taken:
            counts[node.name_hint] += 1
            name = f"{node.name_hint}_{counts[node.name_hint]}"
        taken.add(name)
        names[id(node)] = name
    return names


def as_json(node: Node, names: dict[int, str]) -> dict[str, Any]:
    """Return the node as a NodeDef in JSON. Output 0 of an input node is written as its name alone."""
    content: dict[str, Any] = {"name": names[id(node)], "op": node.op}
    if node.inputs:
        content["input"] = [names[id(source)] + (f":{index}" if index else "") for source, index in node.inputs]
    attrs: dict[str, Attrs] = dict(node.attrs)
    if node.value is not None:
        shape = {"dim": [{"size": str(size)} for size in node.value.shape]}
        attrs["value"] = {"tensor": {"dtype": attrs["dtype"]["type"], "tensorShape": shape}}
    content["attr"] = attrs
    return content
