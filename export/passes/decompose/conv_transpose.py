"""Decompose transposed convolutions with paddings that a converter lacks into an unpadded one, a crop and zeros.

Before: conv_transpose(x, weight, bias, stride, padding, output_padding, groups, dilation)
After:  conv_transpose(x, weight, None, stride, 0, 0, groups, dilation), cropped by the padding, padded with zeros at
        the far end where output_padding is larger than the padding, plus the bias
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from export.passes.aten import pair
from export.passes.decompose.dynamic_conv import CONV_TRANSPOSE_DEFAULTS, dilate_kernel
from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


@dataclass(frozen=True, slots=True)
class Axis:
    """The arguments of a transposed convolution along one axis."""

    kernel: int
    stride: int
    padding: int
    output_padding: int
    dilation: int

    @property
    def extent(self) -> int:
        """Return the elements that the dilated kernel covers."""
        return (self.kernel - 1) * self.dilation + 1


def axes_of(weight: torch.Tensor, more: Any) -> list[Axis]:
    """Return the axes of a transposed convolution. `more`: its arguments after the weight, as in the op's schema."""
    rest: list[Any] = [*more, *CONV_TRANSPOSE_DEFAULTS[len(more) :]]
    _, stride, padding, output_padding, _, dilation = rest
    count = weight.ndim - 2
    columns = [pair(each)[-count:] for each in (stride, padding, output_padding, dilation)]
    return [Axis(*each) for each in zip(weight.shape[2:], *columns, strict=True)]


def crop_paddings(
    program: ExportedProgram, overload: str, chosen: Callable[[Axis], bool], dilates: bool = True
) -> DecompositionTable:
    """Decompose the transposed convolutions of an overload ("conv_transpose1d.default") with a chosen axis.

    `dilates`: whether the converter takes dilation; without it, the kernel gets zeros between its elements. The table
    is empty where the program has none.
    """
    import torch
    from torch.nn import functional as F

    op, _, name = overload.partition(".")
    target = getattr(getattr(torch.ops.aten, op), name)
    convolution = getattr(F, op)

    def conv_transpose(x: torch.Tensor, weight: torch.Tensor, *more: Any) -> Any:
        axes = axes_of(weight, more)
        if not any(chosen(axis) for axis in axes):
            return KEEP_OP
        bias, stride, _, _, groups, dilation = [*more, *CONV_TRANSPOSE_DEFAULTS[len(more) :]]
        if not dilates:
            weight, dilation = with_zeros(weight, [axis.dilation for axis in axes]), 1
        output = convolution(x, weight, None, stride, 0, 0, groups, dilation)
        for position, axis in enumerate(axes, 2):
            beyond = axis.output_padding - axis.padding
            output = output.narrow(position, axis.padding, output.shape[position] - axis.padding + min(0, beyond))
            if beyond > 0:
                output = F.pad(output, [0, 0] * (x.ndim - 1 - position) + [0, beyond])
        return output if bias is None else output + bias.reshape([1, -1] + [1] * len(axes))

    nodes = [node for node in program.graph_module.graph.nodes if node.target is target]
    needed = any(chosen(axis) for node in nodes for axis in axes_of(node.args[1].meta["val"], node.args[2:]))
    return {target: conv_transpose} if needed else {}


def with_zeros(weight: torch.Tensor, dilations: list[int]) -> torch.Tensor:
    """Insert `dilation - 1` zeros between the elements of a kernel of one or two axes."""
    if len(dilations) == 1:
        return dilate_kernel(weight.unsqueeze(2), [1, *dilations]).squeeze(2)
    return dilate_kernel(weight, dilations)
