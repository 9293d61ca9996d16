"""Rare ops in terms of common ones, for every target: each is refused by at least one converter, or gets it wrong.

Spelled out once, they mean the same in every format and need no handler of any. Values are PyTorch's; of equal
values any may be picked, and what is not a number is not looked for where ranks are asked for.
"""

from __future__ import annotations

from export.spell_out import Table
from export.uncommon import numbers, places, products, ranks, statistics, windows

FAMILIES = (ranks, statistics, numbers, places, windows, products)


def uncommon_ops() -> Table:
    """All of them, by op."""
    return {op: spelled for family in FAMILIES for op, spelled in family.table().items()}
