"""Static int8: quantize/dequantize pairs in the net before it is converted, int8 weights after.

Every module is captured as a graph, run on the calibration samples, and given the pairs at the inputs of the operators
that Apple's own quantizer handles. Entries are converted from these graphs, so a fused entry holds its modules' scales,
and encoder then head computes the same as the fused entry. Between the pairs activations are float16, as coremltools
converts by default: where the hardware has no integer kernel for an operator, it runs in float16.

Scales are symmetric and zero points absent, which Core ML runs fastest: uint8 for tensors that are never negative, int8
for all others.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from export.passes.aten import schema_name
from export.passes.dataflow import computed_from
from export.program import Program
from export.quantize.calibration import Ranges, calibrated_ranges, require_samples
from export.quantize.float_regions import GraphView, ViewNode, float_regions, unbounded_region
from export.quantize.observers import RangeObserver
from export.targets.coreml.convert import PackageCache, aten_graph
from hydramobile.errors import StageError
from hydramobile.recipes import Recipe
from hydramobile.spec import EntrySpec

if TYPE_CHECKING:
    from torch.fx import GraphModule, Node

STAGE = "quantize"
# The oldest system that has quantize and dequantize first.
IOS = (17, 18)
# ATen operators with weights. A product of two activations (aten.matmul in attention) is not one of them here.
WEIGHTED = frozenset(
    f"aten::{name}"
    for name in ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "linear")
)
# Operators of one float input, and of two, that Core ML runs on integers when they stand between pairs.
UNARY = WEIGHTED | {"aten::max_pool2d", "aten::max_pool2d_with_indices", "aten::avg_pool2d"}
BINARY = frozenset({"aten::add"})
# The smallest normal element of float16: a scale below it would lose digits.
LEAST_SCALE = 2.0**-14
MOST_SCALE = float(np.finfo(np.float16).max)


def insert_qdq(program: Program, recipe: Recipe, converted: PackageCache) -> PackageCache:
    """Return every entry with quantize/dequantize pairs, ready to be converted at float16.

    The float regions (quantize/float_regions.py) get no pairs, nor do tensors whose range is so small or so large that
    float16 cannot hold their scale. Raises StageError("quantize") without calibration samples, or for a module that
    torch.export refuses.
    """
    require_samples(program, recipe)
    entries = {name: program.spec.entries[name] for name in program.spec.modules}
    modules = {name: graph_of(converted, entry) for name, entry in entries.items()}
    measured = {
        name: calibrated_ranges(program, recipe, name, partial(observe, program, entries[name], graph))
        for name, graph in modules.items()
    }
    ranges = share_boundaries(program, modules, measured)
    views = {name: view_of(graph, entries[name]) for name, graph in modules.items()}
    regions = float_regions(program, views)
    for name, graph in modules.items():
        unbounded = unbounded_region(views[name], ranges[name], float_names(graph))
        insert_pairs(graph, ranges[name], {node.name for node in (*regions[name], *unbounded)})
    round_features(program, modules, ranges)
    quantized = replace(program, modules=modules)
    scratch = converted.scratch / recipe.name
    scratch.mkdir(exist_ok=True)
    exported = {entry.name: aten_graph(quantized, entry) for entry in program.entries}
    # coremltools drops the pairs from a traced module without an error.
    return PackageCache(program, scratch, exported, systems=IOS, may_trace=False)


def graph_of(converted: PackageCache, entry: EntrySpec) -> GraphModule:
    """Return a copy of one module's graph of core ATen operators; parameters are attributes of it."""
    import torch

    exported = converted.exported[entry.name]
    if isinstance(exported, StageError):
        raise StageError(STAGE, f"entry {entry.name!r}: integers need torch.export, and {exported.message}")
    module = exported.module(check_guards=False)
    # The module of an ExportedProgram refuses .eval(); a plain one with the same graph and parameters does not.
    return torch.fx.GraphModule(module, module.graph)


