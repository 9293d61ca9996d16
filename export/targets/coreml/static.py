"""Static int8: quantize/dequantize pairs in the net before it is converted, int8 weights after.

Every module is captured as a graph, run on the calibration samples, and given the pairs at the inputs of the operators
that Apple's own quantizer handles; entries are converted from these graphs. So a fused entry holds its modules' scales,
and encoder then head computes what it computes. Between the pairs activations are float16, as coremltools converts by
default: where the hardware has no integer kernel for an operator, it runs in float16.

Scales are symmetric and zero points absent, which is what Core ML is fastest with: uint8 for tensors that are never
negative, int8 for all others.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from export.passes.aten import schema_name
from export.passes.dataflow import computed_from
from export.program import Program
from export.quantize.observers import Ranges, cached, leading_allowed, raw_inputs, require_samples
from export.targets.coreml.convert import PackageCache, SingleFunctionPackage, aten_graph
from export.targets.coreml.package import body, read_model
from export.targets.coreml.vendor import load_compression, load_coremltools
from hydramobile.errors import StageError
from hydramobile.recipes import Recipe
from hydramobile.spec import EntrySpec

if TYPE_CHECKING:
    from torch.fx import GraphModule, Node

STAGE = "quantize"
# The oldest system that has quantize and dequantize first.
IOS = (17, 18)
# ATen operators with weights, and the Core ML operators they become. What follows the last of them on the way to a
# dense output stays float.
WEIGHTED = frozenset(
    f"aten::{name}"
    for name in ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "linear")
)
MIL_WEIGHTED = ("conv", "conv_transpose", "linear")
# Operators of one float input, and of two, that Core ML runs on integers when they stand between pairs.
UNARY = WEIGHTED | {"aten::max_pool2d", "aten::max_pool2d_with_indices", "aten::avg_pool2d"}
BINARY = frozenset({"aten::add"})
# float16's smallest normal value: a scale below it would lose its digits.
LEAST_SCALE = 2.0**-14
MOST_SCALE = float(np.finfo(np.float16).max)


def convert_pairs(program: Program, recipe: Recipe, converted: PackageCache) -> PackageCache:
    """Every entry with quantize/dequantize pairs, ready to be converted at float16.

    The first layers of the net and the last one of a dense output get none, nor do tensors whose values are so small
    that float16 cannot hold their scale. Raises StageError("quantize") without calibration samples, or for a module
    that torch.export does not take.
    """
    require_samples(program, recipe)
    left = leading_allowed(program)
    modules = {name: graph_of(converted, program.spec.entries[name]) for name in program.spec.modules}
    ranges: dict[str, Ranges] = {}
    for name, graph in modules.items():
        ranges[name] = cached(program, recipe, name, partial(measure, program, program.spec.entries[name], graph))
    share_boundaries(program, modules, ranges)
    for name, graph in modules.items():
        entry = program.spec.entries[name]
        leading, left = lead(program, entry, graph, left)
        insert_pairs(graph, ranges[name], {*leading, *tail(program, entry, graph)})
    round_features(program, modules, ranges)
    quantized = replace(program, modules=modules)
    scratch = converted.scratch / recipe.name
    scratch.mkdir(exist_ok=True)
    exported = {entry.name: aten_graph(quantized, entry) for entry in program.entries}
    # coremltools drops the pairs from a traced module without a word.
    return PackageCache(program, scratch, exported, systems=IOS, may_trace=False)


def graph_of(converted: PackageCache, entry: EntrySpec) -> GraphModule:
    """A copy of one module's graph of core ATen operators; parameters are attributes of it."""
    import torch

    exported = converted.exported[entry.name]
    if isinstance(exported, StageError):
        raise StageError(STAGE, f"entry {entry.name!r}: integers need torch.export, and {exported.message}")
    made = exported.module(check_guards=False)
    # The module torch.export gives refuses .eval(); a plain one with the same graph and parameters does not.
    return torch.fx.GraphModule(made, made.graph)


def measure(program: Program, entry: EntrySpec, graph: GraphModule, ranges: Ranges) -> None:
    """Add the range of every float tensor that an operator makes or the module is given, by node name."""
    import torch
    from torch.fx import Interpreter

    class Observer(Interpreter):
        def run_node(self, n: Node) -> Any:
            value = super().run_node(n)
            kept = n.op in ("placeholder", "call_function") and isinstance(value, torch.Tensor)
            if kept and value.is_floating_point() and value.numel():
                ranges.add(n.name, value.detach().numpy())
            return value

    with torch.no_grad():
        for feed in program.feeds(entry):
            Observer(graph).run(*(torch.from_numpy(feed[name]) for name in entry.inputs))


