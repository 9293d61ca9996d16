"""float16: computed in half precision, but for the layer that reads the net's input."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING

from export.program import Program
from export.quantize.observers import raw_inputs
from hydramobile.errors import StageError
from hydramobile.recipes import FLOAT_SHARE
from hydramobile.spec import EntrySpec

if TYPE_CHECKING:
    import onnx

# Operators that ONNX Runtime computes inside the convolution before them, where both are of one type.
FUSED = ("Relu", "LeakyRelu", "Sigmoid", "Tanh", "Clip", "HardSigmoid")
NOTE = "what reads the net's input stays float32, which half precision would round before anything is computed"


def halve(program: Program, entry: EntrySpec, model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` in float16 with float32 inputs and outputs; the nodes of `reading` stay float32 behind Casts.

    An input is known to more digits than half precision holds, and everything after its first layer inherits what is
    lost there. Where kernels sum in half too (ONNX Runtime on ARMv8.2), the portrait's matte moves by .0017 on average
    on its hardest sample with that layer in half, and by .0008 with it in float32, for 2 kB of weights.
    """
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    kept = [node.name for node in reading(program, entry, model)]
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    name_constants(copy)
    # ONNX Runtime's converter inserts 5 casts into such a net where onnxconverter-common's inserts 27.
    halved: onnx.ModelProto = convert_float_to_float16(copy, keep_io_types=True, node_block_list=kept)
    sort_nodes(halved)
    halved = typed(halved)
    join_casts(halved)
    return typed(halved)


def name_constants(model: onnx.ModelProto) -> None:
    """Make outputs that are constants the results of nodes, in place: the converter reads a node's result there."""
    import onnx

    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for name in (value.name for value in graph.output):
        if name in constants:
            constants[name].name = f"{name}_constant"
            graph.node.append(onnx.helper.make_node("Identity", [f"{name}_constant"], [name], name=f"{name}_identity"))
            for node in graph.node[:-1]:
                node.input[:] = [f"{name}_constant" if source == name else source for source in node.input]


def typed(model: onnx.ModelProto) -> onnx.ModelProto:
    """With the types of its tensors found anew: the converter leaves some of what is float32 that say float16."""
    import onnx

    del model.graph.value_info[:]
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def reading(program: Program, entry: EntrySpec, model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes that read what comes from outside: up to the first layer with weights on each path, with the activation
    that is fused into it. A layer of more weights than their share (`FLOAT_SHARE` of the largest module's, all of them
    together), such as a table of embeddings, is not among them; nor is anything of a head on features."""
    fixed = {tensor.name: tensor for tensor in model.graph.initializer}
    outside, read, found = set(raw_inputs(program, entry.inputs)), set[str](), []
    left = FLOAT_SHARE * sum(size * count for size, count in program.largest_module().items())
    for node in model.graph.node:
        moving = {name for name in node.input if name and name not in fixed}
        weights = [fixed[name].dims for name in node.input if name in fixed]
        cost = sum(prod(dims) for dims in weights)
        if moving and outside.issuperset(moving) and cost <= left:
            layer = any(sum(dim > 1 for dim in dims) > 1 for dims in weights)
            (read if layer else outside).update(node.output)
        elif not (moving and read.issuperset(moving) and node.op_type in FUSED):
            continue
        left -= cost
        found.append(node)
    return found


def kept_weights(program: Program, entry: EntrySpec, model: onnx.ModelProto) -> set[str]:
    """The weights of the layers that stay float32."""
    return {name for node in reading(program, entry, model) for name in node.input}


def note(program: Program, converted: Mapping[str, onnx.ModelProto]) -> tuple[str, ...]:
    """What an app's author should know of the recipe's files: which weights are float32, and why."""
    names: dict[str, None] = {}
    for ident, model in converted.items():
        kept = kept_weights(program, program.spec.entries[ident.partition("@")[0]], model)
        names |= dict.fromkeys(t.name for t in model.graph.initializer if len(t.dims) > 1 and t.name in kept)
    if not names:
        return ()
    return (f"{NOTE}: {', '.join(names)}",)


def join_casts(model: onnx.ModelProto) -> None:
    """Take away casts of float32 to half precision and back, in place: they would round what stays float32. The types
    of tensors must be known (`typed`): a net may cast integers, too."""
    from onnx import TensorProto

    graph = model.graph
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for value in (*graph.value_info, *graph.input, *graph.output):
        types[value.name] = value.type.tensor_type.elem_type
    outputs = {value.name for value in graph.output}
    casts = {node.output[0]: node for node in graph.node if node.op_type == "Cast"}
    same: dict[str, str] = {}
    for name, node in casts.items():
        source = node.input[0]
        if types.get(source) == TensorProto.FLOAT16 and source in casts:
            source = casts[source].input[0]
        source = same.get(source, source)
        if types.get(name) == types.get(source) == TensorProto.FLOAT and name not in outputs:
            same[name] = source
    nodes = [node for node in graph.node if node.output[0] not in same]
    for node in nodes:
        node.input[:] = [same.get(name, name) for name in node.input]
    read = {name for node in nodes for name in node.input} | outputs
    idle = [node for node in nodes if node.op_type == "Cast" and node.output[0] not in read]
    # The converter gave a tensor's name to what the cast made of it.
    made = {name for node in nodes for name in node.output} - outputs
    named = {node.input[0]: node.output[0] for node in idle if node.input[0] in made}
    gone = {node.output[0] for node in idle}
    nodes = [node for node in nodes if node.output[0] not in gone]
    for node in nodes:
        node.input[:] = [named.get(name, name) for name in node.input]
        node.output[:] = [named.get(name, name) for name in node.output]
    del graph.node[:]
    graph.node.extend(nodes)


def sort_nodes(model: onnx.ModelProto) -> None:
    """Put each node after those it reads from, in place; the order is kept where it already holds.

    The float16 converter appends its casts at the end, which ONNX forbids and only ONNX Runtime forgives.
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
