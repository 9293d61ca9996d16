"""Symptom: "failed to legalize operation 'mhlo.convolution'" for a ConvTranspose2d whose padding is neither none nor
the symmetric half of kernel minus stride, such as kernel 3, stride 2, padding 1, output_padding 1.
Cause: TFLite's TRANSPOSE_CONV knows VALID and SAME only, and litert-torch lowers no other padding.
Retired by: a litert-torch that crops a VALID convolution itself (seen in 0.10.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import fx

# Of aten.conv_transpose2d.input(input, weight, bias, stride, padding, output_padding, groups, dilation).
DEFAULTS: tuple[Any, ...] = (None, [1, 1], [0, 0], [0, 0], 1, [1, 1])


def apply(graph: fx.GraphModule) -> bool:
    """Rewrite such layers as an unpadded convolution and a crop, in place; whether there was one."""
    import torch

    target = torch.ops.aten.conv_transpose2d.input
    changed = False
    for node in [node for node in graph.graph.nodes if node.op == "call_function" and node.target is target]:
        arguments = [*node.args, *DEFAULTS[len(node.args) - 2 :]]
        source, weight, bias, stride, padding, extra, groups, dilation = arguments
        stride, padding, extra, dilation = (pair(value) for value in (stride, padding, extra, dilation))
        kernel = [(int(k) - 1) * d + 1 for k, d in zip(weight.meta["val"].shape[2:], dilation, strict=True)]
        same = all(2 * p == k - s and e == 0 for p, k, s, e in zip(padding, kernel, stride, extra, strict=True))
        # Beyond the full convolution lies the bias alone; a crop cannot make it.
        if same or not any(padding) or any(e > p for e, p in zip(extra, padding, strict=True)):
            continue
        with graph.graph.inserting_before(node):
            value = graph.graph.call_function(target, (source, weight, bias, stride, [0, 0], [0, 0], groups, dilation))
            for axis in (0, 1):
                size = int(node.meta["val"].shape[2 + axis])
                start = padding[axis]
                value = graph.graph.call_function(torch.ops.aten.slice.Tensor, (value, 2 + axis, start, start + size))
        node.replace_all_uses_with(value)
        graph.graph.erase_node(node)
        changed = True
    return changed


def pair(value: Any) -> list[int]:
    listed = [int(item) for item in value] if isinstance(value, list | tuple) else [int(value)]
    return listed * 2 if len(listed) == 1 else listed
