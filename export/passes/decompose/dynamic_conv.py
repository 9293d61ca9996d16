"""Convolutions whose kernels are computed at run time (StyleGAN's modulated ones), for converters that know few."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export.passes.aten import pair
from export.passes.dataflow import computed_from
from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch import fx
    from torch.export import ExportedProgram


# What follows input and weight: bias, stride, padding, dilation, groups; bias, stride, padding, output_padding, groups,
# dilation.
CONV: tuple[Any, ...] = (None, 1, 0, 1, 1)
CONV_TRANSPOSE: tuple[Any, ...] = (None, 1, 0, 0, 1, 1)


def decompositions(program: ExportedProgram) -> DecompositionTable:
    """Such a transposed convolution as one a group, without padding and bias, and a crop; such a dilated kernel as a
    larger one with zeros between. Nothing where no kernel is computed; they are told from constants by their shapes.
    """
    import torch
    from torch.nn import functional as F

    aten = torch.ops.aten
    plain, scattered = aten.conv2d.default, aten.conv_transpose2d.input
    shapes = {target: kernel_shapes(program, target) for target in (plain, scattered)}

    def conv2d(x: torch.Tensor, weight: torch.Tensor, *more: Any) -> Any:
        rest: list[Any] = [*more, *CONV[len(more) :]]
        bias, stride, padding, dilation, groups = rest
        if tuple(weight.shape) not in shapes[plain] or pair(dilation) == [1, 1]:
            return KEEP_OP
        return F.conv2d(x, apart(weight, pair(dilation)), bias, stride, padding, 1, groups)

    def conv_transpose2d(x: torch.Tensor, weight: torch.Tensor, *more: Any) -> Any:
        rest: list[Any] = [*more, *CONV_TRANSPOSE[len(more) :]]
        bias, stride, padding, extra, groups, dilation = rest
        if tuple(weight.shape) not in shapes[scattered]:
            return KEEP_OP
        cut, extra = pair(padding), pair(extra)
        if bias is None and groups == 1 and not any(cut + extra) and pair(dilation) == [1, 1]:
            return KEEP_OP
        # One chunk of one would be an operator, and one that converters know less well.
        pairs = [(x, weight)] if groups == 1 else zip(x.chunk(groups, 1), weight.chunk(groups), strict=True)
        made = [F.conv_transpose2d(part, apart(own, pair(dilation)), None, stride) for part, own in pairs]
        full = F.pad(made[0] if groups == 1 else torch.cat(made, 1), (0, extra[1], 0, extra[0]))
        for axis in (0, 1):
            full = full.narrow(2 + axis, cut[axis], full.shape[2 + axis] - 2 * cut[axis])
        return full if bias is None else full + bias.reshape(1, -1, 1, 1)

    return {
        target: spelled
        for target, spelled in ((plain, conv2d), (scattered, conv_transpose2d))
        if shapes[target] and (target is scattered or dilated(program, plain))
    }


def kernel_shapes(program: ExportedProgram, target: Any) -> set[tuple[int, ...]]:
    """The shapes of the kernels of this op that depend on the program's inputs."""
    graph = program.graph_module.graph
    names = set(program.graph_signature.user_inputs)
    computed = computed_from((node for node in graph.nodes if node.op == "placeholder" and node.name in names), graph)
    return {
        tuple(kernel(node).meta["val"].shape)
        for node in graph.nodes
        if node.target is target and kernel(node) in computed
    }


def kernel(node: fx.Node) -> Any:
    return node.args[1]


def dilated(program: ExportedProgram, target: Any) -> bool:
    nodes = [node for node in program.graph_module.graph.nodes if node.target is target]
    return any(len(node.args) > 5 and pair(node.args[5]) != [1, 1] for node in nodes)


def apart(x: torch.Tensor, steps: list[int]) -> torch.Tensor:
    """A kernel with `step - 1` zeros between its rows and its columns, by tensors of four axes."""
    from torch.nn import functional as F

    first, second, *sides = x.shape
    for axis, step in enumerate(steps):
        if step > 1:
            before, after = (sides[0], 1) if axis else (1, sides[1])
            x = F.pad(x.reshape(first * second * before, sides[axis], 1, after), (0, 0, 0, step - 1))
            x = x.reshape(first * second, before, sides[axis] * step, after)
            sides[axis] = (sides[axis] - 1) * step + 1
            x = x[:, :, : sides[axis]]
    return x.reshape(first, second, *sides)
