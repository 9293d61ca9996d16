"""float16: computed in half precision, except for the layers that read the net's input and layers beyond its range."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING

from export.passes.base import run_passes
from export.program import Program
from export.quantize.float_regions import raw_inputs
from export.quantize.half_range import user_lines, wide_notes
from export.targets.onnx.half_steps import wide_nodes
from export.targets.onnx.pipeline import ATEN_PASSES
from hydramobile.errors import StageError
from hydramobile.recipes import FLOAT_SHARE
from hydramobile.spec import EntrySpec

if TYPE_CHECKING:
    import onnx

# Operators that ONNX Runtime fuses into the convolution before them, where both have one dtype.
FUSED = ("Relu", "LeakyRelu", "Sigmoid", "Tanh", "Clip", "HardSigmoid")
NOTE = "what reads the net's input stays float32, which half precision would round before anything is computed"


def to_float16(program: Program, entry: EntrySpec, model: onnx.ModelProto) -> onnx.ModelProto:
    """Return `model` in float16 with float32 inputs and outputs; the `float32_nodes` stay float32 behind Casts.

    An input has more significant digits than half precision holds, and everything after its first layer inherits the
    loss. Where kernels sum in half precision too (ONNX Runtime on ARMv8.2), the portrait's matte moves by .0017 on
    average on its hardest sample with that layer in half, and by .0008 with it in float32, for 2 kB of weights.
    """
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    kept = list(dict.fromkeys(node.name for node in float32_nodes(program, entry, model)))
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    produce_constant_outputs(copy)
    # ONNX Runtime's converter inserts 5 casts into a net with float32 nodes, onnxconverter-common's inserts 27.
    result: onnx.ModelProto = convert_float_to_float16(copy, keep_io_types=True, node_block_list=kept)
    sort_nodes(result)
    result = with_inferred_types(result)
    remove_cast_pairs(result)
    return with_inferred_types(result)


def produce_constant_outputs(model: onnx.ModelProto) -> None:
    """Let an Identity node produce each output that is a constant, in place: the converter expects a node there."""
    import onnx

    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for name in (value.name for value in graph.output):
        if name in constants:
            constants[name].name = f"{name}_constant"
            graph.node.append(onnx.helper.make_node("Identity", [f"{name}_constant"], [name], name=f"{name}_identity"))
            for node in graph.node[:-1]:
                node.input[:] = [f"{name}_constant" if source == name else source for source in node.input]


def with_inferred_types(model: onnx.ModelProto) -> onnx.ModelProto:
    """Infer the dtypes of all tensors again: the converter leaves float16 on some that are float32."""
    import onnx

    del model.graph.value_info[:]
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def input_nodes(program: Program, entry: EntrySpec, model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the nodes that read the net's inputs.

    They are the nodes up to the first layer with weights on each path, and the activation that is fused into it. They
    hold at most `FLOAT_SHARE` of the largest module's weights together: a layer that would exceed that, such as a table
    of embeddings, is not among them. Nor is any node of a head on features.
    """
    fixed = {tensor.name: tensor for tensor in model.graph.initializer}
    raw, after_layer, nodes = set(raw_inputs(program, entry.inputs)), set[str](), []
    left = FLOAT_SHARE * sum(size * count for size, count in program.largest_module().items())
    for node in model.graph.node:
        sources = {name for name in node.input if name and name not in fixed}
        weights = [fixed[name].dims for name in node.input if name in fixed]
        cost = sum(prod(dims) for dims in weights)
        if sources and raw.issuperset(sources) and cost <= left:
            layer = any(sum(dim > 1 for dim in dims) > 1 for dims in weights)
            (after_layer if layer else raw).update(node.output)
        elif not (sources and after_layer.issuperset(sources) and node.op_type in FUSED):
            continue
        left -= cost
        nodes.append(node)
    return nodes


