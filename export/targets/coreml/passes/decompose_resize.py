"""Graph fix: resizes at ratios that MIL's ops cannot say.

Symptom: "recompute_scale_factor = False, align_corners = False with float output size is not supported"; bicubic is
refused; nearest by a factor that gives no whole size (24 by 1.6) picks by the ratio of the sizes, silently.
Cause: MIL's upsample ops know the sizes alone, and no cubic interpolation.
Retired by: a coremltools that converts them to gathers or `resample` (tests/export/test_coreml_fixes.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.passes.base import PassResult
from export.passes.decompose.resize import decompose_resizes, resizes, scales_of

if TYPE_CHECKING:
    from torch import fx
    from torch.export import ExportedProgram

# With corners aligned the factor says nothing but the size.
CORNERS = ("upsample_linear1d", "upsample_bilinear2d")


def decompose_resize(program: ExportedProgram) -> PassResult[ExportedProgram]:
    """Replace resizes that MIL cannot express by gathers of rows and columns or by matrix products."""
    import torch

    known = resizes()
    if not any(node.target in known and odd(node) for node in program.graph_module.graph.nodes):
        return PassResult(program, False)
    graph = program.module(check_guards=False)
    decompose_resizes(graph, odd)
    graph.recompile()
    return PassResult(torch.export.export(graph, program.example_inputs[0], strict=False), True)


def odd(node: fx.Node) -> bool:
    name = node.target._schema.name.rpartition("::")[2]  # type: ignore[union-attr]  # the ops of `resizes` have schemas
    if name.startswith("_upsample") or "bicubic" in name:
        return True
    scales = scales_of(node)
    if scales is None or (name in CORNERS and bool(node.args[2])):
        return False
    sizes = node.args[0].meta["val"].shape[2:]  # type: ignore[union-attr]  # a node with a value
    return any(float(size) * scale != round(float(size) * scale) for size, scale in zip(sizes, scales, strict=True))
