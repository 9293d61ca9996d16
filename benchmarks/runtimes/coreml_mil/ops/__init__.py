"""The ops of MIL in numpy, one table per op family.

Semantics are those that MIL documents (the op definitions in coremltools), not those of the framework that a net was
written in: where a converter picks the wrong sampling mode, the result must be wrong here too.
"""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.runtimes.coreml_mil.ops.activation import OPS as ACTIVATION
from benchmarks.runtimes.coreml_mil.ops.call import Op
from benchmarks.runtimes.coreml_mil.ops.constexpr import OPS as CONSTEXPR
from benchmarks.runtimes.coreml_mil.ops.convolution import OPS as CONVOLUTION
from benchmarks.runtimes.coreml_mil.ops.elementwise import OPS as ELEMENTWISE
from benchmarks.runtimes.coreml_mil.ops.layout import OPS as LAYOUT
from benchmarks.runtimes.coreml_mil.ops.linear import OPS as LINEAR
from benchmarks.runtimes.coreml_mil.ops.normalization import OPS as NORMALIZATION
from benchmarks.runtimes.coreml_mil.ops.pooling import OPS as POOLING
from benchmarks.runtimes.coreml_mil.ops.reduction import OPS as REDUCTION
from benchmarks.runtimes.coreml_mil.ops.resize import OPS as RESIZE
from benchmarks.runtimes.coreml_mil.ops.sampling import OPS as SAMPLING
from benchmarks.runtimes.coreml_mil.ops.selection import OPS as SELECTION

# Folded when a file is opened: constants and compressed weights.
CONSTANT_OPS: Mapping[str, Op] = CONSTEXPR
OPS: Mapping[str, Op] = {
    **ACTIVATION,
    **CONVOLUTION,
    **ELEMENTWISE,
    **LAYOUT,
    **LINEAR,
    **NORMALIZATION,
    **POOLING,
    **REDUCTION,
    **RESIZE,
    **SAMPLING,
    **SELECTION,
}