def float32_nodes(program: Program, entry: EntrySpec, model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the `input_nodes`, and the nodes that half precision cannot compute."""
    wide = wide_nodes(program, entry, model).steps
    return [*input_nodes(program, entry, model), *(node for node in model.graph.node if node.name in wide)]


def float32_weights(program: Program, entry: EntrySpec, model: onnx.ModelProto) -> set[str]:
    """Return the constants of the nodes that stay float32, by name."""
    return {name for node in float32_nodes(program, entry, model) for name in node.input}


def note(program: Program, converted: Mapping[str, onnx.ModelProto]) -> tuple[str, ...]:
    """Return the note on the recipe's files for artifact.json: which weights are float32, and why."""
    names: dict[str, None] = {}
    beyond: dict[str, None] = {}
    for ident, model in converted.items():
        entry = program.spec.entries[ident.partition("@")[0]]
        kept = {name for node in input_nodes(program, entry, model) for name in node.input}
        names |= dict.fromkeys(t.name for t in model.graph.initializer if len(t.dims) > 1 and t.name in kept)
        wide = wide_nodes(program, entry, model)
        if wide.steps:
            graph = run_passes(program.exported(entry).program, ATEN_PASSES).program
            beyond |= dict.fromkeys(wide_notes(wide, user_lines(graph)))
    return (*((f"{NOTE}: {', '.join(names)}",) if names else ()), *beyond)


def remove_cast_pairs(model: onnx.ModelProto) -> None:
    """Remove casts from float32 to float16 and back, in place: they would round tensors that stay float32.

    The dtypes of tensors must be known (`with_inferred_types`), because a net may cast integers too.
    """
    from onnx import TensorProto

    graph = model.graph
    dtypes = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for value in (*graph.value_info, *graph.input, *graph.output):
        dtypes[value.name] = value.type.tensor_type.elem_type
    outputs = {value.name for value in graph.output}
    casts = {node.output[0]: node for node in graph.node if node.op_type == "Cast"}
    same: dict[str, str] = {}
    for name, node in casts.items():
        source = node.input[0]
        if dtypes.get(source) == TensorProto.FLOAT16 and source in casts:
            source = casts[source].input[0]
        source = same.get(source, source)
        if dtypes.get(name) == dtypes.get(source) == TensorProto.FLOAT and name not in outputs:
            same[name] = source
    direct = direct_outputs(graph, casts, dtypes, same)
    nodes = [
        node
        for node in graph.node
        if node.output[0] not in same and not (node.output[0] in direct and node.op_type == "Cast")
    ]
    renamed = {origin: name for name, origin in direct.items()}
    for node in nodes:
        node.input[:] = [renamed.get(same.get(name, name), same.get(name, name)) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    nodes = remove_unread_casts(nodes, outputs)
    del graph.node[:]
    graph.node.extend(nodes)


def direct_outputs(
    graph: onnx.GraphProto, casts: Mapping[str, onnx.NodeProto], dtypes: Mapping[str, int], same: Mapping[str, str]
) -> dict[str, str]:
    """Return the float32 tensors that a node computes for an output of the graph, by output, where casts alone follow.

    The converter rounds every output to half precision. An output below its range, of an operator that stays float32
    for that reason, would be zero.
    """
    from onnx import TensorProto

    outputs = {value.name for value in graph.output}
    produced = {name for node in graph.node if node.op_type != "Cast" for name in node.output}
    found: dict[str, str] = {}
    for name in outputs & casts.keys():
        origin = name
        # A cast to integers is the net's own.
        while origin in casts and dtypes.get(casts[origin].input[0]) in (TensorProto.FLOAT, TensorProto.FLOAT16):
            origin = same.get(casts[origin].input[0], casts[origin].input[0])
        floats = dtypes.get(origin) == dtypes.get(name) == TensorProto.FLOAT
        if floats and origin in produced - outputs and origin not in found.values():
            found[name] = origin
    return found


def remove_unread_casts(nodes: list[onnx.NodeProto], outputs: set[str]) -> list[onnx.NodeProto]:
    """Return the nodes without casts that nothing reads. A tensor that the cast had renamed gets its name back."""
    read = {name for node in nodes for name in node.input} | outputs
    unread = [node for node in nodes if node.op_type == "Cast" and node.output[0] not in read]
    # The converter gave a tensor's name to the result of the cast.
    produced = {name for node in nodes for name in node.output} - outputs
    renamed = {node.input[0]: node.output[0] for node in unread if node.input[0] in produced}
    removed = {node.output[0] for node in unread}
    kept = [node for node in nodes if node.output[0] not in removed]
    for node in kept:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    return kept


def sort_nodes(model: onnx.ModelProto) -> None:
    """Sort the nodes topologically, in place; the order stays where it is one already.

    The float16 converter appends its casts at the end, which ONNX forbids and only ONNX Runtime accepts.
    """
    graph = model.graph
    waiting = list(graph.node)
    known = {"", *(value.name for value in graph.input), *(tensor.name for tensor in graph.initializer)}
    ordered: list[onnx.NodeProto] = []
    while waiting:
        index = next((i for i, node in enumerate(waiting) if known.issuperset(node.input)), None)
        if index is None:
            raise StageError("emit", f"the float16 graph has a cycle or a dangling input at node {waiting[0].name!r}")
        ordered.append(waiting.pop(index))
        known.update(ordered[-1].output)
    del graph.node[:]
    graph.node.extend(ordered)
