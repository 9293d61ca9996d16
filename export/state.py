"""What a net remembers between two runs: files are of feed-forward nets, which remember nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from export.dependence import computed_from
from export.spell_out import writes_in_place
from models.errors import StageError
from models.spec import ModelSpec

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

STAGE = "capture"
# How far two runs on one input may lie apart, as a share of the largest value: sums in another order.
REPEATS = 1e-4


def check_repeats(spec: ModelSpec, first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> None:
    """Refuse a net whose two runs on one input differ: nothing could be said of its files.

    Raises StageError("capture") naming the module and its first tensor that differs.
    """
    for module in spec.modules.values():
        for name in module.outputs:
            before, after = first[name].double(), second[name].double()
            if before.numel() and float((before - after).abs().max()) > REPEATS * max(1.0, float(before.abs().max())):
                raise StageError(
                    STAGE,
                    f"module {module.name!r} makes another {name!r} of the same input the second time: it draws random "
                    "numbers or changes its own buffers, and files are of feed-forward nets",
                )


def forget_state(exported: ExportedProgram) -> None:
    """Drop, in place, what the program writes into its buffers and no output depends on, such as a counter of runs."""
    graph = exported.graph_module.graph
    state = [node for node in graph.nodes if node.name in exported.graph_signature.inputs_to_buffers]
    remembered = computed_from(state, graph)
    for node in reversed(graph.nodes):
        if node in remembered and not node.users and writes_in_place(node.target):
            graph.erase_node(node)
