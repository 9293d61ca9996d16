"""Passes that run on every model before the targets' own passes."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import nn

from export.passes.base import PassError, PassResult, run_passes
from export.passes.decompose.scatter import slice_writes
from export.passes.decompose.table import DecomposeOps, apply_table
from export.passes.eager import EagerModel
from export.passes.replace_rrelu import replace_rrelu
from hydramobile.errors import StageError


def test_rrelu_becomes_leaky_relu() -> None:
    inner = nn.Sequential(nn.Conv2d(3, 4, 3), nn.RReLU(0.1, 0.4))
    net = nn.Sequential(inner, nn.RReLU()).eval()
    x = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    wanted = net(x)
    assert replace_rrelu(EagerModel({"net": net}, dict)).modified
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
    """Every write becomes a selection: slices, masks, and computed indices."""
    inputs = (torch.randn(1, 4, 7, 5, generator=torch.Generator().manual_seed(1)), torch.tensor([2, 0]))
    exported = torch.export.export(Writer(), inputs)
    decomposed = apply_table(exported, slice_writes(exported)).program
    ops = [str(node.target) for node in decomposed.graph_module.graph.nodes if node.op == "call_function"]
    assert [name for name in ops if "scatter" in name or "put" in name] == []
    assert torch.equal(decomposed.module()(*inputs), Writer()(*inputs))


def test_a_program_without_slice_writes_is_unchanged() -> None:
    exported = torch.export.export(nn.Conv2d(3, 4, 3), (torch.zeros(1, 3, 8, 8),))
    assert apply_table(exported, slice_writes(exported)).program is exported


def double(program: int) -> PassResult[int]:
    return PassResult(2 * program, program != 0)


def refuse(program: int) -> PassResult[int]:
    raise KeyError(f"no {program}\nsecond line")


def refuse_by_stage(program: int) -> PassResult[int]:
    raise StageError("capture", f"no {program}")


def test_passes_run_in_order_and_say_whether_they_modified() -> None:
    assert run_passes(3, (double, double)) == PassResult(12, True)
    assert run_passes(0, (double, double)) == PassResult(0, False)
    assert run_passes(3, ()) == PassResult(3, False)


@pytest.mark.parametrize(
    ("passes", "message"),
    [
        ((double, refuse), "convert: pass 'refuse' (after 'double' had succeeded): KeyError: 'no 6"),
        ((refuse, double), "convert: pass 'refuse' (the first of its pipeline): KeyError: 'no 3"),
        ((double, double, refuse_by_stage), "capture: pass 'refuse_by_stage' (after 'double' had succeeded): no 12"),
    ],
)
def test_a_failure_names_the_pass_and_the_last_that_succeeded(passes: Any, message: str) -> None:
    with pytest.raises(PassError, match=re.escape(message)) as caught:
        run_passes(3, passes)
    assert "\n" not in str(caught.value)


class Refused(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.hypot(x, x)


def test_a_failing_decomposition_is_named_by_its_pass() -> None:
    def factory(program: torch.export.ExportedProgram) -> dict[Any, Any]:
        return {torch.ops.aten.hypot.default: lambda x, y: torch.cat([x, y], 7)}

    program = torch.export.export(Refused(), (torch.zeros(2, 3),))
    with pytest.raises(PassError, match="pass 'decompose_hypot'") as caught:
        run_passes(program, (DecomposeOps("decompose_hypot", factory),))
    assert caught.value.failed == "decompose_hypot"
