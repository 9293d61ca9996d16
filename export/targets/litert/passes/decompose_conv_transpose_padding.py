"""Symptom: "failed to legalize operation 'mhlo.convolution'" for a ConvTranspose2d with groups, with dilation, or whose
padding is neither none nor the symmetric half of kernel minus stride, such as kernel 3, stride 2, padding 1,
output_padding 1.
Cause: TFLite's TRANSPOSE_CONV knows neither groups nor dilation, and of paddings VALID and SAME only; litert-torch
lowers nothing else.
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
    from torch import fx

# Of aten.conv_transpose2d.input(input, weight, bias, stride, padding, output_padding, groups, dilation).
DEFAULTS: tuple[Any, ...] = (None, [1, 1], [0, 0], [0, 0], 1, [1, 1])


@dataclass(frozen=True, slots=True)
class Layer:
    """The arguments of one transposed convolution; pairs are (height, width). `extra` is its output_padding."""

    source: Any
    weight: Any
    bias: Any
    stride: list[int]
    padding: list[int]
    extra: list[int]
    groups: int
    dilation: list[int]

    @property
    def kernel(self) -> list[int]:
        """The reach of the dilated kernel."""
        sides = self.weight.meta["val"].shape[2:]
        return [(int(k) - 1) * d + 1 for k, d in zip(sides, self.dilation, strict=True)]

    def plain(self) -> bool:
        """Whether TRANSPOSE_CONV can say it."""
        ends = zip(self.padding, self.kernel, self.stride, self.extra, strict=True)
        same = all(2 * p == k - s and e == 0 for p, k, s, e in ends)
        whole = not any(self.padding) and not any(self.extra)
        return self.groups == 1 and self.dilation == [1, 1] and (same or whole)


def decompose_conv_transpose_padding(graph: fx.GraphModule) -> PassResult[fx.GraphModule]:
    """Rewrite such layers as unpadded convolutions, a group each, and a crop, in place; whether there was one.

    A layer whose weight is computed at run time has been rewritten before (export/passes/decompose/dynamic_conv.py).
    """
    import torch

    target = torch.ops.aten.conv_transpose2d.input
    changed = False
    for node in [node for node in graph.graph.nodes if node.op == "call_function" and node.target is target]:
        arguments: list[Any] = [*node.args, *DEFAULTS[len(node.args) - 2 :]]
        source, weight, bias, stride, padding, extra, groups, dilation = arguments
        layer = Layer(source, weight, bias, pair(stride), pair(padding), pair(extra), int(groups), pair(dilation))
        if layer.plain() or weight.op != "get_attr":
            continue
        with graph.graph.inserting_before(node):
            value = cropped(graph, node, layer, parts(graph, layer))
        node.replace_all_uses_with(value)
        graph.graph.erase_node(node)
        changed = True
    return PassResult(graph, changed)


def parts(graph: fx.GraphModule, layer: Layer) -> Any:
    """The full convolution without bias: of every group by itself, its kernel with the gaps filled with zeros."""
    import torch

    aten = torch.ops.aten
    call = graph.graph.call_function
    kernels = dilate_kernel(operator.attrgetter(layer.weight.target)(graph).detach(), layer.dilation).chunk(
        layer.groups
    )
    channels = int(kernels[0].shape[0])
    made = []
    for group, kernel in enumerate(kernels):
        source = layer.source
        if layer.groups > 1:
            source = call(aten.slice.Tensor, (source, 1, group * channels, (group + 1) * channels))
        made.append(call(aten.conv_transpose2d.input, (source, constant(graph, kernel), None, layer.stride)))
    return made[0] if len(made) == 1 else call(aten.cat.default, (made, 1))


def cropped(graph: fx.GraphModule, node: fx.Node, layer: Layer, value: Any) -> Any:
    """What padding leaves of the full convolution, with zeros where output_padding reaches beyond it, plus the bias."""
    import torch

    aten = torch.ops.aten
    call = graph.graph.call_function
    beyond = []
    for axis in (0, 1):
        size, start = int(node.meta["val"].shape[2 + axis]), layer.padding[axis]
        full = (int(layer.source.meta["val"].shape[2 + axis]) - 1) * layer.stride[axis] + layer.kernel[axis]
        beyond.append(max(0, start + size - full))
        if start or size < full:
            value = call(aten.slice.Tensor, (value, 2 + axis, start, start + size - beyond[axis]))
    if any(beyond):
        value = call(aten.constant_pad_nd.default, (value, [0, beyond[1], 0, beyond[0]], 0.0))
    if layer.bias is None:
        return value
    return call(aten.add.Tensor, (value, call(aten.view.default, (layer.bias, [1, -1, 1, 1]))))
