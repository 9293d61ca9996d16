"""Token ids are int64 in an ONNX file: they go into a browser and come out of it whole."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from support.emit import emit
from support.programs import Part, wired_program


class Tokens(nn.Module):
    """Mean of embeddings, and the ids themselves, beyond what a float holds."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.table = nn.Parameter(torch.randn(32, 8, generator=generator))

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        return self.table[ids].mean(1), ids + (2**53 + 1)


def test_int64_in_and_out_of_a_browser(tmp_path: Path) -> None:
    ids = torch.tensor([[0, 31, 7, 7, 1]])
    built = emit(wired_program({"net": Part(Tokens(), ("ids",), ("mean", "next"))}, {"ids": ids}), "onnx", tmp_path)
    assert {port.dtype for port in built.entry.inputs} == {"int64"}
    outputs = built.run("ort-web")
    assert outputs["next"].dtype == "int64" and outputs["next"].tolist() == (ids + (2**53 + 1)).tolist()
    expected = built.converted.program.tensors["mean"].numpy()
    assert abs(outputs["mean"] - expected).max() < 1e-6
