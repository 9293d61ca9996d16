"""Define the passes that all targets share, in order. Start here to see how an export rewrites a net.

EAGER_PASSES      on the PyTorch modules, once per model
CAPTURE_PASSES    on each entry's ATen graph, right after torch.export
then the pipeline of the target: export/targets/<target>/pipeline.py, which decomposes RARE_OPS and its own ops
"""

from __future__ import annotations

from export.passes.complex_to_real.rewrite import complex_to_real
from export.passes.decompose import (
    attention,
    concat,
    division,
    einsum,
    elementwise,
    index,
    linalg,
    loss,
    norm,
    pool_indices,
    qr,
    reduce,
    scan,
    scatter,
    select_reduce,
    sort,
    special,
    subnormal,
    unfold,
    unpool,
)
from export.passes.decompose.cond import decompose_cond
from export.passes.fold_batch_norm import fold_batch_norm
from export.passes.remove_state import refuse_state, remove_buffer_writes
from export.passes.rename_keywords import rename_keywords
from export.passes.replace_dtypes import replace_dtypes
from export.passes.replace_rrelu import replace_rrelu

EAGER_PASSES = (
    # nn.RReLU in evaluation mode: no converter takes the training op that torch.export writes.
    replace_rrelu,
    # Every converter folds batch norms in its own arithmetic. Folding here gives all files the same weights.
    fold_batch_norm,
)

CAPTURE_PASSES = (
    # torch.fx cannot write a graph with such names as code.
    rename_keywords,
    # No converter takes branches, and the passes below do not look into them.
    decompose_cond,
    # Writes into buffers that no output depends on, such as a counter of runs.
    remove_buffer_writes,
    # A cache in a buffer, which the files would lose between two calls.
    refuse_state,
    # No format but ONNX has complex numbers.
    complex_to_real,
    # No format has all dtypes.
    replace_dtypes,
)

# Table factories of ops that at least one converter refuses or gets wrong. Every target decomposes them, so that they
# compute the same in every format and need no handler in any. Where elements are ranked, the order of equal elements is
# unspecified, and NaN is not handled.
RARE_OPS = (
    sort.decompositions,
    reduce.decompositions,
    elementwise.decompositions,
    elementwise.sums_of_exponentials,
    division.decompositions,
    index.decompositions,
    scatter.decompositions,
    select_reduce.decompositions,
    concat.decompositions,
    unfold.decompositions,
    einsum.decompositions,
    norm.statistics,
    # Before `unpool`, which has a shorter form of the pools that it reads.
    pool_indices.decompositions,
    unpool.decompositions,
    attention.attention,
    subnormal.products,
    loss.cross_entropy,
    scan.decompositions,
    special.decompositions,
    linalg.decompositions,
    qr.decompositions,
)
