"""What is done to every model on its way to the targets."""

from __future__ import annotations

import torch
from torch import nn

from export.passes.decompose.spell_out import rewritten, writes
from export.passes.replace_rrelu import settle_slopes


def test_random_leaky_relus_are_settled() -> None:
    inner = nn.Sequential(nn.Conv2d(3, 4, 3), nn.RReLU(0.1, 0.4))
    net = nn.Sequential(inner, nn.RReLU()).eval()
    x = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    wanted = net(x)
    settle_slopes({"net": net})
    assert not any(isinstance(module, nn.RReLU) for module in net.modules())
    assert torch.equal(net(x), wanted)
    assert "rrelu" not in str(torch.export.export(net, (x,)).graph)


class Writer(nn.Module):
    def forward(self, x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        y = torch.zeros(1, 4, 9, 7)
        y[:, :, 1:-1, 1:-1] = x
        y[:, -1] = 2.0
        y[:, 0, ::2] = 0.5
        y[y > 0.4] = 0.4
        y[:, :, rows] = 1.5
        return y


def test_writes_become_selections() -> None:
    """All but the one to computed places, which is a scatter."""
    inputs = (torch.randn(1, 4, 7, 5, generator=torch.Generator().manual_seed(1)), torch.tensor([2, 0]))
    exported = torch.export.export(Writer(), inputs)
    spelled = rewritten(exported, writes())
    ops = [str(node.target) for node in spelled.graph_module.graph.nodes if node.op == "call_function"]
    assert [name for name in ops if "scatter" in name or "put" in name] == ["aten.index_put.default"]
    assert torch.equal(spelled.module()(*inputs), Writer()(*inputs))


def test_a_program_without_them_is_left_alone() -> None:
    exported = torch.export.export(nn.Conv2d(3, 4, 3), (torch.zeros(1, 3, 8, 8),))
    assert rewritten(exported, writes()) is exported
