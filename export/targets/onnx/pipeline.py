"""The passes of the ONNX target, in order, on the ATen graph before PyTorch's ONNX exporter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.onnx_export.antialias import decompose_antialias
from export.onnx_export.refused_ops import REFUSED_OPS
from export.passes.base import Pass
from export.passes.decompose import recurrent
from export.passes.decompose.table import DecomposeOps
from export.passes.pipelines import RARE_OPS

if TYPE_CHECKING:
    from torch.export import ExportedProgram

# For an export with fixed height and width.
ATEN_PASSES: tuple[Pass[ExportedProgram], ...] = (
    # Resizes whose arguments the exporter drops.
    decompose_antialias,
    # Ops that the exporter refuses or gets wrong, and ops that some target refuses or gets wrong.
    DecomposeOps("decompose_for_onnx", *REFUSED_OPS, *RARE_OPS, recurrent.unroll_projected),
)

# For an export with symbolic height and width. RARE_OPS need static shapes, so those ops are left to the exporter.
DYNAMIC_ATEN_PASSES: tuple[Pass[ExportedProgram], ...] = (DecomposeOps("decompose_for_onnx_dynamic", *REFUSED_OPS),)