def share_boundaries(program: Program, modules: Mapping[str, GraphModule], ranges: Mapping[str, Ranges]) -> None:
    """One range for a feature in all modules, its maker's."""
    for feature, (maker, readers) in program.spec.edges().items():
        source = output_nodes(modules[maker])[program.spec.modules[maker].outputs.index(feature)]
        if (found := ranges[maker].found.get(source.name)) is None:
            continue
        for reader in readers:
            ranges[reader].found[input_node(program, modules, reader, feature).name] = found


def round_features(program: Program, modules: Mapping[str, GraphModule], ranges: Mapping[str, Ranges]) -> None:
    """Return a feature that a module reads as integers on the grid of these integers; in place.

    Otherwise a module alone and the same one in a fused entry are different graphs to coremltools, which fuses an
    addition with the pair that follows it: their results would differ by float16's rounding of the scales.
    """
    for feature, (maker, readers) in program.spec.edges().items():
        source = output_nodes(modules[maker])[program.spec.modules[maker].outputs.index(feature)]
        given = [input_node(program, modules, reader, feature) for reader in readers]
        made = pair_after(source)
        if made is None and not any(pair_after(node) for node in given):
            continue
        if made is None and (found := scale_of(ranges[maker], source.name)) is not None:
            made = make_pair(modules[maker], source, *found)
        if made is not None:
            returned = list(output_nodes(modules[maker]))
            returned[program.spec.modules[maker].outputs.index(feature)] = made
            modules[maker].graph.output_node().args = (tuple(returned),)
            modules[maker].recompile()


def output_nodes(graph: GraphModule) -> tuple[Node, ...]:
    """What the module returns, in the order of its outputs."""
    found: tuple[Node, ...] = graph.graph.output_node().args[0]  # type: ignore[assignment]  # a tuple in exported graphs
    return found


def input_node(program: Program, modules: Mapping[str, GraphModule], module: str, feature: str) -> Node:
    nodes: list[Node] = [node for node in modules[module].graph.nodes if node.op == "placeholder"]
    return nodes[program.spec.modules[module].inputs.index(feature)]


def pair_after(node: Node) -> Node | None:
    """The dequantized value of a tensor that has a pair."""
    for user in node.users:
        if schema_name(user) == "quantized_decomposed::quantize_per_tensor":
            return next(iter(user.users))
    return None


def insert_pairs(graph: GraphModule, ranges: Ranges, kept: Collection[str]) -> None:
    """Put a pair before every operator that can run on integers, except for those named in `kept`; in place.

    A tensor that several operators read gets one pair; whoever else reads it (an output of the module, say) reads the
    float tensor.
    """
    moving = moving_nodes(graph)
    pairs: dict[Node, Node] = {}
    for node in list(graph.graph.nodes):
        sources = [] if node.name in kept else integer_inputs(node, moving)
        scales = {source: scale_of(ranges, source.name) for source in sources}
        if not sources or None in scales.values():
            continue
        for source, found in scales.items():
            if source not in pairs and found is not None:
                pairs[source] = make_pair(graph, source, *found)
            node.replace_input_with(source, pairs[source])
    graph.graph.lint()
    graph.recompile()


def make_pair(graph: GraphModule, source: Node, scale: float, dtype: str) -> Node:
    import torch

    import_module("torch.ao.quantization.fx._decomposed")  # registers the operators that coremltools converts
    ops = torch.ops.quantized_decomposed
    kind = getattr(torch, dtype)
    limits = torch.iinfo(kind)
    after = source
    while after.op == "placeholder" and after.next.op == "placeholder":
        after = after.next
    with graph.graph.inserting_after(after):
        quantized = graph.graph.call_function(
            ops.quantize_per_tensor.default, (source, scale, 0, limits.min, limits.max, kind)
        )
    with graph.graph.inserting_after(quantized):
        return graph.graph.call_function(
            ops.dequantize_per_tensor.default, (quantized, scale, 0, limits.min, limits.max, kind)
        )


def scale_of(ranges: Ranges, name: str) -> tuple[float, str] | None:
    """Scale (exact in float16) and integer type for a tensor, or None where float16 has no such scale."""
    if name not in ranges.found:
        return None
    low, high = ranges.found[name]
    wanted = high / 255 if low >= 0 else max(-low, high) / 127
    if not LEAST_SCALE <= wanted <= MOST_SCALE:
        return None
    scale = np.float16(wanted)
    # As Python numbers: numpy would compare in float16, where the two are equal.
    if float(scale) < wanted:
        scale = np.nextafter(scale, np.float16(np.inf))
    return float(scale), "uint8" if low >= 0 else "int8"


