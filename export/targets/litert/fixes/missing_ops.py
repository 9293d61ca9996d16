"""Symptom: "Lowering not found" for exp2, hypot and adaptive max pools of sizes that do not divide the input's;
NonConcreteBooleanIndexError for a number written where a mask is true (`x[x < 0.4] = 0.4`).
Cause: litert-torch has no lowering of them, and PyTorch's table of core decompositions leaves them as they are; it
lowers a masked write through JAX's indexing, which wants to know how many places the mask has.
Retired by: a litert-torch that lowers them (seen in 0.10.0).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from export.spell_out import adaptive_max_pools, plain_arithmetic, rewritten, writes

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def spelled(exported: ExportedProgram) -> ExportedProgram:
    """The program with these ops in terms of others; the program itself where it has none of them."""
    import torch

    aten = torch.ops.aten
    table = {aten.hypot.default: plain_arithmetic()[aten.hypot.default]}
    table[aten.exp2.default] = lambda x: torch.exp(x * math.log(2.0))
    table |= adaptive_max_pools(exported)
    table[aten.index_put.default] = writes()[aten.index_put.default]
    named = {*table, aten.index_put_.default}
    if not any(node.target in named for node in exported.graph_module.graph.nodes):
        return exported
    return rewritten(exported, table)
