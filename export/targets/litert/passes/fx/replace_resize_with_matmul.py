"""Replace linear resizes by a factor, and antialiased resizes, by products with interpolation matrices.

Before: upsample_bilinear2d(x [1, c, 24, 24], scale_factors=[1.7, 1.7])
After:  matmul(matmul(rows [40, 24], x), columns [24, 40])

Symptom: `interpolate(scale_factor=1.7, mode="bilinear")` where the factor times the size is fractional (24 to 40) is
sampled by the ratio of the sizes instead: wrong without an error, by a third of the range of the output. With
antialias=True: "Lowering not found".
Cause: litert-torch lowers `aten.upsample_bilinear2d` to RESIZE_BILINEAR, which knows the sizes alone, and has no
lowering of the antialiased ops.
Retired by: a litert-torch that keeps the factor or refuses it, and lowers the antialiased ops (seen in 0.10.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.passes.base import PassResult
from export.passes.decompose.resize import decompose_resizes, op_name_of, scales_of

if TYPE_CHECKING:
    from torch import fx

ANTIALIASED = ("_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa")
LINEAR = ("upsample_linear1d", "upsample_bilinear2d")


def replace_resize_with_matmul(graph: fx.GraphModule) -> PassResult[fx.GraphModule]:
    """Replace the resizes that litert-torch refuses or gets wrong, one matrix product per axis."""
    return PassResult(graph, decompose_resizes(graph, is_refused_or_wrong))


def is_refused_or_wrong(node: fx.Node) -> bool:
    """Return whether a resize is antialiased, or linear by a factor that gives no integer size."""
    name = op_name_of(node)
    if name in ANTIALIASED:
        return True
    scales = scales_of(node)
    # With align_corners the factor determines nothing but the size.
    if name not in LINEAR or scales is None or bool(node.args[2]):
        return False
    sizes = node.args[0].meta["val"].shape[2:]  # type: ignore[union-attr]  # the resized node
    return any(float(size) * scale != round(float(size) * scale) for size, scale in zip(sizes, scales, strict=True))
