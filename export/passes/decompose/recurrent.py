"""Decompose recurrent layers into one step per time index."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from export.passes.decompose.table import KEEP_OP, DecompositionTable

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


def unroll(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.lstm`, `aten.gru` and `aten.rnn_*` by PyTorch's own decompositions, which are off by default."""
    import torch

    aten = torch.ops.aten
    layers = [aten.lstm.input, aten.gru.input, aten.rnn_tanh.input, aten.rnn_relu.input]
    table: DecompositionTable = import_module("torch._decomp").get_decompositions(layers)
    return table


def unroll_projected(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.lstm` with `proj_size` (Sak et al. 2014): ONNX's LSTM has no projection of its output.

    Symptom: "Input initial_c must have shape {1,2,4}. Actual:{1,2,9}" when the file runs. The table is empty where no
    LSTM has projections.
    """
    import torch

    target = torch.ops.aten.lstm.input
    decomposition = unroll(program)[target]

    def lstm(x: torch.Tensor, states: list[torch.Tensor], *more: Any) -> Any:
        return decomposition(x, states, *more) if is_projected(states) else KEEP_OP

    nodes = [node for node in program.graph_module.graph.nodes if node.target is target]
    projected = any(is_projected([state.meta["val"] for state in node.args[1]]) for node in nodes)
    return {target: lstm} if projected else {}


def is_projected(states: list[torch.Tensor]) -> bool:
    """Return whether the output of an LSTM, its first state, has another size than the cell, its second."""
    return states[0].shape[-1] != states[1].shape[-1]
