"""Rare ops in terms of common ones, for every target: each is refused by at least one converter, or gets it wrong.

Spelled out once, they mean the same in every format and need no handler of any. Values are PyTorch's; of equal
values any may be picked, and what is not a number is not looked for where ranks are asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.passes.decompose import concat, einsum, elementwise, index, reduce, scatter, sort, unfold
from export.passes.decompose.spell_out import Table
from export.passes.decompose.unpool import indexed_pools

if TYPE_CHECKING:
    from torch.export import ExportedProgram

FAMILIES = (sort, reduce, elementwise, index, scatter, concat, unfold, einsum)


def uncommon_ops(exported: ExportedProgram | None = None) -> Table:
    """All of them, by op; with those whose spelling depends on the program, where one is given."""
    table = {op: spelled for family in FAMILIES for op, spelled in family.table().items()}
    return table if exported is None else table | indexed_pools(exported)
