"""Decompose `aten.conv_transpose2d` into unpadded convolutions, one per group, and a crop.

Before: conv_transpose2d(x, weight, bias, stride=2, padding=1, output_padding=1, groups=2)
After:  cat([conv_transpose2d(x[:, :c], weight[:c], stride=2), conv_transpose2d(x[:, c:], weight[c:], stride=2)], 1),
        cropped by `padding` on each side, padded with zeros where output_padding reaches beyond it, plus the bias

Symptom: "failed to legalize operation 'mhlo.convolution'" for a ConvTranspose2d with groups, with dilation, or with a
padding that is neither 0 nor (kernel - stride) / 2, such as kernel 3, stride 2, padding 1, output_padding 1.
Cause: TFLite's TRANSPOSE_CONV has neither groups nor dilation, and only the paddings VALID and SAME. litert-torch
lowers nothing else (0.10.0 converts some grouped layers with padding SAME).
Upstream: https://github.com/google-ai-edge/litert-torch/issues/316 (padding, closed) and
https://github.com/google-ai-edge/litert-torch/issues/604 (groups).
Retired by: a litert-torch that splits, dilates and crops by itself (seen in 0.10.0).
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from export.passes.aten import constant, pair
from export.passes.base import PassResult
from export.passes.decompose.dynamic_conv import dilate_kernel

if TYPE_CHECKING:
    import torch
    from torch import fx

# Of aten.conv_transpose2d.input: bias, stride, padding, output_padding, groups, dilation.
DEFAULTS: tuple[Any, ...] = (None, [1, 1], [0, 0], [0, 0], 1, [1, 1])


@dataclass(frozen=True, slots=True)
class ConvTranspose:
    """Hold the arguments of one node. Pairs are [height, width]."""

    source: fx.Node
    weight: fx.Node
    bias: fx.Node | None
    stride: list[int]
    padding: list[int]
    output_padding: list[int]
    groups: int
    dilation: list[int]

    @classmethod
    def of(cls, node: fx.Node) -> ConvTranspose:
        """Read the arguments of an `aten.conv_transpose2d.input`, with the defaults of its schema."""
        arguments: list[Any] = [*node.args, *DEFAULTS[len(node.args) - 2 :]]
        source, weight, bias, stride, padding, output_padding, groups, dilation = arguments
        pairs = pair(stride), pair(padding), pair(output_padding)
        return cls(source, weight, bias, *pairs, int(groups), pair(dilation))

    @property
    def extent(self) -> list[int]:
        """Return the rows and columns that the dilated kernel covers."""
        sides = self.weight.meta["val"].shape[2:]
        return [(int(side) - 1) * step + 1 for side, step in zip(sides, self.dilation, strict=True)]

    def full_size(self, axis: int) -> int:
        """Return the height (axis 0) or width (axis 1) of the output without padding and output_padding."""
        size = int(self.source.meta["val"].shape[2 + axis])
        return (size - 1) * self.stride[axis] + self.extent[axis]

    def is_supported(self) -> bool:
        """Return whether TRANSPOSE_CONV can express the layer, with padding SAME or VALID."""
        axes = zip(self.padding, self.extent, self.stride, self.output_padding, strict=True)
        same = all(2 * padding == extent - stride and extra == 0 for padding, extent, stride, extra in axes)
        valid = not any(self.padding) and not any(self.output_padding)
        return self.groups == 1 and self.dilation == [1, 1] and (same or valid)


def decompose_conv_transpose2d(graph: fx.GraphModule) -> PassResult[fx.GraphModule]:
    """Decompose the layers that TRANSPOSE_CONV cannot express.

    Layers whose weight is computed at run time were decomposed before, by export/passes/decompose/dynamic_conv.py.
    """
    import torch

    target = torch.ops.aten.conv_transpose2d.input
    modified = False
    for node in [node for node in graph.graph.nodes if node.op == "call_function" and node.target is target]:
        layer = ConvTranspose.of(node)
        if layer.is_supported() or layer.weight.op != "get_attr":
            continue
        with graph.graph.inserting_before(node):
            result = add_bias(graph, layer, crop(graph, node, layer, convolve(graph, layer)))
        node.replace_all_uses_with(result)
        graph.graph.erase_node(node)
        modified = True
    return PassResult(graph, modified)


def convolve(graph: fx.GraphModule, layer: ConvTranspose) -> fx.Node:
    """Add the unpadded convolution of each group, without bias. Dilated kernels have zeros between their taps."""
    import torch

    aten = torch.ops.aten
    call = graph.graph.call_function
    weight: torch.Tensor = operator.attrgetter(str(layer.weight.target))(graph)
    kernels = dilate_kernel(weight.detach(), layer.dilation).chunk(layer.groups)
    channels = int(kernels[0].shape[0])
    results = []
    for group, kernel in enumerate(kernels):
        source = layer.source
        if layer.groups > 1:
            source = call(aten.slice.Tensor, (source, 1, group * channels, (group + 1) * channels))
        results.append(call(aten.conv_transpose2d.input, (source, constant(graph, kernel), None, layer.stride)))
    return results[0] if len(results) == 1 else call(aten.cat.default, (results, 1))


def crop(graph: fx.GraphModule, node: fx.Node, layer: ConvTranspose, full: fx.Node) -> fx.Node:
    """Cut the unpadded output `full` to the shape of `node`, with zeros where output_padding reaches beyond it."""
    import torch

    aten = torch.ops.aten
    call = graph.graph.call_function
    result = full
    missing = []
    for axis in (0, 1):
        size, start, full_size = int(node.meta["val"].shape[2 + axis]), layer.padding[axis], layer.full_size(axis)
        missing.append(max(0, start + size - full_size))
        if start or size < full_size:
            result = call(aten.slice.Tensor, (result, 2 + axis, start, start + size - missing[axis]))
    if any(missing):
        result = call(aten.constant_pad_nd.default, (result, [0, missing[1], 0, missing[0]], 0.0))
    return result


def add_bias(graph: fx.GraphModule, layer: ConvTranspose, value: fx.Node) -> fx.Node:
    """Add the bias [c], if the layer has one, to a value [n, c, h, w]."""
    import torch

    if layer.bias is None:
        return value
    aten, call = torch.ops.aten, graph.graph.call_function
    return call(aten.add.Tensor, (value, call(aten.view.default, (layer.bias, [1, -1, 1, 1]))))
