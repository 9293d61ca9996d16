"""Decompose antialiased resizes that PyTorch's ONNX exporter gets wrong.

Before: aten._upsample_bilinear2d_aa(x, scale_factors=[0.6, 1.3]); any antialiased resize with align_corners=True
After:  two products with constant matrices, rows @ x @ columns

Symptom: silently wrong values, by 0.1 to 0.6 of the output's spread.
Cause: the exporter of torch 2.13 drops `scale_factors` and `align_corners` of the antialiased ops: the Resize that it
writes samples at the ratio of the sizes.
Retired by: an exporter that passes both on (tests/export/test_resizes.py). Antialiased resizes to a size stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.passes.base import PassResult
from export.passes.decompose.resize import decompose_program_resizes, op_name_of, scales_of

if TYPE_CHECKING:
    from torch import fx
    from torch.export import ExportedProgram


def decompose_antialias(program: ExportedProgram) -> PassResult[ExportedProgram]:
    """Decompose the antialiased resizes with scale factors or aligned corners; others stay."""
    return decompose_program_resizes(program, is_wrong)


def is_wrong(node: fx.Node) -> bool:
    """Return whether the exporter drops an argument of this resize."""
    return op_name_of(node).endswith("_aa") and (scales_of(node) is not None or bool(node.args[2]))
