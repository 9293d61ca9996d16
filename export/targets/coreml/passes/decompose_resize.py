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
from export.passes.decompose.resize import decompose_resizes, resizes, scales_of

if TYPE_CHECKING:
    from torch import fx
    from torch.export import ExportedProgram

# With align_corners the scale factor determines nothing but the size.
ALIGNS_CORNERS = ("upsample_linear1d", "upsample_bilinear2d")


def decompose_resize(program: ExportedProgram) -> PassResult[ExportedProgram]:
    """Decompose the resizes that MIL cannot express; others stay. Exports the program again where there is one."""
    import torch

    known = resizes()
    if not any(node.target in known and is_inexpressible(node) for node in program.graph_module.graph.nodes):
        return PassResult(program, False)
    graph = program.module(check_guards=False)
    decompose_resizes(graph, is_inexpressible)
    graph.recompile()
    return PassResult(torch.export.export(graph, program.example_inputs[0], strict=False), True)


def is_inexpressible(node: fx.Node) -> bool:
    """Return whether MIL has no op for this resize: cubic, antialiased, nearest-exact, or by an odd scale factor."""
    name = node.target._schema.name.rpartition("::")[2]  # type: ignore[union-attr]  # the ops of `resizes` have schemas
    if name.startswith("_upsample") or "bicubic" in name:
        return True
    scales = scales_of(node)
    if scales is None or (name in ALIGNS_CORNERS and bool(node.args[2])):
        return False
    sizes = node.args[0].meta["val"].shape[2:]  # type: ignore[union-attr]  # a node with a value
    return any(float(size) * scale != round(float(size) * scale) for size, scale in zip(sizes, scales, strict=True))
