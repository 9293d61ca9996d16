"""Tensors of higher rank than a format allows: the same values through lower ranks, in every target's runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from export.passes.base import PassResult
from export.passes.reduce_rank import ReduceRank, max_rank
from export.targets.coreml import pipeline
from hydramobile.errors import StageError
from support.emit import emit, emit_run_compare
from support.programs import Function, ops_program


def blocks(x: Tensor) -> Tensor:
    """Return (1, 3, 8, 8) in blocks of 2 x 2: (1, 3, 4, 2, 4, 2)."""
    return x.view(1, 3, 4, 2, 4, 2)


def convex(x: Tensor) -> Tensor:
    """RAFT's convex upsampling (Teed and Deng, 2020): a mean of 9 neighbours for each of 4 x 4 pixels; rank 7."""
    mask, flow = x[:, :144], x[:, 144:]
    batch, _, height, width = flow.shape
    mask = mask.view(batch, 1, 9, 4, 4, height, width).softmax(2)
    near = F.unfold(flow, (3, 3), padding=1).view(batch, 2, 9, 1, 1, height, width)
    return (mask * near).sum(2).permute(0, 1, 4, 2, 5, 3).reshape(batch, 2, 4 * height, 4 * width)


def nested(x: Tensor) -> Tensor:
    """Attention within blocks as in NesT (Zhang et al., 2022): query, key and value have rank 6."""
    batch, channels, height, width = x.shape
    x = x.permute(0, 2, 3, 1).reshape(batch, 2, height // 2, 2, width // 2, channels).transpose(2, 3)
    x = x.reshape(batch, 4, -1, channels)
    triple = torch.cat([x, x * 2, x + 1], -1).reshape(batch, 4, -1, 3, 2, channels // 2).permute(3, 0, 4, 1, 2, 5)
    query, key, value = triple.unbind(0)
    return ((query @ key.transpose(-2, -1)).softmax(-1) @ value).permute(0, 2, 3, 4, 1).reshape(batch, 4, -1, channels)


def sampled(x: Tensor) -> Tensor:
    """Compute sampling locations of deformable attention: head, level, point, coordinate."""
    points = torch.linspace(0.1, 0.9, 4).view(1, 1, 1, 1, 4, 1) / torch.tensor([3.0, 5.0])
    return (x.reshape(1, 12, 2, 2, 2, 2) + points[:, :, :, :, :2]).sum(-1).flatten(2).softmax(-1)


def wavelets(x: Tensor) -> Tensor:
    """Split into the four bands of a Haar wavelet, and invert."""
    a, b, c, d = (blocks(x)[:, :, :, row, :, column] for row in (0, 1) for column in (0, 1))
    bands = torch.sigmoid(torch.stack([a + b + c + d, a - b + c - d, a + b - c - d, a - b - c + d], -1))
    return bands.view(1, 3, 4, 4, 2, 2).permute(0, 1, 2, 4, 3, 5).reshape(1, 3, 8, 8)


NETS: dict[str, tuple[Function, tuple[int, ...]]] = {
    "convex": (convex, (1, 146, 3, 5)),
    "two convex": (convex, (2, 146, 3, 2)),
    "nested": (nested, (1, 8, 4, 4)),
    "sampled": (sampled, (1, 3, 8, 8)),
    "wavelets": (wavelets, (1, 3, 8, 8)),
}
OPS: dict[str, Function] = {
    "means": lambda x: blocks(x).mean((3, 5)),
    "extremes": lambda x: blocks(x).amax((3, 5)) - blocks(x).amin((1, 4)).sum(),
    "greater": lambda x: torch.max(blocks(x), blocks(x).flip(2)) - torch.minimum(blocks(x), blocks(x).mean(3, True)),
    "spread": lambda x: blocks(x).var((3, 5)) + blocks(x).std((2, 4)).sum(),
    "norms": lambda x: F.normalize(blocks(x), dim=3) + blocks(x).norm(p=1, dim=5, keepdim=True),
    "repeats": lambda x: x[:, :, :, None, :, None].repeat(1, 1, 1, 2, 1, 3),
    "expands": lambda x: x[:, :, :, None, :, None].expand(-1, -1, -1, 2, -1, 2).reshape(1, 3, 16, 16).sin(),
    "outer": lambda x: torch.where(blocks(x) > x[0, 0, :4, :1, None, None], blocks(x), x[0, 1, :4, :2]),
    "stripes": lambda x: x.view(3, 2, 2, 2, 2, 2, 2) * x.view(-1)[:8].view(2, 1, 2, 1, 2, 1) + 1.0,
    "pads": lambda x: F.pad(blocks(x), (1, 0, 0, 0, 0, 1), value=0.5).flip([1, 3]),
    "rolls": lambda x: torch.roll(blocks(x), (1, 1), (2, 4)).abs(),
    "joins": lambda x: torch.cat([blocks(x), blocks(x).neg()], 4) + torch.cat([x, x], 3).view(1, 3, 4, 2, 8, 2),
    "stacks": lambda x: torch.stack([blocks(x)[:, :, 0], blocks(x)[:, :, 1]], 3).relu(),
    "turns": lambda x: x.view(3, 2, 2, 2, 2, 2, 2).exp().permute(6, 4, 2, 0, 5, 3, 1).cos(),
    "steps": lambda x: blocks(x).cumsum(2).softmax(4).select(3, 1) + blocks(x).topk(1, 3)[0].squeeze(3),
    "places": lambda x: blocks(x)[:, :, :, :, torch.tensor([3, 1, -2])].argmax(2).float(),
    "gathers": lambda x: blocks(x).gather(2, (blocks(x).abs() * 1.9).long()).max(3)[0],
    "layers": lambda x: F.layer_norm(blocks(x), (4, 2), x[0, 0, :4, :2]) + F.linear(blocks(x), x[0, 0, :2, :2]),
    "copies": lambda x: blocks(x).permute(0, 2, 4, 1, 3, 5).clone().reshape(1, 16, 12) + blocks(x).sum(),
    "products": lambda x: x.view(1, 3, 2, 1, 2, 4, 4) @ x.view(1, 3, 1, 2, 2, 4, 4),
}


@pytest.mark.parametrize("name", [*OPS, *NETS])
def test_the_same_with_rank_at_most_five(name: str) -> None:
    net, shape = (OPS[name], (1, 3, 8, 8)) if name in OPS else NETS[name]
    # The program's own output may have more.
    program = ops_program({"y": lambda x: net(x).flatten(1)}, shape)
    exported = program.exported(program.spec.entries["net"]).program
    made = ReduceRank(5)(exported).program.run_decompositions({})
    assert max(max_rank(node) for node in made.graph_module.graph.nodes) <= 5
    np.testing.assert_allclose(made.module()(program.tensors["x"])[0], program.tensors["y"], rtol=1e-5, atol=1e-6)


def test_views_and_transposes_alone_stay() -> None:
    """Converters take these together, in fewer ops."""
    program = ops_program({"y": lambda x: blocks(x).permute(0, 1, 3, 5, 2, 4).reshape(1, 12, 4, 4)}, (1, 3, 8, 8))
    exported = program.exported(program.spec.entries["net"]).program
    assert ReduceRank(5)(exported) == PassResult(exported, False)


@pytest.mark.parametrize("target", ["coreml", "litert", "tfjs"])
def test_every_target_computes_them(target: str, tmp_path: Path) -> None:
    for name, (net, shape) in NETS.items():
        errors = emit_run_compare(ops_program({"y": net}, shape), target, tmp_path / name)
        assert errors["y"].scaled < 1e-5, name


@pytest.mark.parametrize("name", ["convex", "nested", "sampled"])
def test_core_ml_refuses_them_otherwise(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tuple(each for each in pipeline.ATEN_PASSES if not isinstance(each, ReduceRank))
    monkeypatch.setattr(pipeline, "ATEN_PASSES", kept)
    net, shape = NETS[name]
    with pytest.raises(StageError, match="rank <= 5"):
        emit(ops_program({"y": net}, shape), "coreml", tmp_path)