def moving_nodes(graph: GraphModule) -> set[Node]:
    """Nodes whose values depend on the module's inputs; the others are constants."""
    return computed_from((node for node in graph.graph.nodes if node.op == "placeholder"), graph.graph)


def integer_inputs(node: Node, moving: Collection[Node]) -> list[Node]:
    """The tensors that `node` would read as integers; none when it is no operator for that."""
    name = schema_name(node)
    if name in WEIGHTED and node.args[1] in moving:
        return []
    count = 1 if name in UNARY else 2 if name in BINARY else 0
    sources: list[Node] = [source for source in node.args[:count] if source in moving]  # type: ignore[misc]  # `in` does not narrow
    return sources if len(sources) == count else []


def lead(program: Program, entry: EntrySpec, graph: GraphModule, left: int) -> tuple[list[str], int]:
    """Names of the first nodes of the net, up to the layer that would exceed `left` weights, and what is left."""
    raw, moving = set(raw_inputs(program, entry.inputs)), moving_nodes(graph)
    inputs = [node for node in graph.graph.nodes if node.op == "placeholder"]
    known = {node for node, name in zip(inputs, entry.inputs, strict=True) if name in raw}
    names: list[str] = []
    for node in graph.graph.nodes:
        sources = moving.intersection(node.all_input_nodes)
        if node.op != "call_function" or not sources or not known.issuperset(sources):
            continue
        if schema_name(node) in WEIGHTED and node.args[1] not in moving:
            cost = weight_size(graph, node.args[1])
            if cost > left:
                return names, 0
            left -= cost
        names.append(node.name)
        known.add(node)
    return names, left


def weight_size(graph: GraphModule, weight: Any) -> int:
    """Values of a constant; of the parameter it is made from where a cast or a permutation lies between."""
    if weight.op == "get_attr":
        return int(operator.attrgetter(weight.target)(graph).numel())
    return max((weight_size(graph, source) for source in weight.all_input_nodes), default=0)


def tail(program: Program, entry: EntrySpec, graph: GraphModule) -> list[str]:
    """Names of the last weighted node before each dense final output (a map, not class scores) and of all after it."""
    final = set(program.final())
    names: list[str] = []
    for name, node in zip(entry.outputs, output_nodes(graph), strict=True):
        if name not in final or program.tensors[name].ndim != 4:
            continue
        waiting, seen = [node], set[str]()
        while waiting:
            current = waiting.pop()
            if current.name in seen:
                continue
            seen.add(current.name)
            names.append(current.name)
            if schema_name(current) not in WEIGHTED:
                waiting += current.all_input_nodes
    return list(dict.fromkeys(names))


def quantize_static_weights(plain: SingleFunctionPackage, package: Path) -> SingleFunctionPackage:
    """int8 weights, symmetric, one scale per output channel, for the operators whose input is dequantized."""
    ct, compression = load_coremltools(), load_compression()
    config = compression.OpLinearQuantizerConfig(
        mode="linear_symmetric", dtype="int8", granularity="per_channel", weight_threshold=0
    )
    names = dict.fromkeys(integer_weights(plain.package), config)
    model = ct.models.MLModel(str(plain.package), skip_model_load=True)
    # A channel that is zero in float16 has the scale 0: its weights are 0 / 0, and written as 0.
    with np.errstate(invalid="ignore"):
        made = compression.linear_quantize_weights(
            model, compression.OptimizationConfig(global_config=None, op_name_configs=names)
        )
    made.save(str(package))
    return SingleFunctionPackage(package, plain.ios, plain.note)


def integer_weights(package: Path) -> list[str]:
    """Names of the constants that only operators with a dequantized input read as their weight."""
    (function,) = read_model(package).mlProgram.functions.values()
    operations = body(function).operations
    maker = {row.name: op for op in operations for row in op.outputs}

    def argument(op: Any, key: str) -> str:
        return str(op.inputs[key].arguments[0].name) if key in op.inputs and op.inputs[key].arguments else ""

    readers: dict[str, list[bool]] = {}
    for op in operations:
        held = argument(op, "weight") if op.type in MIL_WEIGHTED else ""
        integer = argument(op, "x") in maker and maker[argument(op, "x")].type == "dequantize"
        for key in op.inputs:
            if name := argument(op, key):
                readers.setdefault(name, []).append(name == held and key == "weight" and integer)
    return [name for name, found in readers.items() if all(found) and maker.get(name) is not None]
