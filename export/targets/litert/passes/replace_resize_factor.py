"""Symptom: `interpolate(scale_factor=1.7, mode="bilinear")` of a size that the factor does not make whole (24 to 40)
comes out sampled by the ratio of the sizes: silently wrong by a third of what the output moves. With antialias=True,
"Lowering not found".
Cause: litert-torch lowers aten.upsample_bilinear2d to RESIZE_BILINEAR, which knows the sizes alone, and has nothing for
antialiasing.
Retired by: a litert-torch that keeps the factor, or refuses it, and smooths (seen in 0.10.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.passes.base import PassResult
from export.passes.decompose.resize import decompose_resizes, scales_of

if TYPE_CHECKING:
    from torch import fx

SMOOTH = ("_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa")
LINEAR = ("upsample_linear1d", "upsample_bilinear2d")


def replace_resize_factor(graph: fx.GraphModule) -> PassResult[fx.GraphModule]:
    """Rewrite such resizes as matrix products, in place; whether there was one."""
    return PassResult(graph, decompose_resizes(graph, broken))


def broken(node: fx.Node) -> bool:
    name = node.target._schema.name.rpartition("::")[2]  # type: ignore[union-attr]  # the ops of `resizes` have schemas
    if name in SMOOTH:
        return True
    scales = scales_of(node)
    # With corners aligned the factor says nothing but the size.
    if name not in LINEAR or scales is None or bool(node.args[2]):
        return False
    sizes = node.args[0].meta["val"].shape[2:]  # type: ignore[union-attr]  # the node that is resized
    return any(float(size) * scale != round(float(size) * scale) for size, scale in zip(sizes, scales, strict=True))
