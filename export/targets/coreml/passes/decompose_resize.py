"""Decompose resizes that MIL cannot express: `aten.upsample_*` and `aten._upsample_*`.

Before: aten.upsample_nearest2d(x, scale_factors=[1.6, 1.6]), aten.upsample_bicubic2d(x, ...), ...
After:  gathers of rows and columns (nearest), or products with constant matrices along each axis (all others)

Symptom: "recompute_scale_factor = False, align_corners = False with float output size is not supported" for linear
resizes. Bicubic ones are refused. Nearest by a factor that gives no integer size (24 by 1.6) silently samples at the
ratio of the sizes.
Cause: MIL's upsample ops know only the sizes, and no cubic interpolation.
Retired by: a coremltools that converts them to gathers or `resample` (tests/export/test_coreml_passes.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.passes.base import PassResult
from export.passes.decompose.resize import decompose_program_resizes, op_name_of, scales_of

if TYPE_CHECKING:
    from torch import fx
    from torch.export import ExportedProgram

# With align_corners the scale factor determines nothing but the size.
ALIGNS_CORNERS = ("upsample_linear1d", "upsample_bilinear2d")


def decompose_resize(program: ExportedProgram) -> PassResult[ExportedProgram]:
    """Decompose the resizes that MIL cannot express; others stay."""
    return decompose_program_resizes(program, is_inexpressible)


def is_inexpressible(node: fx.Node) -> bool:
    """Return whether MIL has no op for this resize: cubic, antialiased, nearest-exact, or by an odd scale factor."""
    name = op_name_of(node)
    if name.startswith("_upsample") or "bicubic" in name:
        return True
    scales = scales_of(node)
    if scales is None or (name in ALIGNS_CORNERS and bool(node.args[2])):
        return False
    sizes = node.args[0].meta["val"].shape[2:]  # type: ignore[union-attr]  # a node with a value
    return any(float(size) * scale != round(float(size) * scale) for size, scale in zip(sizes, scales, strict=True))
