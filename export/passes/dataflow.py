"""Follow data through a graph: which nodes depend on which."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import fx


def computed_from(sources: Iterable[fx.Node], graph: fx.Graph) -> set[fx.Node]:
    """Return `sources` and every node that is computed from one of them."""
    computed = set(sources)
    for node in graph.nodes:
        if any(operand in computed for operand in node.all_input_nodes):
            computed.add(node)
    return computed
