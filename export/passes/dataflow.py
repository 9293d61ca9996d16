"""Which nodes of a graph depend on what; for those who leave constants alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import fx


def computed_from(entering: Iterable[fx.Node], graph: fx.Graph) -> set[fx.Node]:
    """The nodes that are computed from one of the nodes `entering`, and these."""
    computed = set(entering)
    for node in graph.nodes:
        if any(source in computed for source in node.all_input_nodes):
            computed.add(node)
    return computed
