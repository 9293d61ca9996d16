"""Decompose transposed convolutions whose output_padding is larger than their padding.

Before: aten.conv_transpose2d(x, weight, bias, stride, padding=1, output_padding=2)
After:  aten.conv_transpose2d(x, weight, None, stride), cropped by the padding, padded with zeros at the far end, plus
        the bias

Symptom: "TypeError: 'NoneType' object is not iterable" where the padding is zero, else an output that is too large.
Cause: coremltools 9.0 crops padding - output_padding elements, and takes a negative number of them for a positive one.
Retired by: a coremltools that pads there (tests/export/test_coreml_passes.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.passes.decompose.conv_transpose import Axis, crop_paddings
from export.passes.decompose.table import DecomposeOps, DecompositionTable

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def reaches_beyond(axis: Axis) -> bool:
    return axis.output_padding > axis.padding


def rows(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.conv_transpose1d` whose output_padding is larger than its padding."""
    return crop_paddings(program, "conv_transpose1d.default", reaches_beyond)


def maps(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.conv_transpose2d` whose output_padding is larger than its padding."""
    return crop_paddings(program, "conv_transpose2d.input", reaches_beyond)


decompose_conv_transpose = DecomposeOps("decompose_conv_transpose", rows, maps)
