"""The ONNX ops the TF.js target knows, by family. An op is one small handler and one row of its family's table."""

from __future__ import annotations

from export.targets.tfjs.call import Handler
from export.targets.tfjs.ops import (
    activation,
    arithmetic,
    convolution,
    indexing,
    linear,
    normalization,
    pooling,
    reduction,
    resize,
    shape,
)

FAMILIES: tuple[dict[str, Handler], ...] = (
    activation.HANDLERS,
    arithmetic.HANDLERS,
    convolution.HANDLERS,
    indexing.HANDLERS,
    linear.HANDLERS,
    normalization.HANDLERS,
    pooling.HANDLERS,
    reduction.HANDLERS,
    resize.HANDLERS,
    shape.HANDLERS,
)
HANDLERS: dict[str, Handler] = {op: handler for family in FAMILIES for op, handler in family.items()}
