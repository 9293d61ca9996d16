"""Lowerings of ONNX ops to TF.js ops, by op family. An op is one small function and one row of its family's table."""

from __future__ import annotations

from export.targets.tfjs.onnx_node import Lowering
from export.targets.tfjs.ops import (
    activation,
    convolution,
    elementwise,
    indexing,
    linear,
    normalization,
    pooling,
    reduction,
    resize,
    shape,
    slicing,
    transposed_convolution,
)

FAMILIES: tuple[dict[str, Lowering], ...] = (
    activation.LOWERINGS,
    convolution.LOWERINGS,
    elementwise.LOWERINGS,
    indexing.LOWERINGS,
    linear.LOWERINGS,
    normalization.LOWERINGS,
    pooling.LOWERINGS,
    reduction.LOWERINGS,
    resize.LOWERINGS,
    shape.LOWERINGS,
    slicing.LOWERINGS,
    transposed_convolution.LOWERINGS,
)
LOWERINGS: dict[str, Lowering] = {op: lowering for family in FAMILIES for op, lowering in family.items()}
