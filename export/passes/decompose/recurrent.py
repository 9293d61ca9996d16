"""Decompose recurrent layers into one step per time index."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from export.passes.decompose.table import DecompositionTable

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def unroll(program: ExportedProgram) -> DecompositionTable:
    """Decompose `aten.lstm`, `aten.gru` and `aten.rnn_*` by PyTorch's own decompositions, which are off by default."""
    import torch

    aten = torch.ops.aten
    layers = [aten.lstm.input, aten.gru.input, aten.rnn_tanh.input, aten.rnn_relu.input]
    table: DecompositionTable = import_module("torch._decomp").get_decompositions(layers)
    return table
