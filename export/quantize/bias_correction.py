"""Bias correction before static int8 (Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias
Correction").

Rounding the weights of a layer shifts the mean of its outputs by (rounded - weight) * mean(input). The mean is known
from the calibration samples, and the shift is subtracted from the bias. This changes the float function by the expected
effect of rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from export.passes.aten import schema_name
from export.program import Program
from export.quantize.convolutions import CONVOLUTIONS, ModuleGraph, Moments, groups_of, observe_moments
from export.quantize.float_regions import (
    GraphView,
    ViewNode,
    dense_outputs,
    leading_allowance,
    leading_region,
    raw_inputs,
    trailing_region,
)
from hydramobile.spec import EntrySpec

if TYPE_CHECKING:
    import torch
    from torch.fx import Node


def correct_biases(program: Program, entry: EntrySpec, graph: ModuleGraph, bits: int) -> int:
    """Correct the bias of every convolution that is rounded to `bits`, in place. Return the number of biases."""
    moments = observe_moments(program, entry, graph)
    floats = float_convolutions(program, entry, graph)
    return sum(correct_bias(graph, node, moments, bits) for node in graph.convolutions() if node.name not in floats)


def float_convolutions(program: Program, entry: EntrySpec, graph: ModuleGraph) -> set[str]:
    """Return the names of the convolutions that every target leaves in float (float_regions.py).

    The leading region is an approximation here: it counts the convolutions of a module that reads a raw input in the
    order of the graph, including convolutions behind other operators, and each module has an allowance of its own.
    """
    raw = raw_inputs(program, entry.inputs)
    returned: Any = graph.exported.graph.output_node().args[0]
    inputs = dict.fromkeys(raw, "raw input")
    outputs = {name: node.name for name, node in zip(entry.outputs, returned, strict=True)}
    convolutions = [
        ViewNode(node.name, ("raw input",), (node.name,), weighted=True, weights=weight_size(graph, node))
        for node in graph.convolutions()
    ]
    nodes = [
        ViewNode(
            node.name,
            tuple(source.name for source in node.all_input_nodes),
            (node.name,),
            weighted=schema_name(node) in CONVOLUTIONS,
        )
        for node in graph.exported.graph.nodes
        if node.op == "call_function"
    ]
    leading, _ = leading_region(GraphView(convolutions, inputs, outputs), raw, leading_allowance(program))
    trailing = trailing_region(GraphView(nodes, inputs, outputs), dense_outputs(program, entry))
    return {node.name for node in (*leading, *trailing) if node.weighted}


def weight_size(graph: ModuleGraph, node: Node) -> int:
    weight = graph.parameter(node, 1)
    return weight.numel() if weight is not None else 0


def correct_bias(graph: ModuleGraph, node: Node, moments: Mapping[str, Moments], bits: int) -> bool:
    """Subtract the expected effect of rounding a convolution's weights from its bias, in place.

    Return whether that was possible: the convolution has a bias, and the means of its input channels are known.
    """
    import torch

    weight, bias = graph.parameter(node, 1), graph.parameter(node, 2)
    source: Any = node.args[0]
    input_moments, groups = moments.get(source.name), groups_of(node)
    if weight is None or bias is None or input_moments is None or len(input_moments.mean) != weight.shape[1] * groups:
        return False
    error = rounding_error(weight, bits).flatten(2).sum(2)
    mean = torch.from_numpy(input_moments.mean).reshape(groups, 1, -1)
    mean = mean.expand(groups, weight.shape[0] // groups, weight.shape[1]).reshape(weight.shape[0], weight.shape[1])
    with torch.no_grad():
        bias.copy_((bias.double() - (error * mean).sum(1)).to(bias.dtype))
    return True


def rounding_error(weight: torch.Tensor, bits: int) -> torch.Tensor:
    """Return (rounded - weight) for symmetric integers with a scale per output channel, float64."""
    import torch

    values = weight.detach().double()
    peak = values.abs().flatten(1).amax(1).reshape(-1, *(1,) * (values.ndim - 1))
    step = torch.where(peak > 0, peak / (2 ** (bits - 1) - 1), torch.ones_like(peak))
    return torch.round(values / step) * step - values