def observe(program: Program, entry: EntrySpec, graph: GraphModule, observer: RangeObserver) -> None:
    """Observe every float input of the module and every float output of an operator, by node name."""
    import torch
    from torch.fx import Interpreter

    class Observer(Interpreter):
        def run_node(self, n: Node) -> Any:
            value = super().run_node(n)
            observed = n.op in ("placeholder", "call_function") and isinstance(value, torch.Tensor)
            if observed and value.is_floating_point() and value.numel():
                observer.observe(n.name, value.detach().numpy())
            return value

    with torch.no_grad():
        for feed in program.feeds(entry):
            Observer(graph).run(*(torch.from_numpy(feed[name]) for name in entry.inputs))


def float_names(graph: GraphModule) -> set[str]:
    """Return the names of the nodes that compute float tensors."""
    import torch

    return {
        node.name
        for node in graph.graph.nodes
        if isinstance(value := node.meta.get("val"), torch.Tensor) and value.is_floating_point()
    }


def share_boundaries(
    program: Program, modules: Mapping[str, GraphModule], ranges: Mapping[str, Ranges]
) -> dict[str, Ranges]:
    """Return the ranges with one range per feature: all modules use the range of the module that computes it."""
    shared = {name: dict(own) for name, own in ranges.items()}
    for feature, (maker, readers) in program.spec.edges().items():
        source = output_nodes(modules[maker])[program.spec.modules[maker].outputs.index(feature)]
        if source.name in shared[maker]:
            for reader in readers:
                shared[reader][input_node(program, modules, reader, feature).name] = shared[maker][source.name]
    return shared


def round_features(program: Program, modules: Mapping[str, GraphModule], ranges: Mapping[str, Ranges]) -> None:
    """Change the graphs in place so that a feature that another module reads as integers is returned on their grid.

    Otherwise a module alone and the same module in a fused entry are different graphs to coremltools, which fuses an
    addition with the pair that follows it. Their results would differ by float16's rounding of the scales.
    """
    for feature, (maker, readers) in program.spec.edges().items():
        index = program.spec.modules[maker].outputs.index(feature)
        source = output_nodes(modules[maker])[index]
        readers_inputs = [input_node(program, modules, reader, feature) for reader in readers]
        rounded = pair_after(source)
        if rounded is None and not any(pair_after(node) for node in readers_inputs):
            continue
        if rounded is None and (scale := scale_of(ranges[maker], source.name)) is not None:
            rounded = make_pair(modules[maker], source, *scale)
        if rounded is not None:
            returned = list(output_nodes(modules[maker]))
            returned[index] = rounded
            modules[maker].graph.output_node().args = (tuple(returned),)
            modules[maker].recompile()


def output_nodes(graph: GraphModule) -> tuple[Node, ...]:
    """Return the nodes that the module returns, in the order of its outputs."""
    nodes: tuple[Node, ...] = graph.graph.output_node().args[0]  # type: ignore[assignment]  # a tuple in exported graphs
    return nodes


def input_node(program: Program, modules: Mapping[str, GraphModule], module: str, feature: str) -> Node:
    """Return the placeholder of a feature that `module` reads."""
    nodes: list[Node] = [node for node in modules[module].graph.nodes if node.op == "placeholder"]
    return nodes[program.spec.modules[module].inputs.index(feature)]


def pair_after(node: Node) -> Node | None:
    """Return the dequantized value of a tensor that has a pair."""
    for user in node.users:
        if schema_name(user) == "quantized_decomposed::quantize_per_tensor":
            return next(iter(user.users))
    return None


def insert_pairs(graph: GraphModule, ranges: Ranges, floats: Collection[str]) -> None:
    """Insert a pair before every operator that can run on integers, except for those named in `floats`; in place.

    A tensor that several operators read gets one pair; every other reader (an output of the module, say) reads the
    float tensor.
    """
    moving = moving_nodes(graph)
    pairs: dict[Node, Node] = {}
    for node in list(graph.graph.nodes):
        sources = [] if node.name in floats else integer_inputs(node, moving)
        scales = {source: scale_of(ranges, source.name) for source in sources}
        if not sources or None in scales.values():
            continue
        for source, scale in scales.items():
            if source not in pairs and scale is not None:
                pairs[source] = make_pair(graph, source, *scale)
            node.replace_input_with(source, pairs[source])
    graph.graph.lint()
    graph.recompile()


