"""Decompose convolutions whose kernel is computed at run time, as StyleGAN's modulated convolutions.

Converters take constant kernels with any argument, and computed kernels with few.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.passes.aten import pair
from export.passes.dataflow import computed_from
from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch import fx
    from torch.export import ExportedProgram

# Defaults of the schemas' arguments after input and weight:
# bias, stride, padding, dilation, groups
CONV_DEFAULTS: tuple[Any, ...] = (None, 1, 0, 1, 1)
# bias, stride, padding, output_padding, groups, dilation
CONV_TRANSPOSE_DEFAULTS: tuple[Any, ...] = (None, 1, 0, 0, 1, 1)


def decompositions(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.conv2d` and `aten.conv_transpose2d` with a computed kernel.

    A dilated kernel becomes a larger one with zeros between its elements. A transposed convolution becomes one per
    group, without padding and bias, and a crop. The table is empty where no kernel is computed. Inside a decomposition
    the shape of a kernel decides whether it is computed.
    """
    import torch
    from torch.nn import functional as F

    aten = torch.ops.aten
    conv, transpose = aten.conv2d.default, aten.conv_transpose2d.input
    shapes = {target: computed_kernel_shapes(program, target) for target in (conv, transpose)}

    def conv2d(x: torch.Tensor, weight: torch.Tensor, *more: Any) -> Any:
        rest: list[Any] = [*more, *CONV_DEFAULTS[len(more) :]]
        bias, stride, padding, dilation, groups = rest
        if tuple(weight.shape) not in shapes[conv] or pair(dilation) == [1, 1]:
            return KEEP_OP
        return F.conv2d(x, dilate_kernel(weight, pair(dilation)), bias, stride, padding, 1, groups)

    def conv_transpose2d(x: torch.Tensor, weight: torch.Tensor, *more: Any) -> Any:
        rest: list[Any] = [*more, *CONV_TRANSPOSE_DEFAULTS[len(more) :]]
        bias, stride, padding, output_padding, groups, dilation = rest
        if tuple(weight.shape) not in shapes[transpose]:
            return KEEP_OP
        crop, extra = pair(padding), pair(output_padding)
        if bias is None and groups == 1 and not any(crop + extra) and pair(dilation) == [1, 1]:
            return KEEP_OP
        # For one group `chunk` would only add an op, which converters support less well.
        pairs = [(x, weight)] if groups == 1 else zip(x.chunk(groups, 1), weight.chunk(groups), strict=True)
        parts = [F.conv_transpose2d(part, dilate_kernel(own, pair(dilation)), None, stride) for part, own in pairs]
        full = F.pad(parts[0] if groups == 1 else torch.cat(parts, 1), (0, extra[1], 0, extra[0]))
        for axis in (0, 1):
            full = full.narrow(2 + axis, crop[axis], full.shape[2 + axis] - 2 * crop[axis])
        return full if bias is None else full + bias.reshape(1, -1, 1, 1)

    return {
        target: decomposition
        for target, decomposition in ((conv, conv2d), (transpose, conv_transpose2d))
        if shapes[target] and (target is transpose or has_dilation(program, conv))
    }


def computed_kernel_shapes(program: ExportedProgram, target: Any) -> set[tuple[int, ...]]:
    """Return the shapes of the kernels of `target` that depend on the program's inputs."""
    graph = program.graph_module.graph
    names = set(program.graph_signature.user_inputs)
    computed = computed_from((node for node in graph.nodes if node.op == "placeholder" and node.name in names), graph)
    return {
        tuple(kernel_of(node).meta["val"].shape)
        for node in graph.nodes
        if node.target is target and kernel_of(node) in computed
    }


def kernel_of(node: fx.Node) -> Any:
    """Return the kernel operand of a convolution node."""
    return node.args[1]


def has_dilation(program: ExportedProgram, target: Any) -> bool:
    """Return whether a node of `target` (`aten.conv2d`) has a dilation other than 1."""
    nodes = [node for node in program.graph_module.graph.nodes if node.target is target]
    return any(len(node.args) > 5 and pair(node.args[5]) != [1, 1] for node in nodes)


def dilate_kernel(x: torch.Tensor, dilation: list[int]) -> torch.Tensor:
    """Insert `dilation - 1` zeros between the rows and columns of a kernel [a, b, h, w], by tensors of rank 4."""
    from torch.nn import functional as F

    first, second, *sides = x.shape
    for axis, step in enumerate(dilation):
        if step > 1:
            before, after = (sides[0], 1) if axis else (1, sides[1])
            x = F.pad(x.reshape(first * second * before, sides[axis], 1, after), (0, 0, 0, step - 1))
            x = x.reshape(first * second, before, sides[axis] * step, after)
            sides[axis] = (sides[axis] - 1) * step + 1
            x = x[:, :, : sides[axis]]
    return x.reshape(first, second, *sides)