def make_pair(graph: GraphModule, source: Node, scale: float, dtype: str) -> Node:
    """Insert a pair after `source`, and return the dequantized value."""
    import torch

    import_module("torch.ao.quantization.fx._decomposed")  # registers the operators that coremltools converts
    ops = torch.ops.quantized_decomposed
    integer = getattr(torch, dtype)
    limits = torch.iinfo(integer)
    after = source
    while after.op == "placeholder" and after.next.op == "placeholder":
        after = after.next
    with graph.graph.inserting_after(after):
        quantized = graph.graph.call_function(
            ops.quantize_per_tensor.default, (source, scale, 0, limits.min, limits.max, integer)
        )
    with graph.graph.inserting_after(quantized):
        return graph.graph.call_function(
            ops.dequantize_per_tensor.default, (quantized, scale, 0, limits.min, limits.max, integer)
        )


def scale_of(ranges: Ranges, name: str) -> tuple[float, str] | None:
    """Return the scale (exact in float16) and the integer dtype of a tensor; None where float16 has no such scale."""
    if name not in ranges:
        return None
    low, high = ranges[name]
    wanted = high / 255 if low >= 0 else max(-low, high) / 127
    if not LEAST_SCALE <= wanted <= MOST_SCALE:
        return None
    scale = np.float16(wanted)
    # As Python numbers: numpy would compare in float16, where the two are equal.
    if float(scale) < wanted:
        scale = np.nextafter(scale, np.float16(np.inf))
    return float(scale), "uint8" if low >= 0 else "int8"


def moving_nodes(graph: GraphModule) -> set[Node]:
    """Return the nodes whose values depend on the module's inputs; the others are constants."""
    return computed_from((node for node in graph.graph.nodes if node.op == "placeholder"), graph.graph)


def integer_inputs(node: Node, moving: Collection[Node]) -> list[Node]:
    """Return the tensors that `node` can read as integers; none where Core ML has no such operator on integers."""
    name = schema_name(node)
    if name in WEIGHTED and node.args[1] in moving:
        return []
    count = 1 if name in UNARY else 2 if name in BINARY else 0
    sources: list[Node] = [source for source in node.args[:count] if source in moving]  # type: ignore[misc]  # `in` does not narrow
    return sources if len(sources) == count else []


def view_of(graph: GraphModule, entry: EntrySpec) -> GraphView:
    """Return the view of a module's graph that `float_regions` reads. The bias of a layer does not count."""
    moving = moving_nodes(graph)
    nodes = []
    for node in graph.graph.nodes:
        if node.op == "call_function":
            weighted = schema_name(node) in WEIGHTED
            constant = weighted and node.args[1] not in moving
            sources = tuple(source.name for source in node.all_input_nodes if source in moving)
            weights = weight_size(graph, node.args[1]) if constant else 0
            nodes.append(ViewNode(node.name, sources, (node.name,), weighted, weights))
    placeholders = [node.name for node in graph.graph.nodes if node.op == "placeholder"]
    returned = [node.name for node in output_nodes(graph)]
    inputs, outputs = zip(entry.inputs, placeholders, strict=True), zip(entry.outputs, returned, strict=True)
    return GraphView(nodes, dict(inputs), dict(outputs))


def weight_size(graph: GraphModule, weight: Any) -> int:
    """Return the number of elements of a constant.

    Where a cast or a permutation computes the constant, the elements of its source parameter are counted.
    """
    if weight.op == "get_attr":
        return int(operator.attrgetter(weight.target)(graph).numel())
    return max((weight_size(graph, source) for source in weight.all_input_nodes), default=0)
